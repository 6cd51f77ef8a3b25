"""What became of every frame of a run, each count taken where it happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

DISPLACED: Final = "newer frame"
"""Why a frame of a live source was dropped whose place a newer one took."""
RUN_ENDED: Final = "run ended"
FAILED: Final = "stage failed"


@dataclass(frozen=True)
class FrameCounters:
    """Of one moment. Every frame captured is published, withheld, dropped or in flight."""

    captured: int = 0
    published: int = 0
    """With a mask."""
    withheld: int = 0
    """Published without one."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """By reason."""
    in_flight: int = 0
    """Held by queues, workers and publisher."""
    withheld_by: Mapping[str, int] = field(default_factory=dict)
    """By reason, such as "camera stale" or "engine suspect"."""
    missed: int = 0
    """Frames that the camera took, by its own numbers, and that were never captured."""

    @property
    def dropped_in_all(self) -> int:
        """For whatever reason."""
        return sum(self.dropped.values())
