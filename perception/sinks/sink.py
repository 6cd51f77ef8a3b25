"""What every sink of predictions promises."""

from __future__ import annotations

from typing import Protocol

from perception.frame import Output
from perception.sources.source import SourceInfo


class SinkError(Exception):
    """A sink that cannot write: one line that says what, where and what to do."""


class Sink(Protocol):
    """A consumer of what is published, on a thread and a channel of its own."""

    name: str
    """Short name for counts and errors, such as "overlay"."""

    def open(self, info: SourceInfo) -> None:
        """Make ready, so that an unusable target is known before the first frame; raises SinkError."""
        ...

    def write(self, output: Output) -> None:
        """Write one prediction, or that there was no frame for one; raises SinkError."""
        ...

    def close(self) -> None:
        """Leave every file readable; safe to call twice, and after an error."""
        ...
