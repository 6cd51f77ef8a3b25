"""Records as JSON lines, one object a frame: `record.schema.json` says what stands in them."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any, Final

from perception.frame import Prediction
from perception.labels import IDS, LABELS_OF_TWO
from perception.scene.outline import Polygon, outlines
from perception.sinks.sink import SinkError
from perception.sources.source import SourceInfo

SCHEMA: Final = 2
STDOUT: Final = "-"


def record(prediction: Prediction) -> dict[str, Any]:
    """One frame's record, ready for JSON; `mask` is None where the camera did not see the road."""
    frame = prediction.frame
    return {
        "schema": SCHEMA,
        "source_id": frame.source_id,
        "frame_id": frame.frame_id,
        "name": frame.name,
        "captured_ns": frame.captured_ns,
        "time_ns": frame.time_ns,
        "published_ns": prediction.published_ns,
        "age_ms": round(prediction.age_ms, 3),
        "camera": {"state": prediction.camera_state, "reason": prediction.camera_reason},
        "engine": {"state": prediction.engine_state, "provider": prediction.provider},
        "model_id": prediction.model_id,
        "frame_wh": list(frame.frame_wh),
        "mask": _mask(prediction) if prediction.has_mask else None,
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

    def write(self, prediction: Prediction) -> None:
        """Write one line, past all buffers, so that a killed process leaves it whole."""
        if self._descriptor is None:
            raise SinkError(f"{self._where}: cannot write records: the file is closed")
        line = json.dumps(record(prediction), separators=(",", ":")).encode() + b"\n"
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
