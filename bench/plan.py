"""From settings to tasks: what is measured in every round, and what cannot be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config import BenchConfig
from bench.engines import EngineName
from bench.report.data import Missing
from bench.task import ScenarioName, Task
from perception.inference.engines.providers import ProviderName
from perception.inference.zoo import model_file, shipped_models
from perception.system.redaction import redacted_url

ON_GPU: tuple[ProviderName, ...] = ("cuda", "tensorrt")


@dataclass(frozen=True)
class Plan:
    """What one run measures."""

    every_round: list[Task]
    once: list[Task]
    """What does not change from round to round."""
    missing: list[Missing]


def plan(config: BenchConfig, has_gpu: bool) -> Plan:
    """The tasks of a run, in the order that they are measured in.

    Args:
        config: with `quick` worked in already.

    Raises:
        FileNotFoundError: if a model, a plain graph, the data or the video is not there; in one line.
        ValueError: if a plain graph belongs to no model, or to one that has another.
    """
    if config.source != "synthetic" and not Path(config.source).is_file():
        raise FileNotFoundError(
            f"{redacted_url(config.source)}: no such video; the bench plays a file, or `synthetic`"
        )
    if config.data and not Path(config.data).is_dir():  # and not after all else was measured
        raise FileNotFoundError(f"{config.data}: no such folder; --data names one of labelled frames")
    models = _models(config.models)
    missing = _without_gpu(config, has_gpu) + _without_baselines(config)
    every_round: list[Task] = []
    once: list[Task] = []
    for model in models:
        for engine, provider in _places(config, has_gpu):
            every_round += _tasks(config, model, engine, provider)
            if "accuracy" in config.scenarios and config.data:
                options = {name: getattr(config, name) for name in ("data", "layout", "label_map", "split")}
                once.append(Task("accuracy", model, engine, provider, "synthetic", options))
    if "offline" in config.scenarios:
        every_round += _baselines(config, models)
    if "accuracy" in config.scenarios and not config.data:
        missing.append(Missing("accuracy", "no --data given; the table tells what the models' cards do"))
    return Plan(_each_once(every_round), _each_once(once), missing)


def _each_once(tasks: Iterable[Task]) -> list[Task]:
    return list({task.key: task for task in tasks}.values())


def _models(named: Sequence[str]) -> list[str]:
    """Names of shipped models as they are, files by their whole path; each once."""
    found: list[str] = []
    for name in named:
        if name == "all":
            found += shipped_models()
        elif name in shipped_models():
            found.append(name)
        else:
            found.append(str(model_file(name).resolve()))
    return list(dict.fromkeys(found))


def _places(config: BenchConfig, has_gpu: bool) -> Iterator[tuple[EngineName, ProviderName]]:
    """Every engine with every provider that it can have here."""
    for engine in config.engines:
        if engine != "onnx":
            yield engine, "cpu"
            continue
        providers: list[ProviderName] = []
        for provider in config.providers:
            providers += ["cpu", *ON_GPU] if provider == "auto" else [provider]
        for provider in dict.fromkeys(providers):
            if provider == "cpu" or has_gpu:
                yield engine, provider


def _tasks(config: BenchConfig, model: str, engine: EngineName, provider: ProviderName) -> Iterator[Task]:
    def task(scenario: ScenarioName, **options: Any) -> Task:
        return Task(scenario, model, engine, provider, _source(config), options)

    if "single_stream" in config.scenarios:
        yield task("engine_only", frames=math.ceil(config.single_stream_frames / 2))  # in each of two parts
        yield task("single_stream", frames=config.single_stream_frames)
    if "constant_rate" in config.scenarios:
        stall = {
            "stall_stage": config.stall_stage,
            "stall_ms": config.stall_ms,
            "stall_every_s": config.stall_every_s,
        }
        for rate_hz in config.rates_hz:
            options = {"rate_hz": rate_hz, "duration_s": config.duration_s}
            yield task("constant_rate", **options, **(stall if config.stall_ms else {}))
        if config.highest_rate:
            yield task("highest_rate")
    if "offline" in config.scenarios:
        yield task("stage_cost", frames=math.ceil(config.frames / 4))  # in each of its parts
        for to in ("class_map", "overlay"):
            yield task("offline", to=to, frames=config.frames)
        for streams in config.streams:
            yield task("streams", streams=streams, frames=config.frames)


def _baselines(config: BenchConfig, models: Sequence[str]) -> Iterator[Task]:
    """The loops that others write, on the plain graphs of the models."""
    graphs: dict[str, str] = {}
    for graph in config.plain:
        file = Path(graph)
        if not file.is_file():
            raise FileNotFoundError(f"{graph}: no such plain graph; drivable-export --target plain makes one")
        stem = file.stem.replace("_plain", "-plain").removesuffix("-plain")
        named = [model for model in models if Path(model).stem == stem]
        if not named:
            raise ValueError(
                f"{graph}: a plain graph has the name of its model, MODEL-plain.onnx, and {stem} is none of "
                f"{', '.join(models)}"
            )
        (model, *_), source = named, _source(config)
        if model in graphs:
            raise ValueError(f"{graph}: {model} has {graphs[model]} already; one plain graph a model")
        graphs[model] = graph
        options = {"file": str(file.resolve()), "frames": config.frames}
        for to in ("class_map", "overlay"):
            yield Task("plain", model, source=source, options={**options, "to": to})
        if config.baseline_python:
            python = str(Path(config.baseline_python).absolute())
            yield Task("model_api", model, source=source, options={**options, "python": python})


def _source(config: BenchConfig) -> str:
    return config.source if config.source == "synthetic" else str(Path(config.source).resolve())


def _without_gpu(config: BenchConfig, has_gpu: bool) -> list[Missing]:
    if has_gpu or "onnx" not in config.engines:
        return []
    asked = ON_GPU if "auto" in config.providers else [it for it in config.providers if it != "cpu"]
    return [Missing(provider, "no NVIDIA GPU on this machine") for provider in asked]


def _without_baselines(config: BenchConfig) -> list[Missing]:
    if "offline" not in config.scenarios:
        return []
    missing = []
    if not config.plain:
        reason = "no plain graph given: drivable-export --target plain makes one, --plain FILE names it"
        missing.append(Missing("plain loop", reason))
    if not config.baseline_python:
        reason = "no --baseline-python: the Python of an environment with openvino-model-api"
        missing.append(Missing("model_api", reason))
    return missing
