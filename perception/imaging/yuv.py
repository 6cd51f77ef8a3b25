"""Pictures as luma and chroma planes, as decoders give and encoders take them, and their way to BGR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]
YuvMatrix = Literal["bt601", "bt709"]


@dataclass(frozen=True, eq=False)
class YuvPlanes:
    """A picture in limited range (16 to 235): what decoders give and encoders take."""

    y: Plane
    """(H, W) uint8 luma."""
    u: Plane
    """uint8 blue difference: (ceil(H / 2), ceil(W / 2)) in 4:2:0, (H, W) in 4:4:4."""
    v: Plane
    """uint8 red difference, of the shape of `u`."""
    matrix: YuvMatrix = "bt601"

    @property
    def frame_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.y.shape[1], self.y.shape[0]


class Yuv420(YuvPlanes):
    """Planes as decoders give them, 4:2:0: no pixel copied yet."""


# ITU-R BT.601 and BT.709, limited range: rows B, G, R; columns Y, U, V and offset.
_KR_KB = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}


def bgr_from_yuv(pixels: Yuv420, into: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 BGR of the planes, by their own matrix; any size, odd ones too.

    Each chroma sample colours its own 2x2 pixels, as in OpenCV's conversion of I420, which is the reference:
    whatever the matrix and the size, the same planes give the same picture within 2 of 255.

    Args:
        pixels: the planes.
        into: (H, W, 3) uint8 to write to, a part of a larger picture too; None makes it.
    """
    width, height = pixels.frame_wh
    if pixels.matrix == "bt601" and width % 2 == 0 and height % 2 == 0:
        packed = np.concatenate([plane.ravel() for plane in (pixels.y, pixels.u, pixels.v)])
        bgr = cv2.cvtColor(packed.reshape(height * 3 // 2, width), cv2.COLOR_YUV2BGR_I420, dst=into)
        return np.asarray(bgr, np.uint8)
    full_u, full_v = (_doubled(plane)[:height, :width] for plane in (pixels.u, pixels.v))
    # Below black there is nothing darker. numpy's own maximum takes four times as long.
    luma = cv2.max(pixels.y, np.full_like(pixels.y, 16))
    yuv = cv2.merge((luma, full_u, full_v))
    return np.asarray(cv2.transform(yuv, yuv_to_bgr_matrix(pixels.matrix), dst=into), np.uint8)


def _doubled(plane: Plane) -> Plane:
    """Every sample as 2x2; `cv2.resize` takes four times as long for it."""
    height, width = plane.shape
    return np.repeat(cv2.merge((plane, plane)).reshape(height, 2 * width), 2, axis=0)


def yuv_to_bgr_matrix(matrix: YuvMatrix) -> NDArray[np.float64]:
    """(3, 4) affine map from limited-range YUV to BGR, for `cv2.transform`."""
    kr, kb = _KR_KB[matrix]
    kg = 1 - kr - kb
    luma, chroma = 255 / 219, 255 / 224
    rows = np.array(
        [
            [luma, 2 * (1 - kb) * chroma, 0.0],
            [luma, -2 * (1 - kb) * kb / kg * chroma, -2 * (1 - kr) * kr / kg * chroma],
            [luma, 0.0, 2 * (1 - kr) * chroma],
        ]
    )
    return np.column_stack([rows, rows @ np.array([-16.0, -128.0, -128.0])])
