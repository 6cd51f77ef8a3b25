"""Viewers of the live page, good and bad, beside a live run at 25 Hz."""

from __future__ import annotations

import http.client
import re
import signal
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Final

from chromium import Network, Shown
from command import START_LIMIT_S, make_clip, records, resident_mb, start, wait_until
from hostile import CLIENTS, hostile_clients
from lines import Line
from stamped_camera import BITS, CELL_PX, WRAP_MS

TOKEN: Final = "rig"
AGE_LIMIT_MS: Final = 150
RED_LIMIT_MS: Final = 500
AGES_S: Final = 30.0
ROUNDS: Final = 10
ROUND_S: Final = 6.0
STOPPED: Final = 8
HOSTILE_S: Final = 30.0

READ_AGES = f"""
    var ages = [];
    (() => {{
      const draw = show;
      show = async jpeg => {{
        await draw(jpeg);
        const pixels = context.getImageData(0, {CELL_PX // 2}, {BITS * CELL_PX}, 1).data;
        let stamp = 0;
        for (let bit = 0; bit < {BITS}; bit++)
          if (pixels[4 * ({CELL_PX} * bit + {CELL_PX // 2})] > 127) stamp += 2 ** bit;
        ages.push((Date.now() - stamp) % {WRAP_MS});
      }};
    }})()
"""
"""Lets the page note the age of each picture as it is drawn, by the time that the camera wrote into it."""


class Drive:
    """A live run with a page and records."""

    def __init__(self, folder: Path, size_wh: tuple[int, int], model: str) -> None:
        clip = make_clip(folder / "clip.mp4", size_wh=size_wh)
        self.jsonl, log = folder / "r.jsonl", folder / "log"
        live = ["--source", str(clip), "--realtime", "--loop", "--model", model, "--jsonl", str(self.jsonl)]
        self.process = start([*live, "--http", "127.0.0.1:0", "--http-token", TOKEN], log)
        wait_until(lambda: len(records(self.jsonl)) > 100, START_LIMIT_S)
        self.port = listening_port(log)

    def ages_ms(self, seconds: float) -> list[float]:
        """Of the frames that are published in the next seconds."""
        before = len(records(self.jsonl))
        time.sleep(seconds)
        return [record["age_ms"] for record in records(self.jsonl)[before:]]

    def resident_mb(self) -> float:
        return resident_mb(self.process.pid)

    def status_of(self, path: str) -> int:
        """Of an answer; 0 without one."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def end(self) -> int:
        """Stop it; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def _drive(size_wh: tuple[int, int] = (640, 360), model: str = "rt_s-int8") -> Iterator[Drive]:
    with TemporaryDirectory() as name:
        drive = Drive(Path(name), size_wh, model)
        try:
            yield drive
        finally:
            drive.process.kill()
            drive.process.wait()


def age() -> Line:
    """From the camera's clock into the page."""
    with TemporaryDirectory() as name, Network() as network, Shown(network, Path(name)) as shown:
        shown.browser.value(READ_AGES)
        time.sleep(AGES_S)
        ages_ms = shown.browser.value("ages")
    p50_ms, p95_ms = statistics.median(ages_ms), statistics.quantiles(ages_ms, n=20)[18]
    rate_hz = len(ages_ms) / AGES_S
    seen = f"p50 {p50_ms:.0f} ms, p95 {p95_ms:.0f} ms of {len(ages_ms)} pictures, {rate_hz:.1f} a second"
    asked = f"p95 <= {AGE_LIMIT_MS} ms (640x360 at 25 Hz, rt_s-int8), >= 20 pictures a second"
    checks = {"age": p95_ms <= AGE_LIMIT_MS, "rate": rate_hz >= 20}
    return Line.of_checks("age read back from the page in Chromium", asked, seen, checks)


def red() -> Line:
    """A frozen picture."""
    faults: dict[str, Callable[[Shown], float]] = {
        "camera frozen": lambda shown: shown.camera.freeze(),
        "node stopped": lambda shown: shown.send(signal.SIGSTOP),
        "node killed": lambda shown: shown.send(signal.SIGKILL),
    }
    took_ms = {}
    for fault, begin in faults.items():
        with TemporaryDirectory() as name, Network() as network, Shown(network, Path(name)) as shown:
            took_ms[fault] = shown.red_after(partial(begin, shown))
    seen = ", ".join(f"{fault}: {it:.0f} ms" for fault, it in took_ms.items())
    checks = {fault: it <= RED_LIMIT_MS for fault, it in took_ms.items()}
    return Line.of_checks("page with a frozen picture", f"red <= {RED_LIMIT_MS} ms", seen, checks)


def stopped_viewers() -> Line:
    """Viewers that take nothing, in every other round."""
    with _drive() as drive:
        with reading(drive.port):  # for what the first picture takes
            drive.ages_ms(ROUND_S)
        before_mb, pairs = drive.resident_mb(), []
        for _ in range(ROUNDS):
            alone_ms = drive.ages_ms(ROUND_S)
            with ExitStack() as stack:
                for _ in range(STOPPED):
                    stack.enter_context(ask_for_stream(drive.port))
                pairs.append((p90(alone_ms), p90(drive.ages_ms(ROUND_S))))
        grown_mb = drive.resident_mb() - before_mb
        status = drive.end()
    ratio, more_ms = _compared(pairs)
    seen = f"{_shown(pairs)}; {grown_mb:+.1f} MB; status {status}"
    checks = {"age": ratio <= 1.1 or more_ms <= 2, "memory": grown_mb < 10, "status": status == 0}
    asked = f"p90 age <= 1.10 x or + 2 ms (median of {ROUNDS} rounds); memory < 10 MB; status 0"
    return Line.of_checks(f"{STOPPED} viewers that take nothing", asked, seen, checks)


def one_viewer() -> Line:
    """What looking costs the path at full size."""
    with _drive((1280, 720), "rt_m-int8") as drive:
        pairs, pictures = [], 0
        for _ in range(ROUNDS):
            alone_ms = drive.ages_ms(ROUND_S)
            with reading(drive.port) as counted:
                pairs.append((p90(alone_ms), p90(drive.ages_ms(ROUND_S))))
            pictures += counted()
        status = drive.end()
    ratio, _ = _compared(pairs)
    rate_hz = pictures / (ROUNDS * ROUND_S)
    seen = f"{_shown(pairs)}; {rate_hz:.1f} pictures a second; status {status}"
    checks = {"age": ratio <= 1.3, "status": status == 0}
    asked = f"p90 age <= 1.3 x that without (1280x720, rt_m-int8; median of {ROUNDS} rounds)"
    return Line.of_checks("one viewer of the stream, a plain HTTP client", asked, seen, checks)


def hostile() -> Line:
    """All bad clients at once."""
    with _drive() as drive:
        before_ms = drive.ages_ms(10)
        before_mb, statuses = drive.resident_mb(), []
        with hostile_clients(drive.port):
            began, ends_s = len(records(drive.jsonl)), time.monotonic() + HOSTILE_S
            while time.monotonic() < ends_s:
                statuses.append(drive.status_of("/healthz"))
                time.sleep(0.2)
            during_ms = [record["age_ms"] for record in records(drive.jsonl)[began:]]
            during_mb = drive.resident_mb()
        time.sleep(6)  # until the limits of those that are left have passed
        after = [drive.status_of(path) for path in ("/healthz", "/", f"/frame.jpg?token={TOKEN}")]
        after_mb = drive.resident_mb()
        status = drive.end()
    answered = statuses.count(200) / len(statuses)
    seen = (
        f"{len(before_ms) / 10:.1f} frames a second with p90 age {p90(before_ms):.1f} ms before, "
        f"{len(during_ms) / HOSTILE_S:.1f} with {p90(during_ms):.1f} ms meanwhile; "
        f"{100 * answered:.0f} % of {len(statuses)} probes answered; "
        f"{during_mb - before_mb:+.1f} MB meanwhile, {after_mb - before_mb:+.1f} MB after; "
        f"then {after}; status {status}"
    )
    checks = {
        "memory": during_mb - before_mb < 30,
        "answers meanwhile": answered >= 0.9,
        "answers after": after == [200, 401, 200],
        "frames": len(during_ms) / HOSTILE_S >= 0.9 * len(before_ms) / 10,
        "status": status == 0,
    }
    asked = ">= 90 % of frames; >= 90 % of probes answered; memory < 30 MB; all as before after it; status 0"
    return Line.of_checks(
        f"{len(CLIENTS)} hostile clients of the page for {HOSTILE_S:.0f} s", asked, seen, checks
    )


def listening_port(log: Path) -> int:
    """Of the page, as the node says it."""
    return int(re.findall(r"on port (\d+)", log.read_text())[0])


def ask_for_stream(port: int) -> socket.socket:
    """A connection on which the stream begins."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(f"GET /stream.mjpg?token={TOKEN} HTTP/1.0\r\n\r\n".encode())
    return connection


@contextmanager
def reading(port: int) -> Iterator[Callable[[], int]]:
    """A viewer of the stream for as long as a block runs; gives the count of its pictures."""
    is_over, counted = Event(), [0]

    def read() -> None:
        with ask_for_stream(port) as connection:
            while not is_over.is_set() and (part := connection.recv(1 << 20)):
                counted[0] += part.count(b"Content-Type: image/jpeg")

    thread = Thread(target=read)
    thread.start()
    try:
        yield lambda: counted[0]
    finally:
        is_over.set()
        thread.join()


def _compared(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    """Medians over the rounds: with by without, and with less without."""
    return (
        statistics.median(beside / alone for alone, beside in pairs),
        statistics.median(beside - alone for alone, beside in pairs),
    )


def _shown(pairs: list[tuple[float, float]]) -> str:
    ratio, more_ms = _compared(pairs)
    alone_ms, beside_ms = (statistics.median(it) for it in zip(*pairs, strict=True))
    return f"p90 age {alone_ms:.1f} ms alone, {beside_ms:.1f} ms beside; {ratio:.2f} x, {more_ms:+.1f} ms"


def p90(ages_ms: list[float]) -> float:
    """Which nine of ten are below."""
    return statistics.quantiles(ages_ms, n=10)[8]


SCENARIOS: Final[dict[str, Callable[[], Line]]] = {
    "age": age,
    "red": red,
    "stopped": stopped_viewers,
    "viewer": one_viewer,
    "hostile": hostile,
}
