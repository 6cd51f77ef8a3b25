"""The own bonnet or dashboard: what stands still at the lower edge of the picture while the road moves."""

from __future__ import annotations

from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.imaging.yuv import Plane

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

SMALL_WH: Final = (320, 180)
EVERY_NS: Final = 500_000_000
"""Between two pictures that are compared: long enough for all that is near the road to have moved."""
FIRST_NS: Final = 60_000_000_000
"""What is not there within this time of the first picture is never learnt."""
ATTEMPTS: Final = (24, 32, 40, 60, 90, 120)
"""After so many pictures of a drive an outline is looked for; after the last, no more."""
EDGE, FAINT_EDGE = 20.0, 8.0
"""Gradient by Sobel's operator of an edge, which is a step of luma by 5, and of a faint one."""
MOVED_SHARE: Final = 0.55
"""The picture moves if so much of its edges has changed since the one before, outside what is learnt."""
FEWEST_EDGES: Final = 400
"""Pixels with edges, of 57,600; with fewer there is not enough to see."""
OVER_NOISE: Final = 2.5
"""An edge is so many times as steep as what changes on average: noise, while the picture stands still."""
LIT_LUMA: Final = 45.0
"""Mean luma below which nothing is learnt: at night light and shadow go with the vehicle."""
COHERENCE, FAINT_COHERENCE = 0.85, 0.7
"""Length of the mean gradient by the mean length: 1 if it never changes, and near 0 on a moving road."""
SAME_WAY, LIKE = 0.8, 0.3
"""Cosine between two gradients of one edge, and how long one is by the other, at least."""
TOP_SHARE: Final = 0.7
"""The outline lies below this share of the picture's height."""
LEAST_HEIGHT: Final = 0.04
"""Share of the picture's height that an outline leaves below it at least."""
TRACED_SHARE: Final = 0.8
"""Of its columns, in which the edge itself is found."""
SHARP_SHARE: Final = 0.6
"""Of its columns, in which that edge is a sharp one; the others may be faint, as beside asphalt as grey."""
STARTS: Final = tuple(SMALL_WH[0] * place // 16 for place in (8, 6, 10, 4, 12))
"""Columns from which an outline is followed."""
STEP_PX, STEP_OF_GAP = 3, 0.15
"""How far it may be from where it is expected in the next column with an edge; more after columns without."""
MOST_GAP_PX: Final = 24
"""Columns in a row without an edge, as where a lane mark meets the outline; also at the picture's sides."""
BUMP_PX: Final = 41
"""Columns."""
SHARP: Final = 1.6
"""An edge is so many times as steep as what lies on one of its sides: the edge of a beam of light is soft."""
BESIDE_PX: Final = 4
STILL: Final = 6.0
"""Mean gradient that changes, below an outline, in most places: a road with its marks has more."""
STILL_OVER_NOISE: Final = 1.5
"""The same, by that of the tenth of the picture with the least, which is noise."""
ROUND_FROM_SHARE: Final = 0.12
"""An outline that rises by so much of the picture's height is round."""
ROUND: Final = 0.6
"""Then it has this share of its rise at a quarter of its width: lane marks that meet have half."""
MOVING_SHARE: Final = 0.015
"""Most of the area below an outline that may change more, as where it mirrors lamps."""
CHECK_NS: Final = 2_000_000_000
"""Between two checks that what was learnt is still there."""
LEAST_SEEN: Final = 0.4
"""Share of an outline that has to be seen again."""
MISSED_CHECKS: Final = 15
"""After so many checks in a row without it the bonnet is not there any more."""


class Outline(NamedTuple):
    """The upper edge of what stands still, in pixels of `SMALL_WH`."""

    rows: NDArray[np.float64]
    """(320,) the first row that belongs to it, in each column."""

    def drawn(self, picture_wh: tuple[int, int]) -> NDArray[np.uint8]:
        """(H, W) uint8 mask of a picture: 255 from the outline down."""
        width, height = picture_wh
        columns = (np.arange(width) + 0.5) * SMALL_WH[0] / width - 0.5
        first = np.interp(columns, np.arange(SMALL_WH[0]), self.rows) * height / SMALL_WH[1]
        return np.asarray((np.arange(height)[:, None] + 0.5 > first).view(np.uint8) * 255, np.uint8)


class BonnetLearner:
    """The outline of the own bonnet in one source's pictures, all of one size and without bars.

    Two pictures a second are compared while the picture moves, it is light enough to see, and nothing is
    wrong with the view. The gradients of what moves point everywhere in time, those of the bonnet's outline
    always the same way. An outline is a sharp edge that goes through most of the picture's width at its lower
    end, without gaps, and below which next to nothing moves. It has to be there in the first minute, and once
    it is found, or has not been in a minute of driving, nothing more is learnt.

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
        self._moving = _Gradients()
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
                if not _spans(self._was_there.faint_edges()):
                    self.is_over = True
                    return None
        if before is None or not 0 < elapsed_ns <= 4 * EVERY_NS or not moves(before, now, None):
            return None
        self._moving.add(now)
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
        return outline_in(edges, faint, self._moving.changing()) if _spans(edges) else None

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


class _Gradients:
    """Sums of the gradients of several pictures."""

    def __init__(self) -> None:
        shape = SMALL_WH[::-1]
        self.x, self.y, self.length = (np.zeros(shape, np.float32) for _ in range(3))
        self.count = 0

    def add(self, now: tuple[Floats, Floats, Floats]) -> None:
        for total, one in zip((self.x, self.y, self.length), now, strict=True):
            cv2.accumulate(one, total)
        self.count += 1

    def faint_edges(self) -> Mask:
        """Where an edge, more level than steep, has always been about the same."""
        return self._steady(FAINT_EDGE, FAINT_COHERENCE)

    def _steady(self, edge: float, coherence: float) -> Mask:
        steady = cv2.magnitude(self.x, self.y)
        is_edge = (self.length >= edge * max(1, self.count)) & (steady >= coherence * self.length)
        return np.asarray(is_edge & (np.abs(self.y) >= 0.6 * np.abs(self.x)), np.bool_)

    def edges(self) -> Mask:
        """Where a sharp edge, more level than steep, has always been the same."""
        steady = cv2.magnitude(self.x, self.y)
        is_edge = self._steady(EDGE, COHERENCE)
        above, below = np.zeros_like(steady), np.zeros_like(steady)
        above[BESIDE_PX:], below[:-BESIDE_PX] = steady[:-BESIDE_PX], steady[BESIDE_PX:]
        return np.asarray(is_edge & (steady >= SHARP * np.minimum(above, below)), np.bool_)

    def is_like(self, other: _Gradients) -> Mask:
        """Where the mean gradient is, by and large, that of others."""
        mine, others = cv2.magnitude(self.x, self.y), cv2.magnitude(other.x, other.y)
        along = self.x * other.x + self.y * other.y
        is_alike = (along >= SAME_WAY * mine * others) & (mine * other.count >= LIKE * others * self.count)
        return np.asarray(is_alike, np.bool_)

    def changing(self) -> Floats:
        """(h, w) mean length of the gradients without what is always the same."""
        changing = (self.length - cv2.magnitude(self.x, self.y)) / max(1, self.count)
        return np.asarray(changing, np.float32)


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


def _spans(edges: Mask) -> bool:
    """Whether the edges of the lower part are in enough columns for an outline."""
    rows = round(TOP_SHARE * SMALL_WH[1])
    return bool(edges[rows:].any(axis=0).mean() >= SHARP_SHARE)


def outline_in(edges: Mask, faint: Mask, changing: Floats) -> Outline | None:
    """The highest outline along edges that stand still, below which nothing moves.

    Args:
        edges: (180, 320) where sharp edges stand still.
        faint: (180, 320) where any edges do.
        changing: (180, 320) how much changes.
    """
    places = _first_rows(edges | faint)
    tried: set[tuple[int, int]] = set()
    for start in STARTS:
        for row in places[start]:
            if (start, row) in tried or not edges[row : row + 3, start].any():
                continue
            found = _traced(places, start, row)
            tried |= set(found.items())
            if (outline := _outline_of(found, edges)) is not None and _stands_still(outline, changing):
                return outline
    return None


def _first_rows(edges: Mask) -> list[list[int]]:
    """In each column, the first row of each of the edges in the lower part."""
    above = np.zeros_like(edges)
    above[1:] = edges[:-1]
    begins = edges & ~above
    begins[: round(TOP_SHARE * SMALL_WH[1])] = False
    places: list[list[int]] = [[] for _ in range(SMALL_WH[0])]
    for column, row in np.argwhere(begins.T).tolist():
        places[column].append(row)
    return places


def _traced(places: list[list[int]], start: int, row: int) -> dict[int, int]:
    """The rows of an outline by column: from one of its pixels both ways along the nearest edges."""
    found = {start: row}
    for step in (1, -1):
        at, last, slope, gap = start, row, 0.0, 0
        while 0 <= (at := at + step) < SMALL_WH[0] and gap <= MOST_GAP_PX:
            gap += 1
            expected = last + slope * gap
            nearest = min(places[at], key=lambda place: abs(place - expected), default=None)
            if nearest is not None and abs(nearest - expected) <= STEP_PX + STEP_OF_GAP * gap:
                slope = 0.8 * slope + 0.2 * (nearest - last) / gap
                found[at], last, gap = nearest, nearest, 0
    return found


def _outline_of(found: dict[int, int], edges: Mask) -> Outline | None:
    """The outline along these pixels, if it is one: through the whole width, sharp, high and round enough."""
    width, height = SMALL_WH
    if min(found) > MOST_GAP_PX or max(found) < width - 1 - MOST_GAP_PX or len(found) < TRACED_SHARE * width:
        return None
    columns = np.array(sorted(found))
    tops = np.array([found[column] for column in columns.tolist()])
    is_sharp = edges[tops, columns] | edges[np.minimum(tops + 1, height - 1), columns]
    # the first row of an edge lies above what it belongs to
    rows = _even(np.interp(np.arange(width), columns, tops + 1.0))
    ends = (rows[:5].mean() + rows[-5:].mean()) / 2
    rise = ends - rows.min()
    quarters = ends - (rows[width // 4] + rows[3 * width // 4]) / 2
    is_round = rise < ROUND_FROM_SHARE * height or quarters >= ROUND * rise
    is_high = rows.min() <= (1 - LEAST_HEIGHT) * height
    return Outline(rows) if is_sharp.mean() >= SHARP_SHARE and is_round and is_high else None


def _even(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without bumps that are narrower than `BUMP_PX`, as of marks that meet the outline."""
    around = 2 * BUMP_PX
    line = np.pad(rows, around, mode="edge").astype(np.float32)[None]
    brush = np.ones((1, BUMP_PX), np.uint8)
    without = cv2.erode(cv2.dilate(line, brush), brush)  # rows count downwards
    smooth = cv2.blur(without, (5, 1))[0, around:-around]
    return np.asarray(np.maximum(smooth, rows), np.float64)


def _stands_still(outline: Outline, changing: Floats) -> bool:
    inside = outline.drawn(SMALL_WH) > 0
    inside = cv2.erode(inside.view(np.uint8), np.ones((7, 7), np.uint8)) > 0
    values = changing[inside]
    if values.size < SMALL_WH[0]:
        return False
    limit = max(STILL, STILL_OVER_NOISE * float(np.quantile(changing, 0.1)))
    return bool(np.median(values) <= limit and np.mean(values > 2 * limit) <= MOVING_SHARE)
