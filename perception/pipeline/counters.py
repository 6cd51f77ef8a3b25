"""The books of a run: what became of every frame, each count taken where it happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

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

    def balance(self) -> dict[str, Any]:
        """The counts that make up the captured frames."""
        names = ("captured", "published", "withheld", "dropped", "in_flight")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Account:
    """One place of a run: how many came to it, what became of them, and how many it holds now."""

    place: str
    came: int
    became: Mapping[str, int]
    held: int = 0

    def problem(self, *, is_over: bool) -> str | None:
        """What does not balance, in one line, or None; in the end nothing is held any more."""
        missing = self.came - sum(self.became.values()) - (0 if is_over else self.held)
        became = ", ".join(f"{count} {name}" for name, count in self.became.items())
        return f"{self.place}: {missing} of {self.came} unaccounted for ({became})" if missing else None
