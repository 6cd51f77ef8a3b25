"""Views of a board: of pictures all, of a video or a camera those that add something."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import cv2
import numpy as np

from perception.calibrate.boards import Board, Corners, NoBoardError
from perception.calibrate.cells import covered_share
from perception.calibrate.config import CalibrateConfig
from perception.frame import Frame
from perception.scene.calibration import CalibrationError, Intrinsics
from perception.sources.images import images_of
from perception.sources.registry import Spec, build_source
from perception.sources.source import EndOfSource, NoFrame, Source, SourceError, SourceInfo

log = logging.getLogger(__name__)

_LOOKS_HZ: Final = 5.0
"""How often a video is looked at."""
_STILL_SHARE: Final = 0.01
"""Of the picture's width: a board that has moved further since the look before is blurred."""
_NEW_SHARE: Final = 0.05
"""The same: how far its corners have to be from those of every view that was taken."""


@dataclass(frozen=True, eq=False)
class View:
    """One picture of the board."""

    name: str
    corners: Corners


@dataclass(eq=False)
class Views:
    """What a source has shown."""

    frame_wh: tuple[int, int] = (0, 0)
    """Size of the pictures, in pixels."""
    good: list[View] = field(default_factory=list)
    without: dict[str, str] = field(default_factory=dict)
    """By the name of a picture: why it is no view. Of a video none."""
    resized: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Size of pictures that had another one, of the same shape: their corners are as in `frame_wh`."""
    looked_at: int = 0
    are_of_video: bool = False
    """Taken where the board was still and in a new place."""


def views_of(config: CalibrateConfig, board: Board) -> Views:
    """The board's views in a source.

    Raises:
        SourceError: if it cannot be read.
    """
    spec = Spec.of(config.source)
    source = build_source(spec, config)
    try:
        info = source.open()
        if info.are_stills:
            names = [file.name for file in images_of(spec.text)]
            return _of_pictures(source, board, names if len(names) > 1 else [])
        return _of_video(source, info, board, config)
    finally:
        source.close()


def _of_pictures(source: Source, board: Board, files: list[str]) -> Views:
    views = Views()
    found: list[tuple[View, tuple[int, int]]] = []
    sizes: Counter[tuple[int, int]] = Counter()
    unread = set(files)
    for frame in _frames(source):
        name = files[frame.frame_id] if files else frame.name
        views.looked_at += 1
        sizes[frame.frame_wh] += 1
        unread.discard(name)
        try:
            found.append((View(name, board.find(_grey(frame))), frame.frame_wh))
        except NoBoardError as error:
            views.without[name] = str(error)
    views.without |= dict.fromkeys(sorted(unread), "cannot be read")
    if sizes:
        views.frame_wh = sizes.most_common(1)[0][0]
    for view, frame_wh in found:
        try:
            views.good.append(_resized(view, frame_wh, views.frame_wh))
        except CalibrationError:
            views.without[view.name] = "{}x{} and not {}x{}".format(*frame_wh, *views.frame_wh)
            continue
        if frame_wh != views.frame_wh:
            views.resized[view.name] = frame_wh
    return views


def _of_video(source: Source, info: SourceInfo, board: Board, config: CalibrateConfig) -> Views:
    views = Views(are_of_video=True)
    before: Corners | None = None
    next_ns = 0
    began_s = time.monotonic()
    for frame in _frames(source):
        elapsed_s = time.monotonic() - began_s if info.is_live else frame.time_ns / 1e9
        if config.duration_s is not None and elapsed_s > config.duration_s:
            break
        if frame.time_ns < next_ns:
            continue
        next_ns = frame.time_ns + round(1e9 / _LOOKS_HZ)
        if views.frame_wh != frame.frame_wh:
            if views.good:
                raise SourceError(f"{frame.source_id}: its pictures change their size, and a camera has one")
            views.frame_wh = frame.frame_wh
        views.looked_at += 1
        try:
            corners = board.find(_grey(frame), is_one_of_many=True)
        except NoBoardError:
            before = None
            continue
        is_still = before is not None and _distance_px(corners, before) < _STILL_SHARE * frame.frame_wh[0]
        before = corners
        new_px = _NEW_SHARE * frame.frame_wh[0]
        if not is_still or any(_distance_px(corners, view.corners) < new_px for view in views.good):
            continue
        views.good.append(View(frame.name, corners))
        covered = covered_share([view.corners for view in views.good], views.frame_wh)
        at_s = frame.time_ns / 1e9
        log.info(
            f"view {len(views.good)} of {config.views} at {at_s:.1f} s, {covered:.0%} of the picture covered"
        )
        if len(views.good) == config.views:
            break
    return views


def _frames(source: Source) -> Iterator[Frame]:
    """Every frame; raises SourceError."""
    reason: str | None = None
    while True:
        try:
            frame = source.read()
        except EndOfSource:
            return
        except NoFrame as gap:
            if gap.record.camera_reason != reason:
                reason = gap.record.camera_reason
                log.warning(f"no picture: {reason}")
            continue
        reason = None
        yield frame


def _grey(frame: Frame) -> np.typing.NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(frame.image_bgr, cv2.COLOR_BGR2GRAY), np.uint8)


def _distance_px(corners: Corners, other: Corners) -> float:
    """Mean distance of the corners that both show, from each other; inf if there are none."""
    places = {tuple(place): at for place, at in zip(other.board_m.tolist(), other.image_uv, strict=True)}
    steps = [
        np.linalg.norm(at - places[tuple(place)])
        for place, at in zip(corners.board_m.tolist(), corners.image_uv, strict=True)
        if tuple(place) in places
    ]
    return float(np.mean(steps)) if steps else float("inf")


def _resized(view: View, from_wh: tuple[int, int], to_wh: tuple[int, int]) -> View:
    """With corners as in a picture of another size; raises CalibrationError if it is of another shape."""
    scale = Intrinsics(from_wh, np.eye(3)).scaled_to(to_wh).camera_matrix
    moved = view.corners.image_uv * np.diag(scale)[:2] + scale[:2, 2]
    return replace(view, corners=replace(view.corners, image_uv=np.asarray(moved, np.float32)))
