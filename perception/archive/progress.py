"""How far a run over an archive is: a line on a terminal, one a minute without it, and Prometheus metrics."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge, start_http_server
from prometheus_client import Counter as Count

from perception.archive.error import ArchiveError
from perception.archive.job import ClipResult, Outcome
from perception.cli.log import show_status
from perception.cli.progress import clock_text, has_terminal

log = logging.getLogger(__name__)

EVERY_S: Final = 60.0
"""Between two lines without a terminal."""
NAMESPACE: Final = "drivable_archive"


class Progress:
    """Counts what was done.

    Args:
        total: clips to do.
        size: of all of them in bytes, for the remaining time; 0 if it is not known.
    """

    def __init__(self, total: int, size: int) -> None:
        self._total, self._size = total, size
        self.outcomes: Counter[Outcome] = Counter()
        self.frames = 0
        self._bytes = 0
        self._started_s = self._said_s = time.monotonic()
        self._shows = has_terminal()

    def count(self, result: ClipResult) -> None:
        """Take the result of a clip."""
        self.outcomes[result.outcome] += 1
        self.frames += result.row.get("frames") or 0
        self._bytes += result.source["size"] or 0

    def show(self, at_work: int) -> None:
        """The line on a terminal, or one a minute in the log."""
        now_s = time.monotonic()
        text = self.text(now_s - self._started_s, at_work)
        if self._shows:
            show_status(text)
        elif now_s - self._said_s >= EVERY_S:
            self._said_s = now_s
            log.info(text)

    def text(self, elapsed_s: float, at_work: int) -> str:
        """Clips, what went wrong, frames a second and the remaining time."""
        done = self.outcomes.total()
        parts = [f"{done}/{self._total} clips"]
        for outcome in (Outcome.INCOMPLETE, Outcome.FAILED):
            if count := self.outcomes[outcome]:
                parts.append(f"{count} {outcome}")
        parts += [f"{at_work} at work", f"{self.frames / max(elapsed_s, 1e-3):.1f} fps"]
        share = self._bytes / self._size if self._size else done / max(self._total, 1)
        parts.append(f"ETA {clock_text(elapsed_s / share - elapsed_s)}" if share > 0 else "ETA -")
        return "  ".join(parts)


class Metrics:
    """Of a run, for Prometheus, over HTTP on the loopback interface.

    Args:
        port: to listen on.
        total: clips to do.
    """

    def __init__(self, port: int, total: int) -> None:
        """Begin to listen; raises ArchiveError if the port is taken."""
        registry = CollectorRegistry()
        of_run: Any = {"namespace": NAMESPACE, "registry": registry}
        Gauge("clips_todo", "Clips of this run.", **of_run).set(total)
        self._clips = Count("clips", "Clips that were processed, by outcome.", ["outcome"], **of_run)
        self._frames = Count("frames", "Frames of them.", **of_run)
        self._wall = Count("clip_seconds", "Time that workers spent.", **of_run)
        self._cpu = Count("clip_cpu_seconds", "CPU time that workers spent.", **of_run)
        self._workers = Gauge("workers", "Workers there are.", **of_run)
        self._at_work = Gauge("workers_busy", "Workers at a clip.", **of_run)
        for outcome in Outcome:
            self._clips.labels(str(outcome))
        try:
            self._server, self._thread = start_http_server(port, "127.0.0.1", registry)
        except OSError as error:
            raise ArchiveError(
                f"http {port}: cannot listen there: {error.strerror}; choose another port"
            ) from None

    def count(self, result: ClipResult) -> None:
        """Take the result of a clip."""
        self._clips.labels(str(result.outcome)).inc()
        for metric, name in ((self._frames, "frames"), (self._wall, "wall_s"), (self._cpu, "cpu_s")):
            metric.inc(result.row.get(name) or 0)

    def show(self, workers: int, at_work: int) -> None:
        """Take how many workers there are, and how many of them are at a clip."""
        self._workers.set(workers)
        self._at_work.set(at_work)

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
