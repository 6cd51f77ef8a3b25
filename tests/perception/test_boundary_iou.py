"""Boundary IoU beside a definition written out pixel by pixel, and what it tells that IoU does not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT, IGNORE
from perception.metrics.boundary_iou import BAND_SHARE, boundary_counts, boundary_iou_of
from perception.metrics.confusion_matrix import ConfusionMatrix

WH = (64, 36)  # a diagonal of 73.4: the band is 1 pixel wide
WIDE_WH = (200, 150)  # a diagonal of 250: 5 pixels


def blobs(wh: tuple[int, int], seed: int, classes: int = 3) -> np.ndarray:
    planes = np.random.default_rng(seed).normal(size=(wh[1], wh[0], classes))
    return np.asarray(cv2.GaussianBlur(planes, (0, 0), 4).argmax(2), np.uint8)


def band_of(class_map: np.ndarray, ignored: np.ndarray, class_id: int, band_px: int) -> np.ndarray:
    """Every pixel's own neighbourhood, as the definition says."""
    height, width = class_map.shape
    band = np.zeros(class_map.shape, bool)
    for y, x in np.argwhere((class_map == class_id) & ~ignored):
        beyond_edge = min(y, x, height - 1 - y, width - 1 - x) < band_px
        near = np.s_[max(0, y - band_px) : y + band_px + 1, max(0, x - band_px) : x + band_px + 1]
        band[y, x] = beyond_edge or bool(((class_map[near] != class_id) & ~ignored[near]).any())
    return band


@pytest.mark.parametrize(("wh", "band_px"), [(WH, 1), (WIDE_WH, 5)])
@pytest.mark.parametrize("classes", [2, 3])
def test_counts_are_those_of_the_definition(wh: tuple[int, int], band_px: int, classes: int) -> None:
    truth, predicted = blobs(wh, 0, classes), blobs(wh, 1, classes)
    truth[5:20, 30:50] = IGNORE
    ignored = truth == IGNORE

    counts = boundary_counts(truth, predicted, classes)

    for class_id in range(classes):
        of_truth, of_predicted = (
            band_of(class_map, ignored, class_id, band_px) for class_map in (truth, predicted)
        )
        assert counts[class_id].tolist() == [(of_truth & of_predicted).sum(), (of_truth | of_predicted).sum()]


@pytest.mark.parametrize(("wh", "band_px"), [((1280, 720), 29), ((640, 360), 15), ((8, 6), 1)])
def test_band_is_2_percent_of_the_diagonal(wh: tuple[int, int], band_px: int) -> None:
    assert BAND_SHARE == 0.02
    one_class = np.zeros((wh[1], wh[0]), np.uint8)

    (_, frame_of_the_image), _ = boundary_counts(one_class, one_class, 2)

    assert frame_of_the_image == wh[0] * wh[1] - (wh[0] - 2 * band_px) * (wh[1] - 2 * band_px)


def test_outlines_that_are_met_give_1_and_classes_that_never_occur_none() -> None:
    truth = blobs(WH, 0, 2)

    np.testing.assert_array_equal(boundary_iou_of(boundary_counts(truth, truth, 3)), [1, 1, np.nan])


def test_frayed_outline_costs_more_than_its_area() -> None:
    truth = np.full((150, 200), BACKGROUND, np.uint8)
    truth[40:, 50:150] = DIRECT
    predicted = truth.copy()
    predicted[40:, 50:53] = predicted[40:, 147:150] = BACKGROUND
    confusion = ConfusionMatrix(3)
    confusion.add(truth, predicted)

    outline = boundary_iou_of(boundary_counts(truth, predicted, 3))

    assert confusion.iou()[DIRECT] == pytest.approx(94 / 100)
    # The bands of 5 pixels share 2 at either side, less what lies along the upper and the lower edge.
    assert 0.4 < outline[DIRECT] < 0.65


def test_ignored_pixels_do_not_count_and_have_no_outline() -> None:
    truth = np.full((150, 200), DIRECT, np.uint8)
    truth[:, 100:] = ALTERNATIVE
    truth[60:90, 20:40] = IGNORE
    predicted = truth.copy()
    predicted[60:90, 20:40] = BACKGROUND
    whole = truth.copy()
    whole[60:90, 20:40] = DIRECT

    counts = boundary_counts(truth, predicted, 3)

    # As if there were nothing: the hole is far from every outline.
    np.testing.assert_array_equal(counts, boundary_counts(whole, whole, 3))


def test_counts_of_frames_are_summed_before_the_share_is_taken() -> None:
    small = np.array([[1, 9], [0, 0]])
    large = np.array([[90, 100], [5, 10]])

    np.testing.assert_allclose(boundary_iou_of(np.stack([small, large]).sum(0)), [91 / 109, 0.5])


def test_inputs_are_left_as_they_are() -> None:
    truth, predicted = blobs(WH, 0), blobs(WH, 1)
    truth[:4] = IGNORE
    before = truth.copy(), predicted.copy()

    boundary_counts(truth, predicted, 3)

    np.testing.assert_array_equal(truth, before[0])
    np.testing.assert_array_equal(predicted, before[1])
