"""The gates: a file is written only if it reproduces its network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
    """The exported graph does not reproduce the trained network."""


@dataclass(frozen=True)
class Limits:
    """The loss that a precision is allowed."""

    max_difference: float
    """Of logits; unbounded for precisions that round."""
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
"""Between both targets: the graph's resize and the node's differ by single levels."""


@dataclass(frozen=True)
class Gate:
    """One measured figure and its limit."""

    name: str
    measured: float
    limit: float
    bound: Literal["at most", "at least"]
    unit: Literal["", "%", "points"] = ""
    on: str = ""
    """The frames it was measured on."""

    @property
    def passes(self) -> bool:
        """Whether the figure is within its limit; NaN is not."""
        if self.bound == "at most":
            return self.measured <= self.limit
        return self.measured >= self.limit

    @property
    def measured_text(self) -> str:
        """The figure with its unit."""
        if self.unit:
            return f"{self.measured:.3f} {self.unit}"
        return f"{self.measured:.1e}"

    @property
    def limit_text(self) -> str:
        """The limit with its unit."""
        if math.isinf(self.limit):
            return "no limit"
        return f"{self.bound} {self.limit:g}{f' {self.unit}' if self.unit else ''}"

    def line(self) -> str:
        """Name, figure, limit."""
        return f"{self.name}: {self.measured_text} ({self.limit_text}), {self.on}"

    def to_card(self) -> dict[str, Any]:
        """The fields for JSON, which has no infinity."""
        return asdict(self) | {"limit": self.limit if math.isfinite(self.limit) else None}

    @classmethod
    def of_card(cls, values: dict[str, Any]) -> Gate:
        """The inverse of `to_card`."""
        no_limit = math.inf if values["bound"] == "at most" else -math.inf
        return cls(**values | {"limit": no_limit if values["limit"] is None else values["limit"]})


@dataclass(frozen=True)
class Parity:
    """The difference between two networks' logits."""

    frames: int
    max_difference: float
    agreement: float
    """Share of the logits' positions where the same class is the largest."""

    def gates(self, limits: Limits, on: str) -> list[Gate]:
        """The gates for an exported file and its network."""
        return [
            Gate(DIFFERENCE, self.max_difference, limits.max_difference, "at most", "", on),
            Gate(SAME_CLASS, 100 * self.agreement, 100 * limits.min_agreement, "at least", "%", on),
        ]


def compare(reference: Infer, exported: Infer, inputs_bgr: Sequence[NDArray[np.uint8]]) -> Parity:
    """Run both on the same inputs, (input_h, input_w, 3) uint8 each."""
    difference, agreeing, positions = 0.0, 0, 0
    for input_bgr in inputs_bgr:
        expected, found = reference(input_bgr), exported(input_bgr)
        difference = max(difference, float(np.abs(expected - found).max()))
        agreeing += int((expected.argmax(0) == found.argmax(0)).sum())
        positions += expected[0].size
    return Parity(len(inputs_bgr), difference, agreeing / positions)


def check_control(control: Parity, limits: Limits) -> None:
    """Check that other weights do not pass the gates.

    Raises:
        GateError: if they do, because such gates would pass anything.
    """
    if all(gate.passes for gate in control.gates(limits, "")):
        raise GateError(
            f"the gates have no effect: another network passes too, with logits that differ by up to "
            f"{control.max_difference:.2g} and the same class on {100 * control.agreement:.2f} % of "
            f"positions; nothing was written"
        )


def class_map_gate(node: Predict, graph: Predict, images_bgr: Sequence[NDArray[np.uint8]], on: str) -> Gate:
    """Share of pixels with the same class by the node's resize and by the graph's."""
    agreeing, pixels = 0, 0
    for index, image_bgr in enumerate(images_bgr):
        frame = Frame("gate", index, 0, 0, image_bgr, str(index))
        expected, found = node(frame).class_map, graph(frame).class_map
        agreeing += int((expected == found).sum())
        pixels += expected.size
    least = 100 * MIN_CLASS_MAP_AGREEMENT
    return Gate(CLASS_MAP, 100 * agreeing / pixels, least, "at least", "%", on)


def accuracy_gates(
    reference: Accuracy, exported: Accuracy, labels: Sequence[str], limits: Limits, on: str
) -> list[Gate]:
    """The loss of mean IoU, and of the IoU of each class that occurs; a gain is negative."""
    lost = {"mean IoU lost": reference.total.mean_iou() - exported.total.mean_iou()}
    for label, was, now in zip(labels, reference.total.iou(), exported.total.iou(), strict=True):
        if math.isfinite(was):
            lost[f"IoU lost, {label}"] = float(was - now)
    return [
        Gate(name, 100 * share, limits.max_points_lost, "at most", "points", on)
        for name, share in lost.items()
    ]


def require(gates: list[Gate], say: Callable[[str], None] = lambda line: None) -> list[Gate]:
    """Report every gate, and return them if all pass.

    Raises:
        GateError: naming every gate that fails.
    """
    for gate in gates:
        say(gate.line())
    if failing := [gate.line() for gate in gates if not gate.passes]:
        raise GateError(
            f"the exported graph does not reproduce the network: {'; '.join(failing)}; nothing was written"
        )
    return gates
