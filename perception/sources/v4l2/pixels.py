"""From a driver's bytes to pixels: one decoder a pixel format, and a dict of them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import av
import cv2
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from perception.imaging.orientation import Orientation
from perception.imaging.yuv import Plane, Yuv420, YuvMatrix
from perception.sources.decoding.image_size import MAX_PIXELS

Bytes = NDArray[np.uint8]
Pixels = NDArray[np.uint8] | Yuv420


class BrokenPictureError(Exception):
    """No picture can be made of these bytes."""


@dataclass(frozen=True)
class Layout:
    """How a picture lies in memory, as the driver says."""

    wh: tuple[int, int]
    fourcc: str
    bytes_per_line: int = 0
    """Of the first plane; 0 where lines follow each other without a gap, and in compressed formats."""
    matrix: YuvMatrix = "bt601"
    is_full_range: bool = False
    """YUV levels from 0 to 255 and not from 16 to 235."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture."""

    pixels: Pixels
    is_damaged: bool = False


def decode(data: Bytes, layout: Layout) -> Picture:
    """The picture in a driver's buffer; raises BrokenPictureError.

    Raw pictures that were cut short are refused: what lies behind the end is an older picture. So are those
    with a side that does not divide into whole chroma samples: drivers differ in where the last one lies.

    Args:
        data: (n,) uint8, as long as the driver says that the picture is.
    """
    width, height = layout.wh
    columns, rows = _CHROMA_PIXELS.get(layout.fourcc, (1, 1))
    if min(width, height) < 1 or width % columns or height % rows:
        raise BrokenPictureError(f"{width}x{height} pixels are no size for {layout.fourcc}")
    return DECODERS[layout.fourcc](data, layout)


def _jpeg(data: Bytes, layout: Layout) -> Picture:
    """At the size that its header tells, for some drivers tell another; without what only fills its blocks.

    Decoded by libav, which is silent, and takes pictures without Huffman tables as webcams send them.

    With "explode" it refuses what is damaged: seen for each of 100 pictures with one USB packet lost,
    and for none of 182 good ones. A refused picture is decoded again for what there is of it, by a new
    decoder, for a used one would fill the hole with the picture before. The hole is black.
    """
    try:
        return Picture(_jpeg_pixels(data, layout, "explode"))
    except FFmpegError:
        pass
    try:
        return Picture(_jpeg_pixels(data, layout, "ignore_err"), is_damaged=True)
    except FFmpegError:
        raise BrokenPictureError("not a JPEG that can be decoded") from None


def _jpeg_pixels(data: Bytes, layout: Layout, on_error: str) -> Pixels:
    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.thread_count = 1
    decoder.options = {"err_detect": on_error, "max_pixels": str(MAX_PIXELS)}
    packet = av.Packet(data.tobytes())
    frames = decoder.decode(packet)
    if not frames:
        raise BrokenPictureError("an empty JPEG")
    frame = frames[0]
    if not isinstance(frame, av.VideoFrame):
        raise BrokenPictureError("a JPEG without a picture")
    if not frame.format.name.startswith(("yuv", "gray")):
        raise BrokenPictureError(f"a JPEG with {frame.format.name} pixels, where YUV or grey is wanted")
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
        return turn.of_plane(_bgr_of_grey(planes[0]))
    y, u, v = planes
    if on_error == "ignore_err":
        is_hole = (u == 0) & (v == 0)  # memory as it was allocated: a green like that of grass
        u, v = (np.where(is_hole, np.uint8(128), chroma) for chroma in (u, v))
    # JFIF: full range, BT.601
    return turn.of(_yuv(y, u, v, "bt601", is_full_range=True))


def _unpadded(jpeg_wh: tuple[int, int], told_wh: tuple[int, int]) -> tuple[int, int]:
    """How much of a JPEG is picture: what the driver tells, where the rest only makes whole blocks.

    Example:
        >>> _unpadded((1920, 1088), (1920, 1080)), _unpadded((1600, 900), (1600, 896))
        ((1920, 1080), (1600, 900))
    """
    is_padding = all(
        side in (-(-told // block_px) * block_px for block_px in _JPEG_BLOCKS_PX)
        for side, told in zip(jpeg_wh, told_wh, strict=True)
    )
    return told_wh if is_padding else jpeg_wh


def _packed_yuv(first_luma: int) -> Callable[[Bytes, Layout], Picture]:
    """YUYV (`first_luma` 0) and UYVY (1): two pixels in four bytes, chroma in every line."""

    def decode_packed(data: Bytes, layout: Layout) -> Picture:
        width, height = layout.wh
        lines = _lines(data, layout, width * 2, height)
        pairs = lines.reshape(height, width // 2, 4)
        y = _channel(lines.reshape(height, width, 2), first_luma)
        u, v = _channel(pairs, 1 - first_luma), _channel(pairs, 3 - first_luma)
        return Picture(_yuv(y, u, v, layout.matrix, layout.is_full_range))

    return decode_packed


def _nv12(data: Bytes, layout: Layout) -> Picture:
    width, height = layout.wh
    stride = layout.bytes_per_line or width
    y = _lines(data, layout, width, height)
    chroma = _lines(data[stride * height :], layout, width, height // 2).reshape(height // 2, width // 2, 2)
    return Picture(_yuv(y, _channel(chroma, 0), _channel(chroma, 1), layout.matrix, layout.is_full_range))


def _planar(u_is_first: bool) -> Callable[[Bytes, Layout], Picture]:
    """YU12 and YV12: three planes, the lines of chroma half as long."""

    def decode_planar(data: Bytes, layout: Layout) -> Picture:
        width, height = layout.wh
        stride = layout.bytes_per_line or width
        chroma_layout = Layout((width // 2, height // 2), layout.fourcc, stride // 2)
        y = _lines(data, layout, width, height)
        rest = data[stride * height :]
        first = _lines(rest, chroma_layout, width // 2, height // 2)
        second = _lines(rest[stride // 2 * (height // 2) :], chroma_layout, width // 2, height // 2)
        u, v = (first, second) if u_is_first else (second, first)
        return Picture(_yuv(y, u, v, layout.matrix, layout.is_full_range))

    return decode_planar


def _bgr(data: Bytes, layout: Layout) -> Picture:
    width, height = layout.wh
    return Picture(_lines(data, layout, width * 3, height).reshape(height, width, 3))


def _rgb(data: Bytes, layout: Layout) -> Picture:
    width, height = layout.wh
    image_rgb = _lines(data, layout, width * 3, height).reshape(height, width, 3)
    return Picture(np.asarray(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR), np.uint8))


def _grey(data: Bytes, layout: Layout) -> Picture:
    return Picture(_bgr_of_grey(_lines(data, layout, layout.wh[0], layout.wh[1])))


DECODERS: Final[dict[str, Callable[[Bytes, Layout], Picture]]] = {
    "MJPG": _jpeg,
    "JPEG": _jpeg,
    "NV12": _nv12,
    "YU12": _planar(u_is_first=True),
    "YV12": _planar(u_is_first=False),
    "YUYV": _packed_yuv(first_luma=0),
    "UYVY": _packed_yuv(first_luma=1),
    "BGR3": _bgr,
    "RGB3": _rgb,
    "GREY": _grey,
}
"""Formats that can be read; where the one asked for is not offered, the first of these that is."""


_JPEG_BLOCKS_PX: Final = (8, 16)
"""Sides of what a JPEG is coded in, with chroma whole or halved."""
_CHROMA_PIXELS: Final = {"YUYV": (2, 1), "UYVY": (2, 1), "NV12": (2, 2), "YU12": (2, 2), "YV12": (2, 2)}
"""Columns and rows of pixels that share a chroma sample."""


def _lines(data: Bytes, layout: Layout, line_bytes: int, lines: int) -> Bytes:
    """(lines, line_bytes) view of a plane at the beginning of `data`."""
    stride = layout.bytes_per_line or line_bytes
    if stride < line_bytes or data.size < stride * lines:
        raise BrokenPictureError(f"{data.size} bytes, where {stride * lines} are wanted")
    return data[: stride * lines].reshape(lines, stride)[:, :line_bytes]


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
    if (width, height) == (
        wh[0],
        wh[1] * 2,
    ):  # 4:2:2, the usual case, in a fifth of the time of cv2.resize
        return np.asarray(cv2.addWeighted(chroma[::2], 0.5, chroma[1::2], 0.5, 0.0), np.uint8)
    return np.asarray(cv2.resize(chroma, wh, interpolation=cv2.INTER_AREA), np.uint8)


def _scaled(plane: Plane, factor: float, offset: float) -> Plane:
    return np.asarray(cv2.convertScaleAbs(plane, alpha=factor, beta=offset), np.uint8)
