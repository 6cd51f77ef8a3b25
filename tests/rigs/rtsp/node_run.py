"""`drivable-node` on a stream: what it says, what it holds, and whether the password got out."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import command
from processes import Removed, family, held

Record = dict[str, Any]
END_LIMIT_S: Final = 20.0


class NodeRun(Removed):
    """A context: the node from its first mask on; killed at the end if it is still there.

    The address stands in a settings file, so that no command line holds the password by our own doing.
    """

    def __init__(self, url: str, password: str, *arguments: str) -> None:
        self._folder = TemporaryDirectory(prefix="node-run-")
        self._place = Path(self._folder.name)
        self._password = password
        self._command_lines: set[str] = set()
        settings = self._place / "settings.yaml"
        settings.write_text(f"source: {url}\nmodel: rt_s-int8\nhttp: null\n")
        given = ["--config", str(settings), "--jsonl", str(self._place / "records.jsonl")]
        given += ["--summary", str(self._place / "summary.json"), *arguments]
        self.process = command.start(given, self._place / "log")

    def bring_up(self) -> None:
        """Wait for the first mask."""
        self.wait_for(has_mask, 0, command.START_LIMIT_S)

    def records(self) -> list[Record]:
        """Every record so far."""
        return command.records(self._place / "records.jsonl")

    def log(self) -> str:
        """What it said."""
        return (self._place / "log").read_text(errors="replace")

    def summary(self) -> dict[str, Any]:
        """Its counts, once it has ended."""
        summary: dict[str, Any] = json.loads((self._place / "summary.json").read_text())
        return summary

    def wait_for(self, is_it: Callable[[Record], bool], since_ns: int, limit_s: float) -> Record | None:
        """The first such record published since a moment; None if none comes in time or the node ends."""
        until_s = time.monotonic() + limit_s
        while time.monotonic() < until_s and self.process.poll() is None:
            found = [record for record in self.records() if record["published_ns"] >= since_ns]
            if it := next(filter(is_it, found), None):
                return it
            time.sleep(0.1)
        return None

    def held(self) -> tuple[int, int, int]:
        """Processes, threads and descriptors of the node and all below it."""
        return held(self.process.pid)

    def end(self) -> int:
        """Ask it to end; its exit status."""
        self._look_at_command_lines()
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL

    def wait(self, limit_s: float) -> None:
        """Let it run, and look at the processes that it makes meanwhile."""
        until_s = time.monotonic() + limit_s
        while (left_s := until_s - time.monotonic()) > 0:
            self._look_at_command_lines()
            time.sleep(min(0.5, left_s))

    def leaks(self) -> list[str]:
        """Where the password can be read: of all that was written and of all command lines looked at."""
        files = [file.name for file in self._place.iterdir() if file.name != "settings.yaml"]
        found = [name for name in files if self._password.encode() in (self._place / name).read_bytes()]
        return found + [line for line in self._command_lines if self._password in line]

    def _look_at_command_lines(self) -> None:
        for pid in family(self.process.pid):
            for kind in ("cmdline", "comm"):
                try:
                    self._command_lines.add(Path(f"/proc/{pid}/{kind}").read_text(errors="replace"))
                except OSError:
                    continue  # it ended while we looked

    def remove(self) -> None:
        """Kill it, and delete what it wrote."""
        self.process.kill()
        self.process.wait()
        self._folder.cleanup()


def has_mask(record: Record) -> bool:
    """Whether the node saw the road."""
    return record["mask"] is not None


def is_damaged(record: Record) -> bool:
    """Whether its picture is marked as damaged."""
    return bool(record["camera"] == {"state": "degraded", "reason": "damaged"})
