"""The gates: an exported file must give what the network gave, or it is not written."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from perception.frame import Frame, Prediction
from perception.metrics.segmentation import Accuracy

Infer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""(input_h, input_w, 3) uint8 BGR to (labels, h, w) float32 logits."""
Predict = Callable[[Frame], Prediction]


class GateError(RuntimeError):
    """The exported graph is not the trained network."""


@dataclass(frozen=True)
class Limits:
    """What a precision may cost."""

    max_difference: float
    """Of logits; without a bound where numbers are rounded on purpose."""
    min_agreement: float
    """Share of the logits' positions where the same class is the largest."""
    max_points_lost: float
    """Mean IoU on `val`, and the IoU of each class, in points of 100."""


LIMITS: Final = {
    "fp32": Limits(1e-2, 0.9999, 0.05),
    "fp16": Limits(math.inf, 0.995, 0.1),
    "int8": Limits(math.inf, 0.97, 0.6),
}
DIFFERENCE: Final = "logits, largest difference"
SAME_CLASS: Final = "logits, same class"
CLASS_MAP: Final = "class map, same as by the CPU file"
MIN_CLASS_MAP_AGREEMENT: Final = 0.999
"""Of the class maps of both targets: the graph's own resize and the node's differ by single levels."""


@dataclass(frozen=True)
class Gate:
    """One number that had to hold."""

    name: str
    measured: float
    limit: float
    bound: Literal["at most", "at least"]
    unit: Literal["", "%", "points"] = ""
    on: str = ""
    """The frames it was measured on."""

    @property
    def holds(self) -> bool:
        """Whether the file may be written; a number that is none does not hold."""
        if self.bound == "at most":
            return self.measured <= self.limit
        return self.measured >= self.limit

    @property
    def told(self) -> str:
        """What was measured."""
        if self.unit == "%":
            return f"{self.measured:.3f} %"
        return f"{self.measured:.3f} points" if self.unit == "points" else f"{self.measured:.1e}"

    @property
    def told_limit(self) -> str:
        """What it had to be."""
        if math.isinf(self.limit):
            return "no limit"
        return f"{self.bound} {self.limit:g}{f' {self.unit}' if self.unit else ''}"

    def line(self) -> str:
        """Name, number, limit."""
        return f"{self.name}: {self.told} ({self.told_limit}), {self.on}"

    def to_card(self) -> dict[str, Any]:
        """For JSON, which knows no infinity."""
        return asdict(self) | {"limit": self.limit if math.isfinite(self.limit) else None}

    @classmethod
    def of_card(cls, values: dict[str, Any]) -> Gate:
        """What `to_card` gave."""
        no_limit = math.inf if values["bound"] == "at most" else -math.inf
        return cls(**values | {"limit": no_limit if values["limit"] is None else values["limit"]})


@dataclass(frozen=True)
class Parity:
    """How close two networks' logits are."""

    frames: int
    max_difference: float
    agreement: float
    """Share of the logits' positions where the same class is the largest."""

    def gates(self, limits: Limits, on: str) -> list[Gate]:
        """As they must hold for an exported file and its network."""
        return [
            Gate(DIFFERENCE, self.max_difference, limits.max_difference, "at most", "", on),
            Gate(SAME_CLASS, 100 * self.agreement, 100 * limits.min_agreement, "at least", "%", on),
        ]


def compare(wanted: Infer, found: Infer, inputs_bgr: Sequence[NDArray[np.uint8]]) -> Parity:
    """Run both on the same inputs, (input_h, input_w, 3) uint8 each."""
    difference, agreeing, positions = 0.0, 0, 0
    for input_bgr in inputs_bgr:
        ours, theirs = wanted(input_bgr), found(input_bgr)
        difference = max(difference, float(np.abs(ours - theirs).max()))
        agreeing += int((ours.argmax(0) == theirs.argmax(0)).sum())
        positions += ours[0].size
    return Parity(len(inputs_bgr), difference, agreeing / positions)


def check_control(control: Parity, limits: Limits) -> None:
    """The weights of another seed must not pass for the network's.

    Raises:
        GateError: if they do: such a gate sees nothing.
    """
    if all(gate.holds for gate in control.gates(limits, "")):
        raise GateError(
            f"the gate is blind: another network passes it too, with logits that differ by up to "
            f"{control.max_difference:.2g} and the same class on {100 * control.agreement:.2f} % of "
            f"positions; nothing was written"
        )


def class_map_gate(node: Predict, graph: Predict, images_bgr: Sequence[NDArray[np.uint8]], on: str) -> Gate:
    """Pixels of the same class by the node's own resize and by the graph's."""
    agreeing, pixels = 0, 0
    for index, image_bgr in enumerate(images_bgr):
        frame = Frame("gate", index, 0, 0, image_bgr, str(index))
        wanted, found = node(frame).class_map, graph(frame).class_map
        agreeing += int((wanted == found).sum())
        pixels += wanted.size
    least = 100 * MIN_CLASS_MAP_AGREEMENT
    return Gate(CLASS_MAP, 100 * agreeing / pixels, least, "at least", "%", on)


def accuracy_gates(
    reference: Accuracy, exported: Accuracy, labels: Sequence[str], limits: Limits, on: str
) -> list[Gate]:
    """What the export costs in mean IoU, and in the IoU of each class that occurs; a gain is below zero."""
    lost = {"mean IoU lost": reference.total.mean_iou() - exported.total.mean_iou()}
    for label, was, now in zip(labels, reference.total.iou(), exported.total.iou(), strict=True):
        if math.isfinite(was):
            lost[f"IoU lost, {label}"] = float(was - now)
    return [
        Gate(name, 100 * share, limits.max_points_lost, "at most", "points", on)
        for name, share in lost.items()
    ]


def held(gates: list[Gate], say: Callable[[str], None]) -> list[Gate]:
    """Tell every gate, then `check` them; the same gates, which all hold."""
    for gate in gates:
        say(gate.line())
    check(gates)
    return gates


def check(gates: Iterable[Gate]) -> None:
    """Let nothing be written that a gate refuses.

    Raises:
        GateError: naming every gate that does not hold.
    """
    failing = [gate.line() for gate in gates if not gate.holds]
    if failing:
        raise GateError(
            f"the exported graph is not the trained network: {'; '.join(failing)}; nothing was written"
        )
