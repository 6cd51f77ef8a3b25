"""Debian's Chromium without a screen, asked over its debugging pipe, and a network to try pages in."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import cv2
import numpy as np

ROOT: Final = Path(__file__).parents[2]
LIMIT_S: Final = 60.0
ADDRESS: Final = "10.77.0.1"
"""Of the network: no loopback address, so that a page at it is in no secure context."""
_SET_UP: Final = (
    "ip link set lo up && ip link add here type veth peer name there && "
    f"ip addr add {ADDRESS}/24 dev here && ip link set here up && ip link set there up && "
    "echo up && exec sleep infinity"
)


def until(holds: Callable[[], Any], limit_s: float = LIMIT_S) -> Any:
    """What it gives once that is true; raises TimeoutError."""
    end_s = time.monotonic() + limit_s
    while not (found := holds()):
        if time.monotonic() > end_s:
            raise TimeoutError(f"not so within {limit_s:g} s")
        time.sleep(0.01)
    return found


class Network:
    """A network namespace; use it in a `with` block, whose end ends all that was started in it."""

    def __init__(self) -> None:
        self._inside: list[subprocess.Popen[Any]] = []

    def __enter__(self) -> Self:
        """Make it; as a user who may make one of their own, or as root."""
        command = ["unshare", "--map-root-user", "--net", "sh", "-c", _SET_UP]
        self._keeper = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._keeper.stdout is not None
        if self._keeper.stdout.readline() != "up\n":
            raise RuntimeError("no network namespace could be made (unshare, ip)")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (*self._inside, self._keeper):
            process.kill()
            process.wait()
        assert self._keeper.stdout is not None
        self._keeper.stdout.close()

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """A process in it."""
        inside = ["nsenter", "--preserve-credentials", "-U", "-n", "-t", str(self._keeper.pid)]
        self._inside.append(subprocess.Popen([*inside, *command], cwd=ROOT, **options))
        return self._inside[-1]

    def start_camera(self, wh: tuple[int, int], rate_hz: float = 25.0) -> StampedCameraProcess:
        """See `stamped_camera.py`."""
        return StampedCameraProcess(self, wh, rate_hz)

    def start_node(self, *arguments: str, log: Path) -> tuple[subprocess.Popen[Any], str]:
        """The node with its page on the network, and the page's address once it is there."""
        command = [sys.executable, "-m", "perception.node", *arguments, "--http", f"{ADDRESS}:0"]
        with log.open("wb") as to:
            node = self.start(command, stdout=to, stderr=to)

        def address() -> str:
            if node.poll() is not None:
                raise RuntimeError(f"the node has ended: {log.read_text()}")
            return log.read_text().partition("live page: ")[2].partition("\n")[0]

        return node, until(address)


class StampedCameraProcess:
    """The camera of `stamped_camera.py`, running in a network."""

    def __init__(self, network: Network, wh: tuple[int, int], rate_hz: float) -> None:
        command = [sys.executable, str(ROOT / "tests/perception/stamped_camera.py")]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self.process = network.start(
            [*command, *map(str, (*wh, rate_hz))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.address = f"http://127.0.0.1:{int(self._line())}/"

    def freeze(self) -> int:
        """Send no more pictures; when the last one was taken, in milliseconds of the wall clock."""
        assert self.process.stdin is not None
        print("freeze", file=self.process.stdin, flush=True)
        return int(self._line())

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return str(self.process.stdout.readline())


class Chromium:
    """A browser with one page; use it in a `with` block.

    Args:
        network: that it is in.
        folder: for its files.
        wh: width and height of the window, in pixels.
    """

    def __init__(self, network: Network, folder: Path, wh: tuple[int, int] = (1400, 900)) -> None:
        self._network, self._folder, self._wh = network, folder, wh
        self._calls = 0
        self._session: str | None = None

    def __enter__(self) -> Self:
        """Start it; raises FileNotFoundError if it is not installed."""
        program = shutil.which("chromium")
        if program is None:
            raise FileNotFoundError(
                "chromium is not there; as root on Debian python tests/clients.py installs it"
            )
        (their_in, our_out), (our_in, their_out) = os.pipe(), os.pipe()
        options = [
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--mute-audio"),
            *(f"--user-data-dir={self._folder / 'chromium'}", f"--window-size={self._wh[0]},{self._wh[1]}"),
            *("--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "about:blank"),
        ]
        redirected = f'exec "$@" 3<&{their_in} 4>&{their_out}'
        self._process = self._network.start(
            ["bash", "-c", redirected, "bash", program, *options],
            pass_fds=(their_in, their_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(their_in)
        os.close(their_out)
        self._out, self._in = os.fdopen(our_out, "wb", buffering=0), os.fdopen(our_in, "rb")
        self._buffer = b""
        try:
            target = self.call("Target.createTarget", url="about:blank")
            attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
            self._session = attached["sessionId"]
            self.resize(self._wh)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._out.close()
        self._in.close()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of Chromium's protocol."""
        self._calls += 1
        request: dict[str, Any] = {"id": self._calls, "method": method, "params": parameters}
        if self._session:
            request["sessionId"] = self._session
        self._out.write(json.dumps(request).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._calls:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, address: str) -> None:
        """Go to a page."""
        self.call("Page.navigate", url=address)

    def resize(self, wh: tuple[int, int]) -> None:
        """Another size of the page, in pixels."""
        self.call(
            *("Emulation.setDeviceMetricsOverride",),
            **{"width": wh[0], "height": wh[1], "deviceScaleFactor": 1, "mobile": wh[0] < 600},
        )

    def value(self, script: str) -> Any:
        """What an expression in JavaScript gives, once that is there."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def screenshot(self) -> np.ndarray[Any, Any]:
        """(H, W, 3) uint8 BGR of what the window shows."""
        png = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        image_bgr = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
        assert image_bgr is not None
        return image_bgr

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._in.fileno(), 65536)
            if not part:
                raise RuntimeError("Chromium has ended")
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message


class Shown:
    """A node with a camera at 25 Hz, and its page in a browser; use it in a `with` block."""

    def __init__(self, network: Network, folder: Path) -> None:
        self._network, self._folder = network, folder

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.camera = self._network.start_camera((640, 360))
            stack.callback(self.camera.close)
            asked = (self.camera.address, "--model", "rt_s-int8")
            self.node, address = self._network.start_node(*asked, log=self._folder / "log")
            stack.callback(self.node.wait)
            stack.callback(self.node.kill)
            self.browser = stack.enter_context(Chromium(self._network, self._folder))
            self.browser.open(address)
            until(self._is_live)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def picture(self) -> np.ndarray[Any, Any]:
        """What the window shows inside the picture."""
        box = "document.getElementById('picture').getBoundingClientRect()"
        left, top, right, bottom = self.browser.value(f"(b => [b.left, b.top, b.right, b.bottom])({box})")
        return self.browser.screenshot()[round(top) : round(bottom), round(left) : round(right)]

    @property
    def word(self) -> str:
        """What the page calls its state."""
        return str(self.browser.value("document.getElementById('word').textContent"))

    def send(self, number: int) -> float:
        """A signal to the node; when, in milliseconds of the wall clock."""
        self.node.send_signal(number)
        return time.time() * 1000

    def red_after(self, fault: Callable[[], float]) -> float:
        """Milliseconds from a fault until the page is red, by the page's own clock."""
        self.browser.value(_WATCH)
        until(self._is_live)
        self.browser.value("redAt = null")
        began_ms = fault()
        return float(until(lambda: self.browser.value("redAt"))) - began_ms

    def _is_live(self) -> bool:
        return bool(self.browser.value("document.querySelector('header')?.dataset.level") == "good")


_WATCH: Final = """
    var redAt = null;
    new MutationObserver(([change]) => {
      if (change.target.dataset.level === "bad") redAt ??= Date.now();
    }).observe(document.querySelector("header"), { attributes: true });
"""
