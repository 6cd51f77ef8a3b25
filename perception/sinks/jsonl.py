"""Records as JSON lines, one object a frame: `record.schema.json` says what stands in them."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from perception.frame import OutputItem, Prediction
from perception.imaging.letterbox import SQUARE
from perception.imaging.polygons import Polygon, outlines
from perception.labels import IDS
from perception.provenance.trace import Trace
from perception.provenance.utc import utc_text
from perception.sinks.file_sink import FileSink
from perception.sinks.kind import SinkKind
from perception.sinks.lines import AtomicLineWriter
from perception.sinks.rotation import OpenMode, RecordingPolicy, Segments
from perception.sinks.sink import Sink, SinkError
from perception.sinks.syncing import Syncer
from perception.sources.source import SourceInfo
from perception.system.json_text import json_text

SCHEMA: Final = 4
STDOUT: Final = "-"


@dataclass(frozen=True)
class JsonlSettings:
    """The records."""

    jsonl: str | None = None
    """Records to write, one JSON object a line: a file, or - for standard output."""


def build_jsonl(settings: JsonlSettings, policy: RecordingPolicy, info: SourceInfo) -> Sink:
    """The sink for `settings.jsonl`."""
    return JsonLinesSink(str(settings.jsonl), policy)


def record(output: OutputItem) -> dict[str, Any]:
    """What was published, ready for JSON; of what has no mask `mask` and `certainty` are None.

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
        "certainty": _certainty(output) if isinstance(output, Prediction) and output.has_mask else None,
        "mask": _mask(output) if isinstance(output, Prediction) and output.has_mask else None,
    }


def _short(value: float, digits: int) -> float:
    """Rounded, and a whole number without a point."""
    rounded = round(value, digits)
    return int(rounded) if rounded.is_integer() else rounded


def _traced(trace: Trace | None) -> dict[str, Any]:
    """UTC, how it was tied to the monotonic clock, and what made the output; None where nobody traced it."""
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


def _certainty(prediction: Prediction) -> dict[str, float | None] | None:
    if prediction.certainty is None:
        return None
    told = asdict(prediction.certainty)
    return {name: None if value is None else _short(value, 4) for name, value in told.items()}


def _mask(prediction: Prediction) -> dict[str, Any]:
    """Shares and areas; None for what the network does not tell apart."""
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


class JsonLinesSink(FileSink):
    """Writes records to a file or, as "-", to stdout: whole lines only, each on its way at once.

    It holds one line in memory at a time.
    """

    name = "jsonl"

    def __init__(self, target: str, keeping: RecordingPolicy | None = None) -> None:
        self._target = target
        self._where = "stdout" if target == STDOUT else target
        keeping = keeping or RecordingPolicy()
        self._segments = None if target == STDOUT else Segments(Path(target), keeping)
        self._syncer = Syncer() if keeping.durable else None
        self._file: AtomicLineWriter | None = None
        self._is_open = False

    @property
    def waits_for_reader(self) -> bool:
        """As of every sink that has one."""
        file = self._file
        return file is not None and file.waits_for_reader

    def open(self, info: SourceInfo, resumes: bool = False) -> None:
        """Make the file, and its folder if need be; a file that is there is replaced, or gone on with.

        Raises:
            SinkError: if the file cannot be written, is written by another, or a recorded source finds the
                disk nearly full.
        """
        with self._opening():
            if self._segments is None:
                if sys.stdout is None:
                    raise SinkError("stdout: cannot write records: it is closed; choose a file")
                sys.stdout.flush()
                self._file = AtomicLineWriter(os.dup(sys.stdout.fileno()))
            elif self._segments.set_up(info, resumes):
                self._file = self._segments.begin(self._make)
        self._is_open = True

    def write(self, output: OutputItem) -> None:
        """Write one line, past all buffers, so that a killed process leaves it whole."""
        if not self._is_open:
            raise SinkError(f"{self._where}: cannot write records: the file is closed")
        line = json_text(record(output)).encode() + b"\n"
        try:
            if self._syncer:
                self._syncer.check()
            file = self._file_for(self._segments, output.time_ns) if self._segments else self._file
            if file:
                file.write(line)
        except OSError as error:
            self.close()
            raise SinkError(f"{self._where}: cannot write records: {error.strerror}") from error

    def close(self) -> None:
        """Close the file; stdout stays open for others."""
        self._is_open = False
        self._end_file()
        try:
            if self._syncer:
                self._syncer.close()
        except OSError as error:
            raise SinkError(f"{self._where}: cannot write records: {error.strerror}") from error
        finally:
            if self._segments:
                self._segments.release()

    def _unusable(self, error: OSError) -> SinkError:
        return SinkError(f"{self._where}: cannot write records: {error.strerror}; choose another file")

    def _make(self, file: Path, opening: OpenMode) -> AtomicLineWriter:
        assert self._segments is not None
        made = AtomicLineWriter.at(file, opening, self._segments.claim)
        if self._syncer:
            self._syncer.watch(made.descriptor, file)
        return made

    def _file_for(self, segments: Segments, time_ns: int) -> AtomicLineWriter | None:
        """The segment that the record of this time goes to; None while there is no room."""
        if not segments.has_room():
            self._end_file()
            return None
        if self._file and self._file.presence != "there":
            self._end_file()
            segments.take_again()
        if self._file and segments.is_over(self._file.size_bytes, time_ns):
            self._end_file()
        if self._file is None:
            self._file = segments.begin(self._make, time_ns)
        return self._file

    def _end_file(self) -> None:
        file, self._file = self._file, None
        if file and self._segments:
            self._segments.note_end(file.presence, file.lines)
        if file:
            if self._syncer:
                self._syncer.finish(file.descriptor)
            file.close()


JSONL_SINK: Final = SinkKind(settings=JsonlSettings, target="jsonl", build=build_jsonl, frame_is="record")
