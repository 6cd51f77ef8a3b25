"""The results of a report by model and engine, and what is made of them over the rounds.

Latencies of all rounds are pooled; everything else is the median over the rounds with the lowest and the
highest. Ratios are formed within a round, where the machine treated both alike, and then the median is taken.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.report.data import ModelFile, Report, Result
from bench.task import ScenarioName

SHARES: Final = (0.5, 0.9, 0.99, 0.999)
STAGES: Final = ("decode", "preprocess", "infer", "postprocess", "overlay")
BASELINES: Final = ("plain", "model_api")

CAMERA_HZ: Final = 30.0
"""A usual camera's rate, for the verdict."""

Find = Callable[[Mapping[str, Any]], float | None]
"""A number among the values of a result; None where there is none."""


def at(*path: str) -> Find:
    """The number at a place in the values: `at("bound_fps", "overlay")`."""

    def find(values: Mapping[str, Any]) -> float | None:
        value: Any = values
        for name in path:
            value = None if value is None else value.get(name)
        return None if value is None else float(value)

    return find


@dataclass(frozen=True)
class Spread:
    """A figure over the rounds."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Spread | None:
        """Of the values that there are; None where there is none."""
        known = [value for value in values if value is not None and math.isfinite(value)]
        return cls(statistics.median(known), min(known), max(known), len(known)) if known else None


@dataclass(frozen=True)
class Rounds:
    """The results of one measurement, at most one a round."""

    results: list[Result]

    def __len__(self) -> int:
        return len(self.results)

    @property
    def first(self) -> Mapping[str, Any]:
        """The values of one of them, for what is the same in all."""
        return self.results[0].values

    def spread(self, *path: str) -> Spread | None:
        """Of the number at this place."""
        return Spread.of([at(*path)(it.values) for it in self.results])

    def pooled(self, name: str) -> list[float]:
        """The numbers of a list, of all rounds together."""
        return [float(value) for it in self.results for value in it.values[name] if value is not None]

    def sum(self, name: str) -> int:
        """Of a count."""
        return sum(int(it.values[name]) for it in self.results)

    @property
    def latencies_ms(self) -> list[float]:
        """Of the frames of all rounds together."""
        return self.pooled("latencies_ms")

    def over(self, find: Find, below: Rounds, find_below: Find | None = None) -> Spread | None:
        """How many times as much as there was below in the same round; None where no round has both."""
        by_round = {it.round: (find_below or find)(it.values) for it in below.results}
        ratios = []
        for it in self.results:
            top, bottom = find(it.values), by_round.get(it.round)
            ratios.append(top / bottom if top is not None and bottom else None)
        return Spread.of(ratios)


@dataclass(frozen=True)
class Accuracy:
    """Shares of 0 to 1; None where a network or a card does not say."""

    origin: str
    """ "test", or "card (test)"."""
    values: Mapping[str, Any]
    """Of the scenario; those of a card have the same names. A network of two classes has no mean of three."""

    @property
    def mean_iou(self) -> float | None:
        """Of all classes."""
        return at("mean_iou")(self.values)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of the mean IoU; None of one recording alone."""
        low, high = self.values.get("interval") or (None, None)
        return None if low is None or high is None else (low, high)

    @property
    def iou(self) -> Mapping[str, float | None]:
        """By class."""
        two_classes: Mapping[str, Any] = self.values.get("two_classes") or {}
        return self.values.get("iou") or two_classes.get("iou") or {}


@dataclass(frozen=True)
class Row:
    """One model on one engine."""

    model: str
    engine: str
    provider: str
    file: ModelFile | None
    results: list[Result]
    """Its own, and of the baselines that ran the same model on the CPU."""

    @property
    def name(self) -> str:
        """The model's own name."""
        return Path(self.model).stem

    @property
    def place(self) -> str:
        """What ran it."""
        return self.engine if self.provider == "cpu" else f"{self.engine} {self.provider}"

    @property
    def label(self) -> str:
        """Both: "rt_m-int8 onnx"."""
        return f"{self.name} {self.place}"

    @property
    def size_mb(self) -> float | None:
        """Of the model file."""
        return None if self.file is None else self.file.size_bytes / 1e6

    def rounds(self, scenario: ScenarioName, **values: Any) -> Rounds:
        """The results of a scenario that have these values."""
        return Rounds(
            [
                it
                for it in self.results
                if it.task.scenario == scenario
                and all(it.values.get(name) == value for name, value in values.items())
            ]
        )

    def groups(self, scenario: ScenarioName, key: Callable[[Mapping[str, Any]], Any]) -> list[Rounds]:
        """The results of a scenario, apart where the values have another key, in the order of the keys."""
        found: dict[Any, list[Result]] = {}
        for it in self.rounds(scenario).results:
            found.setdefault(key(it.values), []).append(it)
        return [Rounds(found[it]) for it in sorted(found)]

    @property
    def rates(self) -> list[Rounds]:
        """Of the constant rates, those with a stall apart."""
        return self.groups("constant_rate", lambda values: (values["rate_hz"], str(values["stall"])))

    @property
    def highest_rate_hz(self) -> Spread | None:
        """0 in a round that held none."""
        return Spread.of([it.values["rate_hz"] or 0.0 for it in self.rounds("highest_rate").results])

    @property
    def accuracy(self) -> Accuracy | None:
        """As measured, else as the card has it, which is what ONNX Runtime came to on a CPU."""
        if measured := self.rounds("accuracy").results:
            return Accuracy(measured[0].values["split"], measured[0].values)
        card = self.file.accuracy if self.file and (self.engine, self.provider) == ("onnx", "cpu") else None
        return Accuracy(f"card ({card.get('split', 'unknown split')})", card) if card else None

    def holds(self, rate_hz: float) -> bool | None:
        """Whether frames at this rate were all answered in time, in every round; None if nobody looked.

        By the runs at that rate; without one, by those at higher rates, and by the highest rate found.
        """
        held = {it.first["rate_hz"]: it.sum("held") == len(it) for it in self.rates if not it.first["stall"]}
        if rate_hz in held:
            return held[rate_hz]
        if any(is_held for hz, is_held in held.items() if hz > rate_hz):
            return True
        return None if self.highest_rate_hz is None else self.highest_rate_hz.low >= rate_hz


def rows_of(report: Report) -> list[Row]:
    """One row for each model, engine and provider, in the order that they were measured in."""
    own: dict[tuple[str, str, str], list[Result]] = {}
    baselines: dict[str, list[Result]] = {}
    for it in report.results:
        if it.task.scenario in BASELINES:
            baselines.setdefault(it.task.model, []).append(it)
        else:
            own.setdefault((it.task.model, it.task.engine, it.task.provider), []).append(it)
    return [
        Row(
            *(model, engine, provider, report.models.get(model)),
            results + (baselines.get(model, []) if provider == "cpu" else []),
        )
        for (model, engine, provider), results in own.items()
    ]
