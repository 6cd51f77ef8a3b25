"""SourceSettings: how any source is opened, read and played."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from perception.sources.choice import BEST, Choice
from perception.sources.decoding.image_size import MAX_PIXELS
from perception.sources.isolated.freshness import FreshnessSettings, ReconnectSettings
from perception.system.cores import usable_cores
from perception.system.plugins import Checked
from perception.system.time_limits import OPEN_TIMEOUT_S, READ_TIMEOUT_S


@dataclass(frozen=True)
class SourceSettings(Checked):
    """How sources are opened, read and played."""

    stream: Annotated[int | str, "best|INDEX|WxH"] = BEST
    """Which of several videos in a file, stream or playlist: best, an index from 0, or WxH for the largest
    one within that size."""
    max_frames: int | None = None
    """Stop after this many frames."""
    every: int = 1
    """Take every nth frame of a recording, from the first on; the others are decoded and left out."""
    rate_limit_hz: float | None = None
    """Take at most this many frames a second of the source's own time; the others are left out."""
    source_name: str | None = None
    """What the source is called in records and on topics; as its file, device or address without one."""
    duration_s: float | None = None
    """Stop after this many seconds of the source's own time."""
    realtime: bool = False
    """Play a recording at its own pace, as a live source would: the newest frame wins."""
    loop: bool = False
    """Restart a recording when it ends; timestamps continue."""
    threads: int = 0
    """CPU threads in use at a time: by the network, and in all for a recording; 0 uses every core."""
    images_rate_hz: float = 10.0
    """Rate at which a folder of images plays."""
    max_megapixels: float = MAX_PIXELS / 1e6
    """Refuse larger pictures before decoding them: a small file may demand gigabytes."""
    isolate: bool = False
    """Read recordings in a separate process too: a file that crashes a decoder ends only that process."""
    open_timeout_s: float = OPEN_TIMEOUT_S
    """Give up on a stream that does not open within this time."""
    open_retries: int | Literal["forever"] = 0
    """How often to retry a camera or stream that does not open at first; records say `lost` meanwhile."""
    read_timeout_s: float = READ_TIMEOUT_S
    """A camera or stream that sends nothing for this long is opened again."""
    freshness: FreshnessSettings = field(default_factory=FreshnessSettings)
    reconnect: ReconnectSettings = field(default_factory=ReconnectSettings)

    def __post_init__(self) -> None:
        """Refuse values by which nothing can be read; raises ValueError."""
        if self.threads < 0:
            raise ValueError(f"threads is {self.threads}; 0 uses every core")
        if self.every < 1:
            raise ValueError(f"every is {self.every}; 1 takes every frame")
        limits = ("max_frames", "rate_limit_hz", "duration_s", "open_timeout_s", "read_timeout_s")
        for name in (*limits, "images_rate_hz", "max_megapixels"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} is {value}; it must be above 0")
        Choice.of(str(self.stream))
        if self.open_retries != "forever" and self.open_retries < 0:
            raise ValueError(f"open_retries is {self.open_retries}; it must be 0 or more, or forever")
        super().__post_init__()

    @property
    def choice(self) -> Choice:
        """Which of several videos."""
        return Choice.of(str(self.stream))

    @property
    def max_pixels(self) -> int:
        """Of a picture; a larger one is refused before it is decoded."""
        return round(self.max_megapixels * 1e6)

    @property
    def decoder_threads(self) -> int | None:
        """Of a recording's decoder; None for as many as its size is worth."""
        # frame threads hold frames back: in real time that would be delay
        return 1 if self.realtime or (self.threads or usable_cores()) == 1 else None
