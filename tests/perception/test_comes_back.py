"""The command with a camera that is not there yet, or whose reader cannot be had: it comes back, always."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest

from perception.sources.isolated.reader import IS_SUPPORTED

pytestmark = pytest.mark.skipif(not IS_SUPPORTED, reason="sources have processes of their own on Linux alone")

CHECKOUT = Path(__file__).parents[2]
SCHEMA = json.loads((files("perception.sinks") / "record.schema.json").read_text())
LIMIT_S = 60.0
HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=road\r\n\r\n"


class Camera:
    """MJPEG over HTTP at 25 Hz, on a port that is known before anybody listens there."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        noise = np.random.default_rng(1).integers(60, 200, (12, 16, 3), np.uint8)
        self._jpeg = cv2.imencode(".jpg", cv2.resize(noise, (320, 240)))[1].tobytes()
        self.frames = 10**9
        self.first_after_s = 0.0
        self._listener: socket.socket | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/road"

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        if self._listener is not None:
            self._listener.close()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = listener.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        part = b"--road\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n"
        with contextlib.suppress(OSError), client:
            client.recv(4096)
            client.sendall(HEAD)
            time.sleep(self.first_after_s)
            for _ in range(self.frames):
                client.sendall(part % (len(self._jpeg), self._jpeg))
                time.sleep(0.04)
            time.sleep(LIMIT_S)


class Node:
    """The command, in a folder of its own."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self._records = folder / "records.jsonl"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "perception.node", "--model", "rt_s-int8"),
                *("--health.enabled", "false", "--threads", "1", "--jsonl", str(self._records), *arguments),
            ],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), "TMPDIR": str(self.temporary), **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def records(self) -> list[dict[str, Any]]:
        """All whole lines so far."""
        text = self._records.read_text() if self._records.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def wait_for(self, holds: Callable[[dict[str, Any]], bool], count: int = 3) -> list[dict[str, Any]]:
        """Until so many records more hold; gives all."""
        before, until_s = len(self.records), time.monotonic() + LIMIT_S
        while time.monotonic() < until_s and self.process.poll() is None:
            if sum(map(holds, self.records[before:])) >= count:
                return self.records
            time.sleep(0.1)
        pytest.fail(f"no such record: {self.end()}, {self.records[-1:]}")

    def readers(self) -> list[int]:
        """The processes that it reads by: whoever of its family holds the camera."""
        return [process for process in _family(self.process.pid)[1:] if _sockets(process)]

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Status and standard error."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        said = self.process.communicate(timeout=LIMIT_S)[1]
        return self.process.returncode, said


def _family(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            children.setdefault(int(stat.read_text().rpartition(") ")[2].split()[1]), []).append(
                int(stat.parent.name)
            )
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


def _sockets(process: int) -> bool:
    """Whether it has a connection over a network."""
    with contextlib.suppress(OSError):
        inodes = {line.split()[9] for line in Path(f"/proc/{process}/net/tcp").read_text().splitlines()[1:]}
        links = [os.readlink(link) for link in Path(f"/proc/{process}/fd").iterdir()]
        return any(link.startswith("socket:[") and link[8:-1] in inodes for link in links)
    return False


NewNode = Callable[..., Node]


@pytest.fixture
def new_node(tmp_path: Path) -> Iterator[NewNode]:
    nodes: list[Node] = []

    def make(*arguments: str, **environment: str) -> Node:
        nodes.append(Node(tmp_path, *arguments, **environment))
        return nodes[-1]

    yield make
    for node in nodes:
        if node.process.stderr and not node.process.stderr.closed:
            node.end(signal.SIGKILL)


@pytest.fixture
def camera() -> Iterator[Camera]:
    camera = Camera()
    yield camera
    camera.stop()


def has_mask(record: dict[str, Any]) -> bool:
    return record["mask"] is not None


def is_lost(record: dict[str, Any]) -> bool:
    return record["camera"]["state"] == "lost"


def _asked(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_camera_that_is_not_there_at_the_start_is_lost_and_then_seen(
    new_node: NewNode, camera: Camera, tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        outputs = ("--out", "road.mp4", "--masks", "masks", "--http", str(port))
        node = new_node(
            *("--source", camera.url, "--open-retries", "forever", *outputs),
            NOTIFY_SOCKET=str(tmp_path / "notify"),
        )

        before = node.wait_for(is_lost, 60)
        alive, ready = _asked(port, "healthz"), _asked(port, "readyz")
        said = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                said += systemd.recv(4096) + b"\n"
    camera.start()
    node.wait_for(has_mask)
    status, output = node.end()

    assert (status, alive[0], ready[0]) == (0, 200, 503), output
    assert "lost" in ready[1]
    assert b"EXTEND_TIMEOUT_USEC" in said
    assert b"READY=1" not in said
    for record in node.records:
        jsonschema.validate(record, SCHEMA)
    assert {record["frame_wh"] and tuple(record["frame_wh"]) for record in before} == {None}
    assert "attempt" in before[-1]["camera"]["reason"]
    times_ns = [record["time_ns"] for record in node.records]
    assert times_ns == sorted(times_ns)
    span_s = (before[-1]["time_ns"] - before[0]["time_ns"]) / 1e9
    assert len(before) / span_s == pytest.approx(25, rel=0.3)


def test_camera_that_is_not_there_ends_the_command_with_one_line_by_default(
    new_node: NewNode, camera: Camera
) -> None:
    node = new_node("--source", camera.url)
    status = node.process.wait(LIMIT_S)

    said = node.end()[1]
    assert status == 1
    assert len([line for line in said.splitlines() if camera.url in line]) == 1
    assert node.records == []


def test_camera_that_is_not_there_is_given_up_after_so_many_retries(
    new_node: NewNode, camera: Camera
) -> None:
    node = new_node("--source", camera.url, "--open-retries", "2")
    status = node.process.wait(LIMIT_S)

    assert status == 1
    assert node.records
    assert all(map(is_lost, node.records))


def test_wait_for_a_camera_ends_at_once_when_it_is_to(new_node: NewNode, camera: Camera) -> None:
    node = new_node("--source", camera.url, "--open-retries", "forever", "--reconnect.cap", "60")
    node.wait_for(is_lost)

    before_s = time.monotonic()
    status, said = node.end()

    assert time.monotonic() - before_s < 3
    assert (status, "Traceback" in said) == (0, False)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("is_there", [False, True])
def test_duration_ends_a_run_without_a_single_frame(
    new_node: NewNode, camera: Camera, is_there: bool
) -> None:
    camera.first_after_s = LIMIT_S
    if is_there:
        camera.start()
    node = new_node(
        *("--source", camera.url, "--open-retries", "forever", "--duration", "2", "--out", "road.mkv"),
        *("--open_timeout_s", "2"),
    )

    assert node.process.wait(LIMIT_S) == 0
    assert "Traceback" not in node.end()[1]
    assert len(node.records) > 20


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_reader_is_replaced_without_any_folder_for_temporary_files(
    new_node: NewNode, camera: Camera, number: int
) -> None:
    camera.start()
    node = new_node("--source", camera.url, "--read_timeout_s", "1")
    node.wait_for(has_mask)
    (reader,) = node.readers()
    in_use = list(node.temporary.iterdir())
    for left in in_use:
        for inner in left.iterdir():
            inner.unlink()
        left.rmdir()
    node.temporary.rmdir()

    os.kill(reader, number)
    node.wait_for(is_lost, 1)
    node.wait_for(has_mask)

    status, said = node.end()
    assert (status, in_use) == (0, []), said


def test_node_that_is_killed_leaves_no_reader_and_no_file_behind(new_node: NewNode, camera: Camera) -> None:
    camera.start()
    node = new_node("--source", camera.url)
    node.wait_for(has_mask)
    (reader,) = node.readers()
    maps = Path(f"/proc/{reader}/maps").read_text()

    node.end(signal.SIGKILL)

    until_s = time.monotonic() + 5
    while Path(f"/proc/{reader}").exists() and time.monotonic() < until_s:
        time.sleep(0.05)
    assert not Path(f"/proc/{reader}").exists()
    assert list(node.temporary.iterdir()) == []
    assert "onnxruntime" not in maps


def test_end_while_the_camera_is_silent_is_quiet(new_node: NewNode, camera: Camera) -> None:
    camera.frames = 15
    camera.start()
    node = new_node("--source", camera.url, "--read_timeout_s", "2")
    node.wait_for(has_mask)
    last_s = time.monotonic()
    node.wait_for(is_lost, 1)

    time.sleep(max(0.0, last_s + 1.6 - time.monotonic()))  # its limit runs out while it is closed
    status, said = node.end()

    assert (status, "Traceback" in said) == (0, False)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_isolated_recording_whose_reader_is_lost_ends_with_one_line_and_repeats_no_frame(
    new_node: NewNode, make_clip: Callable[..., Path], number: int
) -> None:
    clip = make_clip(frames=600, wh=(640, 480), rate_hz=25)
    node = new_node("--source", str(clip), "--isolate", "--max-frames", "100000", "--loop")
    node.wait_for(has_mask, 30)
    (reader,) = _family(node.process.pid)[1:]

    os.kill(reader, number)
    status = node.process.wait(LIMIT_S)

    said = [line for line in node.end()[1].splitlines() if line.startswith("drivable-node:")]
    ids = [record["frame_id"] for record in node.records]
    assert (status, len(said)) == (1, 1)
    assert ("hung for" if number == signal.SIGSTOP else "was killed by SIGKILL") in said[0]
    assert ids == list(range(len(ids)))
