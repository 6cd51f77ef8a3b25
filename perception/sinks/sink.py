"""The interface of sinks."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from perception.frame import OutputItem
from perception.sources.source import SourceInfo


class SinkError(Exception):
    """A sink cannot write: one line that says what, where and what to do."""


@runtime_checkable
class Sink(Protocol):
    """A consumer of published outputs. Calls do not overlap."""

    name: str
    """Short name for counts and errors, such as "overlay"."""

    @property
    def issue(self) -> str | None:
        """Why the output is incomplete although no error was raised, in one line; None if it is complete.

        It stays once it is set, and the run then ends with an error status. Read by other threads.
        """
        ...

    def open(self, info: SourceInfo, resumes: bool = False) -> None:
        """Prepare, so that an unusable target is known before the first frame; raises SinkError.

        Args:
            info: the source's.
            resumes: this sink replaces one that raised or hangs. It erases nothing, and shares no open file
                with the other, which may wake up in the middle of a write.
        """
        ...

    def write(self, output: OutputItem) -> None:
        """Write one prediction or outage record; raises SinkError."""
        ...

    def close(self) -> None:
        """Leave every file readable; safe to call twice, and after an error."""
        ...


@runtime_checkable
class HasReader(Protocol):
    """A sink that may write to a pipe or terminal that another program reads."""

    @property
    def waits_for_reader(self) -> bool:
        """Whether a write waits for that program, so that the sink does not hang."""
        ...


@runtime_checkable
class HasTarget(Protocol):
    """A sink with exclusive access to its target."""

    def claim(self) -> None:
        """Lock the target without changing it; `open` does it too.

        Raises:
            SinkError: if another process writes there, or nothing can be written there.
        """
        ...
