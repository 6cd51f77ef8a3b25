"""One measurement of one round, in a process of its own: what ran before can neither help nor hurt it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal

from bench.engines import EngineName
from bench.interpreter import run_python
from perception.cli.log import show
from perception.inference.engines import EngineError
from perception.inference.engines.engine import one_line
from perception.inference.engines.providers import ProviderName
from perception.pipeline import RunError
from perception.sinks.sink import SinkError
from perception.sources.source import SourceError
from perception.system.process import tune_process
from perception.system.redaction import redacted_line
from train.data.frames import DataError

ScenarioName = Literal[
    "engine_only",
    "single_stream",
    "constant_rate",
    "highest_rate",
    "offline",
    "streams",
    "stage_cost",
    "accuracy",
    "plain",
    "model_api",
]
"""Each is a module of `bench.scenarios` with a function `measure(task) -> values`."""

EXPECTED = (DataError, EngineError, RunError, SinkError, SourceError, OSError, ValueError)
"""What bad input raises: reported in one line, without a traceback."""
UNTUNED: Final = ("plain", "model_api")
"""Others' loops, which run with every default of their libraries."""


class TaskError(RuntimeError):
    """A measurement that came to nothing: one line that says which, and why."""


@dataclass(frozen=True)
class Task:
    """What is to be measured."""

    scenario: ScenarioName
    model: str
    """Name of a shipped model, or an ONNX file of drivable-export."""
    engine: EngineName = "onnx"
    provider: ProviderName = "cpu"
    source: str = "synthetic"
    """`synthetic`, or a video file; it is played again and again."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the scenario; JSON scalars, checked where they were set."""

    @property
    def key(self) -> str:
        """The same for the same measurement, in every round and every report."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def of_key(cls, key: str) -> Task:
        """The task of this key."""
        return cls(**json.loads(key))

    @property
    def title(self) -> str:
        """In few words: what it is, and the option that sets it apart."""
        place = self.engine if self.provider == "cpu" else f"{self.engine} {self.provider}"
        options, what = self.options, self.scenario.replace("_", " ")
        if "rate_hz" in options:
            what = f"at {options['rate_hz']:g} Hz{', stalled' if options.get('stall_ms') else ''}"
        elif "to" in options:
            what += f", {options['to'].replace('_', ' ')}"
        elif "streams" in options:
            what = f"{options['streams']} streams"
        return f"{Path(self.model).stem} {place} {what}"


def run_task(task: Task, python: str = sys.executable, road: Path | None = None) -> dict[str, Any]:
    """Measure in a new process, and return its values.

    Args:
        python: an interpreter that has drivable; another installation's, to compare the two.
        road: a recording of the built-in road, made once for all tasks, that is played for `synthetic`.

    Raises:
        TaskError: if there are none.
    """
    words = ["-m", "bench.task", task.key, *([str(road)] if road else [])]
    try:
        values: dict[str, Any] = json.loads(run_python(python, *words), parse_constant=_refuse_constant)
    except (OSError, ValueError) as error:
        raise TaskError(f"{task.title}: {error}") from error
    return values


def _refuse_constant(name: str) -> None:
    raise ValueError(f"measured {name}, which is not a number")


def main(arguments: list[str] | None = None) -> int:
    """Measure the task given as JSON; its values are the last line of standard output.

    A second argument is the recording that is played for `synthetic`.
    """
    key, *road = sys.argv[1:] if arguments is None else arguments
    task = Task.of_key(key)
    if road and task.source == "synthetic":
        task = replace(task, source=road[0])
    if task.scenario not in UNTUNED:
        tune_process()
    try:
        values = import_module(f"bench.scenarios.{task.scenario}").measure(task)
    except EXPECTED as error:
        show(redacted_line(one_line(error)) + "\n")
        return 1
    print(json.dumps(values))
    return 0


if __name__ == "__main__":
    sys.exit(main())
