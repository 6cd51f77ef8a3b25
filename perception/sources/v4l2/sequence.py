"""Frames that nobody got, from the driver's own numbers."""

from __future__ import annotations

from typing import Final

_WRAP: Final = 1 << 32


class SequenceGaps:
    """Counts the frames between those that were handed on.

    The driver numbers the frames that the camera took, also those it had no buffer for. A driver whose
    numbers stand still or go back tells nothing: then only what we passed over ourselves is counted.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._passed_over = 0

    def pass_over(self, frames: int = 1) -> None:
        """Frames that we got and did not hand on."""
        self._passed_over += frames

    def missed_before(self, sequence: int) -> int:
        """Frames missing between the one handed on last and this one, which is handed on now."""
        step = 0 if self._last is None else (sequence - self._last) % _WRAP
        between = step - 1 if 0 < step < _WRAP // 2 else 0
        missed = max(between, self._passed_over)
        self._last, self._passed_over = sequence, 0
        return missed

    def restart(self) -> None:
        """The stream was started anew, and its numbers with it."""
        self._last = None
