"""What tests of the sinks share: predictions to write, the sinks, and what came to be in their files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np

from perception.frame import Frame, Prediction
from perception.labels import DIRECT
from perception.sinks.jsonl import JsonLinesSink
from perception.sinks.masks import MaskFolderSink
from perception.sinks.rotation import RecordingPolicy, Rotate
from perception.sinks.sink import Sink
from perception.sinks.video import OverlayVideoSink
from perception.sources.source import SourceInfo

WH = (160, 96)
PERIOD_NS = 40_000_000
LIVE = SourceInfo("cam", True, WH, 25.0)
RECORDED = replace(LIVE, is_live=False)
A_SECOND = RecordingPolicy(Rotate(age_s=1.0))
TARGETS = {"overlay": "out.mp4", "jsonl": "out.jsonl", "masks": "out"}


def predicted(frame_id: int, wh: tuple[int, int] = WH) -> Prediction:
    image_bgr = np.random.default_rng(frame_id).integers(0, 255, (wh[1], wh[0], 3), np.uint8)
    frame = Frame("cam", frame_id, 0, frame_id * PERIOD_NS, image_bgr, f"{frame_id:06d}")
    return Prediction(frame, np.full((48, 80), DIRECT, np.uint8), (1.0, 0.0, 0.0), "model")


def sink_at(folder: Path, name: str, policy: RecordingPolicy | None = None) -> Any:
    kinds: dict[str, Callable[..., Any]] = {
        "overlay": OverlayVideoSink,
        "jsonl": JsonLinesSink,
        "masks": MaskFolderSink,
    }
    return kinds[name](str(folder / TARGETS[name]), policy=policy)


def write(sink: Sink, frame_ids: range) -> None:
    for frame_id in frame_ids:
        sink.write(predicted(frame_id))


def names(folder: Path) -> list[str]:
    """Of all but the index of the segments."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def frames_of(segment: Path) -> list[int]:
    """Video: a frame's time in periods. Records and masks: its id."""
    if segment.is_dir():
        return sorted(int(mask.stem) for mask in segment.glob("*.png"))
    if segment.suffix == ".jsonl":
        return [json.loads(line)["frame_id"] for line in segment.read_text().splitlines()]
    with av.open(segment) as container:
        frames = list(container.decode(video=0))
        assert not frames or frames[0].key_frame
        return [round(frame.pts * frame.time_base * 25) for frame in frames]  # type: ignore[operator]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
