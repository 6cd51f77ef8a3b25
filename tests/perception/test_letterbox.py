"""The resize to the network's input: where the frame lies, what is around it, what is refused."""

from __future__ import annotations

import doctest

import cv2
import numpy as np
import pytest

import perception.imaging.letterbox
from perception.imaging.letterbox import Letterbox, letterbox

INPUT_WH = (640, 384)
PAD_BGR = (10, 120, 230)


@pytest.mark.parametrize(
    ("frame_wh", "content_wh", "left_px", "top_px"),
    [
        pytest.param((1280, 720), (640, 360), 0, 12, id="720p"),
        pytest.param((3840, 2160), (640, 360), 0, 12, id="4K"),
        pytest.param((640, 360), (640, 360), 0, 12, id="as wide as the input"),
        pytest.param((640, 384), (640, 384), 0, 0, id="the input itself"),
        pytest.param((1280, 960), (512, 384), 64, 0, id="4:3"),
        pytest.param((360, 640), (216, 384), 212, 0, id="portrait"),
        pytest.param((641, 359), (640, 358), 0, 13, id="odd"),
        pytest.param((1281, 721), (640, 360), 0, 12, id="odd, larger"),
        pytest.param((320, 180), (640, 360), 0, 12, id="smaller than the input"),
        pytest.param((1, 1), (384, 384), 128, 0, id="one pixel"),
        pytest.param((5000, 2), (640, 1), 0, 191, id="a line"),
    ],
)
def test_frame_lies_centred_and_keeps_its_shape(
    frame_wh: tuple[int, int], content_wh: tuple[int, int], left_px: int, top_px: int
) -> None:
    box = Letterbox.fit(frame_wh, INPUT_WH)

    assert (box.content_wh, box.left_px, box.top_px) == (content_wh, left_px, top_px)


@pytest.mark.parametrize("input_wh", [(640, 384), (512, 512), (96, 320), (33, 17)])
def test_frame_of_any_size_fits(input_wh: tuple[int, int]) -> None:
    chance = np.random.default_rng(5)
    for _ in range(300):
        width, height = (int(side) for side in chance.integers(1, 4000, 2))
        box = Letterbox.fit((width, height), input_wh)

        assert 0 <= box.left_px <= box.columns.stop <= input_wh[0]
        assert 0 <= box.top_px <= box.rows.stop <= input_wh[1]
        assert box.content_wh[0] == input_wh[0] or box.content_wh[1] == input_wh[1]
        assert min(box.content_wh) >= 1


FRAMES_WH = [(1280, 720), (641, 359), (360, 640), (3840, 2160), (5, 3), (640, 384)]


@pytest.mark.parametrize("frame_wh", FRAMES_WH)
def test_padding_has_its_colour_and_the_content_its_own(frame_wh: tuple[int, int]) -> None:
    image_bgr = np.full((frame_wh[1], frame_wh[0], 3), 200, np.uint8)

    input_bgr, box = letterbox(image_bgr, INPUT_WH, PAD_BGR)

    is_content = np.zeros(input_bgr.shape[:2], bool)
    is_content[box.rows, box.columns] = True
    assert input_bgr.shape == (384, 640, 3)
    assert (input_bgr[is_content] == 200).all()
    assert (input_bgr[~is_content] == PAD_BGR).all()


@pytest.mark.parametrize("frame_wh", FRAMES_WH)
def test_content_is_the_frame_as_opencv_resizes_it(frame_wh: tuple[int, int]) -> None:
    image_bgr = np.random.default_rng(2).integers(0, 256, (frame_wh[1], frame_wh[0], 3), np.uint8)

    input_bgr, box = letterbox(image_bgr, INPUT_WH, PAD_BGR)

    halves = frame_wh[0] >= 2 * box.content_wh[0]
    expected = cv2.resize(
        image_bgr, box.content_wh, interpolation=cv2.INTER_AREA if halves else cv2.INTER_LINEAR
    )
    np.testing.assert_array_equal(input_bgr[box.rows, box.columns], expected)


def test_left_edge_of_the_frame_is_the_left_edge_of_the_content() -> None:
    image_bgr = np.zeros((960, 1280, 3), np.uint8)
    image_bgr[:, :640] = 255

    input_bgr, _ = letterbox(image_bgr, INPUT_WH, (0, 0, 0))

    (columns,) = np.nonzero(input_bgr[192, :, 0])
    assert (columns.min(), columns.max()) == (64, 319)


def test_buffer_is_used_again_and_its_padding_stays() -> None:
    box = Letterbox.fit((1280, 720), INPUT_WH)
    buffer_bgr = box.blank(PAD_BGR)

    for level in (50, 90):
        box.place(np.full((720, 1280, 3), level, np.uint8), buffer_bgr)

    assert (buffer_bgr[box.rows, box.columns] == 90).all()
    assert (buffer_bgr[: box.top_px] == PAD_BGR).all()


def test_image_is_left_as_it_was() -> None:
    image_bgr = np.full((360, 640, 3), 7, np.uint8)

    input_bgr, _ = letterbox(image_bgr, INPUT_WH, PAD_BGR)
    input_bgr[:] = 0

    assert (image_bgr == 7).all()


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.zeros((36, 64), np.uint8), id="grey"),
        pytest.param(np.zeros((36, 64, 1), np.uint8), id="one channel"),
        pytest.param(np.zeros((36, 64, 4), np.uint8), id="four channels"),
        pytest.param(np.zeros((36, 64, 3), np.float32), id="float"),
        pytest.param(np.zeros((36, 64, 3), np.uint16), id="16 bit"),
        pytest.param(np.zeros((2, 36, 64, 3), np.uint8), id="batch"),
        pytest.param(np.zeros((0, 64, 3), np.uint8), id="no rows"),
    ],
)
def test_anything_but_a_uint8_image_of_three_channels_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected a|cannot fit"):
        letterbox(image, INPUT_WH, PAD_BGR)


def test_frame_of_another_size_is_refused() -> None:
    box = Letterbox.fit((1280, 720), INPUT_WH)

    with pytest.raises(
        ValueError, match=r"expected a uint8 frame of \(1280, 720\), got uint8 \(360, 640, 3\)"
    ):
        box.place(np.zeros((360, 640, 3), np.uint8), box.blank(PAD_BGR))


@pytest.mark.parametrize("wh", [(0, 5), (5, 0), (-1, 5)])
def test_side_that_is_not_positive_is_refused(wh: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="sides must be positive"):
        Letterbox.fit(wh, INPUT_WH)
    with pytest.raises(ValueError, match="sides must be positive"):
        Letterbox.fit(INPUT_WH, wh)


def test_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(perception.imaging.letterbox) == (0, 3)
