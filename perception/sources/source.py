"""What every source of frames promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from perception.frame import Frame, NoFrameRecord
from perception.imaging.letterbox import SQUARE, PixelAspect
from perception.sources.rate import Rate, RateKind


class EndOfSource(Exception):
    """There are no more frames. A normal end, not an error."""


class NoFrame(Exception):
    """A live source has no fresh frame; raised by `read` at its nominal rate for as long as that is so."""

    def __init__(self, outage: NoFrameRecord) -> None:
        super().__init__(outage.camera_reason)
        self.outage = outage


class SourceError(Exception):
    """A source that cannot be opened or read on: one line that says what, where and what to do."""


@dataclass(frozen=True)
class SourceInfo:
    """What is known of a source once it is open."""

    source_id: str
    """Short name without any password, as it stands in records and logs."""
    is_live: bool
    """Live: the newest frame wins. Recorded: nothing is dropped."""
    frame_wh: tuple[int, int] | None
    """Width and height in pixels; None of a live source that has given no frame yet and does not tell."""
    rate_hz: float
    """Nominal frames per second."""
    description: str = ""
    """What the driver or the container really gave, for the log."""
    is_replayed: bool = False
    """A recording that is played as if it were live: its frames were not taken when they came."""
    pixel_aspect: PixelAspect = SQUARE
    """As of a frame."""
    burst_s: float = 0.0
    """Its frames come to this machine in pieces that last so long; 0 where each comes by itself."""
    rate_kind: RateKind = "declared"
    """Who says `rate_hz`: one that is assumed is nothing to judge a silence by."""
    is_one_picture: bool = False
    """It gives a single frame."""

    @property
    def rate(self) -> Rate:
        """`rate_hz`, and who says so."""
        return Rate(self.rate_hz, self.rate_kind)

    @property
    def is_taken_now(self) -> bool:
        """Whether the road was seen when the frames came: not so of a recording, at whatever pace."""
        return self.is_live and not self.is_replayed


class Source(Protocol):
    """A source of frames. `open`, `read`, …, `read`, `close` are called one at a time, by several threads."""

    def open(self) -> SourceInfo:
        """Open it and look at it; raises SourceError."""
        ...

    def read(self) -> Frame:
        """The next frame; raises EndOfSource, SourceError or NoFrame."""
        ...

    def close(self) -> None:
        """Release it; safe to call twice, and before `open`."""
        ...
