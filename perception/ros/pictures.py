"""Pictures in messages of ROS 2."""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.ros.types import typestore
from perception.sources.decoding.image_file import ImageFile
from perception.sources.decoding.image_size import JPEG, check_pixels, image_wh
from perception.sources.source import SourceError
from perception.sources.v4l2.pixels import BrokenPictureError, Layout, Picture, decode

__all__ = ["PICTURE_TYPES", "BrokenPictureError", "Picture", "PictureDecoder"]

IMAGE: Final = "sensor_msgs/msg/Image"
COMPRESSED: Final = "sensor_msgs/msg/CompressedImage"
PICTURE_TYPES: Final = frozenset((IMAGE, COMPRESSED))
_FOURCC: Final = {
    **{"bgr8": "BGR3", "8UC3": "BGR3", "rgb8": "RGB3", "mono8": "GREY", "8UC1": "GREY"},
    **{"yuv422": "UYVY", "uyvy": "UYVY", "yuv422_yuy2": "YUYV", "yuyv": "YUYV", "nv12": "NV12"},
}
_OF_FOUR: Final = {"bgra8": cv2.COLOR_BGRA2BGR, "rgba8": cv2.COLOR_RGBA2BGR, "8UC4": cv2.COLOR_BGRA2BGR}
"""Encodings of sensor_msgs."""


class PictureDecoder:
    """Decodes the pictures of one topic.

    Args:
        type_name: of its messages, one of `PICTURE_TYPES`.
        name: of the topic, for messages.
        max_pixels: a larger picture is refused before it is decoded.
    """

    def __init__(self, type_name: str, name: str, max_pixels: int) -> None:
        self._type_name, self._name, self._max_pixels = type_name, name, max_pixels

    def decode(self, data: bytes) -> Picture:
        """The picture in a message in CDR.

        Raises:
            BrokenPictureError: if it is none; the next may be one.
            SourceError: if it has an encoding that is not read, or is too large.
        """
        try:
            message = typestore().deserialize_cdr(data, self._type_name)
        except Exception as error:  # of the package, for bytes of any kind
            raise BrokenPictureError(f"{len(data)} bytes are not a {self._type_name}: {error}") from None
        return self.picture(message)

    def picture(self, message: Any) -> Picture:
        """The picture in a message by its fields; raises as `decode` does."""
        return self._compressed(message) if self._type_name == COMPRESSED else self._raw(message)

    def _raw(self, message: Any) -> Picture:
        wh, encoding = (message.width, message.height), message.encoding
        content: NDArray[np.uint8] = np.asarray(message.data, np.uint8)
        if wh[0] * wh[1] > content.size:  # of any encoding: a damaged header is no large picture
            raise BrokenPictureError(f"{content.size} bytes for {wh[0]}x{wh[1]} pixels")
        check_pixels(wh, self._max_pixels, self._name)
        if encoding in _OF_FOUR:
            pixels = _of_four(content, wh, message.step)
            return Picture(np.asarray(cv2.cvtColor(pixels, _OF_FOUR[encoding]), np.uint8))
        if encoding not in _FOURCC:
            known = ", ".join([*_FOURCC, *_OF_FOUR])
            raise SourceError(f"{self._name}: pictures of encoding {encoding!r} are not read; {known} are")
        return decode(content, Layout(wh, _FOURCC[encoding], message.step))

    def _compressed(self, message: Any) -> Picture:
        content = bytes(message.data)
        wh = image_wh(content)
        if wh is None:
            if not content:
                raise BrokenPictureError("no bytes")
            if _is_read(message.format):
                raise BrokenPictureError(
                    f"{len(content)} bytes are not a picture of format {message.format!r}"
                )
            raise SourceError(
                f"{self._name}: pictures of format {message.format!r} are not read; JPEG and PNG are"
            )
        check_pixels(wh, self._max_pixels, self._name)
        if content.startswith(JPEG):
            return decode(np.frombuffer(content, np.uint8), Layout(wh, "JPEG"))
        try:
            picture = ImageFile(self._name, self._max_pixels, content).picture()
        except SourceError as error:
            raise BrokenPictureError(str(error).removeprefix(f"{self._name}: ")) from None
        return Picture(picture.image_bgr, picture.is_damaged)


def _is_read(form: str) -> bool:
    """Whether a message states JPEG or PNG, as `jpeg` or `bgr8; jpeg compressed bgr8`."""
    is_known = any(name in form.lower() for name in ("jpeg", "jpg", "png"))
    return is_known and "depth" not in form.lower()


def _of_four(content: NDArray[np.uint8], wh: tuple[int, int], step: int) -> NDArray[np.uint8]:
    """(H, W, 4) view; raises BrokenPictureError."""
    width, height = wh
    stride = step or 4 * width
    if stride < 4 * width or content.size < stride * height or min(wh) < 1:
        raise BrokenPictureError(f"{content.size} bytes instead of {stride * height}")
    return content[: stride * height].reshape(height, stride)[:, : 4 * width].reshape(height, width, 4)
