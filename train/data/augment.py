"""Augmentation of labelled frames: geometry, light, weather and camera."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from perception.imaging.letterbox import Bgr
from perception.labels import IGNORE
from perception.metrics.segmentation import NIGHT_BELOW_LUMA
from train.config import Augment
from train.torchvision_cpu import tv_tensors, v2


def build_augmentation(settings: Augment, pad_bgr: Bgr) -> torch.nn.Module:
    """Geometry on image and label, then light, weather and camera on the image alone.

    Takes and returns a tv_tensors pair: Image (3, H, W) uint8 BGR and Mask (H, W) uint8. Pixels from
    outside the frame become `pad_bgr` in the image and `IGNORE` in the mask.
    """
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(settings.flip),
            Geometry(settings, pad_bgr),
            v2.ColorJitter(brightness=settings.colour, contrast=settings.colour, saturation=settings.colour),
            v2.RandomApply([OnImage(darkness)], settings.darkness),
            v2.RandomApply([OnImage(glare)], settings.glare),
            v2.RandomApply([OnImage(rain)], settings.rain),
            v2.RandomApply([OnImage(low_resolution)], settings.low_resolution),
            v2.RandomApply([OnImage(blur)], settings.blur),
            v2.RandomApply([OnImage(sensor_noise)], settings.noise),
            v2.RandomApply([OnImage(jpeg_artefacts)], settings.jpeg),
        ]
    )


def _uniform(low: float, high: float) -> float:
    return float(torch.empty(1).uniform_(low, high))


class Geometry(v2.Transform):
    """Rotation, scale and shift of image and label.

    By OpenCV: 3 ms for a frame of 640x360 where torchvision's RandomAffine takes 44 on one core, longer
    than a small network's training step on it.
    """

    _transformed_types = (tv_tensors.Image, tv_tensors.Mask)

    def __init__(self, settings: Augment, pad_bgr: Bgr) -> None:
        super().__init__()
        self._settings, self._pad_bgr = settings, pad_bgr

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """One (2, 3) map from old pixels to new, for `cv2.warpAffine`."""
        height, width = flat_inputs[0].shape[-2:]
        turn_deg = _uniform(-self._settings.rotate_deg, self._settings.rotate_deg)
        scale = _uniform(self._settings.scale_min, self._settings.scale_max)
        moved = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), turn_deg, scale)
        moved[:, 2] += [side * _uniform(-1, 1) * self._settings.shift for side in (width, height)]
        return {"map": moved}

    def transform(self, pixels: Any, params: dict[str, Any]) -> Any:
        """(3, H, W) image, interpolated; (H, W) mask, by nearest pixels."""
        planes = pixels.as_subclass(Tensor)
        size_wh = (planes.shape[-1], planes.shape[-2])
        if isinstance(pixels, tv_tensors.Mask):
            moved = cv2.warpAffine(
                planes.numpy(), params["map"], size_wh, flags=cv2.INTER_NEAREST, borderValue=IGNORE
            )
            return tv_tensors.wrap(torch.from_numpy(moved), like=pixels)
        moved = cv2.warpAffine(_rows(planes), params["map"], size_wh, borderValue=self._pad_bgr)
        return tv_tensors.wrap(_planes(moved), like=pixels)


def _rows(planes: Tensor) -> NDArray[np.uint8]:
    """(3, H, W) to OpenCV's (H, W, 3)."""
    return np.ascontiguousarray(planes.permute(1, 2, 0).numpy())


def _planes(rows: NDArray[np.uint8] | cv2.typing.MatLike) -> Tensor:
    """OpenCV's (H, W, 3) to (3, H, W)."""
    return torch.from_numpy(rows).permute(2, 0, 1).contiguous()


class OnImage(v2.Transform):
    """A change to (3, H, W) uint8 pixels; masks pass unchanged."""

    _transformed_types = (tv_tensors.Image,)

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._change = change

    def transform(self, image: Tensor, params: dict[str, object]) -> Tensor:
        return tv_tensors.wrap(self._change(image.as_subclass(Tensor)), like=image)


def low_resolution(image: Tensor) -> Tensor:
    """A picture of 112 to 224 pixels of width that was scaled up, as some data sets are to be had."""
    _, height, width = image.shape
    small_w = min(width, int(_uniform(112, 224)))
    small = cv2.resize(
        _rows(image), (small_w, max(1, small_w * height // width)), interpolation=cv2.INTER_AREA
    )
    return _planes(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))


def blur(image: Tensor) -> Tensor:
    """A lens out of focus or a dirty glass: a Gaussian of 0.3 to 2 pixels."""
    return _planes(cv2.GaussianBlur(_rows(image), (5, 5), _uniform(0.3, 2.0)))


def sensor_noise(image: Tensor) -> Tensor:
    """Gaussian noise of 2 to 16 levels, as a sensor adds at high gain."""
    noisy = image + torch.randn(image.shape) * _uniform(2, 16)
    return noisy.clamp_(0, 255).to(torch.uint8)


def darkness(image: Tensor) -> Tensor:
    """Dusk and night: a gamma curve of 1.3 to 3 with less gain. Night frames stay unchanged."""
    if image.float().mean() < NIGHT_BELOW_LUMA:
        return image
    levels = torch.linspace(0, 1, 256) ** _uniform(1.3, 3.0) * 255 * _uniform(0.5, 1.0)
    return torch.from_numpy(cv2.LUT(image.numpy(), levels.to(torch.uint8).numpy()))


def glare(image: Tensor) -> Tensor:
    """A low sun or headlights: a bright spot in the upper two thirds that washes out the picture."""
    _, height, width = image.shape
    x, y = torch.arange(0, 1, 16 / width), torch.arange(0, 1, 16 / height)
    across, down, radius = _uniform(0, 1), _uniform(0, 0.66), _uniform(0.08, 0.35)
    distance2 = (x[None, :] - across) ** 2 + ((y[:, None] - down) * height / width) ** 2
    spot = _uniform(0.4, 1.0) * torch.exp(-distance2 / (2 * radius**2))
    share = functional.interpolate(spot[None, None], (height, width), mode="bilinear", align_corners=False)[0]
    return (image + (255 - image) * share).to(torch.uint8)


def rain(image: Tensor) -> Tensor:
    """Slanted streaks over a picture of less contrast, and a few blurred drops on the glass."""
    _, height, width = image.shape
    length, slant = int(_uniform(6, 24)), _uniform(-0.4, 0.4)
    seeds = (torch.rand(height, width) < _uniform(0.002, 0.008)).float().numpy()
    line = np.zeros((length, length), np.float32)
    middle = length / 2
    cv2.line(line, (int(middle - slant * middle), 0), (int(middle + slant * middle), length - 1), 1.0)
    streaks = torch.from_numpy(cv2.filter2D(seeds, -1, line)).clamp_(0, 1)
    contrast = _uniform(0.6, 0.95)
    level = image.float().mean()
    wet = (image - level) * contrast + level
    wet = wet + (min(level * 1.5, torch.tensor(220.0)) - wet) * streaks * _uniform(0.2, 0.6)
    return _drops(wet.clamp_(0, 255).to(torch.uint8))


def _drops(image: Tensor) -> Tensor:
    _, height, width = image.shape
    rows = _rows(image)
    blurred = cv2.blur(rows, (width // 24, height // 14))
    glass = np.zeros((height, width), np.uint8)
    for _ in range(int(_uniform(0, 12))):
        centre = (int(_uniform(0, width)), int(_uniform(0, height)))
        cv2.circle(glass, centre, int(_uniform(0.006, 0.03) * width), 1, -1)
    rows[glass == 1] = blurred[glass == 1]
    return _planes(rows)


def jpeg_artefacts(image: Tensor) -> Tensor:
    """Strong compression. By OpenCV: torchvision's version needs its image library, which is often absent."""
    rows = _rows(image)
    _, encoded = cv2.imencode(".jpg", rows, [cv2.IMWRITE_JPEG_QUALITY, int(_uniform(15, 70))])
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    return _planes(np.asarray(decoded, np.uint8))
