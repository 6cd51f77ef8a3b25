"""Where a stressed run happens: its source, its outputs, and the node's process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any, Final

import cv2
from command import ROOT, make_clip
from processes import family

from perception.synthetic import DriveRenderer

CLIP_S: Final = 4.0
CLIP_FRAMES: Final = round(30 * CLIP_S)
LOOPED_FRAMES: Final = 900
"""Of a recording that is to last until something was done to the node."""
SIZE_WH: Final = (160, 96)
MODES: Final = ("recorded", "realtime", "http", "isolate")
LIVE_S: Final = 4.0
"""That a run of the camera is to last, by its own clock."""
LIMIT_S: Final = 45.0
"""Nothing that is done to a node may keep it longer."""


class Camera:
    """Pictures over HTTP without an end, at 20 a second, for any number of nodes."""

    def __init__(self) -> None:
        drive = DriveRenderer("day", SIZE_WH)
        pictures = [cv2.imencode(".jpg", drive.render(number)[0])[1].tobytes() for number in range(40)]

        class Stream(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
                self.end_headers()
                with suppress(OSError):
                    for number in range(1_000_000):
                        picture = pictures[number % len(pictures)]
                        head = (
                            f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                        )
                        self.wfile.write(head.encode() + picture + b"\r\n")
                        time.sleep(0.05)

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Stream)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/road.mjpg"


@dataclass
class Case:
    """One run: how the node is started, and what is done to it."""

    mode: str
    folder: Path
    """Of its own, empty at first."""
    sources: dict[str, str]
    chance: Random
    arguments: list[str] = field(default_factory=list)
    prefix: list[str] = field(default_factory=list)
    """A command that starts the node's, and limits it."""
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    redirections: str = ""
    """As in a shell, for standard streams."""
    stdout: int | None = None
    is_killed: bool = False
    """By us, so that it can say nothing."""
    is_stopped: bool = False
    """By a signal that asks: it may end before its source does."""
    frames: int = CLIP_FRAMES
    """That a recording gives in all."""
    is_replaced: bool = False
    """By another node, whose outputs now lie there."""
    loses_outputs: bool = False
    """Something else than the node took them away or changed them."""
    notes: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    @property
    def records(self) -> Path:
        return self.out / "r.jsonl"

    @property
    def video(self) -> Path:
        return self.out / "o.mkv"

    @property
    def masks(self) -> Path:
        return self.out / "masks"

    @property
    def summary(self) -> Path:
        return self.folder / ("other.json" if self.is_replaced else "s.json")

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def is_live(self) -> bool:
        return self.mode in ("realtime", "http")

    def choose_outputs(self, records: str | None = None, *, may_loop: bool = True) -> None:
        """Records always, a video and masks by chance; a recording may be looped, to last."""
        self.out.mkdir(exist_ok=True)
        if may_loop and self.mode in ("recorded", "isolate") and self.chance.random() < 0.7:
            self.frames = LOOPED_FRAMES
            self.arguments += ["--loop", "--max-frames", str(self.frames)]
        self.arguments += ["--jsonl", records or str(self.records), "--summary", str(self.summary)]
        if self.chance.random() < 0.7:
            self.arguments += ["--out", str(self.video)]
        if self.chance.random() < 0.4:
            self.arguments += ["--masks", str(self.masks)]

    def command(self) -> list[str]:
        """What a shell is to run."""
        source = {
            "recorded": [self.sources["clip"]],
            "realtime": [self.sources["clip"], "--realtime"],
            "isolate": [self.sources["clip"], "--isolate"],
            "http": [self.sources["camera"], "--duration", str(LIVE_S), "--read_timeout_s", "2"],
        }[self.mode]
        node = [sys.executable, "-m", "perception.node", "--model", "rt_s-int8", "--source", *source]
        return [*self.prefix, *node, *self.arguments]

    def start(self) -> subprocess.Popen[bytes]:
        """Start it; what it says goes to `log` unless it is redirected."""
        environment = self.environment | {"PYTHONPATH": str(ROOT)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", f'exec "$@" {self.redirections}', "bash", *self.command()],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log if self.stdout is None else self.stdout,
                stderr=log,
                start_new_session=True,
            )
        return self.process

    def children(self) -> list[int]:
        """All processes below the node's."""
        assert self.process is not None
        return family(self.process.pid)[1:]

    def send(self, number: int) -> None:
        """A signal, unless the node has ended."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)

    def wait_until_heard(self) -> None:
        """Until signals are the node's: before, no code of ours has been run by the interpreter."""
        assert self.process is not None
        while self.process.poll() is None:
            with suppress(OSError, IndexError):
                status = Path(f"/proc/{self.process.pid}/status").read_text()
                caught = int(status.split("SigCgt:")[1].split()[0], 16)
                if caught >> (signal.SIGTERM - 1) & 1:
                    return
            time.sleep(0.005)

    def sleep(self, longest_s: float, shortest_s: float = 0.0) -> None:
        """By chance; shorter where the node ends."""
        assert self.process is not None
        until_s = time.monotonic() + self.chance.uniform(shortest_s, longest_s)
        while time.monotonic() < until_s and self.process.poll() is None:
            time.sleep(0.01)


Action = Callable[[Case], None]


def sources_in(folder: Path) -> dict[str, str]:
    """A recording, and a camera that lives as long as this process."""
    clip = make_clip(folder / "clip.mp4", CLIP_S, SIZE_WH)
    return {"clip": str(clip), "camera": Camera().url}


def end(process: subprocess.Popen[bytes], limit_s: float) -> bool:
    """Wait for the node's end; False, and it is killed, where that does not come."""
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        for member in family(process.pid):
            with suppress(ProcessLookupError):
                os.kill(member, 9)
        process.wait()
        return False
    return True
