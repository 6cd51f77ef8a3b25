"""What the camera cannot know: black bars, the own bonnet and what a mask names are no road."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.cli_config.error import SettingsError
from perception.frame import CameraState, Prediction
from perception.imaging.letterbox import nearest
from perception.imaging.yuv import Yuv420
from perception.inference.ood import certainty_of
from perception.inference.predictor import class_shares
from perception.labels import BACKGROUND
from perception.refine.kind import RefineKind
from perception.scene.bars import Bars, BarsLearner
from perception.scene.bonnet import BonnetLearner
from perception.scene.bonnet_outline import Outline
from perception.scene.ignore_file import IgnoreFile, load_ignore_file
from perception.scene.ignore_mask import IgnoreMask, united
from perception.sources.source import SourceInfo
from perception.system.plugins import Checked

log = logging.getLogger(__name__)

NONE, BARS, AUTO = "none", "bars", "auto"
BARS_EVERY_NS: Final = 500_000_000
"""Between two pictures that are searched for bars."""


@dataclass(frozen=True)
class IgnoreSettings(Checked):
    """Where no road can be seen: black bars, the own bonnet."""

    ignore: Annotated[str, "FILE|auto|bars|none"] = BARS
    """What is no road, whatever the network finds there: black bars; with auto the own bonnet too, learnt in
    the first minute; with FILE what is white in a PNG, or in polygons in YAML or JSON, and bars."""
    ignore_mask: Annotated[str, "FILE.png"] | None = None
    """PNG for what is ignored, white; with auto or a FILE it lies beside the first output, as
    NAME.ignored.png, if nothing else is said."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if self.ignore_mask is not None and self.ignore == NONE:
            raise ValueError("ignore_mask is for what is ignored, and ignore is none; leave one of them out")
        super().__post_init__()

    @property
    def ignore_file(self) -> Path | None:
        """The mask that is given."""
        return None if self.ignore in (NONE, BARS, AUTO) else Path(self.ignore)


class Ignore:
    """Refine step: makes background of what is no part of the road, and leaves it out of all shares."""

    def __init__(self, settings: IgnoreSettings, info: SourceInfo) -> None:
        """Load the mask that is given; raises SettingsError."""
        self._file: IgnoreFile | None = (
            load_ignore_file(settings.ignore_file) if settings.ignore_file else None
        )
        if self._file is not None and info.frame_wh is not None:
            self._file.fitted(info.frame_wh)
        self._learns_bonnet = settings.ignore == AUTO and not info.are_stills
        self._are_stills = info.are_stills
        self._has_warned = False
        self._pictures: _OfOneSize | None = None

    def __call__(self, prediction: Prediction) -> Prediction:
        """The prediction without what is ignored; raises SettingsError if the given mask fits no picture."""
        pictures = self._pictures
        if pictures is None or self._are_stills or pictures.frame_wh != prediction.frame_wh:
            pictures = self._pictures = _OfOneSize(
                prediction.frame_wh, self._fitted(prediction.frame_wh), self._learns_bonnet
            )
        mask = pictures.mask_after(prediction)
        return prediction if mask is None else without(prediction, mask)

    def _fitted(self, frame_wh: tuple[int, int]) -> IgnoreMask | None:
        """The given mask for pictures of this size; None, and a warning, if later ones have another shape."""
        if self._file is None:
            return None
        try:
            return self._file.fitted(frame_wh)
        except SettingsError as error:
            if self._pictures is None:
                raise
            if not self._has_warned:
                log.warning(f"{error}; it is left out there")
            self._has_warned = True
            return None


class _OfOneSize:
    """What is ignored in the pictures of one size."""

    def __init__(self, frame_wh: tuple[int, int], given: IgnoreMask | None, learns_bonnet: bool) -> None:
        self.frame_wh = frame_wh
        self._given = given
        self._bars = BarsLearner()
        self._bonnet = BonnetLearner() if learns_bonnet else None
        self._inside = Bars()
        """The bars within which the bonnet is looked for."""
        self._first_ns: int | None = None
        self._bars_ns: int | None = None
        self._parts: tuple[Bars, Outline | None] = (Bars(), None)
        self._mask = given

    def mask_after(self, prediction: Prediction) -> IgnoreMask | None:
        """What is ignored, with what is learnt from one more frame."""
        if self._first_ns is None:
            self._first_ns = prediction.time_ns
        self._learn(prediction)
        bars, outline = self._bars.found, self._bonnet.outline if self._bonnet is not None else None
        if bars != self._parts[0] or outline is not self._parts[1]:
            self._parts = bars, outline
            parts = [] if self._given is None else [self._given]
            if any(bars):
                parts.append(IgnoreMask(bars.drawn(self.frame_wh), str(bars)))
            if outline is not None:
                parts.append(IgnoreMask(self._drawn(outline), "the bonnet"))
            self._mask = united(parts)
        return self._mask

    def _learn(self, prediction: Prediction) -> None:
        """From a frame whose view is what it should be: nothing that covers the lens is learnt."""
        time_ns, state = prediction.time_ns, prediction.camera_state
        if prediction.frame.is_damaged or state not in (CameraState.OK, CameraState.DEGRADED):
            return
        is_due = self._bars_ns is None or not 0 <= time_ns - self._bars_ns < BARS_EVERY_NS
        is_covered = "cover" in (prediction.camera_reason or "")
        if is_due and not is_covered and not self._bars.is_over:
            self._bars_ns = time_ns
            self._bars.observe(prediction.frame.pixels, time_ns)
        if self._bonnet is None or state is not CameraState.OK:
            return
        if self._inside != self._bars.found and self._bonnet.outline is None:
            self._inside, self._bonnet = self._bars.found, BonnetLearner(self._first_ns)
        if self._bonnet.is_due(time_ns):
            pixels = prediction.frame.pixels
            picture = pixels.y if isinstance(pixels, Yuv420) else pixels
            self._bonnet.observe(picture[self._inside.within(self.frame_wh)], time_ns)

    def _drawn(self, outline: Outline) -> NDArray[np.uint8]:
        """(H, W) uint8 mask of the bonnet in the frame."""
        mask = np.zeros((self.frame_wh[1], self.frame_wh[0]), np.uint8)
        inside = mask[self._inside.within(self.frame_wh)]
        inside[:] = outline.drawn((inside.shape[1], inside.shape[0]))
        return mask


def without(prediction: Prediction, mask: IgnoreMask) -> Prediction:
    """The prediction with background, and no confidence, where nothing can be known.

    Args:
        prediction: of a frame of the mask's size.
        mask: what is ignored.
    """
    class_map, confidence, certainty = prediction.class_map, prediction.confidence, prediction.certainty
    height, width = class_map.shape
    ignored = mask.at((width, height))
    if confidence is not None:
        cells = nearest(ignored, (confidence.shape[1], confidence.shape[0]))
        confidence = _with_value(confidence, 0, cells)
    # usually the network finds nothing there: then the shares are all that changes
    drivable = (class_map != BACKGROUND).view(np.uint8)
    if cv2.countNonZero(cv2.bitwise_and(drivable, ignored)):
        class_map = _with_value(class_map, BACKGROUND, ignored)
        shares = class_shares(class_map, prediction.labels)
        if confidence is not None and certainty is not None:
            certainty = certainty_of(confidence, class_map, prediction.labels, prediction.doubt_quantiles)
    else:
        shares = prediction.shares
    return replace(
        prediction,
        class_map=class_map,
        shares=_of_the_rest(shares, prediction.labels, cv2.countNonZero(ignored) / class_map.size),
        confidence=confidence,
        certainty=certainty,
        ignore_mask=mask,
    )


def _of_the_rest(shares: tuple[float, ...], labels: tuple[str, ...], ignored: float) -> tuple[float, ...]:
    """Shares of the area that is not ignored, from those of the whole, where it is background."""
    return tuple(
        max(0.0, share - ignored * (label == "background")) / (1 - ignored)
        for label, share in zip(labels, shares, strict=True)
    )


def _with_value(plane: NDArray[np.uint8], value: int, where: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy with one value in all pixels of a mask."""
    changed = plane.copy()
    cv2.copyTo(np.full_like(plane, value), where, changed)
    return changed


IGNORE: Final = RefineKind(
    settings=IgnoreSettings, build=Ignore, is_on=lambda settings: settings.ignore != NONE
)
