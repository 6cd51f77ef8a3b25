"""Records as JSON lines, one object per frame, as defined in `record.schema.json`."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from perception.frame import OutputItem, Prediction
from perception.imaging.letterbox import SQUARE
from perception.imaging.polygons import Polygon, outlines
from perception.labels import IDS
from perception.provenance.identity import DIGITS
from perception.provenance.trace import Trace
from perception.provenance.utc import utc_text
from perception.sinks.claim import Claim
from perception.sinks.file_sink import FileSink
from perception.sinks.jsonl_metres import metres_record
from perception.sinks.kind import SinkKind
from perception.sinks.naming import refuse_folder
from perception.sinks.open_file import AtomicLineWriter, OpenMode
from perception.sinks.rotation import RecordingPolicy
from perception.sinks.sink import Sink, SinkError
from perception.sources.source import SourceInfo
from perception.system.json_text import json_text
from perception.system.plugins import Checked

SCHEMA: Final = 5
STDOUT: Final = "-"


@dataclass(frozen=True)
class JsonlSettings(Checked):
    """Records, a line of JSON for each frame."""

    jsonl: Annotated[str, "FILE|-"] | None = None
    """Records to write, one JSON object per line: a file, or - for standard output."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if self.jsonl is not None:
            refuse_folder("jsonl", self.jsonl)
        super().__post_init__()


def build_jsonl(settings: JsonlSettings, policy: RecordingPolicy, info: SourceInfo) -> Sink:
    """The sink for `settings.jsonl`."""
    return JsonLinesSink(str(settings.jsonl), policy)


def record(output: OutputItem) -> dict[str, Any]:
    """The published output, ready for JSON; without a mask, `mask`, `certainty` and `metres` are None.

    During an outage `frame_id` and `name` are None, and the age is that of the last frame.
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
        "age_ms": None if output.age_ms is None else _short(output.age_ms, 1),
        "camera": {"state": output.camera_state, "reason": output.camera_reason},
        "engine": {
            "state": output.engine_state,
            "provider": output.provider,
            **({"nodes": dict(output.provider_nodes)} if output.provider_nodes else {}),
            **({"reason": output.engine_reason} if output.engine_reason else {}),
        },
        "model_id": output.model_id,
        **_traced(output.trace),
        "frame_wh": list(output.frame_wh) if output.frame_wh else None,
        **({} if output.pixel_aspect == SQUARE else {"pixel_aspect": list(output.pixel_aspect)}),
        "ignored": _ignored(output),
        "certainty": _certainty(output) if isinstance(output, Prediction) and output.has_mask else None,
        "mask": _mask(output) if isinstance(output, Prediction) and output.has_mask else None,
        "metres": None if output.valid_metres is None else metres_record(output.valid_metres),
    }


def _short(value: float, digits: int) -> float:
    """Rounded; whole numbers without a decimal point."""
    rounded = round(value, digits)
    return int(rounded) if rounded.is_integer() else rounded


def _traced(trace: Trace | None) -> dict[str, Any]:
    """UTC, its relation to the monotonic clock, and the run; None without a trace."""
    if trace is None:
        return {"captured_utc": None, "published_utc": None, "clock": None, "run": None}
    captured_ns, tie = trace.captured_utc_ns, trace.tie
    return {
        "captured_utc": None if captured_ns is None else utc_text(captured_ns),
        "published_utc": utc_text(trace.published_utc_ns),
        "clock": {
            "synchronised": tie.synchronisation.is_synchronised,
            "uncertainty_ns": tie.uncertainty_ns,
            "steps": tie.steps,
        },
        "run": dict(trace.run.abbreviated),
    }


def _ignored(output: OutputItem) -> dict[str, Any] | None:
    """Share and checksum of what is ignored; None if nothing is."""
    mask = output.ignore_mask if isinstance(output, Prediction) else None
    if mask is None:
        return None
    return {"share": _short(mask.share, 4), "sha256": mask.sha256[:DIGITS]}


def _certainty(prediction: Prediction) -> dict[str, float | None] | None:
    if prediction.certainty is None:
        return None
    values = asdict(prediction.certainty)
    return {name: None if value is None else _short(value, 4) for name, value in values.items()}


def _mask(prediction: Prediction) -> dict[str, Any]:
    """Shares and areas; None for classes that the network lacks."""
    found = prediction.named_shares
    names = ("direct", "alternative", "background", "drivable")
    shares = {name: _short(found[name], 4) if name in found else None for name in names}

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


class JsonLinesSink(FileSink[AtomicLineWriter]):
    """Writes records to a file or, for "-", to stdout: whole lines only, unbuffered.

    A killed process leaves no partial line. Memory: one line.
    """

    name = "jsonl"
    _noun = "records"

    def __init__(self, target: str, policy: RecordingPolicy | None = None) -> None:
        is_stdout = target == STDOUT
        super().__init__("stdout" if is_stdout else target, None if is_stdout else Path(target), policy)

    @property
    def waits_for_reader(self) -> bool:
        """See `HasReader`."""
        segment = self._segment
        return segment is not None and segment.waits_for_reader

    def _make(self, path: Path, opening: OpenMode, claim: Claim) -> AtomicLineWriter:
        if self._segments:
            return AtomicLineWriter.at(path, opening, claim)
        if sys.stdout is None:
            raise SinkError("stdout: cannot write records: it is closed; choose a file")
        sys.stdout.flush()
        return AtomicLineWriter(os.dup(sys.stdout.fileno()))  # stdout itself stays open

    def _write(self, output: OutputItem) -> None:
        line = json_text(record(output)).encode() + b"\n"
        if segment := self._segment_at(output.time_ns):
            segment.write(line)


JSONL_SINK: Final = SinkKind(settings=JsonlSettings, target="jsonl", build=build_jsonl, frame_is="record")
