"""A camera behind a wire: an RTSP server in a network namespace, that can freeze, die and be cut off."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import cv2
from packages import RigError
from processes import Removed

HERE: Final = Path(__file__).parent
RATE_HZ: Final = 25
SIZE_WH: Final = (640, 360)
PICTURES: Final = 250
PASSWORD: Final = "Tr0ub4dor-3"  # of a server that lives for a minute
OURS, THEIRS = "10.77.0.1", "10.77.0.2"
START_LIMIT_S: Final = 15.0
PACKAGES: Final = (
    "iproute2",
    "python3-gi",
    "gir1.2-gst-rtsp-server-1.0",
    "gstreamer1.0-plugins-base",
    "gstreamer1.0-plugins-good",
    "gstreamer1.0-plugins-bad",
    "gstreamer1.0-plugins-ugly",
)
_CAN_SERVE: Final = (
    "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0');"
    "from gi.repository import Gst, GstRtspServer; Gst.init(None);"
    "assert all(Gst.ElementFactory.find(name) for name in ('x264enc', 'rtph264pay', 'jpegdec', 'appsrc'))"
)


def check_machine() -> None:
    """Raise RigError unless this machine lets us lay a wire."""
    if os.geteuid() != 0 or not Path("/dev/net/tun").exists():
        raise RigError("needs root and /dev/net/tun, for a network namespace and the wire to it")


def missing_packages() -> Sequence[str]:
    """Debian packages of which the rig needs at least one that this machine has not."""
    asked = ["/usr/bin/python3", "-c", _CAN_SERVE]
    can_serve = subprocess.run(asked, capture_output=True, check=False).returncode == 0
    return () if can_serve and shutil.which("ip") else PACKAGES


class Camera(Removed):
    """A context: the namespace, the wire and the server, all gone at its end.

    Args:
        transport: the only one that the server offers, "tcp" or "udp".
        certificate: PEM file of its certificate and key, for rtsps; without one it speaks rtsp.
    """

    url: Final = f"rtsp://ann:{PASSWORD}@{THEIRS}:8554/road"
    encrypted_url: Final = url.replace("rtsp:", "rtsps:")

    def __init__(self, transport: str = "tcp", certificate: Path | None = None) -> None:
        self._transport = transport
        self._certificate = certificate
        self._folder = TemporaryDirectory(prefix="rtsp-rig-")
        self._tag = f"rig{os.getpid()}"
        self._wire: subprocess.Popen[str] | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def bring_up(self) -> None:
        """Lay the wire and start the server."""
        render_pictures(Path(self._folder.name))
        self._connect_network()
        self.start()

    def start(self) -> int:
        """Start the server; monotonic nanoseconds at which it was seen to listen."""
        command = ["ip", "netns", "exec", self._tag, "/usr/bin/python3", str(HERE / "server.py")]
        arguments = [self._folder.name, "--rate-hz", str(RATE_HZ), "--transport", self._transport]
        arguments += ["--certificate", str(self._certificate)] if self._certificate else []
        self._server = subprocess.Popen(
            [*command, *arguments, "--password", PASSWORD], stdout=sys.stderr, stderr=sys.stderr
        )
        until_s = time.monotonic() + START_LIMIT_S
        while time.monotonic() < until_s:
            try:
                socket.create_connection((THEIRS, 8554), timeout=0.2).close()
            except OSError:
                time.sleep(0.02)
            else:
                return time.monotonic_ns()
        raise RigError(f"the server did not listen within {START_LIMIT_S:g} s")

    def kill(self) -> int:
        """Kill the server; the moment, in monotonic nanoseconds."""
        server, self._server = self._server, None
        now_ns = time.monotonic_ns()
        if server is not None:
            server.kill()
            server.wait()
        return now_ns

    def freeze(self) -> int:
        """Stop the server, its sockets open; the moment."""
        return _signal(self._server, signal.SIGSTOP)

    def thaw(self) -> int:
        """Let the server go on; the moment."""
        return _signal(self._server, signal.SIGCONT)

    def cut(self) -> int:
        """Pull the cable; the moment."""
        return _signal(self._wire, signal.SIGSTOP)

    def mend(self) -> int:
        """Plug the cable in; the moment."""
        return _signal(self._wire, signal.SIGCONT)

    def disturb(self, loss: float, jitter_ms: float) -> int:
        """Lose a share of packets, and delay each by up to `jitter_ms`; the moment."""
        assert self._wire is not None
        assert self._wire.stdin is not None
        self._wire.stdin.write(json.dumps({"loss": loss, "jitter_ms": jitter_ms, "seed": 0}) + "\n")
        self._wire.stdin.flush()
        return time.monotonic_ns()

    def _connect_network(self) -> None:
        ours, theirs = f"{self._tag}a", f"{self._tag}b"
        self._wire = subprocess.Popen(
            [sys.executable, str(HERE / "wire.py"), ours, theirs],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._wire.stdout is not None
        if self._wire.stdout.readline() != "ready\n":
            raise RigError("the wire could not be laid: /dev/net/tun cannot be used")
        inside = ["-n", self._tag]
        for arguments in (
            ["netns", "add", self._tag],
            ["link", "set", theirs, "netns", self._tag],
            ["addr", "add", f"{OURS}/30", "dev", ours],
            ["link", "set", ours, "up"],
            [*inside, "addr", "add", f"{THEIRS}/30", "dev", theirs],
            [*inside, "link", "set", theirs, "up"],
        ):
            done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
            if done.returncode:
                raise RigError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

    def remove(self) -> None:
        """End the server and the wire, and delete the namespace."""
        self.kill()
        if self._wire is not None:
            self._wire.kill()
            self._wire.wait()
            for pipe in (self._wire.stdin, self._wire.stdout):
                if pipe is not None:
                    pipe.close()
        subprocess.run(["ip", "netns", "del", self._tag], capture_output=True, check=False)
        self._folder.cleanup()


def render_pictures(folder: Path) -> None:
    """Ten seconds of a rendered drive, there and back so that it has no jump, as JPEG files."""
    from perception.synthetic import DriveRenderer

    renderer = DriveRenderer("day", SIZE_WH, RATE_HZ, 0)
    for number in range(PICTURES // 2):
        data = cv2.imencode(".jpg", renderer.render(number)[0])[1].tobytes()
        (folder / f"{number:04d}.jpg").write_bytes(data)
        (folder / f"{PICTURES - 1 - number:04d}.jpg").write_bytes(data)


def _signal(process: subprocess.Popen[str] | subprocess.Popen[bytes] | None, number: int) -> int:
    assert process is not None
    process.send_signal(number)
    return time.monotonic_ns()
