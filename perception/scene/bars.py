"""Black bars at the edges of a picture (letterbox, pillarbox): found at once, given up if they light up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.imaging.yuv import Plane, Yuv420

Lines = NDArray[np.float64]
"""(n,) share of each row or column, from the edge inwards."""

BLACKEST: Final = 40
"""Mean luma of an edge that may be a bar's; decoders' black is 16, OpenCV's is 0."""
NOT_BLACK: Final = 10
"""A pixel so much lighter than its bar is none of it; compression leaves less beside an edge."""
NOISE: Final = 2.0
"""Standard deviation of luma in a bar, at most: a camera's own picture has more, however dark it is."""
DARK_SHARE: Final = 0.005
"""Of the pixels of a bar's lines that may be lighter."""
LIT_SHARE: Final = 0.5
"""Of the pixels of the first line of the picture that have to be, or have been, lighter."""
STRAIGHT_SHARE: Final = 0.015
"""Of the side: within so many lines, and at least `STRAIGHT_PX`, a straight edge goes from dark to lit."""
STRAIGHT_PX: Final = 4
LARGEST_ACROSS, LARGEST_DOWN = 0.38, 0.3
"""Share of the width and of the height that a bar takes at most: upright video in a wide picture has 0.37."""
LARGEST_ALONE: Final = 0.25
"""The same of one without a bar at least a third as large on the opposite side."""
PRESENT_NS: Final = 60_000_000_000
"""A bar that does not show within this time of the first picture is not looked for any more."""
SHARP: Final = 0.5
"""Share of the way from a bar's luma to that some lines further that is made across its edge: what is dark in
the picture has a soft one."""
MOST_ROUNDS: Final = 4
"""In which bars at two sides are found by the length of those at the others."""
STEADY: Final = 10
"""After so many pictures in which it was the same, a bar only has to stay dark."""


class Bars(NamedTuple):
    """How many pixels each of them takes."""

    left_px: int = 0
    top_px: int = 0
    right_px: int = 0
    bottom_px: int = 0

    def __str__(self) -> str:
        """Such as "bars of 80 px left and 80 px right"."""
        sides = zip(self, ("left", "top", "right", "bottom"), strict=True)
        return "bars of " + " and ".join(f"{size_px} px {side}" for size_px, side in sides if size_px)

    def within(self, frame_wh: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns of a frame between them."""
        width, height = frame_wh
        return slice(self.top_px, height - self.bottom_px), slice(self.left_px, width - self.right_px)

    def drawn(self, frame_wh: tuple[int, int]) -> NDArray[np.uint8]:
        """(H, W) uint8 mask of a frame: 255 in the bars."""
        mask = np.full((frame_wh[1], frame_wh[0]), 255, np.uint8)
        mask[self.within(frame_wh)] = 0
        return mask


class BarsLearner:
    """The bars of one source's pictures, all of one size.

    A bar is black and even, reaches along its whole side, and ends in a straight edge: nearly no pixel of it
    is lit, and a few lines further at least half of them are. A night sky and an unlit road are dark too, but
    their light begins here and there. A bar at night shows as more and more pixels beside it are lit at one
    time or another. What was lit once, from the first picture on, is in no bar.
    """

    def __init__(self) -> None:
        self._black: float | None = None
        self._lit: NDArray[np.uint8] | None = None
        self._found, self._since = Bars(), 0
        self._first_ns: int | None = None
        self._is_over = False

    @property
    def found(self) -> Bars:
        """As of the last picture."""
        return self._found

    @property
    def is_over(self) -> bool:
        """Whether no picture will change anything any more."""
        return self._is_over

    def observe(self, pixels: NDArray[np.uint8] | Yuv420, time_ns: int) -> Bars:
        """The bars after one more picture.

        Args:
            pixels: (H, W, 3) uint8 BGR, or planes.
            time_ns: the frame's own time.
        """
        if self._is_over:
            return self._found
        if self._first_ns is None:
            self._first_ns = time_ns
            self._black = _black_of(pixels)
        if self._black is None or (not any(self._found) and time_ns - self._first_ns > PRESENT_NS):
            self._is_over, self._lit = True, None
            return self._found
        if self._since >= STEADY:
            self._check(pixels, self._black + NOT_BLACK)
            return self._found
        luma = _luma_of(pixels)
        lit = _lighter(luma, self._black + NOT_BLACK)
        self._lit = lit if self._lit is None else np.asarray(cv2.max(self._lit, lit, dst=self._lit), np.uint8)
        if not _has_dark_edge(self._lit):
            self._found, self._is_over, self._lit = Bars(), True, None
            return self._found
        found = self._confirmed(luma, bars_in(self._lit))
        self._since = self._since + 1 if found == self._found and any(found) else 0
        self._found = found
        if self._since >= STEADY:
            self._lit = None
        return found

    def _confirmed(self, luma: Plane, likely: Bars) -> Bars:
        """Those that were found before, and those without noise whose edge is sharp in this picture."""
        sides: list[int] = []
        for side, (size_px, before_px) in enumerate(zip(likely, self._found, strict=True)):
            if size_px and abs(size_px - before_px) <= STRAIGHT_PX:
                sides.append(before_px)  # accumulated noise shifts an edge by a pixel or two
            else:
                sides.append(size_px if size_px and _is_bar(luma, likely, side) else 0)
        return Bars(*sides)

    def _check(self, pixels: NDArray[np.uint8] | Yuv420, lit_luma: float) -> None:
        """Give up a bar that shows something."""
        self._found = _only(_luma_of(pixels), self._found, lambda part: _is_dark(part, lit_luma))
        self._is_over = not any(self._found)


def bars_in(lit: NDArray[np.uint8]) -> Bars:
    """The bars around what is lit.

    Args:
        lit: (H, W) uint8, 255 wherever a picture is, or was, lighter than its bars; else 0.
    """
    height, width = lit.shape
    of_rows = np.asarray(cv2.reduce(lit, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)).ravel() / 255
    of_columns = np.asarray(cv2.reduce(lit, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)).ravel() / 255
    # beside bars at the other two sides a line is only as long as the picture
    length_px = int(np.count_nonzero(of_columns > DARK_SHARE * height))
    height_px = int(np.count_nonzero(of_rows > DARK_SHARE * width))
    found = Bars()
    for _ in range(MOST_ROUNDS):
        rows, columns = of_rows / max(length_px, 1), of_columns / max(height_px, 1)
        down, across = LARGEST_DOWN * height, LARGEST_ACROSS * width
        left, right = _pair(_edge(columns, across), _edge(columns[::-1], across), width)
        top, bottom = _pair(_edge(rows, down), _edge(rows[::-1], down), height)
        bottom = bottom if 3 * top >= bottom else 0  # a black dashboard, if there is none above
        before, found = found, Bars(left, top, right, bottom)
        if found == before:
            return found
        length_px, height_px = width - left - right, height - top - bottom
    return Bars()


def _edge(shares: Lines, largest_px: float) -> int:
    """How many lines of a side are a bar's, up to the first lit one."""
    is_lit = shares >= LIT_SHARE
    edge = int(is_lit.argmax())
    if not is_lit[edge] or not 0 < edge <= largest_px:
        return 0
    straight = max(STRAIGHT_PX, round(STRAIGHT_SHARE * len(shares)))
    return edge if (shares[: max(1, edge - straight)] <= DARK_SHARE).all() else 0


def _pair(one: int, other: int, side_px: int) -> tuple[int, int]:
    """The same without a large bar that has no counterpart."""
    alone_px = LARGEST_ALONE * side_px
    return (
        one if one <= alone_px or 3 * other >= one else 0,
        other if other <= alone_px or 3 * one >= other else 0,
    )


def _black_of(pixels: NDArray[np.uint8] | Yuv420) -> float | None:
    """Luma of the darkest edge of a picture, if that is even and dark enough for a bar's."""
    luma = _of_lines(pixels)
    darkest = min(luma, key=lambda line: float(line.mean()))
    black = float(np.median(darkest))
    return black if black <= BLACKEST and np.mean(darkest > black + NOT_BLACK) <= DARK_SHARE else None


def _of_lines(pixels: NDArray[np.uint8] | Yuv420) -> list[NDArray[np.uint8]]:
    """Luma of the outermost row or column of each side."""
    picture = pixels.y if isinstance(pixels, Yuv420) else pixels
    places: list[Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = [
        *(lambda it: it[:, :1], lambda it: it[:1], lambda it: it[:, -1:], lambda it: it[-1:])
    ]
    return [_luma_of(np.ascontiguousarray(place(picture))) for place in places]


def _luma_of(pixels: NDArray[np.uint8] | Yuv420) -> Plane:
    if isinstance(pixels, Yuv420):
        return pixels.y
    return pixels if pixels.ndim == 2 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), np.uint8)


def _has_dark_edge(lit: NDArray[np.uint8]) -> bool:
    """Whether one of the four sides was never lit."""
    return any(
        cv2.countNonZero(np.ascontiguousarray(line)) <= DARK_SHARE * line.size
        for line in (lit[:, :1], lit[:1], lit[:, -1:], lit[-1:])
    )


def _is_bar(luma: Plane, bars: Bars, side: int) -> bool:
    """Whether a picture shows a bar at a side: even, and with a sharp edge."""
    if float(cv2.meanStdDev(_parts(luma, bars)[side])[1][0, 0]) > NOISE:
        return False
    rows, columns = bars.within((luma.shape[1], luma.shape[0]))
    inwards = (luma[rows].T, luma[:, columns], luma[rows, ::-1].T, luma[::-1, columns])[side]
    size_px = bars[side]
    means = inwards[max(0, size_px - 2) : size_px + 12].mean(axis=1)
    at = min(2, size_px)
    black, edge, further = means[at - 1], means[at + 1], means[at + 4 :].mean()
    return bool(edge - black >= SHARP * (further - black) > 0)


def _only(luma: Plane, bars: Bars, keeps: Callable[[Plane], bool]) -> Bars:
    parts = zip(bars, _parts(luma, bars), strict=True)
    return Bars(*(size_px if size_px and keeps(part) else 0 for size_px, part in parts))


def _parts(luma: Plane, bars: Bars) -> list[Plane]:
    """What lies in each bar, all but the lines beside its edge."""
    height, width = luma.shape
    left, top, right, bottom = (max(1, size_px - STRAIGHT_PX) if size_px else 0 for size_px in bars)
    return [luma[:, :left], luma[:top], luma[:, width - right :], luma[height - bottom :]]


def _is_dark(part: Plane, lit_luma: float) -> bool:
    return cv2.countNonZero(_lighter(part, lit_luma)) <= DARK_SHARE * part.size


def _lighter(luma: Plane, level: float) -> Plane:
    """(h, w) uint8, 255 where luma is above a level."""
    return np.asarray(cv2.threshold(luma, level, 255, cv2.THRESH_BINARY)[1], np.uint8)
