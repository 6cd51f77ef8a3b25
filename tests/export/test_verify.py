"""Gates pass and reject what they should, and give the figures."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("onnx")

from export.verify import (
    LIMITS,
    Gate,
    GateError,
    Parity,
    accuracy_gates,
    check_control,
    class_map_gate,
    compare,
    require,
)
from perception.frame import Frame, Prediction
from perception.labels import LABELS
from perception.metrics.segmentation import Accuracy, CountedFrame

INPUTS = [np.full((4, 4, 3), level, np.uint8) for level in (0, 9)]


def logits_of(image_bgr: np.ndarray) -> np.ndarray:
    """Three planes of 2x2; the second is the largest."""
    return np.stack([np.full((2, 2), level + image_bgr.max(), np.float32) for level in (0, 2, 1)])


def test_differences_are_counted_over_all_frames() -> None:
    def other(image_bgr: np.ndarray) -> np.ndarray:
        logits = logits_of(image_bgr)
        if image_bgr.max():
            logits[0, 0, 0] += 5
        return logits

    assert compare(logits_of, other, INPUTS) == Parity(2, 5.0, 7 / 8)


@pytest.mark.parametrize(
    ("precision", "parity", "passes"),
    [
        ("fp32", Parity(2, 0.005, 1.0), True),
        ("fp32", Parity(2, 0.02, 1.0), False),
        ("fp32", Parity(2, 0.005, 0.9998), False),
        ("fp32", Parity(2, math.nan, 1.0), False),
        ("fp16", Parity(2, 9.0, 0.996), True),
        ("fp16", Parity(2, 0.1, 0.994), False),
        ("int8", Parity(2, 9.0, 0.975), True),
        ("int8", Parity(2, 0.1, 0.96), False),
    ],
)
def test_logits_are_judged_by_precision(precision: str, parity: Parity, passes: bool) -> None:
    gates = parity.gates(LIMITS[precision], "2 frames")

    assert all(gate.passes for gate in gates) == passes


def test_error_gives_figure_and_limit_of_failed_gates_only() -> None:
    gates = Parity(2, 0.02, 1.0).gates(LIMITS["fp32"], "2 frames")

    with pytest.raises(GateError) as raised:
        require(gates)

    assert str(raised.value) == (
        "the exported graph does not reproduce the network: logits, largest difference: 2.0e-02 "
        "(at most 0.01), 2 frames; nothing was written"
    )


def test_control_that_passes_is_an_error() -> None:
    check_control(Parity(2, 3.0, 0.4), LIMITS["fp32"])
    with pytest.raises(GateError, match="the gates have no effect"):
        check_control(Parity(2, 1e-4, 1.0), LIMITS["fp32"])


def accuracy(direct: int) -> Accuracy:
    """`direct` of 1000 direct pixels found, the others taken for background; all background found."""
    counts = np.array([[direct, 0, 1000 - direct], [0, 0, 0], [0, 0, 1000]])
    return Accuracy((CountedFrame("a", "day", counts),))


@pytest.mark.parametrize(
    ("exported", "precision", "failing"),
    [
        (1000, "fp32", []),
        (999, "fp32", ["mean IoU lost", "IoU lost, direct", "IoU lost, background"]),
        (995, "int8", []),
        (990, "int8", ["mean IoU lost", "IoU lost, direct", "IoU lost, background"]),
    ],
)
def test_loss_of_accuracy_is_judged_in_total_and_by_class(
    exported: int, precision: str, failing: list[str]
) -> None:
    gates = accuracy_gates(accuracy(1000), accuracy(exported), LABELS, LIMITS[precision], "val")

    assert [gate.name for gate in gates if not gate.passes] == failing
    assert "IoU lost, alternative" not in [gate.name for gate in gates]  # it never occurs


def test_gain_in_accuracy_is_a_loss_below_zero_and_holds() -> None:
    gates = accuracy_gates(accuracy(900), accuracy(1000), LABELS, LIMITS["fp32"], "val")

    assert all(gate.passes and gate.measured < 0 for gate in gates)


@pytest.mark.parametrize(("wrong_pixels", "passes"), [(1, True), (11, False)])
def test_class_maps_of_both_targets_are_compared_by_pixel(wrong_pixels: int, passes: bool) -> None:
    def node(frame: Frame) -> Prediction:
        return Prediction(frame, np.zeros((100, 100), np.uint8), (), "node")

    def graph(frame: Frame) -> Prediction:
        class_map = np.zeros((100, 100), np.uint8)
        class_map[0, :wrong_pixels] = 1
        return Prediction(frame, class_map, (), "graph")

    gate = class_map_gate(node, graph, INPUTS, "2 frames")

    assert gate.passes == passes
    assert gate.measured == pytest.approx(100 - wrong_pixels / 100)


@pytest.mark.parametrize(
    "gate", [Gate("a", 1.5, math.inf, "at most"), Gate("b", 99.5, 99.0, "at least", "%", "val")]
)
def test_gate_survives_the_card(gate: Gate) -> None:
    values = gate.to_card()

    assert not any(isinstance(value, float) and math.isinf(value) for value in values.values())
    assert Gate.of_card(values) == gate
