"""The own bonnet or dashboard: what stands still at the lower edge of the picture while the road moves."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.imaging.yuv import Plane
from perception.scene.bonnet_outline import (
    EDGE,
    FAINT_EDGE,
    SMALL_WH,
    Outline,
    outline_in,
    spans,
    up_to_the_road,
)

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

EVERY_NS: Final = 500_000_000
"""Between two pictures that are compared: long enough for all that is near the road to have moved."""
FIRST_NS: Final = 60_000_000_000
"""What is not there within this time of the first picture is never learnt."""
ATTEMPTS: Final = (40, 60, 90, 120)
"""After so many pictures of a drive an outline is looked for; after the last, no more."""
MOVED_SHARE: Final = 0.55
"""The picture moves if so much of its edges has changed since the one before, outside what is learnt."""
FEWEST_EDGES: Final = 400
"""Pixels with edges, of 57,600; with fewer there is not enough to see."""
OVER_NOISE: Final = 2.5
"""An edge is so many times as steep as what changes on average: noise, while the picture stands still."""
LIT_LUMA: Final = 45.0
"""Mean luma below which nothing is learnt: at night light and shadow go with the vehicle."""
LEVEL, QUITE_LEVEL = 0.5, 0.85
"""How much of an edge's gradient leads downwards; more, where it has not always been the same."""
COHERENCE, FAINT_COHERENCE = 0.85, 0.7
"""Length of the mean gradient by the mean length: 1 if it never changes, and near 0 on a moving road."""
SAME_WAY, LIKE = 0.8, 0.3
"""Cosine between two gradients of one edge, and how long one is by the other, at least."""
SHARP: Final = 1.6
"""An edge is so many times as steep as what lies on one of its sides: the edge of a beam of light is soft."""
BESIDE_PX: Final = 4
CHECK_NS: Final = 2_000_000_000
"""Between two checks that what was learnt is still there."""
LEAST_SEEN: Final = 0.4
"""Share of an outline that has to be seen again."""
MISSED_CHECKS: Final = 15
"""After so many checks in a row without it the bonnet is not there any more."""


class BonnetLearner:
    """The outline of the own bonnet in one source's pictures, all of one size and without bars.

    Two pictures a second are compared while the picture moves, it is light enough to see, and nothing is
    wrong with the view. The gradients of what moves point everywhere in time, those of the bonnet's outline
    always the same way. An outline is an edge, sharp in half of its columns, that goes through most of the
    picture's width at its lower end and below which next to nothing moves. It has to be there in the first
    minute, and once it is found, or has not been in a minute of driving, nothing more is learnt.

    A parked car compares nothing. Marks along the road meet far ahead and leave no outline in the lower part;
    between them the road moves. What appears later, such as mud, was not there in the first minute.

    Args:
        first_ns: time of the source's first picture; None if it is still to come.
    """

    def __init__(self, first_ns: int | None = None) -> None:
        self.outline: Outline | None = None
        self.is_over = False
        """Whether nothing more is learnt."""
        self._first_ns = first_ns
        self._last_ns: int | None = None
        self._before: tuple[Floats, Floats, Floats] | None = None
        self._moving, self._luma = _Gradients(), _Luma()
        self._of_first_minute: _Gradients | None = _Gradients()
        self._was_there: _Gradients | None = None
        self._missed_checks = 0

    def is_due(self, time_ns: int) -> bool:
        """Whether a frame of this time is worth a look; the source's own time."""
        if self.is_over and self.outline is None:
            return False
        if self._last_ns is None or time_ns < self._last_ns:
            return True
        return time_ns - self._last_ns >= (EVERY_NS if self.outline is None else CHECK_NS)

    def observe(self, picture: NDArray[np.uint8], time_ns: int) -> Outline | None:
        """The outline after one more picture.

        Args:
            picture: (H, W) uint8 luma, or (H, W, 3) BGR; of a view with which nothing is wrong.
            time_ns: the frame's own time.
        """
        if self._first_ns is None:
            self._first_ns = time_ns
        before, elapsed_ns = self._before, time_ns - (time_ns if self._last_ns is None else self._last_ns)
        self._last_ns = time_ns
        small = small_luma(picture)
        if cv2.mean(small)[0] < LIT_LUMA:
            self._before = None
            return self.outline
        now = gradients(small)
        self._before = now
        if self.outline is not None:
            self._check(now, before)
            return self.outline
        if self._of_first_minute is not None:
            if time_ns - self._first_ns <= FIRST_NS:
                self._of_first_minute.add(now)
            else:
                self._was_there, self._of_first_minute = self._of_first_minute, None
                if not spans(self._was_there.faint_edges()):
                    self.is_over = True
                    return None
        if before is None or not 0 < elapsed_ns <= 4 * EVERY_NS or not moves(before, now, None):
            return None
        self._moving.add(now)
        self._luma.add(small)
        if self._moving.count in ATTEMPTS:
            self.outline = self._found()
            self.is_over = self.outline is not None or self._moving.count == ATTEMPTS[-1]
            if self.is_over:
                self._of_first_minute = self._was_there = None
        return self.outline

    def _found(self) -> Outline | None:
        edges, faint = self._moving.edges(), self._moving.faint_edges()
        if self._was_there is not None:
            was_there = self._was_there.is_like(self._moving)
            edges, faint = edges & was_there, faint & was_there
        if not spans(edges):
            return None
        down = self._moving.down()
        found = outline_in(edges, faint, down, self._moving.mean_length(), self._moving.changing())
        return None if found is None else up_to_the_road(found, down, self._luma.spread())

    def _check(
        self, now: tuple[Floats, Floats, Floats], before: tuple[Floats, Floats, Floats] | None
    ) -> None:
        """Forget an outline that is not there any more although the picture moves, as of a turned camera."""
        assert self.outline is not None
        if before is None or not moves(before, now, self.outline):
            return
        x, y, _ = now
        rows = np.clip(np.rint(self.outline.rows).astype(int), 1, SMALL_WH[1] - 2)
        columns = np.arange(SMALL_WH[0])
        is_there = np.zeros(SMALL_WH[0], np.bool_)
        for shift in (-1, 0, 1):
            at = rows + shift, columns
            mean_x, mean_y = self._moving.x[at] / self._moving.count, self._moving.y[at] / self._moving.count
            is_there |= x[at] * mean_x + y[at] * mean_y >= LIKE * (mean_x**2 + mean_y**2)
        is_seen = is_there.mean() >= LEAST_SEEN
        self._missed_checks = 0 if is_seen else self._missed_checks + 1
        if self._missed_checks >= MISSED_CHECKS:
            self.outline = None


def _stands_out(gradient: Floats) -> Mask:
    """Where a gradient is much steeper than on one of its sides."""
    above, below = np.zeros_like(gradient), np.zeros_like(gradient)
    above[BESIDE_PX:], below[:-BESIDE_PX] = gradient[:-BESIDE_PX], gradient[BESIDE_PX:]
    return np.asarray(gradient >= SHARP * np.minimum(above, below), np.bool_)


class _Gradients:
    """Sums of the gradients of several pictures."""

    def __init__(self) -> None:
        shape = SMALL_WH[::-1]
        self.x, self.y, self.length, self.steep = (np.zeros(shape, np.float32) for _ in range(4))
        self.count = 0

    def add(self, now: tuple[Floats, Floats, Floats]) -> None:
        x, y, length = now
        for total, one in ((self.x, x), (self.y, y), (self.length, length), (self.steep, np.abs(y))):
            cv2.accumulate(one, total)
        self.count += 1

    def faint_edges(self) -> Mask:
        """Where an edge, more level than steep, has always been about the same, or at least been there.

        Beside a road as grey as itself a bonnet is at times the brighter and at times the darker one.
        """
        is_edge = self._is_edge(EDGE, QUITE_LEVEL) & _stands_out(self.length)
        return is_edge | (self._is_edge(FAINT_EDGE, LEVEL) & self._is_steady(FAINT_COHERENCE))

    def edges(self) -> Mask:
        """Where a sharp edge, more level than steep, has always been the same."""
        return self._is_edge(EDGE, LEVEL) & self._is_steady(COHERENCE) & _stands_out(self._mean())

    def _is_edge(self, edge: float, level: float) -> Mask:
        return (self.length >= edge * max(1, self.count)) & (self.steep >= level * self.length)

    def _is_steady(self, coherence: float) -> Mask:
        return np.asarray(self._mean() >= coherence * self.length, np.bool_)

    def _mean(self) -> Floats:
        return np.asarray(cv2.magnitude(self.x, self.y), np.float32)

    def down(self) -> Floats:
        """(h, w) mean gradient downwards."""
        return np.asarray(self.y / max(1, self.count), np.float32)

    def is_like(self, other: _Gradients) -> Mask:
        """Where the mean gradient is, by and large, that of others."""
        mine, others = cv2.magnitude(self.x, self.y), cv2.magnitude(other.x, other.y)
        along = self.x * other.x + self.y * other.y
        is_alike = (along >= SAME_WAY * mine * others) & (mine * other.count >= LIKE * others * self.count)
        return np.asarray(is_alike, np.bool_)

    def mean_length(self) -> Floats:
        """(h, w)."""
        return np.asarray(self.length / max(1, self.count), np.float32)

    def changing(self) -> Floats:
        """(h, w) mean length of the gradients without what is always the same."""
        changing = (self.length - self._mean()) / max(1, self.count)
        return np.asarray(changing, np.float32)


class _Luma:
    """Sums of the luma of several pictures."""

    def __init__(self) -> None:
        self._sum, self._squares = (np.zeros(SMALL_WH[::-1], np.float64) for _ in range(2))
        self._count = 0

    def add(self, small: Plane) -> None:
        cv2.accumulate(small, self._sum)
        cv2.accumulateSquare(small, self._squares)
        self._count += 1

    def spread(self) -> Floats:
        """(h, w) standard deviation."""
        count = max(1, self._count)
        variance = self._squares / count - (self._sum / count) ** 2
        return np.sqrt(np.maximum(variance, 0)).astype(np.float32)


def small_luma(picture: NDArray[np.uint8]) -> Plane:
    """(180, 320) uint8 luma, with less noise than it had."""
    height, width = picture.shape[:2]
    while width >= 2 * SMALL_WH[0] and height >= 2 * SMALL_WH[1]:  # several times faster than any size
        even = picture[: height // 2 * 2, : width // 2 * 2]
        height, width = height // 2, width // 2
        picture = np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    small = cv2.resize(picture, SMALL_WH, interpolation=cv2.INTER_AREA)
    luma = small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.GaussianBlur(luma, (3, 3), 0), np.uint8)


def gradients(small: Plane) -> tuple[Floats, Floats, Floats]:
    """(180, 320) float32 each: Sobel's gradient to the right and down, and its length."""
    x = np.asarray(cv2.Sobel(small, cv2.CV_32F, 1, 0), np.float32)
    y = np.asarray(cv2.Sobel(small, cv2.CV_32F, 0, 1), np.float32)
    return x, y, np.asarray(cv2.magnitude(x, y), np.float32)


def moves(
    before: tuple[Floats, Floats, Floats], now: tuple[Floats, Floats, Floats], outline: Outline | None
) -> bool:
    """Whether most of the edges of a picture have changed.

    Args:
        outline: of what is known to stand still, which does not count.
    """
    changed = cv2.magnitude(cv2.subtract(now[0], before[0]), cv2.subtract(now[1], before[1]))
    longer = cv2.max(now[2], before[2])
    if outline is not None:
        longer[outline.drawn(SMALL_WH) > 0] = 0
    has_edge = longer >= max(EDGE, OVER_NOISE * cv2.mean(changed)[0])
    count = np.count_nonzero(has_edge)
    if count < FEWEST_EDGES:
        return False
    return bool(np.count_nonzero(has_edge & (changed >= 0.5 * longer)) >= MOVED_SHARE * count)
