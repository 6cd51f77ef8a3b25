"""The report of a run as data: on what it was measured, and every value of every round; read and written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from textwrap import shorten
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from bench import meter
from bench.task import Task
from perception.inference.contract import CARD_KEY
from perception.inference.engines.engine import EngineError
from perception.inference.engines.session import CPU, contract_of, load_session, read_model
from perception.inference.zoo import model_file
from perception.system.atomic_file import write_atomically
from perception.system.json_text import why_unreadable

KIND: Final = "drivable-bench report"
SCHEMA_NUMBER: Final = 2
LONGEST_REASON: Final = 200
_SINCE_SCHEMA_1: Final = {
    **{"bare": "engine_only", "stages": "stage_cost", "rival_python": "baseline_python"},
    **{"prepare": "preprocess", "interpret": "postprocess", "perceive": "predict", "look": "image_stats"},
}
"""New names of scenarios, settings and stages, by those that reports of schema 1 hold."""

SCHEMA: Final[dict[str, Any]] = json.loads((files("bench.report") / "report.schema.json").read_text())
"""Of a saved report."""


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

    before: float | None = None
    """Load average of the last minute; None where it is not known."""
    during: list[float | None] = field(default_factory=list)
    """As `before`, when each task began."""


@dataclass(frozen=True)
class ModelFile:
    """What a report keeps of a network, so that it can be read where the file is not."""

    sha256: str
    """As its contract has it: over every byte, with zeros in its own place."""
    size_bytes: int
    precision: str
    input_wh: Sequence[int]
    accuracy: Mapping[str, Any] | None = None
    """From its card, as ONNX Runtime on the CPU had it at export; None where it was not measured there."""


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
    return meter.busy_verdict((result.values for result in report.results), report.machine.get("all_cores"))


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
        raise EngineError(f"{file}: its model card is not a JSON object; export it again") from error
    return ModelFile(contract.sha256, len(content), contract.precision, list(contract.input_wh), accuracy)


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
        content = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:  # neither text nor JSON, or nested without an end
        raise ReportError(f"{file}: not a report of drivable-bench: {why_unreadable(error)}") from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise ReportError(f"{file}: not a report of drivable-bench")
    if content.get("schema") == 1:
        content = _of_schema_1(content, file)
    if content.get("schema") != SCHEMA_NUMBER:
        raise ReportError(
            f"{file}: a report of schema {content.get('schema')!r}; this version of drivable reads 1 to "
            f"{SCHEMA_NUMBER}: measure again, or read it with the version that wrote it"
        )
    if (damage := best_match(Draft202012Validator(SCHEMA).iter_errors(content))) is not None:
        why = shorten(damage.message, LONGEST_REASON, placeholder=" …")
        raise ReportError(f"{file}: a damaged report of drivable-bench: {damage.json_path}: {why}")
    del content["kind"]
    return Report(
        **content
        | {
            "results": [Result(**it | {"task": Task(**it["task"])}) for it in content["results"]],
            "missing": [Missing(**it) for it in content["missing"]],
            "load": Load(**content["load"]),
            "models": {name: ModelFile(**it) for name, it in content["models"].items()},
        }
    )


def _of_schema_1(content: dict[str, Any], file: Path) -> dict[str, Any]:
    """The same report in the names of schema 2."""

    def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
        return {_SINCE_SCHEMA_1.get(name, name): value for name, value in values.items()}

    try:
        for result in content["results"]:
            task, values = result["task"], result["values"]
            task["scenario"] = _SINCE_SCHEMA_1.get(task["scenario"], task["scenario"])
            if task["scenario"] == "stage_cost":
                steps = {name: values.pop(f"{name}_cpu_ms") for name in ("prepare", "infer", "interpret")}
                values["steps_cpu_ms"] = renamed(steps)
            for name, value in values.items():
                if isinstance(value, dict):
                    values[name] = renamed(value)
        machine = content["machine"]
        if machine.get("memory_gb"):  # a kB of the kernel, which is 1,024 bytes, counted as 1,000
            machine["memory_gb"] = round(1.024 * machine["memory_gb"], 1)
        return content | {"schema": SCHEMA_NUMBER, "config": renamed(content["config"])}
    except (AttributeError, KeyError, TypeError) as error:
        raise ReportError(f"{file}: a damaged report of drivable-bench: {error}") from error
