"""Sources that are added, restarted and removed over HTTP while the node runs, and what is refused."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import psutil
import pytest
from web_server import serving

from perception.cli.collisions import CollisionError
from perception.cli.node_outputs import check_read_once
from perception.cli_config import SettingsError
from perception.config import NodeConfig
from perception.synthetic import DriveRenderer

START_LIMIT_S = 60.0


class Node:
    """A node that is running, with `/sources`."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.log = folder / "log"
        command = [sys.executable, "-m", "perception.node", *arguments, "--http", "0", "--model", "rt_s-int8"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, stderr=log)
        self.port = int(self.said(r"on port (\d+)"))
        self.token = self.said(r"^token for /sources: (\S+)$")

    def said(self, expression: str) -> str:
        found = until(lambda: re.search(expression, self.log.read_text(), re.MULTILINE))
        return str(found[1])

    def ask(
        self, method: str, path: str, body: object = None, token: str | None = "", **headers: str
    ) -> tuple[int, str]:
        """Status and text of an answer; an empty token is the right one."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token or self.token}"
        text = body if isinstance(body, str | bytes) or body is None else json.dumps(body)
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, text, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def listed(self) -> dict[str, dict[str, Any]]:
        return {one["name"]: one for one in json.loads(self.ask("GET", "/sources", token=None)[1])["sources"]}

    def wait_for_masks(self, *names: str) -> None:
        until(lambda: all(self.listed()[name]["published"] > 2 for name in names))

    def held(self) -> dict[str, Any]:
        """What the node has of the system."""
        own = psutil.Process(self.process.pid)
        shared = [it.path for it in own.memory_maps() if "/dev/shm" in it.path or "memfd" in it.path]
        return {
            "processes": len(own.children(recursive=True)),
            "threads": own.num_threads(),
            "descriptors": own.num_fds(),
            "shared memory": len(shared),
        }

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def until(look: Callable[[], Any]) -> Any:
    end_s = time.monotonic() + START_LIMIT_S
    while not (seen := look()):
        assert time.monotonic() < end_s
        time.sleep(0.05)
    return seen


@pytest.fixture
def node(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Node]:
    more = getattr(request, "param", ["front=synthetic", "--realtime"])
    kinds = ["--http-sources", "synthetic", "stream", "--jsonl", "{source}.jsonl"]
    node = Node(tmp_path, *more, *kinds)
    yield node
    node.process.kill()
    node.process.wait()


def camera(request: BaseHTTPRequestHandler) -> None:
    """MJPEG at 20 Hz."""
    renderer = DriveRenderer("day", (320, 180), 20.0, 0)
    request.send_response(200)
    request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=cut")
    request.end_headers()
    for number in range(10_000):
        jpeg = cv2.imencode(".jpg", renderer.render(number % 20)[0])[1].tobytes()
        head = f"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        try:
            request.wfile.write(head.encode() + jpeg + b"\r\n")
        except OSError:
            return
        time.sleep(0.05)


@pytest.fixture
def address() -> Iterator[str]:
    with serving({"road": camera}) as server:
        yield f"http://ann:secret@127.0.0.1:{server.server_port}/road"


def test_source_is_added_restarted_and_removed_and_nothing_is_left_of_it(
    node: Node, address: str, tmp_path: Path
) -> None:
    node.wait_for_masks("front")
    node.ask("GET", "/sources/front")  # the server's own threads are there from now on
    statuses, held = [], None
    for _ in range(3):
        statuses.append(node.ask("PUT", "/sources/left", {"source": address, "rate_limit_hz": 10})[0])
        node.wait_for_masks("left", "front")
        statuses.append(node.ask("PUT", "/sources/left")[0])
        node.wait_for_masks("left")
        statuses.append(node.ask("DELETE", "/sources/left")[0])
        held = held or node.held()
    until(lambda: node.held() == held)

    listed, log = node.listed(), node.log.read_text()
    assert statuses == [201, 200, 200] * 3
    assert held is not None
    assert held["processes"] == 0
    assert list(listed) == ["front"]
    assert "secret" not in log
    assert node.end() == 0
    written = sorted(file.name for file in tmp_path.glob("left*.jsonl"))
    assert written == [
        "left.1.jsonl",
        "left.2.jsonl",
        "left.3.jsonl",
        "left.4.jsonl",
        "left.5.jsonl",
        "left.jsonl",
    ]
    assert all(json.loads(file.read_text().splitlines()[-1]) for file in tmp_path.glob("left*.jsonl"))


def test_what_is_shown_of_it_comes_and_goes(node: Node, address: str) -> None:
    before = [node.ask("GET", path, token=None)[0] for path in ("/left/", "/left/frame.jpg")]
    added, shown = node.ask("PUT", "/sources/left", {"source": address})
    node.wait_for_masks("left", "front")
    ready = until(lambda: node.ask("GET", "/readyz", token=None)[0] == 200)
    pages = [node.ask("GET", path, token=None)[0] for path in ("/left/", "/front/", "/")]
    metrics = node.ask("GET", "/metrics", token=None)[1]
    with closing(http.client.HTTPConnection("127.0.0.1", node.port, timeout=30)) as viewer:
        viewer.request("GET", "/left/stream.mjpg")
        stream = viewer.getresponse()
        stream.read(1000)
        node.ask("DELETE", "/sources/left")
        rest = stream.read()  # comes to its end

    assert (added, ready) == (201, True)
    assert "secret" not in shown
    assert json.loads(shown)["source"].startswith("http://ann:***@127.0.0.1:")
    assert before == [404, 404]
    assert pages == [200, 200, 200]
    assert 'drivable_fresh{source="left"} 1.0' in metrics
    assert len(rest) > 0
    assert node.ask("GET", "/left/", token=None)[0] == 404
    assert "left" not in node.ask("GET", "/metrics", token=None)[1]


@pytest.mark.parametrize("node", [[]], indirect=True)
def test_node_without_a_source_waits_for_one(node: Node) -> None:
    empty = [node.ask("GET", path, token=None) for path in ("/healthz", "/readyz", "/sources")]
    status, _ = node.ask("PUT", "/sources/front", {"source": "synthetic"})
    node.wait_for_masks("front")

    assert empty == [(200, "ok\n"), (503, "there is no source\n"), (200, '{"sources":[]}')]
    assert status == 201
    assert node.end() == 0


@pytest.mark.parametrize(
    ("asked", "body", "status", "line"),
    [
        ("PUT x", None, 404, 'there is no source x; {"source": …} in the body adds one'),
        ("DELETE x", None, 404, "there is no source x"),
        ("GET x", None, 404, "there is no source x"),
        ("PUT x", {"source": "/dev/video0"}, 403, "is of kind camera, and http_sources allows synthetic"),
        ("PUT x", {"source": __file__}, 403, "is of kind video, and http_sources allows synthetic"),
        ("PUT x", {"source": "nowhere.mp4"}, 400, "'nowhere.mp4': no such file or folder"),
        ("PUT x", {"source": "synthetic", "jsonl": "a"}, 400, "jsonl is no setting of one source, which has"),
        ("PUT x", {"source": "synthetic", "camera": {"width": "a"}}, 400, "camera.width is a; a whole"),
        ("PUT x", {"source": "synthetic", "name": "y"}, 400, "the name in the settings is y, and that in"),
        ("PUT x", {"name": "x"}, 400, "source is missing"),
        ("PUT x", {}, 400, "source is missing"),
        (
            "PUT x",
            {"source": "synthetic", "rate_limit_hz": 0},
            400,
            "rate_limit_hz is 0.0; it must be",
        ),
        ("PUT x", {"source": "synthetic", "lane_width_m": -3}, 400, "a lane is 2 to 6 m wide"),
        ("PUT x", {"source": "synthetic", "calibration": "/"}, 422, "/: is a folder without a bag"),
        ("PUT x", {"source": "synthetic", "calibration": "a" * 3000}, 400, "File name too long"),
        ("PUT x", {"source": "synthetic", "ignore": "a" * 3000}, 400, "File name too long"),
        ("PUT x", {"source": "synthetic", "calibration": "a\0"}, 400, "a character that no name can have"),
        ("PUT x", {"source": "synthetic", "ignore": "\ud800"}, 400, "a character that no name can have"),
        (
            "PUT metrics",
            {"source": "synthetic"},
            400,
            "a source is called metrics, as an address",
        ),
        ("PUT 1x", {"source": "synthetic"}, 400, "the name '1x' of a source; up to 64 letters"),
        ("PUT a%20b", {"source": "synthetic"}, 400, "the name 'a b' of a source"),
        ("PUT x", [1], 400, "the settings of a source are expected, such as"),
        ("PUT x", "{", 400, "the settings are not readable as JSON"),
        ("PUT x", '{"source": "a", "source": "b"}', 400, "a name occurs twice"),
        ("PUT x", b"\xff\xfe", 400, "the settings are not readable as JSON"),
        ("PUT x", " " * 70_000, 413, "settings of a source have up to 65536 bytes"),
        ("PUT x", {"source": "http://u:secret@127.0.0.1:1/a"}, 422, "http://u:***@127.0.0.1:1/a: "),
        ("PUT x", {"source": "synthetic", "calibration": "/etc/shadow"}, 422, "is no file of calibration"),
        ("PUT x", {"source": "synthetic", "ignore": "/dev/zero"}, 422, "but a device or a pipe"),
        ("POST x", {"source": "synthetic"}, 405, "Method Not Allowed"),
        ("PUT ../front/", None, 405, "Method Not Allowed"),
    ],
)
def test_what_is_refused_is_one_line_and_changes_nothing(
    asked: str, body: object, status: int, line: str, standing: Node
) -> None:
    method, _, name = asked.partition(" ")

    answered, text = standing.ask(method, f"/sources/{name}".replace("/sources/..", ""), body)

    assert (answered, text.count("\n")) == (status, 1)
    assert line in text
    assert "secret" not in text
    assert list(standing.listed()) == ["front"]


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One for all that is refused."""
    node = Node(
        tmp_path_factory.mktemp("node"),
        *(
            "front=synthetic",
            "--realtime",
            "--http-sources",
            "synthetic",
            "stream",
            "--jsonl",
            "{source}.jsonl",
        ),
    )
    yield node
    node.process.kill()
    node.process.wait()


@pytest.mark.parametrize(
    ("token", "headers"),
    [
        (None, {}),
        ("wrong", {}),
        (None, {"Authorization": "TOKEN"}),
        (None, {"Cookie": "drivable=TOKEN"}),
        (None, {"Authorization": "Basic TOKEN"}),
        (None, {"X-Token": "TOKEN"}),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_no_change_without_the_token_in_its_header(
    method: str, token: str | None, headers: dict[str, str], standing: Node
) -> None:
    given = {name: value.replace("TOKEN", standing.token) for name, value in headers.items()}

    answers = [
        standing.ask(method, path, {"source": "synthetic"}, token, **given)
        for path in ("/sources/front", f"/sources/front?token={standing.token}")
    ]

    assert [status for status, _ in answers] == [401, 401]
    assert "Authorization: Bearer TOKEN" in answers[0][1]
    assert list(standing.listed()) == ["front"]


def test_page_of_another_site_gets_no_permission(standing: Node) -> None:
    asked = {"Origin": "http://other.example", "Access-Control-Request-Method": "PUT"}
    with closing(http.client.HTTPConnection("127.0.0.1", standing.port, timeout=30)) as connection:
        connection.request("OPTIONS", "/sources/front", headers=asked)
        answer = connection.getresponse()

    assert answer.status == 405
    assert not [name for name, _ in answer.getheaders() if name.lower().startswith("access-control")]


def test_source_that_does_not_open_again_is_missed_until_it_does_or_goes(node: Node, address: str) -> None:
    node.ask("PUT", "/sources/left", {"source": address})
    failed = node.ask("PUT", "/sources/left", {"source": "http://127.0.0.1:1/road"})
    while_missing = node.ask("GET", "/readyz", token=None)
    metrics, state = node.ask("GET", "/metrics", token=None)[1], node.listed()["left"]["state"]
    again = node.ask("PUT", "/sources/left", {"source": address})
    back = node.listed()["left"]["state"]
    node.ask("PUT", "/sources/left", {"source": "http://127.0.0.1:1/road"})
    removed = node.ask("DELETE", "/sources/left")
    until(lambda: node.ask("GET", "/readyz", token=None)[0] == 200)

    assert failed[0] == 422
    assert while_missing[0] == 503
    assert "left: http://127.0.0.1:1/road: cannot be opened" in while_missing[1]
    assert 'drivable_fresh{source="left"} 0.0' in metrics
    assert (state, again[0], back) == ("failed", 200, "running")
    assert removed == (200, '{"name":"left","problems":[]}')


def test_source_that_is_being_opened_again_is_missed_meanwhile(node: Node, address: str) -> None:
    node.ask("PUT", "/sources/left", {"source": address})
    with serving({"road": lambda request: time.sleep(8)}) as silent:
        source = {"source": silent.url("road")}
        asking = Thread(target=lambda: node.ask("PUT", "/sources/left", source))
        asking.start()
        until(lambda: node.ask("GET", "/readyz", token=None) == (503, "left: is being opened\n"))
        listed, metrics = node.listed()["left"], node.ask("GET", "/metrics", token=None)[1]
        status = node.end()
        asking.join()

    assert (listed["state"], listed["reason"], status) == ("opening", "is being opened", 0)
    assert 'drivable_fresh{source="left"} 0.0' in metrics


def test_inputs_of_a_source_that_failed_are_kept_from_outputs(node: Node, tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text("mine\n")
    node.ask("PUT", "/sources/x", {"source": "synthetic"})
    failed = node.ask("PUT", "/sources/x", {"source": "synthetic", "calibration": "records.jsonl"})
    refused = node.ask("PUT", "/sources/records", {"source": "synthetic"})

    assert (failed[0], refused[0]) == (422, 409)
    assert (tmp_path / "records.jsonl").read_text() == "mine\n"


def test_node_that_is_stopped_while_a_camera_opens_ends_in_time(node: Node, address: str) -> None:
    with serving({"road": lambda request: time.sleep(8)}) as silent:
        source = {"source": silent.url("road")}
        asking = Thread(target=lambda: node.ask("PUT", "/sources/left", source))
        asking.start()
        until(lambda: psutil.Process(node.process.pid).children())
        began_s = time.monotonic()
        status = node.end()
        took_s = time.monotonic() - began_s
        asking.join()

    assert status == 0
    assert took_s < 5


@pytest.mark.parametrize("node", [["front=synthetic", "--max-frames", "3", "--overwrite"]], indirect=True)
def test_node_goes_on_after_its_recordings_until_it_is_stopped(node: Node, tmp_path: Path) -> None:
    until(lambda: node.listed()["front"]["state"] == "ended")
    again, _ = node.ask("PUT", "/sources/front")
    until(lambda: node.listed()["front"]["state"] == "ended")

    health = [node.ask("GET", path, token=None) for path in ("/healthz", "/readyz")]

    assert again == 200
    assert health == [(200, "ok\n"), (503, "front: ended\n")]
    assert node.listed()["front"]["published"] == 3
    assert len((tmp_path / "front.1.jsonl").read_text().splitlines()) == 3  # --overwrite is for earlier nodes
    assert node.end() == 0


def test_what_went_wrong_with_a_source_that_was_removed_is_in_answer_and_status(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "0.png"), DriveRenderer("day", (320, 180), 20.0, 0).render(0)[0])
    (pictures / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    node = Node(tmp_path, "--http-sources", "images")
    node.ask("PUT", "/sources/stills", {"source": str(pictures)})
    until(lambda: node.listed()["stills"]["state"] == "ended")

    _, answer = node.ask("DELETE", "/sources/stills")

    assert "could not be read and has no mask" in json.loads(answer)["problems"][0]
    assert node.end() == 1


def test_pipe_has_one_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ts")
    config = NodeConfig(source=str(tmp_path / "pipe.ts"))

    with pytest.raises(CollisionError, match="can be read by one source alone"):
        check_read_once([config, config])


def test_systemd_hears_nothing_of_a_source_that_is_removed(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(0.1)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        node = Node(tmp_path, "--http-sources", "stream")
        node.ask("PUT", "/sources/left", {"source": address})
        node.wait_for_masks("left")
        node.ask("DELETE", "/sources/left")
        time.sleep(0.5)
        before = everything(listening)
        status = node.end()
        after = everything(listening)

    assert status == 0
    assert "READY=1" in before
    assert "STOPPING=1" not in before
    assert "STOPPING=1" in after


def everything(listening: socket.socket) -> str:
    heard = b""
    with suppress(TimeoutError):
        while True:
            heard += listening.recv(4096) + b"\n"
    return heard.decode()


def test_sources_of_a_node_that_allows_no_change_are_fixed(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "perception.node",
        "synthetic",
        "--realtime",
        "--http",
        "0",
        "--model",
        "rt_s",
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stderr=log)
    try:
        found = until(lambda: re.search(r"on port (\d+)", (tmp_path / "log").read_text()))
        with closing(http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=30)) as connection:
            connection.request("PUT", "/sources/x", '{"source": "synthetic"}')
            answer = connection.getresponse()
            status, text = answer.status, answer.read().decode()
    finally:
        process.kill()
        process.wait()

    assert (status, answer.getheader("Allow")) == (405, "GET, HEAD")
    assert text == "the sources of this node are fixed; it allows changes with --http-sources KIND …\n"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"http_sources": ("stream",)}, "http_sources is for the live page; add --http 8080"),
        ({"http": "1", "http_sources": ("stream",), "http_token": "none"}, "http_sources needs a token"),
        (
            {"http": "1", "http_sources": ("usb",)},
            "http_sources has usb, which is no kind of source;",
        ),
    ],
)
def test_setting_that_cannot_be_is_one_line(settings: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(line)):
        NodeConfig(**settings)


def test_outputs_of_sources_that_may_come_need_a_place_for_their_names() -> None:
    with pytest.raises(SettingsError, match=re.escape("put {source} into it: --jsonl 'r-{source}.jsonl'")):
        NodeConfig(http="1", http_sources=("stream",), jsonl="r.jsonl").one_each()
