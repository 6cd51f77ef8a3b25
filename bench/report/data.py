"""The report of a run as data: on what it was measured, and every value of every round; read and written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, NoReturn, get_args

from bench.busy import verdict
from bench.task import ScenarioName, Task
from perception.inference.contract import CARD_KEY
from perception.inference.engines.engine import EngineError
from perception.inference.engines.session import CPU, contract_of, load_session, read_model
from perception.inference.zoo import model_file
from perception.system.atomic_file import write_atomically
from perception.system.json_text import why_unreadable

KIND: Final = "drivable-bench report"
SCHEMA_NUMBER: Final = 2
_SINCE_SCHEMA_1: Final = {
    **{"bare": "engine_only", "stages": "stage_cost", "rival_python": "baseline_python"},
    **{"prepare": "preprocess", "interpret": "postprocess", "perceive": "predict", "look": "image_stats"},
}
"""New names of scenarios, settings and stages, by those that reports of schema 1 hold."""

_METER: Final = (
    "wall_s",
    "cpu_s",
    "busy_cores",
    "steal_s",
    "other_cpu_s",
    "peak_memory_mb",
    "watts",
)
VALUES: Final[dict[ScenarioName, tuple[str, ...]]] = {
    "engine_only": ("latencies_ms", "fps", "frames", *_METER),
    "single_stream": ("latencies_ms", "stage_ms", "frames", *_METER),
    "constant_rate": (
        *("rate_hz", "due", "latencies_ms", "ages_ms", "dropped", "jitter_ms", "held", "stall"),
        *_METER,
    ),
    "highest_rate": ("rate_hz", "tried", "trial_s"),
    "offline": ("to", "fps", "frames", "cpu_ms_per_frame", *_METER),
    "streams": ("streams", "fps", "fps_by_stream", "frames", *_METER),
    "stage_cost": (
        *("cpu_ms", "wall_ms", "steps_cpu_ms"),
        *("quiet_cpu_ms", "cores", "bound_fps", "frames", *_METER),
    ),
    "accuracy": (
        *("split", "frames", "recordings", "mean_iou", "interval", "iou", "boundary_iou"),
        *("two_classes", "conditions", "calibration_error", "same_under_load", *_METER),
    ),
    "plain": ("to", "fps", "frames", "cpu_ms_per_frame", *_METER),
    "model_api": ("fps", "frames", "versions"),
}
"""What every result of a scenario holds, at least."""


class ReportError(ValueError):
    """A file that is no report, or not one of this version; one line."""


@dataclass(frozen=True)
class Result:
    """What one task came to in one round."""

    task: Task
    round: int
    started_unix_s: float
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Missing:
    """A task that was planned and not measured."""

    title: str
    reason: str
    """Such as "no GPU"."""


@dataclass(frozen=True)
class Load:
    """What else the machine was doing."""

    before: Any = None
    """As it was found; null where it cannot be known."""
    during: list[Any] = field(default_factory=list)
    """One sample after another, each as `before`."""


@dataclass(frozen=True)
class ModelFile:
    """What a report keeps of a network, so that it can be read where the file is not."""

    sha256: str
    """As its contract has it: over every byte, with zeros in its own place."""
    size_bytes: int
    precision: str
    input_wh: tuple[int, int]
    accuracy: Mapping[str, Any] | None = None
    """As its card tells, made at export by ONNX Runtime on the CPU; None where it was not measured there."""


@dataclass(frozen=True)
class Report:
    """One run of the bench."""

    command: str
    config: Mapping[str, Any]
    machine: Mapping[str, Any]
    """cpu, cores, clock_mhz, governor, memory_gb, gpu, os, python."""
    versions: Mapping[str, str]
    commit: str | None
    started: str
    """ISO 8601, UTC; as `ended`."""
    ended: str
    results: list[Result]
    load: Load = field(default_factory=Load)
    is_partial: bool = False
    """Whether the run was broken off, or is not at its end yet."""
    missing: list[Missing] = field(default_factory=list)
    models: Mapping[str, ModelFile] = field(default_factory=dict)
    """By the name that the tasks have."""
    source_sha256: str | None = None
    """Of the video file; None where the frames are rendered."""
    schema: int = SCHEMA_NUMBER


def busy_verdict(report: Report) -> str | None:
    """What to say where other programs had the machine meanwhile; None where it was quiet."""
    return verdict((result.values for result in report.results), report.machine.get("all_cores"))


def describe_model(model: str) -> ModelFile:
    """Checksum, size and the card's accuracy of a network, read from the file's own metadata.

    Args:
        model: name of a shipped model, or a file of `drivable-export`.

    Raises:
        OSError: if there is no such model.
        EngineError: if it is none of ours, or was changed.
    """
    file = model_file(model)
    content = read_model(file)
    session = load_session(content, str(file), [CPU], threads=1)
    contract = contract_of(session, content, str(file))
    text = session.get_modelmeta().custom_metadata_map.get(CARD_KEY, "{}")
    try:
        accuracy = json.loads(text).get("accuracy")
    except (ValueError, AttributeError, RecursionError) as error:
        raise EngineError(f"{file}: its model card is not a JSON object; export it anew") from error
    return ModelFile(contract.sha256, len(content), contract.precision, contract.input_wh, accuracy)


def model_of_json(told: Mapping[str, Any]) -> ModelFile:
    """What `describe_model` found in another process."""
    width, height = told["input_wh"]
    return ModelFile(**{**told, "input_wh": (width, height)})


def sha256_of(file: Path) -> str:
    """Checksum of a source; raises OSError."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def save(report: Report, file: Path) -> None:
    """Write the report as JSON, whole or not at all.

    Raises:
        ReportError: if a value is none that JSON has a word for.
        OSError: if it cannot be written.
    """
    try:
        text = json.dumps({"kind": KIND} | asdict(report), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ReportError(f"{file}: the report cannot be written as JSON: {error}") from error
    write_atomically(file, f"{text}\n".encode())


def load(file: Path) -> Report:
    """A report that was saved.

    Raises:
        ReportError: naming the file and what is wrong, if it is no report, or one of another schema.
        OSError: if it cannot be read.
    """
    try:
        told = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:  # neither text nor JSON, or nested without an end
        raise ReportError(f"{file}: no report of drivable-bench: {why_unreadable(error)}") from error
    if not isinstance(told, dict) or told.pop("kind", None) != KIND:
        raise ReportError(f"{file}: no report of drivable-bench")
    if told.get("schema") == 1:
        told = _of_schema_1(told, file)
    if told.get("schema") != SCHEMA_NUMBER:
        raise ReportError(
            f"{file}: a report of schema {told.get('schema')!r}; this version of drivable reads 1 to "
            f"{SCHEMA_NUMBER}: measure again, or read it with the version that wrote it"
        )
    return _Reader(str(file)).report(told)


def _of_schema_1(told: dict[str, Any], file: Path) -> dict[str, Any]:
    """The same report in the names of schema 2."""

    def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
        return {_SINCE_SCHEMA_1.get(name, name): value for name, value in values.items()}

    try:
        for result in told["results"]:
            task, values = result["task"], result["values"]
            task["scenario"] = _SINCE_SCHEMA_1.get(task["scenario"], task["scenario"])
            if task["scenario"] == "stage_cost":
                steps = {name: values.pop(f"{name}_cpu_ms") for name in ("prepare", "infer", "interpret")}
                values["steps_cpu_ms"] = renamed(steps)
            for name, value in values.items():
                if isinstance(value, dict):
                    values[name] = renamed(value)
        return told | {"schema": SCHEMA_NUMBER, "config": renamed(told["config"])}
    except (AttributeError, KeyError, TypeError) as error:
        raise ReportError(f"{file}: a damaged report of drivable-bench: {error}") from error


@dataclass(frozen=True)
class _Reader:
    """From JSON to dataclasses; every complaint names the file and the place."""

    file: str

    def report(self, told: dict[str, Any]) -> Report:
        """Raises ReportError."""
        values = self._fields(Report, told, "the report")
        for name in ("results", "missing"):
            self._check(isinstance(values[name], list), f"{name} must be a JSON array")
        for name in ("models", "config", "machine", "versions"):
            self._check(isinstance(values[name], dict), f"{name} must be a JSON object")
        for name in ("command", "started", "ended"):
            self._check(isinstance(values[name], str), f"{name} must be a text")
        self._check(isinstance(values["is_partial"], bool), "is_partial must be true or false")
        return Report(
            **values
            | {
                "results": [self._result(it, f"result {n}") for n, it in enumerate(values["results"])],
                "missing": [Missing(**self._fields(Missing, it, "missing")) for it in values["missing"]],
                "load": Load(**self._fields(Load, values["load"], "load")),
                "models": {name: self._model(it, name) for name, it in values["models"].items()},
            }
        )

    def _model(self, told: Any, name: str) -> ModelFile:
        values = self._fields(ModelFile, told, f"model {name}")
        wh = values["input_wh"]
        self._check(isinstance(wh, list) and len(wh) == 2, f"model {name}: input_wh must be two numbers")
        return model_of_json(values)

    def _result(self, told: Any, where: str) -> Result:
        values = self._fields(Result, told, where)
        task = Task(**self._fields(Task, values["task"], f"{where}, task"))
        self._check(task.scenario in get_args(ScenarioName), f"{where}: {task.scenario!r} is no scenario")
        where = f"{where} ({task.scenario})"
        self._check(isinstance(values["round"], int), f"{where}: round must be a whole number")
        self._check(isinstance(values["values"], dict), f"{where}: values must be a JSON object")
        self._check(isinstance(task.options, dict), f"{where}: options must be a JSON object")
        for name in VALUES[task.scenario]:
            self._check(name in values["values"], f"{where}: its values lack {name!r}")
        return Result(**values | {"task": task})

    def _fields(self, kind: type[Any], told: Any, where: str) -> dict[str, Any]:
        """Every field of a dataclass, no more and no less."""
        if not isinstance(told, dict):
            self._refuse(f"{where} must be a JSON object")
        known = {it.name for it in fields(kind)}
        for name in sorted(known - told.keys()):
            self._refuse(f"{where} lacks {name!r}")
        for name in sorted(told.keys() - known):
            self._refuse(f"{where} has the unknown field {name!r}")
        return dict(told)

    def _check(self, holds: bool, wanted: str) -> None:
        if not holds:
            self._refuse(wanted)

    def _refuse(self, why: str) -> NoReturn:
        raise ReportError(f"{self.file}: a damaged report of drivable-bench: {why}")


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_ANY: Final[dict[str, Any]] = {}
_TEXT: Final = {"type": "string"}
_MAYBE_TEXT: Final = {"type": ["string", "null"]}
_NUMBER: Final = {"type": "number"}
_OBJECT: Final = {"type": "object"}

SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": KIND,
    **_object(
        kind={"const": KIND},
        schema={"const": SCHEMA_NUMBER},
        command=_TEXT,
        config=_OBJECT,
        machine=_OBJECT,
        versions=_OBJECT | {"additionalProperties": _TEXT},
        commit=_MAYBE_TEXT,
        started=_TEXT | {"format": "date-time"},
        ended=_TEXT | {"format": "date-time"},
        load=_object(before=_ANY, during={"type": "array"}),
        is_partial={"type": "boolean"},
        missing={"type": "array", "items": _object(title=_TEXT, reason=_TEXT)},
        models=_OBJECT
        | {
            "additionalProperties": _object(
                sha256=_TEXT,
                size_bytes={"type": "integer", "minimum": 1},
                precision=_TEXT,
                input_wh={"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
                accuracy={"type": ["object", "null"]},
            )
        },
        source_sha256=_MAYBE_TEXT,
        results={
            "type": "array",
            "items": _object(
                task=_object(
                    scenario={"enum": list(VALUES)},
                    model=_TEXT,
                    engine=_TEXT,
                    provider=_TEXT,
                    source=_TEXT,
                    options=_OBJECT,
                ),
                round={"type": "integer", "minimum": 0},
                started_unix_s=_NUMBER,
                values=_OBJECT,
            )
            | {
                "allOf": [
                    {
                        "if": {"properties": {"task": {"properties": {"scenario": {"const": scenario}}}}},
                        "then": {"properties": {"values": {"required": list(names)}}},
                    }
                    for scenario, names in VALUES.items()
                ]
            },
        },
    ),
}
"""JSON Schema of a saved report."""
