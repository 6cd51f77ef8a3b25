"""Frames of a source, decoded beforehand and kept: what a live run is measured on without its decoder."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Final

import cv2
import numpy as np

from perception.frame import Frame
from perception.imaging.yuv import Yuv420
from perception.sources import SourceSettings, build_source
from perception.sources.registry import kind_of
from perception.sources.source import EndOfSource, SourceError
from perception.system.redaction import redacted_url

KEPT_FRAMES: Final = 32
"""44 MB at 1280x720: more than the caches of a core hold, little beside the network."""


def decoded_frames(spec: str, frames: int = KEPT_FRAMES) -> list[Frame]:
    """The first frames of a recording, or of the built-in road; fewer where there are no more.

    Pixels are the decoder's planes, as the node's video source gives them; a rendered picture is converted
    to such.

    Raises:
        SourceError: if `spec` is no recording that can be read so far, or a live source.
    """
    kind = kind_of(spec)
    if kind not in ("video", "images", "synthetic"):
        raise SourceError(f"{redacted_url(spec)}: is live; measure on a recording of it, or on synthetic")
    source = build_source(spec, SourceSettings(max_frames=frames))
    kept = []
    try:
        source.open()
        while True:
            kept.append(_as_planes(source.read()))
    except EndOfSource:
        return kept
    finally:
        source.close()


def again_and_again(frames: Sequence[Frame]) -> Iterator[Frame]:
    """The frames in a circle, as new ones: ids go on, and nothing that was computed of one is still there."""
    start_ns = time.monotonic_ns()
    for frame_id in count():
        now_ns = time.monotonic_ns()
        yield as_new(frames[frame_id % len(frames)], frame_id, now_ns, now_ns - start_ns)


def as_new(frame: Frame, frame_id: int, captured_ns: int, time_ns: int) -> Frame:
    """The same picture as a frame of its own."""
    name = f"{frame_id:06d}"
    return replace(frame, frame_id=frame_id, captured_ns=captured_ns, time_ns=time_ns, name=name)


def _as_planes(frame: Frame) -> Frame:
    """With planes of 4:2:0, where its sides are even."""
    width, height = frame.frame_wh
    if isinstance(frame.pixels, Yuv420) or width % 2 or height % 2:
        return frame
    packed = np.asarray(cv2.cvtColor(frame.pixels, cv2.COLOR_BGR2YUV_I420), np.uint8).ravel()
    luma, chroma = width * height, width * height // 4
    y, u, v = np.split(packed, [luma, luma + chroma])
    half = (height // 2, width // 2)
    return replace(frame, pixels=Yuv420(y.reshape(height, width), u.reshape(half), v.reshape(half), "bt601"))
