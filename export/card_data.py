"""The card as data: one dict, ready for JSON, also stored in the file's metadata."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.config import ExportConfig, sides
from export.source import Source
from export.verify import Gate, Parity
from perception.inference.contract import ModelContract
from perception.labels import LABELS_OF_TWO
from perception.metrics.segmentation import CONFIDENCE, NIGHT_BELOW_LUMA, RESAMPLES, Accuracy

SCHEMA = 1


@dataclass(frozen=True)
class Measured:
    """Results of the gates, and the accuracy measured after them."""

    gates: list[Gate]
    control: Parity
    control_is: str
    """Description of the network that the gates had to reject."""
    accuracy: Accuracy | None
    """Of the exported file through the node's own path; None without data."""
    accuracy_of: str
    """The split that it was measured on."""
    doubt_quantiles: tuple[float, ...] | None = None
    """For the contract: of the exported file on `val`; None without data."""


def card_data(
    contract: ModelContract,
    network: str,
    parameters: int,
    measured: Measured,
    training: dict[str, Any],
    quantisation: dict[str, Any] | None,
    reproduce: str,
) -> dict[str, Any]:
    """The card of one file.

    Args:
        training: as in `Source`.
        quantisation: method, calibration frames by condition, layers kept in float; None in fp32.
        reproduce: the command that reproduces this file.
    """
    return {
        "schema": SCHEMA,
        "model_id": contract.model_id,
        "network": network,
        "parameters": parameters,
        "target": "cpu" if contract.frame_wh is None else "gpu",
        "precision": contract.precision,
        "input": {
            "dtype": contract.input_dtype,
            "layout": contract.input_layout,
            "colour_order": contract.colour_order,
            "input_wh": list(contract.input_wh),
            "frame_wh": None if contract.frame_wh is None else list(contract.frame_wh),
            "pad_bgr": list(contract.pad_bgr),
        },
        "output": {
            "kind": contract.output,
            "stride": contract.output_stride,
            "labels": list(contract.labels),
        },
        "training_data": contract.training_data,
        "licence": contract.licence,
        "gates": [gate.to_card() for gate in measured.gates],
        "control": {
            "what": measured.control_is,
            "max_difference": measured.control.max_difference,
            "agreement": measured.control.agreement,
        },
        "accuracy": None if measured.accuracy is None else _accuracy(measured.accuracy, measured.accuracy_of),
        "quantisation": quantisation,
        "training": training,
        "reproduce": reproduce,
    }


def _accuracy(accuracy: Accuracy, split: str) -> dict[str, Any]:
    """Figures for three classes and for two; for two alone if the network has only these."""
    figures = {
        "split": split,
        "frames": len(accuracy.frames),
        "recordings": len(accuracy.recordings),
        "confidence": CONFIDENCE,
        "resamples": RESAMPLES,
        "night_below_luma": NIGHT_BELOW_LUMA,
        "two_classes": _figures(accuracy.drivable_or_not()),
    }
    return figures if accuracy.labels == LABELS_OF_TWO else figures | _figures(accuracy)


def _figures(accuracy: Accuracy) -> dict[str, Any]:
    return {
        "mean_iou": _number(accuracy.total.mean_iou()),
        "interval": [_number(end) for end in accuracy.mean_iou_interval()],
        "iou": {
            label: _number(iou) for label, iou in zip(accuracy.labels, accuracy.total.iou(), strict=True)
        },
        "conditions": {
            condition: {"frames": len(part.frames), "mean_iou": _number(part.total.mean_iou())}
            for condition, part in accuracy.by_condition().items()
        },
    }


def _number(value: float) -> float | None:
    """The value for JSON: null if it is not finite."""
    return float(value) if math.isfinite(value) else None


def command_line(config: ExportConfig, source: Source, input_wh: tuple[int, int]) -> str:
    """The `drivable-export` line that reproduces this file, with file names instead of paths."""
    words = ["drivable-export", "--model", config.model, *source.arguments]
    words += ["--name", config.name] if config.name else []
    words += ["--target", config.target, "--precision", config.precision, "--size", sides(input_wh)]
    if config.camera_wh is not None:
        words += ["--frame", sides(config.camera_wh)]
    for name in ("data", "calibrate", "label_map"):
        if value := getattr(config, name):
            words += [f"--{name.replace('_', '-')}", Path(value).name]
    if config.layout != ExportConfig.layout:
        words += ["--layout", config.layout]
    return shlex.join(words)
