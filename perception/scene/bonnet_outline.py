"""The outline of what stands still at the lower edge of a picture, followed along its edges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

SMALL_WH: Final = (320, 180)
EDGE, FAINT_EDGE = 20.0, 8.0
"""Gradient by Sobel's operator of an edge, which is a step of luma by 5, and of a faint one."""
TOP_SHARE: Final = 0.7
"""The outline lies below this share of the picture's height."""
LEAST_HEIGHT: Final = 0.04
"""Share of the picture's height that an outline leaves below it at least."""
TRACED_SHARE: Final = 0.8
"""Of its columns, in which the edge itself is found."""
SHARP_SHARE: Final = 0.45
"""Of its columns, in which that edge is a sharp one; the others may be faint, as beside asphalt as grey."""
RIM_PX: Final = 14
"""Rows between an outline that is faint, as beside grey asphalt, and a sharp one on the bonnet, at most."""
SHAKEN: Final = 3.0
"""A road's luma varies so many times as much as a bonnet's, at least; half-way between is its edge."""
ABOVE_PX, WITHIN_PX = 6, (2, 8)
"""Rows of which that is asked: above what may be its rim, and from an outline on."""
RIM_EDGE_PX: Final = 2
"""Rows around its upper end in which a rim has at least a faint edge; a road that does not vary has none."""
LEAST_SPREAD: Final = 0.5
"""Of luma that is rounded."""
STARTS: Final = tuple(SMALL_WH[0] * place // 16 for place in (8, 6, 10, 4, 12))
"""Columns from which an outline is followed."""
STEP_PX, STEP_OF_GAP = 3, 0.15
"""How far it may be from where it is expected in the next column with an edge; more after those without."""
STRAIGHT: Final = 5
"""Columns of which the median counts, here and four times as many before, as it is followed straight on."""
MOST_GAP_PX: Final = 24
"""Columns in a row without an edge, as where a lane mark meets the outline; also at the picture's sides."""
BESIDE_IT_PX, NEAREST_PX, ALONG_PX = 5, 3.0, 81
"""What was followed may be another edge, a few rows away, where marks hide the outline: it leads from dark to
light as its surroundings in so many columns do, or from light to dark; the nearer ones are the likelier."""
EVEN_PX, EVEN_ROUNDS, ARC_PX = 12.0, 5, 4
"""An outline is an arc within some columns to either side, whatever meets it there, such as a lane mark;
one for every few columns."""
STRAY_PX: Final = 1.0
"""Rows; a pixel of an edge that is twice as far from the arc is none of the outline's."""
MARGIN_PX: Final = 1.5
"""Rows above the outline that are ignored with it: the lens blurs its edge, and camera and bonnet sway."""
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


class Outline(NamedTuple):
    """The upper edge of what stands still, in pixels of `SMALL_WH`."""

    rows: NDArray[np.float64]
    """(320,) where it begins, in each column: between two rows, or within one."""

    def drawn(self, picture_wh: tuple[int, int]) -> NDArray[np.uint8]:
        """(H, W) uint8 mask of a picture: 255 from just above the outline down."""
        width, height = picture_wh
        columns = (np.arange(width) + 0.5) * SMALL_WH[0] / width - 0.5
        first = np.interp(columns, np.arange(SMALL_WH[0]), self.rows - MARGIN_PX) * height / SMALL_WH[1]
        return np.asarray((np.arange(height)[:, None] + 0.5 > first).view(np.uint8) * 255, np.uint8)


def spans(edges: Mask) -> bool:
    """Whether the edges of the lower part are in enough columns for an outline."""
    rows = round(TOP_SHARE * SMALL_WH[1])
    return bool(edges[rows:].any(axis=0).mean() >= SHARP_SHARE)


def outline_in(edges: Mask, faint: Mask, down: Floats, length: Floats, changing: Floats) -> Outline | None:
    """The highest outline along edges that stand still, below which nothing moves.

    Args:
        edges: (180, 320) where sharp edges stand still.
        faint: (180, 320) where any edges do.
        down: (180, 320) mean gradient downwards.
        length: (180, 320) mean length of gradients.
        changing: (180, 320) how much of it changes.
    """
    sharp: list[Outline] = []
    rims: list[Outline] = []
    any_edges = edges | faint
    # what is faint, or leads the other way from dark to light, may be a mark's edge or lie on the bonnet
    for followed in (any_edges & (down > 0), any_edges & (down < 0), edges, any_edges):
        for found in _ways(followed, edges, length):
            outline = _outline_of(found, down)
            if outline is not None and _stands_still(outline, changing):
                (sharp if _is_sharp(found, edges) else rims).append(outline)
    if not sharp:
        return None
    highest = min(sharp, key=lambda outline: float(outline.rows.mean()))
    near = [it.rows for it in sharp + rims if np.abs(it.rows - highest.rows).max() <= RIM_PX]
    # where one of them follows an edge on the bonnet, another has its rim
    return Outline(np.min(near, axis=0))


def up_to_the_road(outline: Outline, down: Floats, spread: Floats) -> Outline:
    """The outline, higher where what is above it stands as still as what is below.

    A rim that is as bright as the road has no edge, and does not vary as the road does.

    Args:
        outline: along edges.
        down: (180, 320) mean gradient downwards.
        spread: (180, 320) standard deviation of luma.
    """
    first = np.rint(outline.rows).astype(int)

    def band(from_px: int, to_px: int) -> Floats:
        rows = np.clip(first + np.arange(from_px, to_px + 1)[:, None], 0, SMALL_WH[1] - 1)
        return spread[rows, np.arange(SMALL_WH[0])]

    within = max(float(np.median(band(*WITHIN_PX))), LEAST_SPREAD)
    moving = float(np.median(band(-RIM_PX - ABOVE_PX, -RIM_PX)))
    if moving < SHAKEN * within:
        return outline
    above = band(-RIM_PX, 0)[::-1] <= np.sqrt(within * moving)
    still = np.where(above.all(axis=0), 0, above.argmin(axis=0))  # what moves nowhere tells nothing
    columns = np.arange(SMALL_WH[0])
    ends = np.clip(first - still + np.arange(-RIM_EDGE_PX, RIM_EDGE_PX + 1)[:, None], 0, SMALL_WH[1] - 1)
    has_edge = np.abs(down[ends, columns]).max(axis=0) >= FAINT_EDGE
    top = np.where(has_edge & (still > 0), first - still + 1.0, outline.rows)
    return Outline(np.minimum(outline.rows, _even(columns, top)))


def _is_sharp(found: dict[int, int], edges: Mask) -> bool:
    columns, rows = list(found), list(found.values())
    return bool(edges[rows, columns].mean() >= SHARP_SHARE)


def _ways(followed: Mask, edges: Mask, length: Floats) -> Iterator[dict[int, int]]:
    """The rows by column of what can be followed from a sharp edge."""
    places, sharp = _peaks(followed, length), _peaks(followed & edges, length)
    tried: set[tuple[int, int]] = set()
    for start in STARTS:
        for row in sharp[start]:
            if (start, row) not in tried:
                found = _traced(places, sharp, start, row)
                tried |= set(found.items())
                yield found


def _peaks(edges: Mask, length: Floats) -> list[list[int]]:
    """In each column, the rows of the lower part where edges are steepest."""
    above, below = np.zeros_like(length), np.zeros_like(length)
    above[1:], below[:-1] = length[:-1], length[1:]
    peaks = edges & (length >= above) & (length > below)
    peaks[: round(TOP_SHARE * SMALL_WH[1])] = False
    places: list[list[int]] = [[] for _ in range(SMALL_WH[0])]
    for column, row in np.argwhere(peaks.T).tolist():
        places[column].append(row)
    return places


def _traced(places: list[list[int]], sharp: list[list[int]], start: int, row: int) -> dict[int, int]:
    """The rows of an outline by column: from one of its pixels both ways along the nearest edges, sharp ones
    rather than any."""
    found = {start: row}
    for step in (1, -1):
        at, gap = start, 0
        columns, rows = [start], [row]
        while 0 <= (at := at + step) < SMALL_WH[0] and gap <= MOST_GAP_PX:
            gap += 1
            if not places[at]:
                continue
            expected, reach = _straight_on(columns, rows, at), STEP_PX + STEP_OF_GAP * gap
            for ones in (sharp[at], places[at]):
                nearest = min(ones, key=lambda place: abs(place - expected), default=None)
                if nearest is not None and abs(nearest - expected) <= reach:
                    columns.append(at)
                    rows.append(nearest)
                    gap = 0
                    break
        found |= dict(zip(columns, rows, strict=True))
    return found


def _straight_on(columns: list[int], rows: list[int], column: int) -> float:
    """The row in which an outline goes on, from the last columns in which it was found."""
    near, near_row = columns[-STRAIGHT:], sorted(rows[-STRAIGHT:])
    row = near_row[len(near_row) // 2]
    if len(rows) < 2 * STRAIGHT:
        return row
    first = max(0, len(rows) - 5 * STRAIGHT)
    far_row = sorted(rows[first : first + STRAIGHT])[STRAIGHT // 2]
    slope = (row - far_row) / (near[STRAIGHT // 2] - columns[first + STRAIGHT // 2])
    return row + slope * (column - near[STRAIGHT // 2])


def _outline_of(found: dict[int, int], down: Floats) -> Outline | None:
    """The outline along these pixels, if it is one: through the whole width, high and round enough."""
    width, height = SMALL_WH
    if min(found) > MOST_GAP_PX or max(found) < width - 1 - MOST_GAP_PX or len(found) < TRACED_SHARE * width:
        return None
    columns = np.array(sorted(found))
    peaks = np.array([found[column] for column in columns.tolist()])
    rows = _even(columns, _steepest(columns, peaks, down))
    ends = (rows[:5].mean() + rows[-5:].mean()) / 2
    rise = ends - rows.min()
    quarters = ends - (rows[width // 4] + rows[3 * width // 4]) / 2
    is_round = rise < ROUND_FROM_SHARE * height or quarters >= ROUND * rise
    is_high = rows.min() <= (1 - LEAST_HEIGHT) * height
    return Outline(rows) if is_round and is_high else None


def _steepest(columns: NDArray[np.int64], peaks: NDArray[np.int64], down: Floats) -> NDArray[np.float64]:
    """Where the outline along edges is steepest, to a part of a row.

    Args:
        columns: (n,) of the edges.
        peaks: (n,) their rows.
        down: (180, 320) mean gradient downwards.
    """
    offsets = np.arange(-BESIDE_IT_PX, BESIDE_IT_PX + 1)
    rows = peaks[:, None] + offsets
    gradient = down[np.clip(rows, 0, SMALL_WH[1] - 1), columns[:, None]]
    every = np.arange(len(columns))
    own = gradient[:, BESIDE_IT_PX][None].astype(np.float32)
    way = np.sign(cv2.blur(own, (ALONG_PX, 1), borderType=cv2.BORDER_REPLICATE)[0])
    gradient = np.maximum(gradient * way[:, None], 1e-3)
    nearest = np.exp(-(offsets**2) / (2 * NEAREST_PX**2))
    steepest = np.clip((gradient * nearest).argmax(axis=1), 1, len(offsets) - 2)
    around = steepest[:, None] + np.arange(-1, 2)
    weight = gradient[every[:, None], around]
    # a gradient belongs to the middle of its row
    return np.asarray(rows[:, 0] + 0.5 + (weight * around).sum(axis=1) / weight.sum(axis=1), np.float64)


def _even(columns: NDArray[np.int64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """(320,) the arcs through most of these pixels, by Cleveland's robust local regression."""
    middles = np.linspace(0, SMALL_WH[0] - 1, SMALL_WH[0] // ARC_PX)
    from_middle = (columns - middles[:, None]) / EVEN_PX
    near = np.exp(-(from_middle**2) / 2)
    powers = np.stack([np.ones_like(from_middle), from_middle, from_middle**2])
    trust = np.ones(len(columns))
    for _ in range(EVEN_ROUNDS):
        weighted = powers * (near * trust)
        square = np.einsum("ick,jck->cij", weighted, powers) + 1e-6 * np.eye(3)
        arcs = np.linalg.solve(square, (weighted @ rows).T[..., None])[:, 0, 0]
        stray = (rows - np.interp(columns, middles, arcs)) / (2 * STRAY_PX)
        trust = np.maximum(1 - stray**2, 0) ** 2 + 1e-3
    return np.asarray(np.interp(np.arange(SMALL_WH[0]), middles, arcs), np.float64)


def _stands_still(outline: Outline, changing: Floats) -> bool:
    inside = outline.drawn(SMALL_WH) > 0
    inside = cv2.erode(inside.view(np.uint8), np.ones((7, 7), np.uint8)) > 0
    values = changing[inside]
    if values.size < SMALL_WH[0]:
        return False
    limit = max(STILL, STILL_OVER_NOISE * float(np.quantile(changing, 0.1)))
    return bool(np.median(values) <= limit and np.mean(values > 2 * limit) <= MOVING_SHARE)
