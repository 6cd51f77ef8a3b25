"""Processes on one ROS network: publishers and listeners by real rclpy, and `drivable-node` among them.

rclpy and Fast DDS are from PyPI, in an environment of their own (`make .venv-ros/.ready`): a package that
comes with them restarts every interpreter. The node gets them as a shell that has sourced ROS.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

ROOT: Final = Path(__file__).parents[3]
ROS: Final = Path(sys.prefix).with_name(".venv-ros")
CLIENT: Final = Path(__file__).with_name("rclpy_client.py")
LIMIT_S: Final = 30.0
"""For a process to start, and for nodes to find each other."""

CALIBRATION: Final = """
image_width: 640
image_height: 360
camera_name: rig
camera_matrix: {rows: 3, cols: 3, data: [560, 0, 319.5, 0, 560, 179.5, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}
mount: {height_m: 1.4, pitch_rad: 0.02}
"""
"""Of a camera like that of the built-in road."""


def wait_until(holds: Callable[[], bool]) -> float:
    """Seconds until it held; raises TimeoutError."""
    before_s = time.monotonic()
    while not holds():
        if time.monotonic() - before_s > LIMIT_S:
            raise TimeoutError(f"not so within {LIMIT_S:g} s")
        time.sleep(0.02)
    return time.monotonic() - before_s


def network_of(domain: int) -> dict[str, str]:
    """The environment for a network of one's own, which does not leave the machine."""
    return os.environ | {
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(ROOT / "configs" / "ros" / "fastdds.xml"),
    }


def sourced(domain: int) -> dict[str, str]:
    """The same of a shell that has sourced ROS."""
    (packages,) = ROS.glob("lib/python3*/site-packages")
    libraries = [ROS / "lib", *packages.glob("ros_*.libs")]
    return network_of(domain) | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{packages}",
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
        "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1",
    }


class Client:
    """A process by rclpy, which prints JSON lines.

    Args:
        domain: of ROS.
        arguments: of `rclpy_client.py`.
    """

    def __init__(self, domain: int, *arguments: str) -> None:
        self.lines: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            [str(ROS / "bin" / "python"), str(CLIENT), *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env=network_of(domain),
        )
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What it has received."""
        return [line for line in self.lines if "topic" in line]

    def wait_for(self, holds: Callable[[Self], bool]) -> None:
        """Raises TimeoutError if it does not hold in time."""
        wait_until(lambda: holds(self))

    def end(self, limit_s: float = LIMIT_S) -> list[dict[str, Any]]:
        """Wait for its end; what it has received."""
        self._process.wait(limit_s)
        self._reading.join(limit_s)
        return self.messages

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait(LIMIT_S)
        self._reading.join(LIMIT_S)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as said:
            for line in said:
                self.lines.append(json.loads(line))


@contextmanager
def client(domain: int, *arguments: str) -> Iterator[Client]:
    """A client that is ready, and ended at the end."""
    running = Client(domain, *arguments)
    try:
        running.wait_for(lambda one: bool(one.lines))
        yield running
    finally:
        running.kill()


@contextmanager
def node(domain: int, log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """`drivable-node`, terminated at the end; it writes what it says to `log`."""
    command = [sys.executable, "-m", "perception.node", *arguments]
    with log.open("wb") as to:
        process = subprocess.Popen(command, cwd=ROOT, stdout=to, stderr=to, env=sourced(domain))
    try:
        yield process
    finally:
        process.terminate()
        process.wait(LIMIT_S)


def records(file: Path) -> list[dict[str, Any]]:
    """Every whole line of a file of records, if it is there."""
    return [json.loads(line) for line in file.read_text().split("\n")[:-1]] if file.exists() else []


def utc_ns(text: str) -> int:
    """A time of a record, in ns since 1970; records have microseconds."""
    since = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1) * 1000
