"""Records as JSON lines, one object a frame: `record.schema.json` says what stands in them."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any, Final

from perception.frame import Output, Prediction
from perception.labels import IDS, LABELS_OF_TWO
from perception.scene.outline import Polygon, outlines
from perception.sinks.sink import SinkError
from perception.sources.source import SourceInfo

SCHEMA: Final = 3
STDOUT: Final = "-"


def record(output: Output) -> dict[str, Any]:
    """What was published, ready for JSON; `mask` is None where the camera did not see the road.

    Of an outage there is no frame: its `frame_id` and `name` are None, and its age is that of the last frame.
    """
    frame = output.frame if isinstance(output, Prediction) else None
    return {
        "schema": SCHEMA,
        "source_id": output.source_id,
        "frame_id": frame.frame_id if frame else None,
        "name": frame.name if frame else None,
        "missed_before": frame.missed_before if frame else 0,
        "captured_ns": output.captured_ns,
        "time_ns": output.time_ns,
        "published_ns": output.published_ns,
        "age_ms": None if output.age_ms is None else round(output.age_ms, 3),
        "camera": {"state": output.camera_state, "reason": output.camera_reason},
        "engine": {"state": output.engine_state, "provider": output.provider},
        "model_id": output.model_id,
        "frame_wh": list(output.frame_wh),
        "mask": _mask(output) if isinstance(output, Prediction) and output.has_mask else None,
    }


def _mask(prediction: Prediction) -> dict[str, Any]:
    """Shares and areas; None for what the network does not tell apart."""
    told = dict(zip(prediction.labels, prediction.shares, strict=True))
    if prediction.labels != LABELS_OF_TWO:
        told["drivable"] = told["direct"] + told["alternative"]
    names = ("direct", "alternative", "background", "drivable")
    shares = {name: round(told[name], 6) if name in told else None for name in names}

    def areas(name: str) -> list[Polygon] | None:
        if name not in prediction.labels:
            return None
        return outlines(prediction.class_map, IDS[name], prediction.frame.frame_wh)

    return {
        "shares": shares,
        "direct": areas("direct"),
        "alternative": areas("alternative"),
        "drivable": areas("drivable"),
    }


class JsonLinesSink:
    """Writes records to a file or, as "-", to stdout: whole lines only, each on its way at once."""

    name = "jsonl"

    def __init__(self, target: str) -> None:
        self._target = target
        self._where = "stdout" if target == STDOUT else target
        self._descriptor: int | None = None

    def open(self, info: SourceInfo) -> None:
        """Make the file, and its folder if need be; a file that is there is replaced.

        Raises:
            SinkError: if the file cannot be written.
        """
        try:
            if self._target == STDOUT:
                sys.stdout.flush()
                self._descriptor = os.dup(sys.stdout.fileno())
            else:
                Path(self._target).parent.mkdir(parents=True, exist_ok=True)
                self._descriptor = os.open(self._target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        except OSError as error:
            raise SinkError(
                f"{self._where}: cannot write records: {error.strerror}; choose another file"
            ) from error

    def write(self, output: Output) -> None:
        """Write one line, past all buffers, so that a killed process leaves it whole."""
        if self._descriptor is None:
            raise SinkError(f"{self._where}: cannot write records: the file is closed")
        line = json.dumps(record(output), separators=(",", ":")).encode() + b"\n"
        written_bytes = 0
        try:
            while written_bytes < len(line):
                written_bytes += os.write(self._descriptor, line[written_bytes:])
        except OSError as error:
            self._cut_off(written_bytes)
            self.close()
            raise SinkError(f"{self._where}: cannot write records: {error.strerror}") from error

    def close(self) -> None:
        """Close the file; stdout stays open for others."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _cut_off(self, partial_bytes: int) -> None:
        """Take back the part of a line that was written before an error."""
        descriptor = self._descriptor
        if partial_bytes and descriptor is not None and stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.ftruncate(descriptor, os.lseek(descriptor, 0, os.SEEK_CUR) - partial_bytes)
