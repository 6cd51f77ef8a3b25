"""Frames and predictions: planes become the picture that the libraries' own conversions give."""

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest

from perception.frame import Frame, Prediction
from perception.imaging.yuv import Yuv420, YuvMatrix, bgr_from_yuv
from perception.sources.v4l2.pixels import Picture

SWSCALE_MATRIX = {"bt601": 5, "bt709": 1}
LIMITED_RANGE = 1
SIZES_WH = [(1280, 720), (640, 360), (320, 240)]
ODD_SIZES_WH = [(641, 359), (359, 640), (321, 241)]

# Measured: 0.7 to 1.7 of 255 beside swscale, and 0.8 to 1.5 beside the picture that the planes were made of.
MEAN_DIFFERENCE_TO_SWSCALE = 2.0
MEAN_DIFFERENCE_TO_THE_PICTURE = 2.0


def smooth_picture(wh: tuple[int, int], seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8 BGR: large soft patches of random colours."""
    patches = np.random.default_rng(seed).integers(0, 256, (5, 8, 3), np.uint8)
    return np.asarray(cv2.resize(patches, wh, interpolation=cv2.INTER_CUBIC), np.uint8)


def planes_of(picture_bgr: np.ndarray, matrix: YuvMatrix) -> Yuv420:
    """The picture as a decoder would give it: 4:2:0, limited range, converted by swscale."""
    frame = av.VideoFrame.from_ndarray(picture_bgr, "bgr24").reformat(
        format="yuv420p", dst_colorspace=SWSCALE_MATRIX[matrix], dst_color_range=LIMITED_RANGE
    )
    y, u, v = (
        np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        for plane in frame.planes
    )
    return Yuv420(y, u, v, matrix)


def swscale_bgr(pixels: Yuv420) -> np.ndarray:
    """The planes as swscale, ffmpeg's own, converts them back."""
    width, height = pixels.frame_wh
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane, values in zip(frame.planes, (pixels.y, pixels.u, pixels.v), strict=True):
        rows = np.zeros((plane.height, plane.line_size), np.uint8)
        rows[:, : plane.width] = values
        plane.update(rows.tobytes())
    return frame.reformat(
        format="bgr24",
        src_colorspace=SWSCALE_MATRIX[pixels.matrix],
        dst_colorspace=SWSCALE_MATRIX[pixels.matrix],
        src_color_range=LIMITED_RANGE,
        interpolation="BILINEAR",
    ).to_ndarray()


def mean_difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@pytest.mark.parametrize("wh", SIZES_WH)
def test_bt601_planes_become_what_opencv_gives(wh: tuple[int, int]) -> None:
    width, height = wh
    i420 = np.asarray(cv2.cvtColor(smooth_picture(wh), cv2.COLOR_BGR2YUV_I420), np.uint8)
    chroma = i420[height:].reshape(2, height // 2, width // 2)

    image_bgr = bgr_from_yuv(Yuv420(i420[:height], chroma[0], chroma[1], "bt601"))

    np.testing.assert_array_equal(image_bgr, cv2.cvtColor(i420, cv2.COLOR_YUV2BGR_I420))


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("wh", SIZES_WH + ODD_SIZES_WH)
def test_planes_become_what_swscale_gives(wh: tuple[int, int], matrix: YuvMatrix) -> None:
    pixels = planes_of(smooth_picture(wh), matrix)

    image_bgr = bgr_from_yuv(pixels)

    assert image_bgr.shape == (wh[1], wh[0], 3)
    assert mean_difference(image_bgr, swscale_bgr(pixels)) < MEAN_DIFFERENCE_TO_SWSCALE


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("wh", SIZES_WH + ODD_SIZES_WH)
def test_picture_comes_back_from_its_planes(wh: tuple[int, int], matrix: YuvMatrix) -> None:
    picture_bgr = smooth_picture(wh, seed=4)

    image_bgr = bgr_from_yuv(planes_of(picture_bgr, matrix))

    assert mean_difference(image_bgr, picture_bgr) < MEAN_DIFFERENCE_TO_THE_PICTURE


@pytest.mark.parametrize("wh", [(64, 48), (63, 47), (64, 47), (63, 48), (1, 1), (2, 3)])
def test_same_colours_by_either_matrix_and_at_any_size(wh: tuple[int, int]) -> None:
    """Chroma edges, where two ways of enlarging chroma would differ most."""
    width, height = wh
    random = np.random.default_rng(9)
    y = random.integers(0, 256, (height, width), np.uint8)
    u, v = random.integers(0, 256, (2, (height + 1) // 2, (width + 1) // 2), np.uint8)
    luma = np.maximum(y, 16) - 16.0
    blue, red = (np.repeat(np.repeat(c, 2, 0), 2, 1)[:height, :width] - 128.0 for c in (u, v))

    weights: dict[YuvMatrix, tuple[float, float]] = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}
    for matrix, (kr, kb) in weights.items():
        b = 255 / 219 * luma + 2 * (1 - kb) * 255 / 224 * blue
        r = 255 / 219 * luma + 2 * (1 - kr) * 255 / 224 * red
        g = (255 / 219 * luma - kr * r - kb * b) / (1 - kr - kb)
        wanted = np.dstack([b, g, r]).clip(0, 255)

        image_bgr = bgr_from_yuv(Yuv420(y, u, v, matrix))

        assert np.abs(image_bgr - wanted).max() <= 2


def test_matrix_matters() -> None:
    pixels = planes_of(smooth_picture((640, 360)), "bt709")
    misread = Yuv420(pixels.y, pixels.u, pixels.v, "bt601")

    assert mean_difference(bgr_from_yuv(misread), swscale_bgr(pixels)) > 2 * MEAN_DIFFERENCE_TO_SWSCALE


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize(("level_y", "level_bgr"), [(16, 0), (235, 255), (0, 0), (255, 255), (126, 128)])
def test_grey_levels_span_the_limited_range(level_y: int, level_bgr: int, matrix: YuvMatrix) -> None:
    grey = np.full((2, 2), 128, np.uint8)

    image_bgr = bgr_from_yuv(Yuv420(np.full((4, 4), level_y, np.uint8), grey, grey, matrix))

    assert (np.abs(image_bgr.astype(int) - level_bgr) <= 1).all()


def make_frame(pixels: np.ndarray | Yuv420) -> Frame:
    return Frame("fake", 0, 0, 0, pixels, "000000")


@pytest.mark.parametrize("wh", [(64, 48), (63, 47)])
def test_size_of_a_frame_is_that_of_its_pixels(wh: tuple[int, int]) -> None:
    picture_bgr = smooth_picture(wh)

    assert make_frame(picture_bgr).frame_wh == wh
    assert make_frame(planes_of(picture_bgr, "bt601")).frame_wh == wh


def test_image_of_a_bgr_frame_is_its_pixels() -> None:
    picture_bgr = smooth_picture((64, 48))

    assert make_frame(picture_bgr).image_bgr is picture_bgr


def test_image_of_planes_is_converted_once() -> None:
    frame = make_frame(planes_of(smooth_picture((64, 48)), "bt709"))

    assert frame.image_bgr is frame.image_bgr


def test_frames_and_what_holds_them_are_compared_and_hashed_by_identity() -> None:
    def made() -> list[object]:
        planes = planes_of(smooth_picture((64, 48)), "bt601")
        return [planes, make_frame(planes), prediction_with(np.zeros((4, 4), np.uint8)), Picture(planes)]

    for one, other in zip(made(), made(), strict=True):
        assert one == one
        assert one != other
        assert len({one, other}) == 2


def prediction_with(class_map: np.ndarray) -> Prediction:
    return Prediction(make_frame(smooth_picture((64, 48))), class_map, (1.0, 0.0, 0.0), "tiny")


def test_class_map_at_its_own_size_is_itself() -> None:
    class_map = np.zeros((3, 5), np.uint8)

    assert prediction_with(class_map).class_map_at((5, 3)) is class_map


@pytest.mark.parametrize("to_wh", [(10, 6), (15, 9), (7, 11), (3, 2), (1, 1), (641, 359)])
def test_every_pixel_keeps_the_class_found_at_its_centre(to_wh: tuple[int, int]) -> None:
    class_map = np.random.default_rng(0).integers(0, 3, (3, 5), np.uint8)

    resized = prediction_with(class_map).class_map_at(to_wh)

    columns = (2 * np.arange(to_wh[0]) + 1) * 5 // (2 * to_wh[0])
    rows = (2 * np.arange(to_wh[1]) + 1) * 3 // (2 * to_wh[1])
    np.testing.assert_array_equal(resized, class_map[np.ix_(rows, columns)])


def test_age_is_from_capture_to_publication() -> None:
    frame = Frame("fake", 0, 5_000_000, 0, smooth_picture((64, 48)), "000000")

    prediction = Prediction(frame, np.zeros((3, 5), np.uint8), (1.0,), "tiny", published_ns=17_500_000)

    assert prediction.age_ms == 12.5
