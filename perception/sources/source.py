"""The interface of sources of frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from perception.frame import Frame, NoFrameRecord, ShownTime
from perception.imaging.letterbox import SQUARE, PixelAspect
from perception.sources.counts import Pace, SourceCounts
from perception.sources.rate import Rate, RateKind


class EndOfSource(Exception):
    """There are no more frames. A normal end, not an error."""


class NoFrame(Exception):
    """A live source has no fresh frame; raised by `read` at the nominal rate during an outage."""

    def __init__(self, record: NoFrameRecord) -> None:
        super().__init__(record.camera_reason)
        self.record = record


class SourceError(Exception):
    """A source that cannot be opened or read further: one line that says what, where and what to do."""


@dataclass(frozen=True)
class SourceInfo:
    """What is known about an open source."""

    source_id: str
    """Short name without any password, for records and logs."""
    is_live: bool
    """Live: the newest frame wins. Recorded: nothing is dropped."""
    frame_wh: tuple[int, int] | None
    """Width and height in pixels; None if unknown before the first frame of a live source."""
    rate_hz: float
    """Nominal frames per second."""
    description: str = ""
    """Actual properties according to driver or container, for the log."""
    is_replayed: bool = False
    """A recording played as if live: its frames were not captured when they arrived."""
    pixel_aspect: PixelAspect = SQUARE
    """As of `Frame`."""
    burst_s: float = 0.0
    """Duration of the bursts in which frames arrive; 0 if they arrive singly."""
    rate_kind: RateKind = "declared"
    """How `rate_hz` is known: an assumed rate does not define a silence."""
    is_one_picture: bool = False
    """It gives a single frame."""
    are_stills: bool = False
    """Its frames do not follow each other in time, as images of a folder: equal ones are no fault."""
    frames_expected: int = 0
    """Approximate number of frames of a recording; 0 if unknown or endless."""

    @property
    def rate(self) -> Rate:
        """`rate_hz` and how it is known."""
        return Rate(self.rate_hz, self.rate_kind)

    @property
    def shown_time(self) -> ShownTime:
        """Which time means something to who looks at its frames."""
        if self.is_live:
            return "age"
        return "time" if self.is_in_sequence else "none"

    @property
    def is_in_sequence(self) -> bool:
        """Whether it gives several frames, which follow each other in time."""
        return not (self.is_one_picture or self.are_stills)

    @property
    def is_taken_now(self) -> bool:
        """Whether frames are captured when they arrive, as from cameras; false for any recording."""
        return self.is_live and not self.is_replayed


@runtime_checkable
class Source(Protocol):
    """A source of frames. A subclass implements `open`, `read` and `close`; all else has a default.

    All methods but `stop` are called one at a time, though by several threads. A closed source can be opened
    again, and starts over.
    """

    def open(self) -> SourceInfo:
        """Open it and find out its properties; raises SourceError."""
        ...

    def read(self) -> Frame:
        """The next frame; raises EndOfSource, SourceError or NoFrame."""
        ...

    def close(self) -> None:
        """Release it; safe to call twice, and before `open`."""
        ...

    def rewind(self) -> None:
        """Start a recording over, with ids and times from 0; raises SourceError."""
        self.close()
        self.open()

    def stop(self) -> None:
        """End a wait in `read`, and the source; may be called from any thread."""
        return

    def counts(self) -> SourceCounts:
        """What was counted since it was opened; also valid after `close`."""
        return SourceCounts()

    def pace(self) -> Pace | None:
        """The rate learnt so far; None if only the nominal one is known."""
        return None
