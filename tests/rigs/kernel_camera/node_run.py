"""`drivable-node` beside the guest's camera: what it says in its records, and what it holds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import vivid
from processes import Removed, family, held

Record = dict[str, Any]

START_LIMIT_S: Final = 90.0
END_LIMIT_S: Final = 20.0
POLL_S: Final = 0.02
# The smallest network and picture, few frames, and time enough: the processor is emulated.
ARGUMENTS: Final = (
    *("--model", "rt_s-int8", "--camera.width", "320", "--camera.height", "180", "--camera.rate_hz", "10"),
    *("--open_timeout_s", "60", "--freshness.max_age_s", "5"),
)


class NodeRun(Removed):
    """One run of the node on the camera that is there; a context that ends it."""

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        self._folder = TemporaryDirectory()
        self._records = Path(self._folder.name) / "records.jsonl"
        self._log = Path(self._folder.name) / "log"
        command = [sys.executable, "-m", "perception.node", "--source", vivid.node(), *ARGUMENTS]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [*command, "--jsonl", str(self._records), *arguments], stdout=log, stderr=log
            )

    def bring_up(self) -> None:
        """Wait for the first mask."""
        self.wait_for(has_mask, START_LIMIT_S)

    def remove(self) -> None:
        """Kill it, and delete what it wrote."""
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def records(self, since_ns: int = 0) -> list[Record]:
        """Those published since a monotonic time."""
        if not self._records.exists():
            return []
        lines = self._records.read_text().split("\n")[:-1]
        records = [json.loads(line) for line in lines]
        return [record for record in records if record["published_ns"] >= since_ns]

    def wait_for(self, is_it: Callable[[Record], bool], limit_s: float, since_ns: int = 0) -> Record:
        """The first such record; TimeoutError, with what the node said last, where none comes."""
        until_s = time.monotonic() + limit_s
        while time.monotonic() < until_s:
            for record in self.records(since_ns):
                if is_it(record):
                    return record
            if self._process.poll() is not None:
                raise RuntimeError(f"the node ended with {self._process.returncode}: {self.said()}")
            time.sleep(POLL_S)
        raise TimeoutError(f"no such record within {limit_s:g} s: {self.said()}")

    def said(self) -> str:
        """The last of what it wrote to its log, and its last record."""
        records = self.records()
        last = records[-1] if records else {"frame_id": None, "camera": None}
        summary = f"{len(records)} records, the last of frame {last['frame_id']}: {last['camera']}"
        return " | ".join([*self._log.read_text().splitlines()[-3:], summary])

    def readers(self) -> list[int]:
        """Process ids of its readers: those below it that have the camera open."""
        return [pid for pid in family(self._process.pid)[1:] if _has_camera(pid)]

    def held(self) -> tuple[int, int, int]:
        """Processes, threads and descriptors of the node and all below it."""
        return held(self._process.pid)

    def end(self) -> int:
        """Ask it to end; its exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(END_LIMIT_S)


def has_mask(record: Record) -> bool:
    """Whether the node saw the road."""
    return record["mask"] is not None


def _has_camera(pid: int) -> bool:
    try:
        links = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return False
    return any(link.startswith("/dev/video") for link in links)
