"""Converts decoded pictures of any matrix, range and transfer characteristic to 4:2:0 planes.

Alpha is dropped: the colours of transparent pixels become visible, as in OpenCV and Pillow.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from perception.imaging.tone import BT2020, CURVES, GAMUTS, HLG, PQ, tone_map
from perception.imaging.yuv import Plane, Yuv420, YuvMatrix

# Numbers of ITU-T H.273, as in libav; swscale has its own number for BT.601.
_MATRIX_BT709, _UNSPECIFIED, _MATRIX_240M, _MATRIX_BT2020 = 1, 2, 7, 9
_MATRICES_BT601: Final = (4, 5, 6)  # FCC, BT.601 with 625 and 525 lines: equal within one level
_SWSCALE_BT601: Final = 5
_LIMITED_RANGE, _FULL_RANGE = 1, 2
_SD_WH: Final = (1024, 576)
"""An unspecified matrix is BT.601 up to this size and BT.709 beyond, as in players."""
_MATRIX_NAMES: Final = {
    8: "YCgCo",
    10: "BT.2020 of constant luminance",
    14: "ICtCp",
    15: "IPT",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
_MATRICES_LIKE_BT2020: Final = (10, 14, 15)
_DOLBY_VISION_TAGS: Final = ("dvh1", "dvhe", "dav1")
_CURVE_NAMES: Final = {
    8: "linear",
    9: "log100",
    10: "log316",
    PQ: "smpte2084",
    HLG: "arib-std-b67",
    17: "smpte428",
}
# Includes reserved numbers, and 5 (gamma 2.8), which old video states wrongly.
_CURVES_OF_SCREENS: Final = (0, 1, _UNSPECIFIED, 3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
_GAMUT_NAMES: Final = {9: "bt2020", 12: "display-p3"}


class PixelFormatError(Exception):
    """A pixel format that cannot be converted; one line."""


def planes_of(frame: VideoFrame) -> Yuv420:
    """The frame's own memory if it is 8-bit 4:2:0 with limited range, else a conversion to that.

    Raises:
        PixelFormatError: if it cannot be converted.
    """
    try:
        return _planes_of(frame)
    except FFmpegError:
        raise PixelFormatError(f"its pixel format {frame.format.name} cannot be read") from None


def _planes_of(frame: VideoFrame) -> Yuv420:
    if frame.color_trc in CURVES or frame.color_primaries in GAMUTS:
        return _of_standard_range(frame)
    colorspace = _colorspace_of(frame)
    form = frame.format.name
    if form.startswith("gray") and frame.color_range == _LIMITED_RANGE:
        # swscale takes grey for full range, whatever its tag
        grey = frame if form == "gray" else _converted(frame, "gray", colorspace, colorspace)
        y = rows_of(grey, 0)
        neutral = np.full(((y.shape[0] + 1) // 2, (y.shape[1] + 1) // 2), 128, np.uint8)
        return Yuv420(y, neutral, neutral)
    matrix: YuvMatrix = "bt709" if colorspace in (_MATRIX_BT709, _MATRIX_240M) else "bt601"
    if form != "yuv420p" or frame.color_range == _FULL_RANGE or colorspace in (_MATRIX_240M, _MATRIX_BT2020):
        to_colorspace = _MATRIX_BT709 if matrix == "bt709" else _SWSCALE_BT601
        frame = _converted(frame, "yuv420p", colorspace, to_colorspace, _LIMITED_RANGE)
    return Yuv420(rows_of(frame, 0), rows_of(frame, 1), rows_of(frame, 2), matrix)


def colour_note(frame: VideoFrame, codec_tag: str = "") -> str:
    """How the picture's colours are converted, or why they are wrong, for the log; else empty.

    Args:
        frame: as decoded.
        codec_tag: the container's four-character code of the codec.
    """
    notes = []
    curve, primaries = frame.color_trc, frame.color_primaries
    gamut = _GAMUT_NAMES.get(primaries, "")
    if curve in (PQ, HLG):
        tags = ", ".join(filter(None, (_CURVE_NAMES[curve], gamut)))
        notes.append(f"HDR ({tags}) tone mapped to SDR")
    elif curve in CURVES:
        notes.append(f"transfer {_CURVE_NAMES[curve]} converted to BT.709's")
    elif curve not in _CURVES_OF_SCREENS:
        notes.append(f"transfer {_CURVE_NAMES.get(curve, curve)} is read as BT.709's: colours suffer")
    if gamut and curve not in (PQ, HLG):
        notes.append(f"{gamut} converted to BT.709")
    if frame.colorspace in _MATRIX_NAMES:
        notes.append(f"{_MATRIX_NAMES[frame.colorspace]} is read as another matrix: colours are wrong")
    if codec_tag in _DOLBY_VISION_TAGS and frame.colorspace == _UNSPECIFIED:
        notes.append("Dolby Vision without a fallback: colours are wrong")
    return ", ".join(notes)


def rows_of(frame: VideoFrame, index: int) -> Plane:
    """(H, W) uint8 read-only view of an 8-bit plane."""
    plane = frame.planes[index]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, abs(plane.line_size))
    rows = (rows if plane.line_size > 0 else rows[::-1])[:, : plane.width]
    rows.flags.writeable = False  # the decoder may predict the next frame from this memory
    return rows


def _colorspace_of(frame: VideoFrame) -> int:
    """swscale's number of the matrix; by the picture's size if unspecified."""
    colorspace = int(frame.colorspace)
    if colorspace in _MATRICES_BT601:
        return _SWSCALE_BT601
    if colorspace in (_MATRIX_BT709, _MATRIX_240M, _MATRIX_BT2020):
        return colorspace
    if colorspace == _UNSPECIFIED:
        is_sd = frame.width <= _SD_WH[0] and frame.height <= _SD_WH[1]
        return _SWSCALE_BT601 if is_sd else _MATRIX_BT709
    return _MATRIX_BT2020 if colorspace in _MATRICES_LIKE_BT2020 else _SWSCALE_BT601


def _of_standard_range(frame: VideoFrame) -> Yuv420:
    """Tone mapped to the gamut of BT.709, with the matrix of BT.601."""
    curve = int(frame.color_trc)
    primaries = int(frame.color_primaries)
    if curve in (PQ, HLG) and primaries == _UNSPECIFIED:
        primaries = BT2020
    colorspace = _colorspace_of(frame)
    if frame.colorspace == _UNSPECIFIED and primaries == BT2020:
        colorspace = _MATRIX_BT2020
    coded = _converted(frame, "gbrp10le", colorspace, colorspace, _FULL_RANGE)
    green, blue, red = (_codes_of(coded, index) for index in range(3))
    image_bgr = tone_map(curve, primaries).apply(np.asarray(cv2.merge((blue, green, red)), np.uint16))
    return yuv_from_bgr(image_bgr)


def _converted(
    frame: VideoFrame, form: str, colorspace: int, to_colorspace: int, to_range: int | None = None
) -> VideoFrame:
    """Converted by swscale, by matrix and range only.

    Tags are removed meanwhile: in av below 18, it would refuse some transfer characteristics and primaries,
    or convert them too.
    """
    tags = frame.colorspace, frame.color_trc, frame.color_primaries
    frame.colorspace, frame.color_trc, frame.color_primaries = colorspace, _UNSPECIFIED, _UNSPECIFIED
    try:
        return frame.reformat(
            format=form,
            src_colorspace=colorspace,
            dst_colorspace=to_colorspace,
            dst_color_range=to_range,
            threads=1,
        )
    finally:
        frame.colorspace, frame.color_trc, frame.color_primaries = tags


def _codes_of(frame: VideoFrame, index: int) -> NDArray[np.uint16]:
    plane = frame.planes[index]
    rows = np.frombuffer(memoryview(plane), np.uint16).reshape(plane.height, plane.line_size // 2)
    return rows[:, : plane.width]


def yuv_from_bgr(image_bgr: NDArray[np.uint8]) -> Yuv420:
    """4:2:0 planes with the matrix of BT.601; any size."""
    height, width = image_bgr.shape[:2]
    even_height, even_width = height + height % 2, width + width % 2
    if (even_height, even_width) != (height, width):
        image_bgr = np.asarray(
            cv2.copyMakeBorder(image_bgr, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE), np.uint8
        )
    packed = np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2YUV_I420), np.uint8)
    y = packed[:even_height]
    u, v = packed[even_height:].reshape(2, even_height // 2, even_width // 2)
    return Yuv420(y[:height, :width], u, v)
