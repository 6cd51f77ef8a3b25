"""The live page's server over real sockets: who may look, what a viewer gets, and what that costs."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import av
import cv2
import numpy as np
import pytest
from chromium import Network, Shown, until
from roads import predicted_road
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from perception.cli.log import command_log
from perception.cli_config import SettingsError, parse
from perception.config import NodeConfig
from perception.frame import CameraState, Certainty, EngineState, Frame, NoFrameRecord, OutputItem, Prediction
from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT
from perception.metrics.histogram import Histogram
from perception.ros.settings import RosSettings
from perception.sources.source import SourceInfo
from perception.system.priority import NICE_OF_VIEWS
from perception.telemetry.counters import FrameCounters
from perception.telemetry.health import HealthReport, Phase, SinkHealth
from perception.web.address import EndpointsError
from perception.web.connections import VIEWERS
from perception.web.pictures import Pictures
from perception.web.server import Endpoints, Served
from perception.web.site import Site, SitePart

WH = (64, 48)
CAMERA = SourceInfo("camera", True, WH, 25.0)
RECORDING = SourceInfo("drive.mp4", False, WH, 25.0)
REPORT = HealthReport(
    source_id="camera",
    model_id="rt_m-1",
    provider="cpu",
    engine_state=EngineState.OK,
    phase=Phase.RUNNING,
    camera_state=CameraState.OK,
    camera_reason=None,
    fresh_age_s=0.03,
    fresh_limit_s=0.1,
    record_age_s=0.03,
    record_limit_s=5.0,
    frames=FrameCounters(captured=10, published=9, withheld=1),
    sinks={"jsonl": SinkHealth(written=9, issue="rtsp://ann:secret@camera/road: disk full")},
    period_ms=40.0,
)


def prediction(frame_id: int = 0, camera: CameraState = CameraState.OK, grey: int = 90) -> Prediction:
    now_ns = time.monotonic_ns()
    image_bgr = np.full((WH[1], WH[0], 3), grey, np.uint8)
    class_map = np.full((24, 32), BACKGROUND, np.uint8)
    class_map[12:, :16], class_map[12:, 16:] = DIRECT, ALTERNATIVE
    return Prediction(
        Frame("camera", frame_id, now_ns - 20_000_000, 0, image_bgr, str(frame_id)),
        class_map,
        (0.25, 0.25, 0.5),
        "rt_m-1",
        provider="cpu",
        camera_state=camera,
        camera_reason=None if camera is CameraState.OK else "covered",
        published_ns=now_ns,
        confidence=np.full((6, 8), 200, np.uint8),
        certainty=Certainty(0.9, 0.5, 0.1),
    )


def outage() -> NoFrameRecord:
    return NoFrameRecord(
        "camera", WH, 0, None, CameraState.LOST, "unplugged", published_ns=time.monotonic_ns()
    )


class Node:
    """A node whose outputs the test publishes."""

    def __init__(
        self, info: SourceInfo = CAMERA, address: str = "127.0.0.1:0", token: str | None = None
    ) -> None:
        self.pictures = Pictures(info)
        self.endpoints = Endpoints(address, token=token)
        self.endpoints.start([Served(None, lambda: REPORT, Histogram(), {}, self.pictures)])

    def publish(self, output: OutputItem | None = None) -> None:
        self.pictures.record(output or prediction())

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.endpoints.port, timeout=10)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())
        finally:
            connection.close()

    def look(self, query: str = "", **options: Any) -> ClientConnection:
        return connect(f"ws://127.0.0.1:{self.endpoints.port}/live{query}", **options)

    @contextmanager
    def publishing(self, rate_hz: float = 50.0) -> Iterator[None]:
        """Publish all the time."""
        is_over = threading.Event()

        def publish() -> None:
            frame_id = 0
            while not is_over.wait(1 / rate_hz):
                self.publish(prediction(frame_id))
                frame_id += 1

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()


def next_picture(viewer: ClientConnection, view: str | None = "overlay") -> tuple[dict[str, Any], bytes]:
    """Ask for one; the header and the JPEG of the message."""
    viewer.send(json.dumps({"view": view}))
    message = viewer.recv(timeout=10)
    assert isinstance(message, bytes)
    end = 4 + int.from_bytes(message[:4], "big")
    return json.loads(message[4:end]), message[end:]


def image_of(jpeg: bytes) -> np.ndarray[Any, Any]:
    image_bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image_bgr is not None
    return image_bgr


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.endpoints.close()


@pytest.fixture
def guarded() -> Iterator[Node]:
    node = Node(address="0.0.0.0:0", token="open-sesame")
    node.publish()
    yield node
    node.endpoints.close()


def test_page_is_whole_and_lets_nothing_else_in(node: Node) -> None:
    status, page, headers = node.ask("/")

    assert status == 200
    assert b"http://" not in page.replace(b"http://www.w3.org/2000/svg", b"")
    assert b"https://" not in page
    assert b" src=" not in page
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("path", ["/", "/frame.jpg", "/stream.mjpg"])
@pytest.mark.parametrize("given", ["", "?token=", "?token=open-sesam", "?token=none", "?TOKEN=open-sesame"])
def test_without_the_token_there_is_no_picture(path: str, given: str, guarded: Node) -> None:
    status, text, headers = guarded.ask(path + given)

    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    assert text.startswith(b"a token is needed")


def test_token_of_the_address_becomes_a_cookie(guarded: Node) -> None:
    status, _, headers = guarded.ask("/?token=open-sesame")
    cookie, *attributes = headers["set-cookie"].split("; ")

    assert (status, headers["location"]) == (303, "/")
    assert {"HttpOnly", "SameSite=strict"} <= set(attributes)
    assert guarded.ask("/", Cookie=cookie)[0] == 200
    assert guarded.ask("/frame.jpg", Cookie=cookie)[0] == 200
    assert guarded.ask("/", Cookie=cookie[:-1])[0] == 401


def test_programs_give_the_token_in_the_address_or_as_bearer(guarded: Node) -> None:
    assert guarded.ask("/frame.jpg?token=open-sesame")[0] == 200
    assert guarded.ask("/frame.jpg", Authorization="Bearer open-sesame")[0] == 200
    with guarded.look("?token=open-sesame") as viewer:
        assert next_picture(viewer)[1]


def test_health_and_metrics_need_no_token(guarded: Node) -> None:
    assert [guarded.ask(path)[0] for path in ("/healthz", "/readyz", "/metrics")] == [200, 200, 200]


def test_viewer_without_the_token_is_refused(guarded: Node) -> None:
    with pytest.raises(InvalidStatus) as caught, guarded.look():
        pass

    assert caught.value.response.status_code == 401


@pytest.mark.parametrize(
    ("address", "token", "needs_one"),
    [
        ("127.0.0.1:0", None, False),
        ("localhost:0", None, False),
        ("0.0.0.0:0", None, True),
        ("0.0.0.0:0", "none", False),
        ("127.0.0.1:0", "mine", True),
    ],
)
def test_token_is_needed_where_others_reach_the_node(
    address: str, token: str | None, needs_one: bool
) -> None:
    node = Node(address=address, token=token)
    status = node.ask("/")[0]
    node.endpoints.close()

    assert status == (401 if needs_one else 200)
    assert ("?token=" in node.endpoints.page_url) == needs_one
    assert "0.0.0.0" not in node.endpoints.page_url


def test_random_tokens_differ() -> None:
    tokens = {Endpoints("0.0.0.0:0").token for _ in range(20)}

    assert len(tokens) == 20
    assert min(len(str(token)) for token in tokens) >= 16


@pytest.mark.parametrize("origin", ["http://attacker.example", "http://localhost", "null"])
def test_pages_of_other_sites_cannot_look(origin: str, node: Node) -> None:
    with pytest.raises(InvalidStatus) as caught, node.look(origin=origin):
        pass

    assert caught.value.response.status_code == 403


def test_own_page_can_look(node: Node) -> None:
    node.publish()

    with node.look(origin=f"http://127.0.0.1:{node.endpoints.port}") as viewer:
        assert next_picture(viewer)[0]["id"] == 0


def test_viewer_of_another_name_is_refused(node: Node) -> None:
    with (
        pytest.raises(InvalidStatus) as caught,
        node.look(additional_headers={"Host": "attacker.example"}, origin="http://attacker.example"),
    ):
        pass

    assert caught.value.response.status_code in (400, 421)


def test_picture_comes_with_its_age_and_state(node: Node) -> None:
    node.publish(prediction(7))

    with node.look() as viewer:
        state, jpeg = next_picture(viewer)

    assert image_of(jpeg).shape == (48, 64, 3)
    assert (state["id"], state["frame_id"], state["has_mask"]) == (0, 7, True)
    assert 20 <= state["age_ms"] < 2000
    assert state["limit_ms"] == 375
    assert state["camera"] == {"state": "ok", "reason": None}


def test_road_is_told_in_words_where_metres_are_known(node: Node) -> None:
    node.publish(predicted_road(published_ns=time.monotonic_ns()))
    with node.look() as viewer:
        state, _ = next_picture(viewer)
        node.publish(prediction(8))
        without, _ = next_picture(viewer)

    assert state["road"]["In the lane"] == "0.3 ± 0.1 m left of the middle"
    assert without["road"] is None


def test_age_of_a_recording_means_nothing() -> None:
    node = Node(RECORDING)
    node.publish()
    with node.look() as viewer:
        state, _ = next_picture(viewer)
    node.endpoints.close()

    assert (state["age_ms"], state["is_live"]) == (None, False)


def test_viewer_gets_the_newest_picture_and_each_once(node: Node) -> None:
    for frame_id in range(3):
        node.publish(prediction(frame_id))

    with node.look() as viewer:
        first, jpeg = next_picture(viewer)
        second, none = next_picture(viewer)
        node.publish(prediction(3))
        third, newer = next_picture(viewer)

    assert (first["frame_id"], bool(jpeg)) == (2, True)
    assert (second["frame_id"], none) == (2, b"")
    assert (third["frame_id"], bool(newer)) == (3, True)


def test_viewer_hears_of_a_node_that_publishes_nothing(node: Node) -> None:
    node.publish()

    with node.look() as viewer:
        next_picture(viewer)
        started_s = time.monotonic()
        states = [next_picture(viewer)[0] for _ in range(3)]
        took_s = time.monotonic() - started_s

    assert took_s < 1.5
    assert states[2]["held_ms"] > states[0]["held_ms"] + 300


def test_report_follows_at_its_own_pace(node: Node) -> None:
    node.publish()

    with node.look() as viewer:
        states = [next_picture(viewer)[0] for _ in range(5)]
    status = states[-1]["status"]

    assert status["frames"]["captured"] == 10
    assert status["sinks"]["jsonl"]["issue"] == "rtsp://ann:***@camera/road: disk full"
    assert status["certainty"] == [0.9]


def test_views_differ_and_another_one_is_there_at_once(node: Node) -> None:
    node.publish()

    with node.look() as viewer:
        pictures = {
            view: image_of(next_picture(viewer, view)[1])
            for view in ("overlay", "plain", "classes", "confidence")
        }

    assert np.abs(pictures["plain"].astype(int) - 90).max() <= 2
    pixels = [pictures["classes"][place] // 16 for place in [(9, 9), (40, 9), (40, 50)]]
    assert len({tuple(pixel) for pixel in pixels}) == 3
    assert pictures["confidence"].std(axis=(0, 1)).max() < 3
    assert np.abs(pictures["overlay"].astype(int) - pictures["plain"]).max() > 30


@pytest.mark.parametrize("view", ["overlay", "classes", "confidence"])
def test_withheld_mask_is_in_no_view(view: str, node: Node) -> None:
    node.publish(prediction(camera=CameraState.BLOCKED))
    with node.look() as viewer:
        state, jpeg = next_picture(viewer, view)
        overlay = next_picture(viewer, "overlay")[1] or jpeg

    assert not state["has_mask"]
    assert jpeg == overlay


def test_outage_has_a_picture_without_the_last_view(node: Node) -> None:
    node.publish(prediction(grey=200))
    node.publish(outage())

    with node.look() as viewer:
        state, jpeg = next_picture(viewer, "plain")

    assert (state["frame_id"], state["camera"]["state"]) == (None, "lost")
    assert image_of(jpeg)[24:40, 8:-8].max() < 60


def test_nothing_is_encoded_while_nobody_looks(node: Node) -> None:
    for frame_id in range(50):
        node.publish(prediction(frame_id))

    with node.look() as viewer:
        next_picture(viewer, None)

    assert node.pictures.encodes == 0


def test_eight_viewers_cost_one_encoding(node: Node) -> None:
    seen: list[int] = []

    def look() -> None:
        with node.look() as viewer:
            for _ in range(10):
                state, jpeg = next_picture(viewer)
                seen.extend([state["id"]] if jpeg else [])

    with node.publishing():
        viewers = [threading.Thread(target=look) for _ in range(8)]
        for viewer in viewers:
            viewer.start()
        for viewer in viewers:
            viewer.join()

    assert len(seen) >= 60
    assert node.pictures.encodes == len(set(seen))


def test_viewers_have_a_limit_and_leave_room(node: Node) -> None:
    node.publish()
    with ExitStack() as stack:
        viewers = [stack.enter_context(node.look()) for _ in range(VIEWERS)]
        with pytest.raises(InvalidStatus) as caught, node.look():
            pass
        viewers[0].close()
        again = first_that_is_let_in(node, stack)
        state, jpeg = next_picture(again)

    assert caught.value.response.status_code == 503
    assert (state["id"], bool(jpeg)) == (0, True)


def first_that_is_let_in(node: Node, stack: ExitStack) -> ClientConnection:
    until_s = time.monotonic() + 5
    while True:
        try:
            return stack.enter_context(node.look())
        except InvalidStatus:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.05)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"view": 1}', '{"view": "other"}', "{", 70_000 * "x"])
def test_viewer_that_asks_for_nonsense_is_disconnected(text: str, node: Node) -> None:
    node.publish()

    with node.look() as viewer:
        viewer.send(text)
        with pytest.raises(ConnectionClosed):
            viewer.recv(timeout=5)

    assert node.ask("/healthz")[0] == 200


def test_viewer_that_asks_no_more_is_disconnected(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perception.web.live.VIEWER_LIMIT_S", 0.3)
    node.publish()

    with node.look() as viewer:
        next_picture(viewer)
        with pytest.raises(ConnectionClosed):
            viewer.recv(timeout=5)


def test_frame_waits_for_one_that_is_newer(node: Node) -> None:
    with node.publishing():
        _, _, first = node.ask("/frame.jpg")
        status, jpeg, second = node.ask(f"/frame.jpg?after={first.get('x-picture-id', 0)}&view=plain")

    assert status == 200
    assert int(second["x-picture-id"]) > int(first["x-picture-id"])
    assert second["x-camera-state"] == "ok"
    assert float(second["x-age-ms"]) >= 20
    assert image_of(jpeg).shape == (48, 64, 3)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priority of their own")
def test_pictures_are_made_where_the_network_leaves_time(node: Node) -> None:
    with node.publishing():
        assert node.ask("/frame.jpg")[0] == 200

    nice = {
        os.getpriority(os.PRIO_PROCESS, thread.native_id)
        for thread in threading.enumerate()
        if thread.name.startswith("pictures") and thread.native_id is not None
    }
    assert min(nice) >= NICE_OF_VIEWS


def test_frame_that_is_not_live_is_none(node: Node) -> None:
    node.publish()
    time.sleep(0.5)

    status, text, _ = node.ask("/frame.jpg")

    assert status == 503
    assert text.startswith(b"no picture for 0.")


@pytest.mark.parametrize("query", ["view=other", "after=x", f"after={10**30}", "after="])
def test_unknown_query_is_one_line(query: str, node: Node) -> None:
    node.publish()

    status, text, _ = node.ask(f"/frame.jpg?{query}")

    assert (status, text.count(b"\n")) == (400, 1)


def test_stream_ends_each_picture_with_the_boundary(node: Node) -> None:
    received = b""
    with node.publishing(), socket.create_connection(("127.0.0.1", node.endpoints.port), 10) as connection:
        connection.sendall(b"GET /stream.mjpg HTTP/1.0\r\n\r\n")
        while received.count(b"\xff\xd9\r\n--frame\r\n") < 5:
            received += connection.recv(65536)

    head, _, parts = received.partition(b"\r\n\r\n")
    pictures = [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts.split(b"--frame\r\n")]
    assert b"multipart/x-mixed-replace; boundary=frame" in head
    assert image_of(pictures[1]).shape == (48, 64, 3)


def test_stream_of_a_node_that_publishes_nothing_goes_black(node: Node) -> None:
    node.publish(prediction(grey=200))
    received = b""
    with socket.create_connection(("127.0.0.1", node.endpoints.port), 10) as connection:
        connection.sendall(b"GET /stream.mjpg?view=plain HTTP/1.0\r\n\r\n")
        while received.count(b"\xff\xd9\r\n--frame\r\n") < 2:
            received += connection.recv(65536)

    bright, held = (part.partition(b"\r\n\r\n")[2] for part in received.split(b"--frame\r\n")[1:3])
    assert image_of(bright)[24:40].min() > 180
    assert image_of(held)[24:40, 8:-8].max() < 60


def test_closing_ends_viewers_at_once() -> None:
    node = Node()
    with node.publishing(), node.look() as viewer:
        next_picture(viewer)
        started_s = time.monotonic()
        node.endpoints.close()
        took_s = time.monotonic() - started_s
        with pytest.raises(ConnectionClosed):
            next_picture(viewer)

    assert took_s < 1


def test_pyav_reads_the_stream(node: Node) -> None:
    with (
        node.publishing(),
        av.open(f"http://127.0.0.1:{node.endpoints.port}/stream.mjpg", timeout=10) as stream,
    ):
        frames = stream.decode(video=0)
        sizes = [(frame.width, frame.height) for frame, _ in zip(frames, range(20), strict=False)]

    assert sizes == 20 * [WH]


@pytest.mark.slow
def test_ffmpeg_reads_the_stream(node: Node) -> None:
    command = ["ffmpeg", "-v", "error", "-i", f"http://127.0.0.1:{node.endpoints.port}/stream.mjpg"]
    asked = [*command, *("-frames:v", "50", "-f", "rawvideo", "-pix_fmt", "gray", "-")]
    with node.publishing():
        read = subprocess.run(asked, capture_output=True, timeout=60, check=True)

    assert (len(read.stdout), read.stderr) == (50 * WH[0] * WH[1], b"")


@pytest.mark.slow
def test_page_moves_in_a_browser_and_over_a_plain_network(tmp_path: Path) -> None:
    with Network() as network, Shown(network, tmp_path) as shown:
        is_secure = shown.browser.value("isSecureContext")
        first = shown.picture()
        time.sleep(0.3)
        second = shown.picture()

    assert not is_secure
    assert first.shape == second.shape
    assert (np.abs(first.astype(int) - second).max(axis=2) > 8).mean() > 0.05


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("camera freezes", {"No picture"}),  # "Not live" before that, where the page is first to notice
        ("node stops", {"Not live"}),
        ("node is killed", {"Node gone", "No connection"}),
    ],
)
def test_page_turns_red(fault: str, words: set[str], tmp_path: Path) -> None:
    with Network() as network, Shown(network, tmp_path) as shown:
        faults: dict[str, Callable[[], float]] = {
            "camera freezes": shown.camera.freeze,
            "node stops": lambda: shown.send(signal.SIGSTOP),
            "node is killed": lambda: shown.send(signal.SIGKILL),
        }
        took_ms = shown.red_after(faults[fault])
        word = until(lambda: shown.word if shown.word in words else None)

    assert took_ms < 3000  # half a second on a machine that does nothing else: tests/rigs/page
    assert word in words


@contextmanager
def serving(*arguments: str) -> Iterator[Site]:
    """What the command line asks for, listening."""
    config = parse(NodeConfig, "drivable-node", "", [*arguments, "--source", "synthetic"])
    site = Site.of(config, RosSettings())
    site.listeners(CAMERA)
    site.start([SitePart(None, lambda: REPORT, Histogram(), {})])
    try:
        yield site
    finally:
        site.close()


def test_address_with_the_token_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    with command_log("drivable-node"), serving("--http", "0.0.0.0:0", "--http-token", "open-sesame"):
        shown = capsys.readouterr().err

    (address,) = re.findall(r"^live page: (http://\S+)$", shown, re.MULTILINE)
    assert shown.count("open-sesame") == 1
    assert re.fullmatch(r"http://[\w.]+:\d+/\?token=open-sesame", address)
    assert "0.0.0.0" not in address


def test_address_without_a_token_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    with command_log("drivable-node"), serving("--http", "0.0.0.0:0", "--http-token", "none"):
        shown = capsys.readouterr().err

    assert re.search(r"^warning: http_token none: whoever reaches port \d+ sees", shown, re.MULTILINE)


def test_page_is_opened_in_the_desktops_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: Queue[str] = Queue()
    monkeypatch.setattr("webbrowser.open", lambda url: opened.put(url) or True)
    with serving("--http", "127.0.0.1:0", "--open"):
        url = opened.get(timeout=5)

    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--open"], "open is for the live page; add --http 8080"),
        (["--http-token", "abc"], "http_token is for the live page; add --http 8080"),
        (["--http", "8080", "--http-token", ""], "http_token has no value"),
        (["--http", "8080", "--http-token", "a b?"], "http_token is empty or has characters other"),
        (["--http", "a b:1"], "is not an address to listen on"),
    ],
)
def test_settings_that_make_no_page_are_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises((SettingsError, EndpointsError)) as caught:
        parse(NodeConfig, "drivable-node", "", [*arguments, "--source", "synthetic"])

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
