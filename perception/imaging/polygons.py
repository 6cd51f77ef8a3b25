"""The edge of a class's area as polygons, in pixels of the frame."""

from __future__ import annotations

from typing import Final, TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray

Ring = list[list[float]]

MIN_AREA_SHARE: Final = 0.0005


class Polygon(TypedDict):
    """One connected area: its outer edge, and the edges of what is left out inside it."""

    exterior: Ring
    holes: list[Ring]


def outlines(
    class_map: NDArray[np.uint8],
    label: int,
    frame_wh: tuple[int, int],
    min_area_share: float = MIN_AREA_SHARE,
) -> list[Polygon]:
    """The areas of one class as polygons, ready for JSON.

    Args:
        class_map: (h, w) uint8 class ids over the whole frame.
        label: the class whose areas are expected.
        frame_wh: width and height of the frame, in pixels.
        min_area_share: areas smaller than this share of the frame are left out; of holes, only those
            of a pixel or two.

    Returns:
        Points are [x, y] in frame pixels: (0, 0) is the frame's top left corner, `frame_wh` its
        bottom right one. Rings are not closed: the last point joins the first.
    """
    return [
        Polygon(exterior=rings[0], holes=rings[1:])
        for rings in (
            [_short(ring) for ring in area] for area in area_rings(class_map, label, frame_wh, min_area_share)
        )
    ]


def _short(ring: NDArray[np.float64]) -> Ring:
    """Tenths of a pixel, and whole numbers without a point: as long as they are exact."""
    rounded = ring.round(1)
    whole = rounded.astype(np.int64)
    if np.array_equal(whole, rounded):  # as where a frame is twice the size of its class map
        points: Ring = whole.tolist()
        return points
    return [[int(x) if x.is_integer() else x, int(y) if y.is_integer() else y] for x, y in rounded.tolist()]


def area_rings(
    class_map: NDArray[np.uint8],
    label: int,
    to_wh: tuple[int, int],
    min_area_share: float = MIN_AREA_SHARE,
    tolerance_px: float = 0.5,
) -> list[list[NDArray[np.float64]]]:
    """The areas of one class as rings of points: per area the exterior first, then its holes.

    Args:
        class_map: (h, w) uint8 class ids over the whole frame.
        label: the class whose areas are expected.
        to_wh: width and height that the points are scaled to, in pixels.
        min_area_share: as in `outlines`.
        tolerance_px: how far a simplified edge may lie from the true one, in pixels of the class map.
            At 0.5 an edge keeps to its own pixels; at 1 the steps of a slanting edge become a line.

    Returns:
        (points, 2) float64 x and y each, scaled to `to_wh`, as in `outlines`.
    """
    height, width = class_map.shape
    inside = (class_map == label).view(np.uint8)
    left, top, columns, rows = cv2.boundingRect(inside)
    lattice = _half_pixel_lattice(inside[top : top + rows, left : left + columns])
    contours, hierarchy = cv2.findContours(
        lattice, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(2 * left, 2 * top)
    )
    if not contours:
        return []
    scale = np.array([to_wh[0] / width / 2, to_wh[1] / height / 2])
    first_holes: list[int] = hierarchy[0, :, 2].tolist()
    next_siblings: list[int] = hierarchy[0, :, 0].tolist()
    areas = []
    exterior = 0
    while exterior >= 0:
        if cv2.contourArea(contours[exterior]) >= max(1.0, min_area_share * 4 * height * width):
            members = [exterior]
            hole = first_holes[exterior]
            while hole >= 0:
                members.append(hole)
                hole = next_siblings[hole]
            simple = [cv2.approxPolyDP(contours[member], 2 * tolerance_px, True) for member in members]
            rings = [ring.reshape(-1, 2) * scale for ring in simple if len(ring) > 2]
            if rings:
                areas.append(rings)
        exterior = next_siblings[exterior]
    return areas


def _half_pixel_lattice(inside: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(2h + 2, 2w + 2) uint8: pixel centres at odd indices, pixel edges and corners at even ones.

    findContours joins pixel centres, which loses half a pixel on every side. On this lattice it joins
    the middles of pixel edges, which keeps the area on straight and on slanting edges alike.
    """
    padded = np.asarray(cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0), np.uint8)
    beside = padded[:, :-1] | padded[:, 1:]
    above = padded[:-1] | padded[1:]
    # A corner is inside if at least two of the four pixels around it are.
    corners = np.bitwise_or(beside[:-1] & beside[1:], above[:, :-1] & above[:, 1:])
    height, width = corners.shape
    lattice = np.empty((2 * height, 2 * width), np.uint8)
    # Copied, for OpenCV takes ten times as long to merge planes whose rows do not follow each other.
    lattice[::2] = cv2.merge((corners, above[:, 1:].copy())).reshape(height, -1)
    lattice[1::2] = cv2.merge((beside[1:], padded[1:, 1:].copy())).reshape(height, -1)
    return lattice
