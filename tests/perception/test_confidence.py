"""Confidence beside the softmax that it stands for, and its error beside figures worked out by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from perception.frame import Frame
from perception.imaging.letterbox import Letterbox, letterbox
from perception.inference.confidence import confidence_at, confidence_of
from perception.inference.engines import OnnxEngine
from perception.inference.predictor import Predictor
from perception.inference.zoo import model_file
from perception.metrics.calibration import BINS, calibration_counts, calibration_error
from perception.synthetic import DriveRenderer

INPUT_WH = (640, 384)


def random_logits(labels: int = 3, stride: int = 8) -> np.ndarray:
    shape = (labels, INPUT_WH[1] // stride, INPUT_WH[0] // stride)
    return np.random.default_rng(0).normal(scale=3, size=shape).astype(np.float32)


def largest_probability(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64))
    return np.asarray((powers / powers.sum(0)).max(0))


def between(plane: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Linear interpolation at positions in pixels, 0 is the centre of the first; edges go on."""
    along = np.array([np.interp(columns, np.arange(plane.shape[1]), row) for row in plane])
    return np.array([np.interp(rows, np.arange(plane.shape[0]), column) for column in along.T]).T


class TestConfidence:
    @pytest.mark.parametrize("labels", [2, 3])
    @pytest.mark.parametrize("stride", [4, 8, 16])
    @pytest.mark.parametrize("frame_wh", [(1280, 720), (640, 384), (641, 359), (360, 640), (63, 47)])
    def test_it_is_the_largest_softmax_at_the_centre_of_each_cell(
        self, frame_wh: tuple[int, int], stride: int, labels: int
    ) -> None:
        box, logits = Letterbox.fit(frame_wh, INPUT_WH), random_logits(labels, stride)

        confidence = confidence_of(logits, box)

        height, width = confidence.shape
        x_px = box.left_px + (np.arange(width) + 0.5) * box.content_wh[0] / width
        y_px = box.top_px + (np.arange(height) + 0.5) * box.content_wh[1] / height
        at_centres = [between(plane, y_px / stride - 0.5, x_px / stride - 0.5) for plane in logits]
        expected = 255 * largest_probability(np.array(at_centres))
        # warpAffine knows positions to 1/32 of a logit; these change by 10 and more from one to the next.
        assert np.abs(confidence - expected).max() < 12
        assert np.abs(confidence - expected).mean() < 0.9

    @pytest.mark.parametrize(
        ("frame_wh", "cells_wh"),
        [((1280, 720), (80, 45)), ((640, 384), (80, 48)), ((360, 640), (27, 48)), ((641, 359), (80, 45))],
    )
    def test_cells_cover_the_frames_place_in_the_input(
        self, frame_wh: tuple[int, int], cells_wh: tuple[int, int]
    ) -> None:
        confidence = confidence_of(random_logits(), Letterbox.fit(frame_wh, INPUT_WH))

        assert (confidence.shape[1], confidence.shape[0]) == cells_wh
        assert confidence.dtype == np.uint8

    @pytest.mark.parametrize("stride", [1, 32])
    def test_cells_are_the_same_at_any_stride_of_the_network(self, stride: int) -> None:
        assert confidence_of(random_logits(2, stride), Letterbox.fit((640, 360), INPUT_WH)).shape == (45, 80)

    @pytest.mark.parametrize(
        ("logits", "level"),
        [
            ((0, 0, 0), 85),
            ((7, 7, 7), 85),
            ((-5, -5), 128),
            ((0, 900, -900), 255),
            ((0, np.log(8), 0), 204),
        ],
    )
    def test_level_is_the_winners_share_of_255(self, logits: tuple[float, ...], level: int) -> None:
        planes = np.array(logits, np.float32)[:, None, None].repeat(48, 1).repeat(80, 2)

        assert (confidence_of(planes, Letterbox.fit((640, 360), INPUT_WH)) == level).all()

    def test_padding_has_no_part_in_it(self) -> None:
        logits = np.zeros((3, 48, 80), np.float32)
        logits[0, :1] = logits[0, -1:] = 50.0  # 8 rows of the input at both ends; 12 are padding

        assert (confidence_of(logits, Letterbox.fit((1280, 720), INPUT_WH)) == 85).all()

    def test_it_stands_where_it_is_in_the_frame(self) -> None:
        logits = np.zeros((3, 48, 80), np.float32)
        logits[0, 24:, 40:] = 50.0  # the middle of the input is that of the frame

        confidence = confidence_at(confidence_of(logits, Letterbox.fit((1280, 720), INPUT_WH)), (640, 360))

        assert (confidence[192:, 328:] == 255).all()
        assert (confidence[:168] == 85).all()
        assert (confidence[:, :312] == 85).all()

    def test_between_the_cells_it_is_near_what_every_pixels_own_would_be(self) -> None:
        engine = OnnxEngine(model_file("rt_s-int8"), "cpu", threads=1)
        image_bgr, _ = DriveRenderer("day", (640, 360)).render(10)
        input_bgr, box = letterbox(image_bgr, INPUT_WH, engine.contract.pad_bgr)
        logits = engine.infer(input_bgr)
        exact = 255 * largest_probability(
            np.array([cv2.resize(plane, INPUT_WH)[box.rows, box.columns] for plane in logits])
        )

        prediction = Predictor(engine)(Frame("fake", 0, 0, 0, image_bgr, "0"))

        assert prediction.confidence is not None
        found = confidence_at(prediction.confidence, (640, 360))
        assert np.abs(found - exact).mean() < 2.5  # of 255; measured 1.6


class TestAtAnotherSize:
    def test_its_own_size_is_itself(self) -> None:
        confidence = np.zeros((45, 80), np.uint8)

        assert confidence_at(confidence, (80, 45)) is confidence

    def test_pixels_between_two_centres_lie_between_their_levels(self) -> None:
        (row,) = confidence_at(np.array([[100, 200]], np.uint8), (8, 1))

        # centres at 1.5 and 5.5 of 8 pixels; beyond them the level stays
        np.testing.assert_allclose(row, [100, 100, 112, 138, 162, 188, 200, 200], atol=1)


def counts_of(levels: list[int], right: list[bool], counted: list[bool] | None = None) -> np.ndarray:
    seen = [True] * len(levels) if counted is None else counted
    return calibration_counts(np.array([levels], np.uint8), np.array([right]), np.array([seen]))


class TestCalibration:
    @pytest.mark.parametrize(
        ("level", "index"),
        [(0, 0), (1, 0), (17, 0), (18, 1), (128, 7), (238, 13), (239, 14), (255, 14)],
    )
    def test_bin_holds_its_upper_edge(self, level: int, index: int) -> None:
        pixels, right, levels = counts_of([level, level], [True, False])

        assert pixels.tolist() == [2 * (number == index) for number in range(BINS)]
        assert right.tolist() == [number == index for number in range(BINS)]
        assert levels[index] == levels.sum() == 2 * level

    def test_error_is_the_mean_distance_of_the_bins_by_their_pixels(self) -> None:
        # 3 pixels of 1.0, 2 right: off by 1/3. 2 of 0.6, none right: off by 0.6.
        counts = counts_of([255, 255, 255, 153, 153], [True, True, False, False, False])

        assert calibration_error(counts) == pytest.approx((3 * (1 / 3) + 2 * 0.6) / 5)

    def test_doubt_and_overconfidence_of_one_bin_make_up_for_each_other(self) -> None:
        assert calibration_error(counts_of([128, 126], [True, False])) == pytest.approx(2 / 510 / 2, abs=1e-9)

    def test_pixels_that_do_not_count_are_left_out(self) -> None:
        counts = counts_of([255, 255, 255], [True, False, True], counted=[True, False, False])

        assert calibration_error(counts) == 0.0
        assert counts[:, 14].tolist() == [1, 1, 255]

    def test_counts_of_frames_can_be_summed(self) -> None:
        both = counts_of([250, 100], [True, False]) + counts_of([250, 110], [False, True])

        np.testing.assert_array_equal(both, counts_of([250, 100, 250, 110], [True, False, False, True]))

    def test_nothing_counted_is_no_number(self) -> None:
        assert np.isnan(calibration_error(counts_of([9], [True], counted=[False])))
