"""The books: captured = published + withheld + dropped (by reason) + in flight, at every moment."""

from __future__ import annotations

from collections import Counter
from threading import Lock
from typing import Final

DISPLACED: Final = "newer frame"
"""Why a frame of a live source was dropped that a newer one took the place of."""


class Ledger:
    """Counts what became of every frame."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._captured = 0
        self._missed = 0
        self._published = 0
        self._withheld: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()

    def capture(self, missed_before: int = 0) -> None:
        """A frame came in, and so many that the camera took before it did not."""
        with self._lock:
            self._captured += 1
            self._missed += missed_before

    def publish(self) -> None:
        """A frame's mask was handed to the sinks."""
        with self._lock:
            self._published += 1

    def withhold(self, reason: str = "unknown") -> None:
        """A frame was reported without its mask: no view of the road, or a suspect engine."""
        with self._lock:
            self._withheld[reason] += 1

    def drop(self, reason: str, frames: int = 1) -> None:
        """Frames were thrown away."""
        with self._lock:
            self._dropped[reason] += frames

    @property
    def captured(self) -> int:
        """Frames that came in."""
        return self._captured

    @property
    def missed(self) -> int:
        """Frames that the camera took, by its own numbers, and that never came in."""
        return self._missed

    @property
    def published(self) -> int:
        """Frames whose mask was handed to the sinks."""
        return self._published

    @property
    def withheld(self) -> int:
        """Frames that were told of without their mask."""
        with self._lock:
            return self._withheld.total()

    @property
    def withheld_by(self) -> dict[str, int]:
        """The same by reason, such as "camera stale" or "engine suspect"."""
        with self._lock:
            return dict(self._withheld)

    @property
    def dropped(self) -> int:
        """Frames thrown away, for whatever reason."""
        with self._lock:
            return self._dropped.total()

    @property
    def dropped_by(self) -> dict[str, int]:
        """The same by reason."""
        with self._lock:
            return dict(self._dropped)

    def balance(self) -> dict[str, int | dict[str, int]]:
        """All counts of one moment; `in_flight` is what has come in and not left yet."""
        with self._lock:
            withheld = self._withheld.total()
            gone = self._published + withheld + self._dropped.total()
            return {
                "captured": self._captured,
                "published": self._published,
                "withheld": withheld,
                "dropped": dict(self._dropped),
                "in_flight": self._captured - gone,
            }
