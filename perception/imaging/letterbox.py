"""Letterbox resizing to the network's input, shared by node, bench, training and validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Bgr = tuple[int, int, int]
PixelAspect = tuple[int, int]
"""Width and height of a pixel, in lowest terms: sample aspect ratio."""

SQUARE: Final[PixelAspect] = (1, 1)


@dataclass(frozen=True)
class Letterbox:
    """Placement of a frame within the network's input, in pixels of the input."""

    frame_wh: tuple[int, int]
    input_wh: tuple[int, int]
    left_px: int
    top_px: int
    content_wh: tuple[int, int]
    pixel_aspect: PixelAspect = SQUARE
    """Of the frame's pixels; the input's are square."""

    @classmethod
    def fit(
        cls, frame_wh: tuple[int, int], input_wh: tuple[int, int], pixel_aspect: PixelAspect = SQUARE
    ) -> Letterbox:
        """The largest centred placement that keeps the frame's display aspect ratio.

        Raises:
            ValueError: if a side is not positive.

        Example:
            >>> Letterbox.fit((1280, 720), (640, 384)).content_wh
            (640, 360)
            >>> Letterbox.fit((720, 576), (640, 384), (64, 45)).content_wh
            (640, 360)
        """
        if min(*frame_wh, *input_wh) < 1:
            raise ValueError(f"cannot fit {frame_wh} into {input_wh}: sides must be positive")
        shape_w = frame_wh[0] * pixel_aspect[0] / pixel_aspect[1]
        scale = min(input_wh[0] / shape_w, input_wh[1] / frame_wh[1])
        width = max(1, round(shape_w * scale))
        height = max(1, round(frame_wh[1] * scale))
        left, top = (input_wh[0] - width) // 2, (input_wh[1] - height) // 2
        return cls(frame_wh, input_wh, left, top, (width, height), pixel_aspect)

    @property
    def rows(self) -> slice:
        """Rows of the input that hold the frame."""
        return slice(self.top_px, self.top_px + self.content_wh[1])

    @property
    def columns(self) -> slice:
        """Columns of the input that hold the frame."""
        return slice(self.left_px, self.left_px + self.content_wh[0])

    def blank(self, pad_bgr: Bgr) -> NDArray[np.uint8]:
        """(input_h, input_w, 3) uint8, all padding: a buffer for `place`."""
        return np.full((self.input_wh[1], self.input_wh[0], 3), pad_bgr, np.uint8)

    def place(self, image_bgr: NDArray[np.uint8], buffer_bgr: NDArray[np.uint8]) -> None:
        """Resize the frame into its place in `buffer_bgr`, without touching the padding.

        Args:
            image_bgr: (H, W, 3) uint8 of `frame_wh`.
            buffer_bgr: (input_h, input_w, 3) uint8 from `blank`.

        Raises:
            ValueError: if `image_bgr` is not uint8 or not of `frame_wh`.
        """
        if image_bgr.dtype != np.uint8 or image_bgr.shape != (self.frame_wh[1], self.frame_wh[0], 3):
            raise ValueError(
                f"expected a uint8 frame of {self.frame_wh}, got {image_bgr.dtype} {image_bgr.shape}"
            )
        inside = buffer_bgr[self.rows, self.columns]
        if self.frame_wh == self.content_wh:
            np.copyto(inside, image_bgr)
        else:
            cv2.resize(image_bgr, self.content_wh, dst=inside, interpolation=self.interpolation)

    @property
    def interpolation(self) -> int:
        """Area averaging for scales up to a half, so that thin lane marks do not flicker.

        Above that, linear interpolation skips no pixel and takes a quarter of the time (0.4 ms instead of
        1.6 ms from 960x540 to 640x360).
        """
        side = int(self.pixel_aspect[0] > self.pixel_aspect[1])  # the side that shrinks more
        halves = 2 * self.content_wh[side] <= self.frame_wh[side]
        return cv2.INTER_AREA if halves else cv2.INTER_LINEAR


def letterbox(
    image_bgr: NDArray[np.uint8], input_wh: tuple[int, int], pad_bgr: Bgr
) -> tuple[NDArray[np.uint8], Letterbox]:
    """Fit an image into the model input without changing its aspect ratio.

    Args:
        image_bgr: (H, W, 3) uint8, any size.
        input_wh: width and height of the model input, in pixels.
        pad_bgr: colour of the padding.

    Returns:
        (input_h, input_w, 3) uint8 and the placement that undoes it.

    Raises:
        ValueError: if `image_bgr` is not uint8 or not three channels.
    """
    if image_bgr.ndim != 3:
        raise ValueError(f"expected a (H, W, 3) image, got shape {image_bgr.shape}")
    box = Letterbox.fit((image_bgr.shape[1], image_bgr.shape[0]), input_wh)
    buffer_bgr = box.blank(pad_bgr)
    box.place(image_bgr, buffer_bgr)
    return buffer_bgr, box


def in_square_pixels(frame_wh: tuple[int, int], pixel_aspect: PixelAspect) -> tuple[int, int]:
    """Size of the frame with square pixels: one side is enlarged, so that no row or column is lost.

    Example:
        >>> in_square_pixels((720, 576), (64, 45)), in_square_pixels((720, 480), (8, 9))
        ((1024, 576), (720, 540))
    """
    (width, height), (across, down) = frame_wh, pixel_aspect
    if across >= down:
        return round(width * across / down), height
    return width, round(height * down / across)


def nearest(pixels: NDArray[np.uint8], to_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W) class map or (H, W, 3) image at another size: the pixel under each new pixel's centre."""
    return np.asarray(cv2.resize(pixels, to_wh, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
