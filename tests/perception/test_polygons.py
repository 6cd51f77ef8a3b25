from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from perception.imaging.polygons import Polygon, outlines
from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT

FRAME_WH = (1280, 720)
MAP_WH = (640, 360)


def _rasterised(
    polygons: list[Polygon], frame_wh: tuple[int, int], map_wh: tuple[int, int]
) -> NDArray[np.bool_]:
    """What a class map's pixel centres see of the polygons: two samples a pixel, the centre is the second."""
    scale = np.array([2 * map_wh[0] / frame_wh[0], 2 * map_wh[1] / frame_wh[1]])
    fine = np.zeros((2 * map_wh[1] + 1, 2 * map_wh[0] + 1), np.uint8)
    for polygon in polygons:
        rings = [polygon["exterior"], *polygon["holes"]]
        points = [np.rint(np.array(ring) * scale * 16).astype(np.int32) for ring in rings]
        cv2.fillPoly(fine, points, 1, cv2.LINE_8, 4)
    return fine[1::2, 1::2].astype(bool)


def _blobs(seed: int, size_px: float) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).standard_normal((MAP_WH[1], MAP_WH[0])).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), size_px)
    return np.where(smooth > 0.3 * smooth.std(), DIRECT, BACKGROUND).astype(np.uint8)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size_px", [12, 25])
@pytest.mark.parametrize("frame_wh", [FRAME_WH, (1921, 1081), MAP_WH])
def test_polygons_give_the_area_back(seed: int, size_px: float, frame_wh: tuple[int, int]) -> None:
    class_map = _blobs(seed, size_px)
    area = class_map == DIRECT

    again = _rasterised(outlines(class_map, DIRECT, frame_wh, min_area_share=0.0), frame_wh, MAP_WH)

    assert (area & again).sum() / (area | again).sum() >= 0.99


def test_hole_stays_a_hole() -> None:
    class_map = np.full((36, 64), BACKGROUND, np.uint8)
    class_map[10:30, 20:50] = ALTERNATIVE
    class_map[15:20, 30:40] = DIRECT

    (polygon,) = outlines(class_map, ALTERNATIVE, (128, 72))

    assert len(polygon["holes"]) == 1
    corners = np.array(polygon["holes"][0])
    np.testing.assert_allclose([corners.min(axis=0), corners.max(axis=0)], [[60, 30], [80, 40]], atol=1)


def test_area_reaches_the_border_of_the_frame() -> None:
    (polygon,) = outlines(np.full((360, 640), DIRECT, np.uint8), DIRECT, FRAME_WH)

    corners = np.array(polygon["exterior"])
    assert corners.min() == 0
    assert tuple(corners.max(axis=0)) == FRAME_WH


def test_speckle_is_left_out() -> None:
    class_map = np.full((360, 640), BACKGROUND, np.uint8)
    class_map[10:15, 10:15] = DIRECT
    class_map[100:200, 100:200] = DIRECT

    assert len(outlines(class_map, DIRECT, FRAME_WH)) == 1
    assert len(outlines(class_map, DIRECT, FRAME_WH, min_area_share=0.0)) == 2


def test_absent_class_has_no_outline() -> None:
    assert outlines(np.full((360, 640), BACKGROUND, np.uint8), DIRECT, FRAME_WH) == []
