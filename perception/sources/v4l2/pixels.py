"""Decoders for the pixel formats of camera drivers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from perception.imaging.orientation import UPRIGHT, Orientation, Turn
from perception.imaging.yuv import Plane, Yuv420, YuvMatrix
from perception.sources.decoding.image_file import decoded_jpeg
from perception.sources.decoding.image_size import MAX_PIXELS, jpeg_for_others

Bytes = NDArray[np.uint8]
Pixels = NDArray[np.uint8] | Yuv420


class BrokenPictureError(Exception):
    """The bytes are not a valid picture."""


@dataclass(frozen=True)
class Layout:
    """Memory layout of a picture, as stated by the driver."""

    wh: tuple[int, int]
    fourcc: str
    bytes_per_line: int = 0
    """Of the first plane; 0 for contiguous lines and compressed formats."""
    matrix: YuvMatrix = "bt601"
    is_full_range: bool = False
    """YUV levels 0 to 255 instead of 16 to 235."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture."""

    pixels: Pixels
    is_damaged: bool = False
    jpeg: bytes | None = None
    """As of `Frame`."""


def decode(data: Bytes, layout: Layout) -> Picture:
    """The picture in a driver's buffer; raises BrokenPictureError.

    Truncated raw pictures are refused: the bytes after the end belong to an older picture. So are sizes that
    are no multiple of the chroma subsampling: drivers differ in their layout.

    Args:
        data: (n,) uint8, of the size stated by the driver.
        layout: as stated by the driver.
    """
    width, height = layout.wh
    columns, rows = _CHROMA_PIXELS.get(layout.fourcc, (1, 1))
    if min(width, height) < 1 or width % columns or height % rows:
        raise BrokenPictureError(f"{width}x{height} pixels are not a valid size for {layout.fourcc}")
    return DECODERS[layout.fourcc](data, layout)


def _jpeg(data: Bytes, layout: Layout) -> Picture:
    """At the size in its header, as some drivers state another; without padding to whole blocks.

    Decoded by libav, which prints no warnings and accepts pictures without Huffman tables, as from webcams.

    With "explode" it refuses damaged pictures: all of 100 with a lost USB packet, and none of 182 good ones.
    A refused picture is decoded again as far as possible, by a new decoder: a used one would fill the hole
    with the previous picture. The hole is black.
    """
    content = data.tobytes()
    frame = decoded_jpeg(content, "explode", MAX_PIXELS)
    is_damaged = frame is None
    frame = frame or decoded_jpeg(content, "ignore_err", MAX_PIXELS)
    if frame is None:
        raise BrokenPictureError("not a readable JPEG")
    pixels, turn = _jpeg_pixels(frame, layout, is_damaged)
    is_as_stored = turn == UPRIGHT and _wh_of(pixels) == (frame.width, frame.height)
    return Picture(pixels, is_damaged, jpeg_for_others(content) if is_as_stored and not is_damaged else None)


def _wh_of(pixels: Pixels) -> tuple[int, int]:
    return pixels.frame_wh if isinstance(pixels, Yuv420) else (pixels.shape[1], pixels.shape[0])


def _jpeg_pixels(frame: VideoFrame, layout: Layout, is_damaged: bool) -> tuple[Pixels, Turn]:
    """Its pixels as they are displayed, and how they were turned for that."""
    if not frame.format.name.startswith(("yuv", "gray")):
        raise BrokenPictureError(f"a JPEG with {frame.format.name} pixels instead of YUV or grey")
    planes = [
        np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        for plane in frame.planes
    ]
    width, height = _unpadded((frame.width, frame.height), layout.wh)
    planes = [
        plane[: -(-height * plane.shape[0] // frame.height), : -(-width * plane.shape[1] // frame.width)]
        for plane in planes
    ]
    turn = Orientation().of(frame)
    if len(planes) == 1:
        return turn.of_plane(_bgr_of_grey(planes[0])), turn
    y, u, v = planes
    if is_damaged:
        is_hole = (u == 0) & (v == 0)  # zeroed memory would be green like grass
        u, v = (np.where(is_hole, np.uint8(128), chroma) for chroma in (u, v))
    # JFIF: full range, BT.601
    return turn.of(_yuv(y, u, v, "bt601", is_full_range=True)), turn


def _unpadded(jpeg_wh: tuple[int, int], stated_wh: tuple[int, int]) -> tuple[int, int]:
    """The size of a JPEG without padding: the driver's, if the difference only completes blocks.

    Example:
        >>> _unpadded((1920, 1088), (1920, 1080)), _unpadded((1600, 900), (1600, 896))
        ((1920, 1080), (1600, 900))
    """
    is_padding = all(
        side in (-(-stated // block_px) * block_px for block_px in _JPEG_BLOCKS_PX)
        for side, stated in zip(jpeg_wh, stated_wh, strict=True)
    )
    return stated_wh if is_padding else jpeg_wh


def _packed_yuv(data: Bytes, layout: Layout, first_luma: int) -> Picture:
    """4:2:2 packed: YUYV (`first_luma` 0) and UYVY (1)."""
    pixels = _packed(data, layout, 2)
    pairs = pixels.reshape(pixels.shape[0], -1, 4)
    u, v = _channel(pairs, 1 - first_luma), _channel(pairs, 3 - first_luma)
    return Picture(_yuv(_channel(pixels, first_luma), u, v, layout.matrix, layout.is_full_range))


def _nv12(data: Bytes, layout: Layout) -> Picture:
    width, height = layout.wh
    y, chroma = _planes(data, layout, (height, width), (height // 2, width))
    pairs = chroma.reshape(height // 2, width // 2, 2)
    return Picture(_yuv(y, _channel(pairs, 0), _channel(pairs, 1), layout.matrix, layout.is_full_range))


def _planar(data: Bytes, layout: Layout, u_is_first: bool) -> Picture:
    """4:2:0 in three planes: YU12 and YV12."""
    width, height = layout.wh
    half = height // 2, width // 2
    y, first, second = _planes(data, layout, (height, width), half, half)
    u, v = (first, second) if u_is_first else (second, first)
    return Picture(_yuv(y, u, v, layout.matrix, layout.is_full_range))


def _bgr(data: Bytes, layout: Layout) -> Picture:
    return Picture(_packed(data, layout, 3))


def _rgb(data: Bytes, layout: Layout) -> Picture:
    return Picture(np.asarray(cv2.cvtColor(_packed(data, layout, 3), cv2.COLOR_RGB2BGR), np.uint8))


def _grey(data: Bytes, layout: Layout) -> Picture:
    return Picture(_bgr_of_grey(_packed(data, layout, 1)))


DECODERS: Final[dict[str, Callable[[Bytes, Layout], Picture]]] = {
    "MJPG": _jpeg,
    "JPEG": _jpeg,
    "NV12": _nv12,
    "YU12": partial(_planar, u_is_first=True),
    "YV12": partial(_planar, u_is_first=False),
    "YUYV": partial(_packed_yuv, first_luma=0),
    "UYVY": partial(_packed_yuv, first_luma=1),
    "BGR3": _bgr,
    "RGB3": _rgb,
    "GREY": _grey,
}
"""Supported formats, in order of preference if the requested one is not offered."""


_JPEG_BLOCKS_PX: Final = (8, 16)
"""Block sizes of a JPEG with full and with halved chroma."""
_CHROMA_PIXELS: Final = {"YUYV": (2, 1), "UYVY": (2, 1), "NV12": (2, 2), "YU12": (2, 2), "YV12": (2, 2)}
"""Columns and rows of pixels that share a chroma sample."""


def _packed(data: Bytes, layout: Layout, channels: int) -> Bytes:
    """(H, W, channels) view."""
    width, height = layout.wh
    (lines,) = _planes(data, layout, (height, width * channels))
    return lines.reshape(height, width, channels)


def _planes(data: Bytes, layout: Layout, *shapes: tuple[int, int]) -> list[Bytes]:
    """Views of the planes that lie in `data` one after another, (lines, bytes of a line) each."""
    planes, begin = [], 0
    for lines, line_bytes in shapes:
        stride = layout.bytes_per_line * line_bytes // shapes[0][1] or line_bytes
        end = begin + stride * lines
        if stride < line_bytes or data.size < end:
            raise BrokenPictureError(f"{data.size} bytes instead of {end}")
        planes.append(data[begin:end].reshape(lines, stride)[:, :line_bytes])
        begin = end
    return planes


def _channel(interleaved: Bytes, index: int) -> Plane:
    return np.asarray(cv2.extractChannel(interleaved, index), np.uint8)


def _bgr_of_grey(plane: Plane) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(plane, cv2.COLOR_GRAY2BGR), np.uint8)


def _yuv(y: Plane, u: Plane, v: Plane, matrix: YuvMatrix, is_full_range: bool) -> Yuv420:
    chroma_wh = ((y.shape[1] + 1) // 2, (y.shape[0] + 1) // 2)
    u, v = _of_size(u, chroma_wh), _of_size(v, chroma_wh)
    if is_full_range:
        y = _scaled(y, 219 / 255, 16.0)
        u, v = (_scaled(chroma, 224 / 255, 128 * (1 - 224 / 255)) for chroma in (u, v))
    return Yuv420(y, u, v, matrix)


def _of_size(chroma: Plane, wh: tuple[int, int]) -> Plane:
    width, height = chroma.shape[1], chroma.shape[0]
    if (width, height) == wh:
        return chroma
    if (width, height) == (wh[0], 2 * wh[1]):  # 4:2:2, in a fifth of the time of cv2.resize
        return np.asarray(cv2.addWeighted(chroma[::2], 0.5, chroma[1::2], 0.5, 0.0), np.uint8)
    return np.asarray(cv2.resize(chroma, wh, interpolation=cv2.INTER_AREA), np.uint8)


def _scaled(plane: Plane, factor: float, offset: float) -> Plane:
    return np.asarray(cv2.convertScaleAbs(plane, alpha=factor, beta=offset), np.uint8)
