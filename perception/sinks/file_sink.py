"""What sinks that write files have in common: a target that is theirs, or one line that says why not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from perception.sinks.rotation import Segments
from perception.sinks.sink import SinkError


class FileSink(ABC):
    """Claims and opens its target."""

    _segments: Segments | None
    """None where nothing is on a disk."""

    @property
    def issue(self) -> str | None:
        """As of every sink."""
        return self._segments.issue if self._segments else None

    def claim(self) -> None:
        """As of every sink."""
        try:
            if self._segments:
                self._segments.take()
        except OSError as error:
            raise self._unusable(error) from error

    @abstractmethod
    def close(self) -> None:
        """As of every sink."""

    @abstractmethod
    def _unusable(self, error: OSError) -> SinkError:
        """What cannot be written, and what to do."""

    @contextmanager
    def _opening(self) -> Iterator[None]:
        """A block that opens the target: what fails in it closes the sink, and is a SinkError."""
        try:
            yield
        except OSError as error:
            self.close()
            raise self._unusable(error) from error
        except SinkError:
            self.close()
            raise
