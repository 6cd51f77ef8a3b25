"""What is ignored, from a file: a black and white PNG, or polygons in YAML or JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.cli_config.error import SettingsError
from perception.cli_config.values import Place, made, missing, typed_group
from perception.cli_config.yaml_file import YamlError, compose_file
from perception.scene.ignore_mask import IGNORED, IgnoreMask
from perception.sources.decoding.image_file import whole_png
from perception.sources.decoding.image_size import MAX_PIXELS, PNG, check_pixels, image_wh
from perception.sources.source import SourceError

_FROM_EXTREME: Final = 16
"""Grey values so far from black or white count as that."""
_MOST_BETWEEN: Final = 0.02
"""Share of the pixels that may lie between: drawn edges are smooth."""
_LEAST_LEFT: Final = 0.01
"""With a smaller share of the picture left there is no road to be found."""
_LARGEST_BYTES: Final = 64_000_000
_TEXTS: Final = (".yaml", ".yml", ".json")
_SHIFT: Final = 4
"""Bits of fraction of a point that is drawn."""


@dataclass(frozen=True)
class _Drawing:
    """What such a YAML or JSON file holds."""

    frame_wh: tuple[int, int]
    polygons: list[list[tuple[float, float]]]


@dataclass(frozen=True, eq=False)
class IgnoreFile:
    """A mask at the size in which it was drawn."""

    file: Path
    pixels: NDArray[np.uint8]
    """(H, W) uint8: `IGNORED` or 0."""

    def fitted(self, frame_wh: tuple[int, int]) -> IgnoreMask:
        """The mask for pictures of this size; scaled, if they have the same aspect ratio.

        Raises:
            SettingsError: if they do not.
        """
        height, width = self.pixels.shape
        if not _have_same_aspect((width, height), frame_wh):
            raise SettingsError(
                f"{self.file}: is for pictures of {width}x{height}, and these have "
                f"{frame_wh[0]}x{frame_wh[1]}, which is another shape; draw it on one of them"
            )
        at_size = IgnoreMask(self.pixels, f"what {self.file.name} has").at(frame_wh)
        return IgnoreMask(at_size, f"what {self.file.name} has")


def load_ignore_file(file: Path) -> IgnoreFile:
    """Read a mask.

    A PNG is white where no road can be seen, and black elsewhere. YAML and JSON have `frame_wh: [W, H]`, the
    size of the picture that was drawn on, and `polygons`, each a list of points [x, y] in its pixels; (0, 0)
    is the top left corner.

    Raises:
        SettingsError: in one line, if it is none, or if it ignores nothing or nearly all.
    """
    try:
        is_folder, is_device = file.is_dir(), file.exists() and not file.is_file()
    except OSError as error:  # no name of a file, as one that is too long
        raise SettingsError(f"{str(file)[:80]}: cannot be read: {error.strerror}") from None
    if is_folder:
        raise SettingsError(
            f"{file}: is a folder; --ignore takes a PNG, a YAML or JSON file of polygons, or auto"
        )
    if is_device:
        raise SettingsError(f"{file}: is no file to ignore by, but a device or a pipe")
    is_text = file.suffix.lower() in _TEXTS
    pixels = _drawn(file) if is_text else _decoded(file)
    share = cv2.countNonZero(pixels) / pixels.size
    if share == 0:
        raise SettingsError(
            f"{file}: ignores nothing: {'no polygon holds a pixel' if is_text else 'no pixel is white'}"
        )
    if share > 1 - _LEAST_LEFT:
        raise SettingsError(
            f"{file}: ignores {share:.1%} of the picture, which leaves no road to be found; "
            f"{'the polygons are' if is_text else 'white is'} what is ignored"
        )
    return IgnoreFile(file, pixels)


def _decoded(file: Path) -> NDArray[np.uint8]:
    try:
        if (size := file.stat().st_size) > _LARGEST_BYTES:
            raise SettingsError(
                f"{file}: has {size / 1e6:.0f} MB; a mask has {_LARGEST_BYTES / 1e6:g} at most"
            )
        content = file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from None
    wh = image_wh(content)
    if not content.startswith(PNG) or wh is None:
        raise SettingsError(
            f"{file}: is no PNG; --ignore takes a black and white PNG, polygons in .yaml or .json, or auto"
        )
    try:
        check_pixels(wh, MAX_PIXELS, str(file))
        grey = cv2.imdecode(np.frombuffer(whole_png(content, str(file)), np.uint8), cv2.IMREAD_GRAYSCALE)
    except SourceError as error:
        raise SettingsError(str(error)) from None
    except cv2.error:
        grey = None
    if grey is None:
        raise SettingsError(f"{file}: is corrupt, or no PNG that can be read")
    between = np.count_nonzero((grey > _FROM_EXTREME) & (grey < 255 - _FROM_EXTREME))
    if between > _MOST_BETWEEN * grey.size:
        raise SettingsError(
            f"{file}: is no mask: {between / grey.size:.0%} of it is neither black (the road may be seen) "
            f"nor white (ignored)"
        )
    return np.asarray((grey >= 128).view(np.uint8) * IGNORED, np.uint8)


def _drawn(file: Path) -> NDArray[np.uint8]:
    place = Place(str(file), program="drivable-node --ignore")
    try:
        node = compose_file(file)
    except YamlError as error:
        raise SettingsError(f"{file}: cannot be read: {error}") from None
    if node is None:
        raise SettingsError(f"{file}: is empty; frame_wh: [width, height] and polygons are expected")
    values = typed_group(_Drawing, node, place)
    if gaps := missing(_Drawing, values):
        raise SettingsError(
            f"{file}: has no {' and no '.join(gaps)}; frame_wh: [width, height] and polygons are expected"
        )
    drawing = made(_Drawing, values)
    width, height = drawing.frame_wh
    if min(drawing.frame_wh) < 1:
        raise SettingsError(f"{file}: frame_wh is {width}x{height}; both sides must be above 0")
    try:
        check_pixels(drawing.frame_wh, MAX_PIXELS, str(file))
    except SourceError as error:
        raise SettingsError(str(error)) from None
    pixels = np.zeros((height, width), np.uint8)
    for number, polygon in enumerate(drawing.polygons, start=1):
        if len(polygon) < 3:
            raise SettingsError(
                f"{file}: polygon {number} has {len(polygon)} points; three or more are expected"
            )
        for x, y in polygon:
            if not (0 <= x <= width and 0 <= y <= height):
                raise SettingsError(
                    f"{file}: polygon {number} has the point [{x:g}, {y:g}], outside of its picture of "
                    f"{width}x{height}"
                )
        corners = np.rint((np.array(polygon) - 0.5) * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(pixels, [corners], IGNORED, cv2.LINE_8, _SHIFT)
    return pixels


def _have_same_aspect(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether one is the other, scaled and rounded to whole pixels."""
    scale = max(other[0] / one[0], other[1] / one[1])
    rounded_px = max(1.0, scale)
    return all(abs(scale * a - b) <= rounded_px for a, b in zip(one, other, strict=True))
