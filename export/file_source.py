"""One of our own files as the source of an export, for use without a checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from export.config import rounded_up, sides
from export.package import ExportError, engine_of, pack, unpack
from export.verify import Infer, Predict
from perception.inference.engines import OnnxEngine
from perception.inference.predictor import Predictor

CONTROL_SEED = 1


class FileSource:
    """A `Source` in a file; its outputs on the CPU are the reference."""

    control_is = "the same weights in another order"

    def __init__(self, file: Path, network: str, takes_int8: bool = False) -> None:
        """Open a file of drivable-export.

        Args:
            network: its name, or that of the file, such as rt_m-int8.
            takes_int8: whether an int8 file is accepted.

        Raises:
            ExportError: if it is none, holds another network, or is not a CPU file in fp32 (or int8).
        """
        packed = unpack(file)
        contract, card = packed.contract, packed.card
        holds = card.get("network", contract.model_id)
        if network not in (holds, contract.model_id):
            raise ExportError(f"{file}: holds {holds}, not {network}")
        takes = ("fp32", "int8") if takes_int8 else ("fp32",)
        if contract.frame_wh is not None or contract.precision not in takes:
            target = "cpu" if contract.frame_wh is None else "gpu"
            raise ExportError(
                f"{file}: is a file for target {target} in {contract.precision}; export from the file for "
                f"target cpu in {' or '.join(takes)}, or from the checkpoint"
            )
        self.file = file
        self.network: str = holds
        self.name = contract.model_id if contract.precision == "fp32" else network
        self.parameters: int = card.get("parameters") or weights_of(packed.graph)
        self.labels = contract.labels
        self.pad_bgr = contract.pad_bgr
        self.output_stride = contract.output_stride
        self.training_data = contract.training_data
        self.licence = contract.licence
        self.training: dict[str, Any] = {
            **card.get("training", {}),
            "made_from": {"file": file.name, "sha256": contract.sha256},
        }
        self.arguments = ["--checkpoint", file.name]
        self._contract = contract
        self._graph = packed.graph

    def input_wh(self, size_wh: tuple[int, int] | None) -> tuple[int, int]:
        """The file's own; other sizes are refused."""
        own_wh = self._contract.input_wh
        if size_wh is not None and own_wh not in (size_wh, rounded_up(size_wh)):
            raise ExportError(
                f"{self.file}: takes {sides(own_wh)}, not {sides(size_wh)}; another size needs a checkpoint "
                f"of drivable-train"
            )
        return own_wh

    def cpu_graph(self, input_wh: tuple[int, int]) -> onnx.ModelProto:
        """The file's graph."""
        return self._graph

    def infer(self, input_wh: tuple[int, int]) -> Infer:
        """The file, run on the CPU."""
        return self._engine_of(self._graph).infer

    def predict(self, input_wh: tuple[int, int]) -> Predict:
        """The file, run like in the node."""
        return Predictor(self._engine_of(self._graph))

    def control(self, input_wh: tuple[int, int]) -> Infer:
        """The graph with the values of every weight shuffled."""
        other = copy.deepcopy(self._graph)
        random = np.random.default_rng(CONTROL_SEED)
        for weight in _weight_tensors(other):
            values = numpy_helper.to_array(weight)
            shuffled = random.permutation(values.ravel()).reshape(values.shape)
            weight.CopyFrom(numpy_helper.from_array(shuffled, weight.name))
        return self._engine_of(other).infer

    def _engine_of(self, graph: onnx.ModelProto) -> OnnxEngine:
        return engine_of(pack(graph, self._contract, {})[0], self.file.name)


def _weight_tensors(graph: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """The learned weights: constants of more than four values, which leaves out means and scales."""
    for tensor in graph.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and np.prod(tensor.dims) > 4:
            yield tensor


def weights_of(graph: onnx.ModelProto) -> int:
    """Number of learned values: parameters, including those folded in by the export."""
    return int(sum(np.prod(tensor.dims) for tensor in _weight_tensors(graph)))
