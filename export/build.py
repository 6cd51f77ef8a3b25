"""The graphs of one export: the network at its precision, with its target's pre- and postprocessing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.calibration import calibration_inputs
from export.config import ExportConfig
from export.fp16 import to_fp16
from export.gpu import gpu_graph
from export.quantise import Form, quantise
from export.source import Source
from perception.inference.contract import ModelContract
from train.data.frames import LabelledFrames

CALIBRATION_FRAMES = 128
PROBE_FRAMES = 16
"""Further frames, which decide the layers that stay in float."""


@dataclass(frozen=True)
class Built:
    """The graphs of one export."""

    network: onnx.ModelProto
    """From the network's input to logits, at the requested precision."""
    graph: onnx.ModelProto
    """The graph to write; the same for target cpu."""
    quantisation: dict[str, Any] | None
    """For the card."""


def builds(
    source: Source,
    config: ExportConfig,
    input_wh: tuple[int, int],
    calibration: LabelledFrames | None,
    say: Callable[[str], None],
) -> Iterator[Built]:
    """Build the graphs of a target with a contract; for int8 one for each calibration method.

    Args:
        calibration: the frames to calibrate int8 on.

    Yields:
        Candidates, the most promising first, each built on demand.
    """
    cpu = source.cpu_graph(input_wh)
    networks: Iterable[tuple[onnx.ModelProto, dict[str, Any] | None]] = [(cpu, None)]
    if config.precision == "fp16":
        networks = [(to_fp16(cpu), {"precision": "fp16", "method": "weights and sums in half precision"})]
    elif config.precision == "int8":
        assert calibration is not None
        form: Form = "cpu" if config.target == "cpu" else "tensorrt"
        inputs = calibration_inputs(calibration, input_wh, source.pad_bgr, CALIBRATION_FRAMES + PROBE_FRAMES)
        networks = _int8(cpu, *inputs, form, say)
    for network, quantisation in networks:
        graph = network
        if config.camera_wh is not None:
            graph = gpu_graph(network, source.labels, input_wh, config.camera_wh, source.pad_bgr)
        yield Built(network, graph, quantisation)


def _int8(
    cpu: onnx.ModelProto,
    inputs: list[NDArray[np.uint8]],
    conditions: dict[str, int],
    form: Form,
    say: Callable[[str], None],
) -> Iterator[tuple[onnx.ModelProto, dict[str, Any]]]:
    # Evenly spaced, because the frames come by recording and the probe should see many of these.
    apart = max(2, len(inputs) // PROBE_FRAMES)
    probe = inputs[::apart]
    by_condition = [name for name, count in conditions.items() for _ in range(count)]
    chosen = [index for index in range(len(inputs)) if index % apart] or [0]
    refused: list[str] = []
    for found in quantise(cpu, [inputs[index] for index in chosen], probe, say, form):
        yield (
            found.graph,
            {
                "precision": "int8",
                "method": found.method,
                "refused_by_gates": list(refused),
                "calibration_frames": dict(Counter(by_condition[index] for index in chosen)),
                "kept_in_float": list(found.kept_in_float),
            },
        )
        refused.append(found.method)


def contract_of(source: Source, config: ExportConfig, input_wh: tuple[int, int]) -> ModelContract:
    """The contract of the file to write."""
    return ModelContract(
        model_id=config.model_id(source.name),
        labels=source.labels,
        input_wh=input_wh,
        pad_bgr=source.pad_bgr,
        output_stride=source.output_stride,
        training_data=source.training_data,
        licence=source.licence,
        precision=config.precision,
        frame_wh=config.camera_wh,
        output="logits" if config.camera_wh is None else "class_map",
    )
