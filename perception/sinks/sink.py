"""What every sink of predictions promises."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from perception.frame import OutputItem
from perception.sources.source import SourceInfo


class SinkError(Exception):
    """A sink that cannot write: one line that says what, where and what to do."""


class Sink(Protocol):
    """A consumer of what is published. One call at a time."""

    name: str
    """Short name for counts and errors, such as "overlay"."""

    @property
    def issue(self) -> str | None:
        """Why what was written is not all, in one line, though no error was raised; None if nothing is wrong.

        It stays once it is there: a run with issue did not go well. Read by other threads.
        """
        ...

    def open(self, info: SourceInfo, resumes: bool = False) -> None:
        """Make ready, so that an unusable target is known before the first frame; raises SinkError.

        Args:
            info: the source's.
            resumes: this sink takes the place of one that raised or hangs. It erases nothing, and shares
                no open file with the other, which may wake up in the middle of a write.
        """
        ...

    def write(self, output: OutputItem) -> None:
        """Write one prediction, or that there was no frame for one; raises SinkError."""
        ...

    def close(self) -> None:
        """Leave every file readable; safe to call twice, and after an error."""
        ...


@runtime_checkable
class HasReader(Protocol):
    """A sink that may write to a pipe or a terminal, which another program reads."""

    @property
    def waits_for_reader(self) -> bool:
        """Whether a write waits for that program to take what is there; no sign that the sink hangs."""
        ...


@runtime_checkable
class HasTarget(Protocol):
    """A sink whose target nobody else may write to meanwhile."""

    def claim(self) -> None:
        """Keep others from writing there, before anything that is there is touched; `open` does it too.

        Raises:
            SinkError: if another writes there, or nothing can be written there.
        """
        ...
