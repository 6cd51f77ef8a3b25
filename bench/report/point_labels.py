"""Names beside the points of a scatter plot, where they cover neither a point nor another name."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

AWAY_PX: Final = (2.0, 8.0, 18.0, 30.0, 45.0, 65.0, 90.0, 120.0)
DIRECTIONS_DEG: Final = (0, 90, 180, 270, 45, 135, 315, 225, 22, 158, 338, 202, 67, 113, 293, 247)
"""To the right and above before to the left and below."""
NEAR_PX: Final = 6.0
"""A name so near its point needs no line to it."""


@dataclass(frozen=True)
class LabelledPoint:
    """A point in the units of the axes."""

    x: float
    y: float
    area_pt2: float
    """Of its mark, as `scatter` takes it."""
    name: str


def label_points(
    figure: Figure, axes: Axes, points: Sequence[LabelledPoint], colour: str, line_colour: str
) -> list[Annotation]:
    """Write every name beside its point; one that is far off is joined to it by a line.

    Args:
        figure: whose layout is final but for these names, with a canvas that can draw.
    """
    figure.draw_without_rendering()  # the layout, and with it the places in pixels
    px_per_pt = figure.dpi / 72
    inside = axes.get_window_extent()
    middles = [axes.transData.transform((it.x, it.y)) for it in points]
    radii = [math.sqrt(it.area_pt2) / 2 * px_per_pt for it in points]
    taken = [
        Bbox.from_bounds(x - radius, y - radius, 2 * radius, 2 * radius)
        for (x, y), radius in zip(middles, radii, strict=True)
    ]
    labels = []
    for place in sorted(range(len(points)), key=lambda place: -points[place].y):
        point, (x, y), radius = points[place], middles[place], radii[place]
        label = axes.annotate(
            point.name,
            (point.x, point.y),
            (0, 0),
            textcoords="offset points",
            fontsize=8.5,
            color=colour,
            ha="center",
            va="center",
            bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.6},
            arrowprops={
                "arrowstyle": "-",
                "color": line_colour,
                "linewidth": 0.6,
                "shrinkA": 0,
                "shrinkB": 3,
            },
            zorder=4,
        )
        label.set_in_layout(False)
        text = Text.get_window_extent(label)
        size = text.width + 4, text.height + 2
        tried = [_box(x + right, y + up, *size) for right, up in _offsets(radius, *size)]
        box = next((it for it in tried if _is_free(it, taken, inside)), None)
        if box is None:  # too crowded: what covers least
            box = min(tried, key=lambda it: sum(it.overlaps(other) for other in taken))
        taken.append(box)
        right, up = (box.x0 + box.x1) / 2 - x, (box.y0 + box.y1) / 2 - y
        label.set_position((right / px_per_pt, up / px_per_pt))
        gap = math.hypot(max(0.0, abs(right) - size[0] / 2), max(0.0, abs(up) - size[1] / 2)) - radius
        if label.arrow_patch is not None and gap < NEAR_PX:
            label.arrow_patch.set_visible(False)
        labels.append(label)
    return labels


def _offsets(radius: float, width: float, height: float) -> Iterator[tuple[float, float]]:
    """From the point to the middle of its name, in pixels: close places first."""
    for away in AWAY_PX:
        for degrees in DIRECTIONS_DEG:
            right, up = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
            yield right * (radius + away + width / 2), up * (radius + away + height / 2)


def _box(x: float, y: float, width: float, height: float) -> Bbox:
    return Bbox.from_bounds(x - width / 2, y - height / 2, width, height)


def _is_free(box: Bbox, taken: Sequence[Bbox], inside: Bbox) -> bool:
    is_inside = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
    return is_inside and not any(box.overlaps(other) for other in taken)
