"""Accuracy by condition and recording, beside figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from perception.frame import Frame, Prediction
from perception.labels import (
    ALTERNATIVE,
    BACKGROUND,
    DIRECT,
    DRIVABLE,
    IGNORE,
    LABELS,
    LABELS_OF_TWO,
)
from perception.metrics.segmentation import (
    NIGHT_BELOW_LUMA,
    Accuracy,
    Condition,
    CountedFrame,
    condition_of,
    count_frame,
    measure_accuracy,
)

GOOD = np.diag([80, 80, 80])
BAD = np.array([[40, 40, 0], [40, 40, 0], [0, 0, 80]])  # IoU 1/3, 1/3 and 1


def counted(recording: str, counts: np.ndarray, condition: Condition = "day") -> CountedFrame:
    return CountedFrame(recording, condition, counts.astype(np.int64))


def grey(level: int, wh: tuple[int, int] = (8, 6)) -> np.ndarray:
    return np.full((wh[1], wh[0], 3), level, np.uint8)


class TestConditions:
    @pytest.mark.parametrize(
        ("bgr", "condition"),
        [
            ((59, 59, 59), "night"),
            ((60, 60, 60), "day"),
            ((0, 0, 0), "night"),
            ((255, 255, 255), "day"),
            ((0, 255, 0), "day"),  # green is bright: luma 150
            ((255, 0, 0), "night"),  # blue is not: luma 29
        ],
    )
    def test_night_is_a_mean_luma_below_the_threshold(
        self, bgr: tuple[int, int, int], condition: Condition
    ) -> None:
        assert NIGHT_BELOW_LUMA == 60
        assert condition_of(np.full((4, 4, 3), bgr, np.uint8)) == condition

    def test_each_condition_is_counted_by_itself(self) -> None:
        accuracy = Accuracy((counted("a", GOOD), counted("b", BAD, "night"), counted("b", GOOD, "night")))

        parts = accuracy.by_condition()

        assert list(parts) == ["day", "night"]
        np.testing.assert_array_equal(parts["day"].total.counts, GOOD)
        np.testing.assert_array_equal(parts["night"].total.counts, BAD + GOOD)
        np.testing.assert_array_equal(accuracy.total.counts, 2 * GOOD + BAD)

    def test_condition_that_does_not_occur_is_left_out(self) -> None:
        assert list(Accuracy((counted("a", GOOD, "night"),)).by_condition()) == ["night"]


class TestInterval:
    def test_one_recording_gives_no_width(self) -> None:
        accuracy = Accuracy((counted("a", GOOD), counted("a", BAD)))

        low, high = accuracy.mean_iou_interval()

        assert low == high == accuracy.total.mean_iou()

    def test_two_recordings_give_the_three_outcomes_of_drawing_twice(self) -> None:
        # good-good and bad-bad come up a quarter of the times each, one of both half of the times
        accuracy = Accuracy((counted("good", GOOD), counted("bad", BAD)))
        of_bad = (1 / 3 + 1 / 3 + 1) / 3
        of_both = (120 / 200 + 120 / 200 + 1) / 3

        assert accuracy.mean_iou_interval(0.95) == pytest.approx((of_bad, 1.0))
        assert accuracy.mean_iou_interval(0.40) == pytest.approx((of_both, of_both))

    def test_width_is_that_of_a_share_among_many_recordings(self) -> None:
        # Half of 400 recordings are right and half are wrong: mean IoU is half the share of right
        # ones, whose standard error is sqrt(0.25 / 400) = 0.025.
        right, wrong = np.array([[10, 0], [0, 0]]), np.array([[0, 10], [0, 0]])
        frames = [counted(f"{index}", right if index % 2 else wrong) for index in range(400)]

        interval = Accuracy(tuple(frames)).mean_iou_interval()

        expected = (0.25 - 1.96 * 0.025 / 2, 0.25 + 1.96 * 0.025 / 2)
        assert interval == pytest.approx(expected, abs=0.002)

    def test_more_frames_of_the_same_recordings_make_it_no_narrower(self) -> None:
        frames = [counted(f"{index}", GOOD if index % 3 else BAD) for index in range(12)]

        once, often = Accuracy(tuple(frames)), Accuracy(tuple(frames * 10))

        assert often.mean_iou_interval() == pytest.approx(once.mean_iou_interval())
        assert once.mean_iou_interval().low < once.mean_iou_interval().high

    def test_order_of_the_frames_does_not_matter(self) -> None:
        frames = [counted(f"{index}", GOOD + index * BAD) for index in range(9)]

        there, back = Accuracy(tuple(frames)), Accuracy(tuple(reversed(frames)))

        assert there.mean_iou_interval() == back.mean_iou_interval()

    def test_nothing_counted_is_no_number_and_no_error(self) -> None:
        assert np.isnan(Accuracy((counted("a", 0 * GOOD),)).mean_iou_interval()).all()

    def test_no_frames_are_refused(self) -> None:
        with pytest.raises(ValueError, match="no frames"):
            Accuracy(())


class TestLead:
    def test_network_has_no_lead_over_itself(self) -> None:
        accuracy = Accuracy((counted("a", GOOD), counted("b", BAD)))

        assert accuracy.lead_interval(accuracy) == (0.0, 0.0)

    def test_what_is_hard_for_both_does_not_widen_it(self) -> None:
        # The second network is right on the same pixels but for 8 of 80 a class, in every recording.
        hard, easy = np.diag([10, 10, 10]) + 10, np.diag([80, 80, 80])
        ours = Accuracy(tuple(counted(f"{i}", hard if i % 2 else easy) for i in range(10)))
        loss = np.array([[-8, 8, 0], [0, -8, 8], [8, 0, -8]])
        theirs = Accuracy(tuple(counted(f"{i}", (hard if i % 2 else easy) + loss) for i in range(10)))

        low, high = ours.lead_interval(theirs)

        assert 0 < low < ours.total.mean_iou() - theirs.total.mean_iou() < high
        alone = ours.mean_iou_interval()
        assert high - low < (alone.high - alone.low) / 2

    def test_other_classes_are_refused(self) -> None:
        three = Accuracy((counted("a", GOOD),))

        with pytest.raises(ValueError, match="only in the same classes: see drivable_or_not"):
            three.lead_interval(three.drivable_or_not())

    def test_other_recordings_are_refused(self) -> None:
        with pytest.raises(ValueError, match="same recordings"):
            Accuracy((counted("a", GOOD),)).lead_interval(Accuracy((counted("b", GOOD),)))


def test_two_classes_tell_drivable_from_not() -> None:
    accuracy = Accuracy((counted("a", BAD, "night"), counted("b", GOOD)))

    two = accuracy.drivable_or_not()

    np.testing.assert_array_equal(two.total.counts, [[320, 0], [0, 160]])
    assert two.recordings == ("a", "b")
    assert list(two.by_condition()) == ["day", "night"]


class TestOutlinesAndConfidence:
    """Figures that are counted beside the classes."""

    BOUNDARY = np.array([[5, 10], [0, 0], [30, 40]])
    SURE_AND_RIGHT = np.zeros((3, 15), np.int64)
    SURE_AND_RIGHT[:, 14] = 10, 10, 10 * 255
    SURE_AND_WRONG = SURE_AND_RIGHT.copy()
    SURE_AND_WRONG[1, 14] = 0

    def frame(self, calibration: np.ndarray, condition: Condition = "day") -> CountedFrame:
        return CountedFrame("a", condition, GOOD, self.BOUNDARY, calibration)

    def test_they_follow_from_the_sum_of_all_frames(self) -> None:
        other = CountedFrame("b", "day", BAD, self.BOUNDARY * 0 + 10, self.SURE_AND_WRONG)

        accuracy = Accuracy((self.frame(self.SURE_AND_RIGHT), other))

        assert accuracy.boundary_iou().tolist() == [15 / 20, 1.0, 40 / 50]
        assert accuracy.mean_boundary_iou() == pytest.approx((0.75 + 1.0 + 0.8) / 3)
        assert accuracy.calibration_error() == 0.5

    def test_class_that_never_occurred_is_not_in_the_mean(self) -> None:
        assert Accuracy((self.frame(self.SURE_AND_RIGHT),)).mean_boundary_iou() == (0.5 + 0.75) / 2

    def test_each_condition_has_its_own(self) -> None:
        frames = self.frame(self.SURE_AND_RIGHT), self.frame(self.SURE_AND_WRONG, "night")

        parts = Accuracy(frames).by_condition()

        assert [parts[it].calibration_error() for it in ("day", "night")] == [0.0, 1.0]

    def test_frame_without_them_leaves_no_figure_of_the_others(self) -> None:
        accuracy = Accuracy((self.frame(self.SURE_AND_RIGHT), counted("b", GOOD)))

        assert np.isnan(accuracy.calibration_error())
        assert np.isnan(accuracy.boundary_iou()).tolist() == [True, True, True]
        assert np.isnan(accuracy.mean_boundary_iou())

    def test_three_classes_do_not_tell_them_of_two(self) -> None:
        two = Accuracy((self.frame(self.SURE_AND_RIGHT),)).drivable_or_not()

        assert len(two.boundary_iou()) == 2
        assert np.isnan(two.mean_boundary_iou())
        assert np.isnan(two.calibration_error())

    def test_they_are_counted_where_the_labels_are(self) -> None:
        truth = np.full((6, 8), BACKGROUND, np.uint8)
        truth[:, :4] = DIRECT
        truth[0] = IGNORE
        predicted = np.full((6, 8), DIRECT, np.uint8)

        frame = count_frame("a", grey(9), truth, predicted, confidence=np.full((6, 8), 255, np.uint8))

        assert frame.boundary is not None
        assert frame.calibration is not None
        assert frame.boundary.shape == (3, 2)
        assert frame.boundary[BACKGROUND].tolist() == [0, 12]  # of 5 rows of 4; row 0 is not seen
        assert frame.calibration[:, 14].tolist() == [40, 20, 40 * 255]
        assert frame.calibration.sum() == 40 + 20 + 40 * 255


class Labelled:
    """Frames that are all direct on the left and background on the right, one of them at night."""

    recordings = ("b", "a", "b")

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        truth = np.full((6, 8), BACKGROUND, np.uint8)
        truth[:, :4] = DIRECT
        truth[0] = IGNORE
        return grey(20 if index == 1 else 200), truth

    def recording(self, index: int) -> str:
        return self.recordings[index]


def test_frames_are_counted_at_the_size_of_their_labels() -> None:
    seen = []

    def says_alternative_on_the_left(frame: Frame) -> Prediction:
        seen.append(frame)
        class_map = np.array([[ALTERNATIVE, BACKGROUND]], np.uint8)
        return Prediction(frame, class_map, (0.0, 0.5, 0.5), "fake")

    accuracy = measure_accuracy(says_alternative_on_the_left, Labelled())

    assert [frame.frame_id for frame in seen] == [0, 1, 2]
    np.testing.assert_array_equal(accuracy.total.counts, 3 * np.array([[0, 20, 0], [0, 0, 0], [0, 0, 20]]))
    assert [(frame.recording, frame.condition) for frame in accuracy.frames] == [
        ("b", "day"),
        ("a", "night"),
        ("b", "day"),
    ]
    assert accuracy.recordings == ("a", "b")


def test_confidence_is_counted_at_the_size_of_the_labels() -> None:
    def is_half_sure_on_the_left(frame: Frame) -> Prediction:
        class_map = np.array([[DIRECT, BACKGROUND]], np.uint8)
        confidence = np.array([[128, 128, 255, 255]], np.uint8)
        return Prediction(frame, class_map, (0.5, 0.0, 0.5), "fake", confidence=confidence)

    accuracy = measure_accuracy(is_half_sure_on_the_left, Labelled())

    # 8 columns, all right. Those between the two levels have 160 and 223.
    off = (3 * (255 - 128) + (255 - 160) + (255 - 223)) / 255
    assert accuracy.calibration_error() == pytest.approx(off / 8, abs=1e-3)
    assert accuracy.mean_boundary_iou() == 1.0


def test_network_that_tells_no_confidence_has_no_calibration_error() -> None:
    accuracy = measure_accuracy(TestTwoClasses.says_drivable_on_the_left, Labelled())

    assert np.isnan(accuracy.calibration_error())
    assert accuracy.mean_boundary_iou() == 1.0


class TestTwoClasses:
    """A network that tells drivable from background, and no lanes apart."""

    @staticmethod
    def says_drivable_on_the_left(frame: Frame) -> Prediction:
        class_map = np.array([[DRIVABLE, BACKGROUND]], np.uint8)
        return Prediction(frame, class_map, (0.5, 0.5), "fake", labels=LABELS_OF_TWO)

    def test_truth_is_merged_and_no_three_class_figure_is_invented(self) -> None:
        accuracy = measure_accuracy(self.says_drivable_on_the_left, Labelled())

        np.testing.assert_array_equal(accuracy.total.counts, 3 * np.array([[20, 0], [0, 20]]))
        assert accuracy.labels == LABELS_OF_TWO
        assert accuracy.drivable_or_not() is accuracy

    def test_both_lanes_are_drivable(self) -> None:
        truth = np.array([[DIRECT, ALTERNATIVE, BACKGROUND, IGNORE]], np.uint8)
        predicted = np.array([[DRIVABLE, BACKGROUND, DRIVABLE, DRIVABLE]], np.uint8)

        frame = count_frame("a", grey(9), truth, predicted, LABELS_OF_TWO)

        np.testing.assert_array_equal(frame.counts, [[1, 1], [1, 0]])

    @pytest.mark.parametrize("labels", [LABELS, LABELS_OF_TWO])
    @pytest.mark.parametrize("unknown", [4, 254])
    def test_class_that_is_none_is_refused(self, labels: tuple[str, ...], unknown: int) -> None:
        known, odd = np.zeros((2, 2), np.uint8), np.full((2, 2), unknown, np.uint8)

        for truth, predicted in ((known, odd), (odd, known)):
            with pytest.raises(ValueError, match="class ids must be below"):
                count_frame("a", grey(9), truth, predicted, labels)

    def test_network_of_three_is_compared_with_it_in_two(self) -> None:
        three = Accuracy((counted("a", BAD), counted("b", GOOD)))
        two = Accuracy((counted("a", np.diag([10, 10])), counted("b", np.diag([10, 10]))))

        assert three.labels == LABELS
        assert three.drivable_or_not().lead_interval(two) == (0.0, 0.0)

    def test_frames_of_three_and_of_two_are_not_summed(self) -> None:
        with pytest.raises(ValueError, match="in three classes and in two cannot be summed"):
            Accuracy((counted("a", GOOD), counted("b", np.diag([10, 10]))))


def test_prediction_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"truth is \(6, 8\) but the prediction is \(3, 4\)"):
        count_frame("a", grey(9), np.zeros((6, 8), np.uint8), np.zeros((3, 4), np.uint8))
