"""Which decoded pictures are not what the camera saw: damage itself, and what is predicted from it."""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Final

STEPS_KEPT: Final = 9
MISSING_STEPS: Final = 1.6  # between a step of one period, with a sender's jitter, and one of two


class DamageTrace:
    """Follows damage from the packet that was lost to the next key frame.

    A decoder conceals what it lacks and says so of that picture alone. The pictures after it are predicted
    from it, and wrong in the same places until one comes that is predicted from none.

    Args:
        loses_frames: packets may be lost on the way, as over a network: a step in time well beyond the
            median of those before then means lost frames, of which the decoder knows nothing. Not so of a
            sender whose steps vary.
    """

    def __init__(self, loses_frames: bool = False) -> None:
        self._loses_frames = loses_frames
        self._is_carried = False
        self.losses = 0
        """Packets that were lost so far."""
        self._last_pts_ns: int | None = None
        self._steps_ns: deque[int] = deque(maxlen=STEPS_KEPT)

    def lose_packet(self) -> None:
        """Book a packet that was lost or could not be decoded."""
        self._is_carried = True
        self.losses += 1

    def is_damaged(
        self, is_corrupt: bool, is_key: bool, pts_ns: int | None, losses_before: int | None = None
    ) -> bool:
        """Whether the next picture, in the order of display, is damaged.

        Args:
            is_corrupt: the decoder concealed a part of it.
            is_key: it is predicted from no other picture.
            pts_ns: its time in the container, in nanoseconds.
            losses_before: `losses` when its packet was read: of a later packet a key frame heals nothing,
                though it is shown later. None where it is shown as soon as it is read.
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
        is_steady = is_known and sorted(self._steps_ns)[-2] <= longest_ns  # but for one loss before
        has_gap = is_steady and step_ns > longest_ns
        self._steps_ns.append(step_ns)
        return has_gap
