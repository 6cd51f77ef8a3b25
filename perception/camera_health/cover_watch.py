"""Detects halves of the picture that suddenly lose their view: a cover, by day or night."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perception.camera_health.image_stats import BLOCKS_WH, OPPOSITE, PARTS
from perception.frame import ImageStats

Blocks = NDArray[np.float32]
Mask = NDArray[np.bool_]

SNAPSHOT_EVERY_NS: Final = 75_000_000
BEFORE_RENEWED_EVERY_NS: Final = 150_000_000
"""Interval of computing what was visible before, which takes as long as all other statistics."""
REMEMBERED_NS: Final = 2_000_000_000
BEFORE_NS: Final = 400_000_000
"""Minimum age of the snapshots that define what was visible before."""
SINCE_NS: Final = 250_000_000
"""Maximum age of the snapshots that show whether the picture stands still."""
FEWEST_SNAPSHOTS: Final = 3
SHOWN_QUANTILE: Final = 0.25
"""Of the structure in two seconds, so that things visible for a moment, such as a lamp, do not count."""
SHOWN_STRUCTURE: Final = 6.0
LEFT_OF_STRUCTURE: Final = 0.3
"""A block with less than this share of its earlier structure has lost it."""
FEWEST_BLOCKS: Final = 6
"""Of about 64 in a half. With fewer structured blocks there was almost nothing to lose."""
LOST_SHARE: Final = 0.75
MOST_LOST_OPPOSITE: Final = 0.4
MOST_LEFT_OPPOSITE: Final = 0.25
"""If more of the opposite half changed strongly, the scene has changed, as at a cut."""
SUDDEN_SHARE: Final = 0.7
"""Share of their earlier mean structure that the blocks must have had until now; with less it faded."""
LEAST_REPLACED: Final = 0.4
FEWEST_MOVING: Final = 3
DARK_LUMA: Final = 25.0
HALF: Final = 0.5
# of structure and of luma: how far a block must leave its earlier range
_BELOW: Final = np.array([[[0.6]], [[0.8]]], np.float32), np.array([[[2]], [[6]]], np.float32)
_ABOVE: Final = np.array([[[1.6]], [[1.2]]], np.float32), np.array([[[4]], [[6]]], np.float32)
_STILL_STRUCTURE: Final = 2.0, 0.08
_STILL_LUMA: Final = 1.5
_LIVE_STRUCTURE: Final = 2.0, 0.15
_NEVER_NS: Final = -(2**62)
_SMALLEST_PART: Final = min(
    len(range(*rows.indices(BLOCKS_WH[1]))) * len(range(*columns.indices(BLOCKS_WH[0])))
    for rows, columns in PARTS.values()
)
"""Number of its blocks."""


class CoverWatch:
    """Keeps two seconds of snapshots, and detects halves that lose their view within a fraction of a second.

    A half has lost its view when most blocks with steady structure lose it at the same moment while the
    opposite half keeps it. Darkness does not do that: it comes gradually and leaves what headlights light. A
    cover may have structure of its own, like mud; then it stands still where the road moved before, after a
    jump in light or structure, while the rest keeps moving. A loss lasts as long as those blocks stay so.

    Args:
        flat_structure: a block below this structure shows nothing; 0 turns the watch off.
    """

    def __init__(self, flat_structure: float) -> None:
        self._flat = flat_structure
        count = REMEMBERED_NS // SNAPSHOT_EVERY_NS + 1
        self._times_ns = np.full(count, _NEVER_NS, np.int64)
        self._snapshots = np.zeros((count, 2, *BLOCKS_WH[::-1]), np.float32)
        self._count = 0
        self._last_ns = _NEVER_NS
        self._before: _Before | None = None
        self._before_ns = _NEVER_NS
        self._losses: dict[str, _Loss] = {}

    def restart(self) -> None:
        """Forget the snapshots because the time went back; losses last until their blocks show something."""
        self._times_ns[:] = self._last_ns = self._before_ns = _NEVER_NS
        self._before = None

    def lost_parts(self, stats: ImageStats, time_ns: int) -> set[str]:
        """The names of the parts without view, after one more frame."""
        if stats.block_structure is None or self._flat == 0:
            return set()
        now = np.stack([stats.block_structure, stats.block_luma])
        is_due = time_ns - self._last_ns >= SNAPSHOT_EVERY_NS
        if time_ns - self._before_ns >= BEFORE_RENEWED_EVERY_NS:
            self._before, self._before_ns = self._shown_before(time_ns), time_ns
        self._losses = {
            part: loss
            for part, loss in self._losses.items()
            if loss.lasts(now, self._flat) or loss.is_instead(self._still(now, time_ns))
        }
        if self._before is not None:
            is_below, is_above = self._before.is_left_by(now)
            self._find_lost(now, self._before, is_below | is_above)
            self._find_replaced(now, time_ns, self._before, is_below, is_above)
        if is_due:
            place = self._count % len(self._snapshots)
            self._times_ns[place], self._snapshots[place] = time_ns, now
            self._count, self._last_ns = self._count + 1, time_ns
        return set(self._losses)

    def _shown_before(self, time_ns: int) -> _Before | None:
        is_old = (self._times_ns <= time_ns - BEFORE_NS) & (self._times_ns >= time_ns - REMEMBERED_NS)
        if np.count_nonzero(is_old) < FEWEST_SNAPSHOTS:
            return None
        newest = self._snapshots[np.where(is_old, self._times_ns, _NEVER_NS).argmax()]
        return _Before.of(self._snapshots[is_old], newest)

    def _still(self, now: Blocks, time_ns: int) -> Mask:
        """(9, 16) whether a block has not changed for a quarter of a second; False with too few snapshots."""
        since = self._snapshots[self._times_ns >= time_ns - SINCE_NS]
        if len(since) + 1 < FEWEST_SNAPSHOTS:
            return np.zeros(now.shape[1:], np.bool_)
        most = np.maximum(since.max(axis=0), now)
        structure, luma = most - np.minimum(since.min(axis=0), now)
        least, share = _STILL_STRUCTURE
        return np.asarray((structure <= np.maximum(least, share * most[0])) & (luma <= _STILL_LUMA), np.bool_)

    def _find_lost(self, now: Blocks, before: _Before, has_left: Mask) -> None:
        """Find halves whose blocks lost their structure."""
        left = np.minimum(self._flat, HALF * before.structure)
        is_lost = before.is_shown & (now[0] < np.maximum(left, LEFT_OF_STRUCTURE * before.structure))
        if np.count_nonzero(is_lost) < LOST_SHARE * FEWEST_BLOCKS:
            return
        for part, place in PARTS.items():
            opposite = PARTS[OPPOSITE[part]]
            shown, lost = before.count_shown(place), np.count_nonzero(is_lost[place])
            most_lost = MOST_LOST_OPPOSITE * before.count_shown(opposite)
            if (
                part not in self._losses
                and shown >= FEWEST_BLOCKS
                and lost >= LOST_SHARE * shown
                and np.count_nonzero(is_lost[opposite]) <= most_lost
                and has_left[opposite].mean() <= MOST_LEFT_OPPOSITE
                and np.count_nonzero(now[0][place] >= SHOWN_STRUCTURE) <= HALF * shown  # otherwise it moved
                and before.is_shown_until_now(where := _only(is_lost, place))
            ):
                self._losses[part] = _Loss(where, before.structure, None)

    def _find_replaced(
        self, now: Blocks, time_ns: int, before: _Before, is_below: Mask, is_above: Mask
    ) -> None:
        """Find halves whose blocks show something else that stands still, or is brighter if nothing moved."""
        has_left = is_below | is_above
        if np.count_nonzero(has_left) < LEAST_REPLACED * _SMALLEST_PART:  # nearly always
            return
        if max(has_left[place].mean() for place in PARTS.values()) < LEAST_REPLACED:
            return
        is_still = self._still(now, time_ns)
        has_stopped, is_moving = is_still & has_left, before.is_live & ~is_still
        # blocks that only grew dark may be night
        is_replaced = has_stopped & (is_above | (now[0] >= self._flat) | (now[1] >= DARK_LUMA))
        for part, place in PARTS.items():
            opposite = PARTS[OPPOSITE[part]]
            live, opposite_live = (np.count_nonzero(before.is_live[it]) for it in (place, opposite))
            stopped = np.count_nonzero((has_stopped & before.is_live)[place])
            if (
                part not in self._losses
                and max(live, opposite_live) >= FEWEST_BLOCKS
                and is_replaced[place].mean() >= LEAST_REPLACED
                and (
                    stopped >= HALF * live
                    if live >= FEWEST_BLOCKS
                    else (is_replaced & is_above)[place].mean() >= LEAST_REPLACED
                )
                and has_left[opposite].mean() <= MOST_LEFT_OPPOSITE
                and (opposite_live < FEWEST_BLOCKS or np.count_nonzero(is_moving[opposite]) >= FEWEST_MOVING)
            ):
                self._losses[part] = _Loss(_only(is_replaced, place), before.structure, now)


@dataclass(frozen=True, eq=False)
class _Before:
    """The blocks' earlier view, (9, 16) each; snapshots and range are of structure and of luma."""

    structure: Blocks
    is_shown: Mask
    """Whether there was structure nearly all the time."""
    is_live: Mask
    """Whether that structure changed, as on a moving road."""
    least: Blocks
    most: Blocks
    snapshots: Blocks
    newest: Blocks

    @classmethod
    def of(cls, snapshots: Blocks, newest: Blocks) -> _Before:
        """From (n, 2, 9, 16) structure and luma."""
        nth = int(len(snapshots) * SHOWN_QUANTILE)
        structure = np.partition(snapshots[:, 0], nth, axis=0)[nth]
        least, most = snapshots.min(axis=0), snapshots.max(axis=0)
        is_shown = structure >= SHOWN_STRUCTURE
        at_least, share = _LIVE_STRUCTURE
        is_live = is_shown & (most[0] - least[0] > np.maximum(at_least, share * most[0]))
        return cls(structure, is_shown, is_live, least, most, snapshots, newest)

    def is_left_by(self, now: Blocks) -> tuple[Mask, Mask]:
        """(9, 16) whether a block is far below, and far above, its earlier range."""
        is_below = now < _BELOW[0] * self.least - _BELOW[1]
        is_above = now > _ABOVE[0] * self.most + _ABOVE[1]
        return np.asarray(is_below.any(axis=0), np.bool_), np.asarray(is_above.any(axis=0), np.bool_)

    def is_shown_until_now(self, where: Mask) -> bool:
        """Whether these blocks had their structure until the newest snapshot, and did not fade before."""
        mean = self.snapshots[:, 0].mean(axis=0)
        return bool(self.newest[0][where].sum() >= SUDDEN_SHARE * mean[where].sum())

    def count_shown(self, place: tuple[slice, slice]) -> int:
        return int(np.count_nonzero(self.is_shown[place]))


@dataclass(frozen=True, eq=False)
class _Loss:
    """The view that a part has lost, and what covers it if that has structure of its own."""

    where: Mask
    structure: Blocks
    instead: Blocks | None

    def lasts(self, now: Blocks, flat: float) -> bool:
        """Whether at least half of the blocks still look as they did when the view was lost."""
        if self.instead is None:
            holds = now[0] < np.maximum(flat, HALF * self.structure)
        else:
            structure, luma = np.abs(now - self.instead)
            holds = (luma <= 4) & (structure <= np.maximum(4, 0.2 * self.instead[0]))
        return bool(holds[self.where].mean() >= HALF)

    def is_instead(self, is_still: Mask) -> bool:
        """Whether the cover is still there in other light."""
        return self.instead is not None and bool(is_still[self.where].mean() >= HALF)


def _only(mask: Mask, place: tuple[slice, slice]) -> Mask:
    """The mask restricted to a part."""
    inside = np.zeros_like(mask)
    inside[place] = mask[place]
    return inside
