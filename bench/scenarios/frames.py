"""Frames of a recording: played again and again, or decoded beforehand to leave out the decoder."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Final

from perception.frame import Frame
from perception.sources import SourceSettings, build_source
from perception.sources.source import EndOfSource, Source

KEPT_FRAMES: Final = 32
"""44 MB at 1280x720: more than the caches of a core hold, little beside the network."""


def looped(video: str, frames: int | None = None) -> Source:
    """A recording, not yet open, that is played again and again, until so many frames have passed."""
    return build_source(video, SourceSettings(loop=True, max_frames=frames))


def decoded_frames(video: str, frames: int = KEPT_FRAMES) -> list[Frame]:
    """The first frames of a recording, as the node's source gives them; fewer where there are no more."""
    source = build_source(video, SourceSettings(max_frames=frames))
    kept = []
    try:
        source.open()
        while True:
            kept.append(source.read())
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
