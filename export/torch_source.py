"""A torch network, trained or with random weights, as the source of an export."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from export.config import DEFAULT_SIZE_WH, rounded_up
from export.graph import cpu_graph
from export.provenance import OWN_LICENCE, licence, training, training_data
from export.verify import Infer, Predict
from perception.frame import Frame, Prediction
from perception.labels import LABELS
from train.checkpoint import Checkpoint, CheckpointError
from train.config import GREY_LEVEL, GREY_STD, pad_bgr_of
from train.evaluate import Normalise, class_map_of
from train.models import Network, build_model, check_known, size_of

SEED = 0
CONTROL_SEED = 1

Bgr = tuple[float, float, float]


class TorchSource:
    """A `Source` in torch."""

    control_is = "random weights of another seed"

    def __init__(
        self,
        model: Network,
        mean_bgr: Bgr,
        std_bgr: Bgr,
        trained_wh: tuple[int, int],
        metadata: dict[str, Any],
        arguments: list[str],
    ) -> None:
        """`metadata`: name, training data, licence and training, as in `Source`."""
        self.model = model.eval()
        self.mean_bgr, self.std_bgr = mean_bgr, std_bgr
        self.network = model.name
        self.name: str = metadata.get("name") or model.name
        self.parameters = size_of(model)[0]
        self.labels: tuple[str, ...] = LABELS
        self.pad_bgr = pad_bgr_of(mean_bgr)
        self.output_stride = model.output_stride
        self.training_data: str = metadata["training_data"]
        self.licence: str = metadata["licence"]
        self.training: dict[str, Any] = metadata["training"]
        self.arguments = arguments
        self._trained_wh = trained_wh
        self._graph = lru_cache(maxsize=1)(self._traced)

    @classmethod
    def random(cls, network: str) -> Self:
        """The untrained network, with the same weights every time.

        Raises:
            ValueError: if there is no such network; lists the known ones.
        """
        torch.manual_seed(SEED)
        metadata = {
            "training_data": "none: random weights",
            "licence": OWN_LICENCE,
            "training": {"weights": "random"},
        }
        grey: tuple[Bgr, Bgr] = ((float(GREY_LEVEL),) * 3, (GREY_STD,) * 3)
        return cls(build_model(network, len(LABELS)), *grey, DEFAULT_SIZE_WH, metadata, ["--random-weights"])

    @classmethod
    def trained(cls, file: Path, name: str) -> Self:
        """The network of a checkpoint.

        Args:
            name: of the network, or of the run.

        Raises:
            CheckpointError: if it cannot be used, or holds another network.
            ValueError: if there is no such network.
        """
        checkpoint = Checkpoint.load(file)
        settings = checkpoint.config
        network, run = settings["model"], settings.get("name")
        if name not in (network, run):
            check_known(name)
            raise CheckpointError(f"{file}: holds {network}, not {name}")
        model = build_model(network, len(LABELS))
        try:
            model.load_state_dict(checkpoint.model)
        except RuntimeError as error:
            raise CheckpointError(
                f"{file}: its layers are not those of this version's {network}; train it again"
            ) from error
        # An interrupted run has the weights of the stage it was in.
        stage = min(checkpoint.stage, len(settings["stages"]) - 1)
        metadata = {
            "name": run or f"{network}-own",
            "training_data": training_data(settings, checkpoint.origin),
            "licence": licence(settings, model, checkpoint.origin),
            "training": training(settings, checkpoint.history),
        }
        return cls(
            model,
            tuple(settings["mean_bgr"]),
            tuple(settings["std_bgr"]),
            tuple(settings["stages"][stage]["input_wh"]),
            metadata,
            ["--checkpoint", file.name],
        )

    def input_wh(self, size_wh: tuple[int, int] | None) -> tuple[int, int]:
        """Any size, rounded up; without one, that of the last training stage."""
        return rounded_up(size_wh or self._trained_wh)

    def cpu_graph(self, input_wh: tuple[int, int]) -> onnx.ModelProto:
        """Traced once per size: large networks take a minute."""
        return self._graph(input_wh)

    def _traced(self, input_wh: tuple[int, int]) -> onnx.ModelProto:
        return cpu_graph(self.model, self.mean_bgr, self.std_bgr, input_wh)

    def infer(self, input_wh: tuple[int, int]) -> Infer:
        """The torch network, on pixels normalised as in training."""
        return _infer(self.model, Normalise(self.mean_bgr, self.std_bgr))

    def control(self, input_wh: tuple[int, int]) -> Infer:
        """The network with random weights of another seed."""
        torch.manual_seed(CONTROL_SEED)
        return _infer(build_model(self.network, len(LABELS)).eval(), Normalise(self.mean_bgr, self.std_bgr))

    def predict(self, input_wh: tuple[int, int]) -> Predict:
        """Like validation (`train.evaluate`), at the size of the frame."""
        normalise = Normalise(self.mean_bgr, self.std_bgr)

        @torch.inference_mode()
        def predict(frame: Frame) -> Prediction:
            class_map = class_map_of(
                lambda image: self.model(normalise(image)), frame.image_bgr, input_wh, self.pad_bgr
            )
            return Prediction(frame, class_map, (), self.network)

        return predict


def _infer(model: torch.nn.Module, normalise: Normalise) -> Infer:
    @torch.inference_mode()
    def infer(input_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        frame = torch.from_numpy(input_bgr).permute(2, 0, 1)[None]
        return np.asarray(model(normalise(frame))[0].numpy(), np.float32)

    return infer
