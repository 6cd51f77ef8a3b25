"""From settings to tasks: what is measured in every round, and what cannot be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.config import BenchConfig
from bench.engines import EngineName
from bench.report.data import Missing
from bench.scenarios.offline import OUTPUTS
from bench.task import ScenarioName, Task
from perception.cli_config import SettingsError
from perception.inference.engines.providers import ProviderName
from perception.inference.zoo import model_file, shipped_models
from perception.system.redaction import redacted_url

ON_GPU: Final[tuple[ProviderName, ...]] = ("cuda", "tensorrt")


@dataclass(frozen=True)
class Plan:
    """What one run measures."""

    every_round: list[Task]
    once: list[Task]
    """What does not change from round to round."""
    missing: list[Missing]


def plan(config: BenchConfig, has_gpu: bool) -> Plan:
    """The tasks of a run, in the order that they are measured in, each of them once.

    Args:
        config: with `quick` worked in already.

    Raises:
        FileNotFoundError: if a model, a plain graph, the data or the video is not there; in one line.
        SettingsError: if a plain graph belongs to no model, or to one that has another.
    """
    if config.source != "synthetic" and not Path(config.source).is_file():
        raise FileNotFoundError(
            f"{redacted_url(config.source)}: no such video; the bench plays a file, or `synthetic`"
        )
    if config.data and not Path(config.data).is_dir():  # and not after all else was measured
        raise FileNotFoundError(f"{config.data}: no such folder; --data names one of labelled frames")
    models = _models(config.models)
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
    tasks, tasks_once = (list({it.key: it for it in found}.values()) for found in (every_round, once))
    return Plan(tasks, tasks_once, list(_missing(config, has_gpu)))


def _models(named: Sequence[str]) -> list[str]:
    """Names of shipped models as they are, files by their whole path; each once."""
    found: list[str] = []
    for name in named:
        if name == "all":
            found += shipped_models()
        else:
            found.append(name if name in shipped_models() else str(model_file(name).resolve()))
    return list(dict.fromkeys(found))


def _places(config: BenchConfig, has_gpu: bool) -> Iterator[tuple[EngineName, ProviderName]]:
    """Every engine with every provider that it can have here."""
    for engine in config.engines:
        asked: list[ProviderName] = config.providers if engine == "onnx" else ["cpu"]
        providers: list[ProviderName] = []
        for it in asked:
            providers += ["cpu", *ON_GPU] if it == "auto" else [it]
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
        names = ("stall_stage", "stall_ms", "stall_every_s") if config.stall_ms else ()
        stall = {name: getattr(config, name) for name in names}
        for rate_hz in config.rates_hz:
            yield task("constant_rate", rate_hz=rate_hz, duration_s=config.duration_s, **stall)
        if config.highest_rate:
            yield task("highest_rate")
    if "offline" in config.scenarios:
        yield task("stage_cost", frames=math.ceil(config.frames / 4))  # in each of its parts
        for to in OUTPUTS:
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
        model = next((model for model in models if Path(model).stem == stem), None)
        if model is None:
            raise SettingsError(
                f"{graph}: a plain graph has the name of its model, MODEL-plain.onnx, and {stem} is not one "
                f"of {', '.join(models)}"
            )
        if model in graphs:
            raise SettingsError(f"{graph}: {model} has {graphs[model]} already; one plain graph a model")
        graphs[model] = graph
        options = {"file": str(file.resolve()), "frames": config.frames}
        for to in OUTPUTS:
            yield Task("plain", model, source=_source(config), options={**options, "to": to})
        if config.baseline_python:
            options["python"] = str(Path(config.baseline_python).absolute())
            yield Task("model_api", model, source=_source(config), options=options)


def _source(config: BenchConfig) -> str:
    return config.source if config.source == "synthetic" else str(Path(config.source).resolve())


def _missing(config: BenchConfig, has_gpu: bool) -> Iterator[Missing]:
    """What was asked for and cannot be measured, and why."""
    if not has_gpu and "onnx" in config.engines:
        asked = ON_GPU if "auto" in config.providers else [it for it in config.providers if it != "cpu"]
        for provider in asked:
            yield Missing(provider, "no NVIDIA GPU on this machine")
    if "offline" in config.scenarios and not config.plain:
        reason = "no plain graph given: drivable-export --target plain makes one, --plain FILE names it"
        yield Missing("plain loop", reason)
    if "offline" in config.scenarios and not config.baseline_python:
        reason = "no --baseline-python: the Python of an environment with openvino-model-api"
        yield Missing("model_api", reason)
    if "accuracy" in config.scenarios and not config.data:
        yield Missing("accuracy", "no --data given; the table shows what the models' cards say")
