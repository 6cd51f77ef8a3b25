"""Which decoded pictures are damaged, or predicted from damaged ones."""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Final

STEPS_KEPT: Final = 9
MISSING_STEPS: Final = 1.6  # between one period with jitter and two periods


class DamageTrace:
    """Follows damage from a lost packet to the next key frame.

    A decoder marks only the picture whose parts it concealed. The following ones are predicted from it and
    wrong in the same places, up to the next key frame.

    Args:
        loses_frames: packets may be lost, as over a network: a step well beyond the median then means lost
            frames that the decoder does not notice, unless the sender's steps vary anyway.
    """

    def __init__(self, loses_frames: bool = False) -> None:
        self._loses_frames = loses_frames
        self._is_carried = False
        self.losses = 0
        """Lost packets so far."""
        self._last_pts_ns: int | None = None
        self._steps_ns: deque[int] = deque(maxlen=STEPS_KEPT)

    def lose_packet(self) -> None:
        """Count a packet that was lost or could not be decoded."""
        self._is_carried = True
        self.losses += 1

    def is_damaged(
        self, is_corrupt: bool, is_key: bool, pts_ns: int | None, losses_before: int | None = None
    ) -> bool:
        """Whether the next picture, in display order, is damaged.

        Args:
            is_corrupt: the decoder concealed a part of it.
            is_key: it is a key frame.
            pts_ns: its timestamp in nanoseconds.
            losses_before: `losses` when its packet was read: a key frame does not repair later losses, even
                if it is displayed after them. None without reordering.
        """
        has_gap = self._loses_frames and pts_ns is not None and self._steps_over_a_gap(pts_ns)
        if is_corrupt:
            self._is_carried = True
        elif is_key:
            self._is_carried = losses_before is not None and losses_before < self.losses
            return False
        elif has_gap:
            self._is_carried = True
        return self._is_carried

    def _steps_over_a_gap(self, pts_ns: int) -> bool:
        before_ns, self._last_pts_ns = self._last_pts_ns, pts_ns
        if before_ns is None or pts_ns <= before_ns:
            return False
        step_ns = pts_ns - before_ns
        is_known = len(self._steps_ns) == STEPS_KEPT
        longest_ns = MISSING_STEPS * median(self._steps_ns) if is_known else 0
        is_steady = is_known and sorted(self._steps_ns)[-2] <= longest_ns  # except for one earlier loss
        has_gap = is_steady and step_ns > longest_ns
        self._steps_ns.append(step_ns)
        return has_gap
