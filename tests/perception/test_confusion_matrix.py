"""The confusion matrix and mean IoU, beside numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from perception.labels import IGNORE
from perception.metrics.confusion_matrix import DRIVABLE_OR_NOT, ConfusionMatrix, iou_of, mean_iou_of, merged


def class_map(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.uint8)


def counted(truth: np.ndarray, predicted: np.ndarray, classes: int = 3) -> ConfusionMatrix:
    confusion = ConfusionMatrix(classes)
    confusion.add(truth, predicted)
    return confusion


TRUTH = class_map([0, 0, 0, 1], [1, 2, 2, 2])
PREDICTED = class_map([0, 0, 1, 1], [2, 2, 2, 0])


def test_counts_stand_by_true_row_and_predicted_column() -> None:
    np.testing.assert_array_equal(counted(TRUTH, PREDICTED).counts, [[2, 1, 0], [0, 1, 1], [1, 0, 2]])


def test_iou_is_intersection_over_union() -> None:
    np.testing.assert_allclose(counted(TRUTH, PREDICTED).iou(), [2 / 4, 1 / 3, 2 / 4])


def test_mean_iou_counts_background_as_a_class() -> None:
    assert counted(TRUTH, PREDICTED).mean_iou() == pytest.approx((2 / 4 + 1 / 3 + 2 / 4) / 3)


def test_mean_iou_follows_from_the_sum_of_all_frames() -> None:
    confusion = ConfusionMatrix(2)
    confusion.add(class_map([0]), class_map([0]))
    confusion.add(class_map([0, 0, 0, 1]), class_map([1, 1, 1, 1]))

    assert confusion.mean_iou() == pytest.approx((1 / 4 + 1 / 4) / 2)


def test_perfect_prediction_is_one() -> None:
    assert counted(TRUTH, TRUTH).mean_iou() == 1.0


def test_ignored_pixels_do_not_count() -> None:
    truth = class_map([0, IGNORE, 1, IGNORE])

    confusion = counted(truth, class_map([0, 0, 1, 2]))

    assert confusion.counts.sum() == 2
    assert confusion.mean_iou() == 1.0


def test_frame_that_is_all_ignored_counts_nothing() -> None:
    confusion = counted(class_map([IGNORE, IGNORE]), class_map([0, 1]))

    assert confusion.counts.sum() == 0
    assert np.isnan(confusion.mean_iou())


def test_class_that_never_occurred_has_no_iou_and_is_left_out_of_the_mean() -> None:
    confusion = counted(class_map([0, 0, 2, 2]), class_map([0, 0, 2, 0]))

    np.testing.assert_allclose(confusion.iou(), [2 / 3, np.nan, 1 / 2])
    assert confusion.mean_iou() == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_class_that_was_only_predicted_counts_as_zero() -> None:
    np.testing.assert_allclose(counted(class_map([0, 0]), class_map([0, 1]), 2).iou(), [1 / 2, 0.0])


@pytest.mark.parametrize(
    ("truth", "predicted"), [([3, 0], [0, 0]), ([254, 0], [0, 0]), ([0, 0], [0, 3]), ([0, 2], [0, IGNORE])]
)
def test_class_id_out_of_range_is_refused(truth: list[int], predicted: list[int]) -> None:
    confusion = ConfusionMatrix(3)

    with pytest.raises(ValueError, match="class ids must be below 3"):
        confusion.add(class_map(truth), class_map(predicted))

    assert confusion.counts.sum() == 0


def test_maps_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"truth is \(1, 2\) but the prediction is \(1, 3\)"):
        counted(class_map([0, 0]), class_map([0, 0, 0]))


def test_many_frames_do_not_overflow() -> None:
    confusion = ConfusionMatrix(3)
    confusion.counts[0, 0] = 2**40

    confusion.add(class_map([0, 1]), class_map([0, 1]))

    assert confusion.counts[0, 0] == 2**40 + 1


def test_matrix_of_counts_keeps_them_as_they_were() -> None:
    counts = counted(TRUTH, PREDICTED).counts

    confusion = ConfusionMatrix.of(counts)
    confusion.add(TRUTH, PREDICTED)

    np.testing.assert_array_equal(confusion.counts, 2 * counts)
    np.testing.assert_array_equal(counts, counted(TRUTH, PREDICTED).counts)


def test_stacked_counts_give_what_each_gives_alone() -> None:
    matrices = [
        counted(TRUTH, PREDICTED),
        counted(TRUTH, TRUTH),
        counted(class_map([0, 2]), class_map([0, 0])),
        ConfusionMatrix(3),
    ]
    stacked = np.stack([matrix.counts for matrix in matrices]).reshape(2, 2, 3, 3)

    np.testing.assert_array_equal(iou_of(stacked).reshape(4, 3), [matrix.iou() for matrix in matrices])
    np.testing.assert_array_equal(mean_iou_of(stacked).ravel(), [matrix.mean_iou() for matrix in matrices])


def test_merged_classes_are_not_distinguished() -> None:
    counts = np.array([[5, 1, 0], [2, 4, 1], [0, 3, 9]])

    two = merged(counts, DRIVABLE_OR_NOT)

    np.testing.assert_array_equal(two, [[5 + 1 + 2 + 4, 0 + 1], [0 + 3, 9]])
    np.testing.assert_array_equal(merged(np.stack([counts, 2 * counts]), DRIVABLE_OR_NOT), [two, 2 * two])


def test_merging_counts_is_merging_the_maps() -> None:
    random = np.random.default_rng(0)
    truth, predicted = random.integers(0, 3, (2, 20, 20)).astype(np.uint8)

    of_maps = counted((truth == 2).astype(np.uint8), (predicted == 2).astype(np.uint8), 2)

    np.testing.assert_array_equal(merged(counted(truth, predicted).counts, DRIVABLE_OR_NOT), of_maps.counts)
