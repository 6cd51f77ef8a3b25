from __future__ import annotations

from collections.abc import Callable

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from perception.imaging.yuv import Yuv420, YuvMatrix, bgr_from_yuv
from perception.sources.v4l2.pixels import DECODERS, BrokenPictureError, Layout, Picture, decode

Bytes = NDArray[np.uint8]
WH = (64, 48)
LINE_GAP_BYTES = 32


def road_bgr(wh: tuple[int, int] = WH) -> Bytes:
    """Smooth colours, so that chroma at half the size loses nothing that matters."""
    x, y = np.meshgrid(np.linspace(0, 1, wh[0]), np.linspace(0, 1, wh[1]))
    planes = [60 + 120 * x, 90 + 80 * y, 200 - 90 * x * y]
    return np.asarray(np.dstack(planes).round(), np.uint8)


def yuv444(image_bgr: Bytes, matrix: YuvMatrix, is_full_range: bool) -> list[NDArray[np.float64]]:
    """ITU-R BT.601 and BT.709, from their definitions."""
    b, g, r = (image_bgr[..., channel] / 255.0 for channel in range(3))
    kr, kb = (0.299, 0.114) if matrix == "bt601" else (0.2126, 0.0722)
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))
    if is_full_range:
        return [255 * y, 128 + 255 * u, 128 + 255 * v]
    return [16 + 219 * y, 128 + 224 * u, 128 + 224 * v]


def packed(fourcc: str, image_bgr: Bytes, matrix: YuvMatrix = "bt601", is_full_range: bool = False) -> Bytes:
    """The picture as a driver would lay it down, without gaps between lines."""
    if fourcc in ("BGR3", "RGB3"):
        return np.ascontiguousarray(image_bgr[..., :: 1 if fourcc == "BGR3" else -1]).reshape(-1)
    planes = yuv444(image_bgr, matrix, is_full_range)
    y, u, v = (np.asarray(plane.round(), np.uint8) for plane in planes)
    if fourcc in ("YUYV", "UYVY"):
        lines = np.empty((*y.shape, 2), np.uint8)
        first = 0 if fourcc == "YUYV" else 1
        lines[..., first] = y
        lines[:, ::2, 1 - first], lines[:, 1::2, 1 - first] = u[:, ::2], v[:, ::2]
        return lines.reshape(-1)
    half_u, half_v = u[::2, ::2], v[::2, ::2]
    if fourcc == "NV12":
        return np.concatenate([y.reshape(-1), np.dstack([half_u, half_v]).reshape(-1)])
    chroma = (half_u, half_v) if fourcc == "YU12" else (half_v, half_u)
    return np.concatenate([y.reshape(-1), *(plane.reshape(-1) for plane in chroma)])


def bgr_of(picture: Picture) -> Bytes:
    return bgr_from_yuv(picture.pixels) if isinstance(picture.pixels, Yuv420) else picture.pixels


def largest_error(picture: Picture, image_bgr: Bytes) -> int:
    return int(np.abs(bgr_of(picture).astype(int) - image_bgr).max())


RAW = ("YUYV", "UYVY", "NV12", "YU12", "YV12", "BGR3", "RGB3")


@pytest.mark.parametrize("fourcc", RAW)
def test_every_raw_format_gives_the_same_picture(fourcc: str) -> None:
    picture = decode(packed(fourcc, road_bgr()), Layout(WH, fourcc))

    assert largest_error(picture, road_bgr()) <= 6
    assert not picture.is_damaged


@pytest.mark.parametrize("is_full_range", [False, True])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("fourcc", ["YUYV", "NV12", "YU12"])
def test_matrix_and_range_are_the_drivers(fourcc: str, matrix: YuvMatrix, is_full_range: bool) -> None:
    data = packed(fourcc, road_bgr(), matrix, is_full_range)

    picture = decode(data, Layout(WH, fourcc, 0, matrix, is_full_range))

    assert largest_error(picture, road_bgr()) <= 7
    wrong = decode(data, Layout(WH, fourcc, 0, matrix, not is_full_range))
    assert largest_error(wrong, road_bgr()) > 12


@pytest.mark.parametrize("fourcc", RAW)
def test_gaps_behind_the_lines_are_left_out(fourcc: str) -> None:
    data = packed(fourcc, road_bgr())
    width, height = WH
    line_bytes = {"YUYV": 2, "UYVY": 2, "BGR3": 3, "RGB3": 3}.get(fourcc, 1) * width

    def with_gaps(plane: Bytes, plane_line_bytes: int, gap_bytes: int) -> Bytes:
        lines = plane.reshape(-1, plane_line_bytes)
        return np.pad(lines, ((0, 0), (0, gap_bytes)), constant_values=255).reshape(-1)

    luma, chroma = data[: line_bytes * height], data[line_bytes * height :]
    halves = 1 if fourcc == "NV12" else 2
    gapped = np.concatenate(
        [
            with_gaps(luma, line_bytes, LINE_GAP_BYTES),
            with_gaps(chroma, line_bytes // halves, LINE_GAP_BYTES // halves),
        ]
    )

    picture = decode(gapped, Layout(WH, fourcc, line_bytes + LINE_GAP_BYTES))

    assert np.array_equal(bgr_of(picture), bgr_of(decode(data, Layout(WH, fourcc))))


@pytest.mark.parametrize("fourcc", [*RAW, "GREY"])
def test_a_raw_picture_that_was_cut_short_is_refused(fourcc: str) -> None:
    data = np.zeros(WH[0] * WH[1], np.uint8) if fourcc == "GREY" else packed(fourcc, road_bgr())

    with pytest.raises(BrokenPictureError, match=r"bytes instead of \d+"):
        decode(data[:-1], Layout(WH, fourcc))


def test_grey_levels_are_kept() -> None:
    grey = np.arange(WH[0] * WH[1], dtype=np.uint32).astype(np.uint8)

    picture = decode(grey, Layout(WH, "GREY"))

    assert np.array_equal(bgr_of(picture), np.dstack([grey.reshape(WH[1], WH[0])] * 3))


SUBSAMPLINGS = {"4:2:0": 0x221111, "4:2:2": 0x211111, "4:4:4": 0x111111}


def jpeg_of(image_bgr: Bytes, factor: int = SUBSAMPLINGS["4:2:2"], restart_every: int = 0) -> Bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    if restart_every:
        options += [cv2.IMWRITE_JPEG_RST_INTERVAL, restart_every]
    return np.asarray(cv2.imencode(".jpg", image_bgr, options)[1], np.uint8).reshape(-1)


@pytest.mark.parametrize("wh", [WH, (63, 47)], ids=["even", "odd"])
@pytest.mark.parametrize("factor", SUBSAMPLINGS.values(), ids=SUBSAMPLINGS)
def test_jpegs_of_every_subsampling_are_read(factor: int, wh: tuple[int, int]) -> None:
    picture = decode(jpeg_of(road_bgr(wh), factor), Layout(wh, "MJPG"))

    assert largest_error(picture, road_bgr(wh)) <= 10
    assert not picture.is_damaged


def test_a_grey_jpeg_is_read() -> None:
    grey = road_bgr()[..., 0].copy()

    picture = decode(jpeg_of(grey), Layout(WH, "JPEG"))

    assert largest_error(picture, np.dstack([grey] * 3)) <= 4


def test_a_jpeg_without_huffman_tables_is_read_as_webcams_send_them() -> None:
    jpeg = jpeg_of(road_bgr()).tobytes()
    while (start := jpeg.find(b"\xff\xc4")) >= 0:
        length = int.from_bytes(jpeg[start + 2 : start + 4])
        jpeg = jpeg[:start] + jpeg[start + 2 + length :]

    picture = decode(np.frombuffer(jpeg, np.uint8), Layout(WH, "MJPG"))

    assert largest_error(picture, road_bgr()) <= 10
    assert not picture.is_damaged


def noise_jpeg() -> Bytes:
    noise = np.random.default_rng(0).integers(0, 255, (WH[1], WH[0], 3), np.uint8)
    return jpeg_of(noise, restart_every=4)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda jpeg: jpeg[: jpeg.size // 2],
        lambda jpeg: np.concatenate([jpeg[: jpeg.size // 2], jpeg[-2:]]),
        lambda jpeg: np.delete(jpeg, slice(jpeg.size // 2, jpeg.size // 2 + 500)),
        lambda jpeg: np.concatenate(
            [jpeg[: jpeg.size // 2], np.zeros(500, np.uint8), jpeg[jpeg.size // 2 + 500 :]]
        ),
    ],
    ids=["cut short", "cut short with an end", "a packet is missing", "a packet of zeros"],
)
def test_a_damaged_jpeg_gives_what_there_is_of_it_and_is_marked(spoil: Callable[[Bytes], Bytes]) -> None:
    whole = bgr_of(decode(noise_jpeg(), Layout(WH, "MJPG")))

    picture = decode(spoil(noise_jpeg()), Layout(WH, "MJPG"))

    assert picture.is_damaged
    assert np.array_equal(bgr_of(picture)[:8], whole[:8])


def test_the_part_of_a_jpeg_that_is_missing_is_black() -> None:
    jpeg = jpeg_of(road_bgr((640, 480)))

    picture = decode(jpeg[: jpeg.size // 2], Layout((640, 480), "MJPG"))

    assert not bgr_of(picture)[-16:].any()
    assert largest_error(Picture(bgr_of(picture)[:16]), road_bgr((640, 480))[:16]) <= 10


def test_padding_behind_a_jpeg_is_no_damage() -> None:
    padded = np.concatenate([noise_jpeg(), np.zeros(300, np.uint8)])

    assert not decode(padded, Layout(WH, "MJPG")).is_damaged


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (np.zeros(0, np.uint8), "not a readable JPEG"),
        (np.full(4000, 77, np.uint8), "not a readable JPEG"),
        (np.array([0xFF, 0xD8, 0xFF, 0xD9], np.uint8), "not a readable JPEG"),
    ],
    ids=["nothing", "no JPEG", "no picture in it"],
)
def test_what_is_no_picture_is_refused(data: Bytes, problem: str) -> None:
    with pytest.raises(BrokenPictureError, match=problem):
        decode(data, Layout(WH, "MJPG"))


@pytest.mark.parametrize(
    ("jpeg_wh", "stated_wh", "wh"),
    [
        ((64, 48), (64, 48), (64, 48)),
        ((64, 48), (64, 45), (64, 45)),
        ((64, 48), (62, 45), (62, 45)),
        ((64, 48), (61, 43), (61, 43)),
        ((64, 56), (64, 50), (64, 50)),
        ((64, 50), (64, 48), (64, 50)),
        ((48, 32), (64, 48), (48, 32)),
        ((80, 60), (64, 48), (80, 60)),
        ((64, 64), (62, 32), (64, 64)),
        ((31, 17), (64, 48), (31, 17)),
    ],
)
@pytest.mark.parametrize("sampling", [*SUBSAMPLINGS.values(), None], ids=[*SUBSAMPLINGS, "grey"])
def test_a_jpeg_has_the_size_in_its_header_without_padding(
    jpeg_wh: tuple[int, int], stated_wh: tuple[int, int], wh: tuple[int, int], sampling: int | None
) -> None:
    image_bgr = road_bgr(jpeg_wh)
    if sampling is None:
        image_bgr = np.repeat(image_bgr[..., :1], 3, axis=2)
        jpeg = jpeg_of(image_bgr[..., 0])
    else:
        jpeg = jpeg_of(image_bgr, sampling)

    picture = decode(jpeg, Layout(stated_wh, "MJPG"))

    assert not picture.is_damaged
    assert bgr_of(picture).shape == (wh[1], wh[0], 3)
    assert largest_error(picture, image_bgr[: wh[1], : wh[0]]) <= 16


def test_random_bytes_raise_one_error_only() -> None:
    rng = np.random.default_rng(1)
    whole = noise_jpeg()
    outcomes = set()
    for _ in range(300):
        data = whole.copy()
        data[rng.integers(0, data.size, 12)] = rng.integers(0, 256, 12)
        fourcc = list(DECODERS)[int(rng.integers(len(DECODERS)))]
        try:
            outcomes.add(decode(data, Layout(WH, fourcc)).is_damaged)
        except BrokenPictureError:
            outcomes.add(None)

    assert outcomes == {True, False, None}


def test_libav_says_nothing_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert av.logging.get_level() is None

    decode(noise_jpeg()[:900], Layout(WH, "MJPG"))

    assert capfd.readouterr().err == ""


SIZES_WH = [(width, height) for width in (0, 1, 2, 3, 63, 64) for height in (0, 1, 2, 3, 47, 48)]


@pytest.mark.parametrize("fourcc", DECODERS)
def test_any_size_and_any_bytes_give_a_picture_of_that_size_or_are_refused(fourcc: str) -> None:
    random = np.random.default_rng(13)
    for width, height in SIZES_WH:
        for size_bytes in (0, 1, width * height, width * height * 3, 5 * (width + 1) * (height + 1)):
            data = random.integers(0, 256, size_bytes, np.uint8)
            for bytes_per_line in (0, width, 2 * width + 1, 3 * width + 2):
                layout = Layout((width, height), fourcc, bytes_per_line)
                try:
                    picture = decode(data, layout)
                except BrokenPictureError:
                    continue
                assert bgr_of(picture).shape == (height, width, 3)


@pytest.mark.parametrize(
    ("fourcc", "wh"), [("YUYV", (63, 48)), ("UYVY", (63, 48)), ("NV12", (64, 47)), ("YU12", (63, 47))]
)
def test_half_a_chroma_sample_is_refused(fourcc: str, wh: tuple[int, int]) -> None:
    with pytest.raises(BrokenPictureError, match=f"{wh[0]}x{wh[1]} pixels are not a valid size for {fourcc}"):
        decode(np.zeros(100_000, np.uint8), Layout(wh, fourcc))


def test_a_jpeg_of_red_green_and_blue_is_refused() -> None:
    jpeg = jpeg_of(road_bgr(), SUBSAMPLINGS["4:4:4"]).tobytes()
    frame, scan = jpeg.index(b"\xff\xc0"), jpeg.index(b"\xff\xda")
    parts = bytearray(jpeg)
    for number, name in enumerate(b"RGB"):
        parts[frame + 10 + 3 * number] = parts[scan + 5 + 2 * number] = name

    with pytest.raises(BrokenPictureError, match="instead of YUV or grey"):
        decode(np.frombuffer(bytes(parts), np.uint8), Layout(WH, "MJPG"))
