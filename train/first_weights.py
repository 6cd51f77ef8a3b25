"""Initial weights of a whole network: a shipped network, an exported file, a checkpoint, or a state dict.

An exported graph has its batch norms folded into the convolutions. They are unfolded here: each gets the
mean and variance of its input on the training frames, and the scale and shift that undo them, so that the
network reproduces the file and training continues from there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from perception.inference.engines import EngineError, OnnxEngine
from perception.inference.zoo import model_file
from perception.labels import LABELS
from train.checkpoint import Checkpoint, CheckpointError
from train.config import TrainConfig
from train.evaluate import Normalise
from train.models import Network
from train.models.encoder_weights import read_weights

LARGEST_DIFFERENCE: Final = 1e-3
"""Allowed difference of logits between the exported file and the network initialised from it."""
NOT_EXPORTED: Final = "head.find_lines"
"""The layer that only training has; it begins at random."""

_PREFIX: Final = "model."
_JOINED: Final = "/joined"

Norms = dict[nn.Conv2d, nn.BatchNorm2d]
"""By convolution: the batch norm that follows it."""
Arrays = dict[str, NDArray[Any]]


class FirstWeightsError(ValueError):
    """A network cannot start from the weights; the message says why and what to do."""


@dataclass(frozen=True)
class Origin:
    """The initial weights of a run, for its checkpoints and the model card; ready for JSON."""

    name: str
    """Of the shipped network, or of the file."""
    sha256: str
    """Of the file."""
    training_data: str | None = None
    """Its training data and the licence of its weights; None if the file does not state them."""
    licence: str | None = None
    settings: dict[str, Any] | None = None
    """Of the run that produced it, if it is a checkpoint."""
    before: dict[str, Any] | None = None
    """The origin of that run."""


def begin_with(
    model: Network, source: str, config: TrainConfig, some_frames: Callable[[], Iterator[Tensor]]
) -> Origin:
    """Copy the weights of `source` into the network.

    Args:
        source: name of a shipped network in fp32, or a file: .onnx of drivable-export (target cpu, fp32),
            checkpoint of drivable-train, or a state dict of torch or safetensors.
        some_frames: returns (N, 3, H, W) uint8 BGR batches of training frames; used for .onnx.

    Raises:
        FirstWeightsError: if there is no such file, or it holds another network.
    """
    try:
        file = model_file(source)
    except FileNotFoundError as error:
        raise FirstWeightsError(
            f"weights: {error}; a file of drivable-export, a checkpoint or a state dict works too"
        ) from None
    if file.suffix == ".onnx":
        return _from_graph(model, file, source, config, some_frames)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    try:
        checkpoint = Checkpoint.load(file)
    except CheckpointError:
        _load(model, read_weights(file), file)
        return Origin(file.name, sha256)
    if checkpoint.config["model"] != model.name:
        raise FirstWeightsError(f"weights: {file}: holds {checkpoint.config['model']}, not {model.name}")
    for name in ("mean_bgr", "std_bgr"):
        if tuple(checkpoint.config[name]) != getattr(config, name):
            raise FirstWeightsError(
                f"weights: {file}: was trained with {name} {list(checkpoint.config[name])}, not "
                f"{list(getattr(config, name))}; set the same"
            )
    _load(model, checkpoint.model, file)
    return Origin(file.name, sha256, settings=checkpoint.config, before=checkpoint.origin)


def _load(model: Network, weights: dict[str, Tensor], file: Path) -> None:
    own = model.state_dict()
    for name, value in own.items():
        given = weights.get(name)
        if given is None:
            raise _another_network(file, model, f"it has no {name}")
        if given.shape != value.shape:
            raise _another_network(file, model, f"its {name} is {_sides(given)}, not {_sides(value)}")
        if not torch.isfinite(given).all():
            raise FirstWeightsError(f"weights: {file}: {name} holds values that are no numbers")
    if more := next((name for name in weights if name not in own), None):
        raise _another_network(file, model, f"{model.name} has no {more}")
    model.load_state_dict(weights)


def _another_network(file: Path, model: Network, why: str) -> FirstWeightsError:
    return FirstWeightsError(f"weights: {file}: are of another network than {model.name}: {why}")


def _sides(values: Tensor) -> str:
    return "x".join(map(str, values.shape)) or "one value"


def _from_graph(
    model: Network,
    file: Path,
    source: str,
    config: TrainConfig,
    some_frames: Callable[[], Iterator[Tensor]],
) -> Origin:
    try:
        engine = OnnxEngine(file, "cpu")
    except EngineError as error:
        raise FirstWeightsError(f"weights: {error}") from None
    contract = engine.contract
    if contract.output != "logits" or contract.precision != "fp32" or contract.labels != LABELS:
        raise FirstWeightsError(
            f"weights: {file}: outputs {contract.output} of {', '.join(contract.labels)} in "
            f"{contract.precision}; a file for --target cpu in fp32 with {', '.join(LABELS)} is needed"
        )
    graph = onnx.load_model_from_string(file.read_bytes()).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    _check_mean(arrays.get("mean"), config, file)
    width, height = contract.input_wh
    order, norms = _traced(model, (height, width))
    names = {layer: name for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)}
    missing = [
        conv
        for conv, name in names.items()
        if not _take_layer(name, conv, norms.get(conv), arrays) and name != NOT_EXPORTED
    ]
    for conv in list(missing):
        joined = f"{_PREFIX}{names[conv]}.weight{_JOINED}"
        if joined in arrays:
            before = order[order.index(conv) - 1]
            if arrays[joined].shape == (conv.out_channels, *before.weight.shape[1:]):
                _split(before, conv, norms, arrays[joined], arrays[f"{joined}_bias"])
                missing = [left for left in missing if left not in (before, conv)]
    if missing:
        raise _another_network(file, model, f"it has no {names[missing[0]]}")
    with torch.no_grad():
        next(iter(names)).weight *= torch.tensor(config.std_bgr).view(1, 3, 1, 1)
    _unfold(model, norms, Normalise(config.mean_bgr, config.std_bgr), some_frames())
    _check_same(model, engine, config, file)
    return Origin(source, contract.sha256, contract.training_data, contract.licence)


def _check_mean(mean: NDArray[Any] | None, config: TrainConfig, file: Path) -> None:
    own = None if mean is None else np.resize(mean.ravel(), 3)
    if own is None or not np.allclose(own, config.mean_bgr, atol=1e-3):
        theirs = "no mean" if own is None else f"mean_bgr {own.tolist()}"
        raise FirstWeightsError(
            f"weights: {file}: was trained with {theirs}, not {list(config.mean_bgr)}; set it so"
        )


def _take_layer(name: str, conv: nn.Conv2d, norm: nn.BatchNorm2d | None, arrays: Arrays) -> bool:
    """Copy one layer; the bias of a folded norm becomes the shift of a norm that does nothing else."""
    weight = arrays.get(f"{_PREFIX}{name}.weight")
    if weight is None or weight.shape != tuple(conv.weight.shape):
        return False
    bias = arrays.get(f"{_PREFIX}{name}.{'weight_bias' if norm is not None else 'bias'}")
    _set(conv, norm, weight, bias)
    return True


def _set(
    conv: nn.Conv2d, norm: nn.BatchNorm2d | None, weight: NDArray[Any], bias: NDArray[Any] | None
) -> None:
    with torch.no_grad():
        conv.weight.copy_(torch.from_numpy(np.array(weight, np.float32)))
        shift = torch.zeros(len(weight)) if bias is None else torch.from_numpy(np.array(bias, np.float32))
        if norm is not None:
            norm.reset_running_stats()
            norm.weight.fill_(float(np.sqrt(1 + norm.eps)))
            norm.bias.copy_(shift)
        elif conv.bias is not None:
            conv.bias.copy_(shift)


def _split(
    before: nn.Conv2d, conv: nn.Conv2d, norms: Norms, weight: NDArray[Any], bias: NDArray[Any]
) -> None:
    """Split one linear layer into two, its rank being at most the number of channels between them.

    Of the many equivalent pairs this is one that spreads evenly over these channels.
    """
    flat = weight.reshape(len(weight), -1).astype(np.float64)
    left, strengths, right = np.linalg.svd(flat, full_matrices=False)
    between = before.out_channels
    rank = min(between, len(strengths))
    roots = np.sqrt(strengths[:rank])
    spread = np.linalg.qr(np.random.default_rng(0).normal(size=(between, rank)))[0]
    inner = (spread * roots @ right[:rank]).reshape(before.weight.shape)
    outer = (left[:, :rank] * roots @ spread.T).reshape(conv.weight.shape)
    _set(before, norms.get(before), inner, None)
    _set(conv, norms.get(conv), outer, bias)


@contextmanager
def _watched(model: nn.Module, see: Callable[[nn.Module, Tensor, Tensor], None]) -> Iterator[None]:
    """Within it, `see` is called with every layer, its input and its output, in eval mode."""
    handle = register_module_forward_hook(lambda layer, inputs, output: see(layer, inputs[0], output))
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)
        handle.remove()


def _traced(model: nn.Module, input_hw: tuple[int, int]) -> tuple[list[nn.Conv2d], Norms]:
    """The convolutions in the order they run, and the batch norms behind them."""
    order: list[nn.Conv2d] = []
    norms: Norms = {}
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # the output too, so that its id is not reused

    def see(layer: nn.Module, taken: Tensor, given: Tensor) -> None:
        if isinstance(layer, nn.Conv2d):
            order.append(layer)
            made[id(given)] = layer, given
        elif isinstance(layer, nn.BatchNorm2d) and id(taken) in made:
            norms[made[id(taken)][0]] = layer

    with _watched(model, see):
        model(torch.zeros(1, 3, *input_hw))
    return order, norms


def _unfold(model: nn.Module, norms: Norms, normalise: Normalise, frames: Iterator[Tensor]) -> None:
    """Set each norm's statistics to those of its input, and its scale and shift to undo them."""
    sums = {conv: torch.zeros(3, conv.out_channels, dtype=torch.float64) for conv in norms}

    def see(conv: nn.Module, taken: Tensor, given: Tensor) -> None:
        if isinstance(conv, nn.Conv2d) and conv in sums:
            values = given.double()
            count = torch.full((given.shape[1],), values.numel() / given.shape[1], dtype=torch.float64)
            sums[conv] += torch.stack([count, values.sum((0, 2, 3)), values.square().sum((0, 2, 3))])

    with _watched(model, see):
        for batch in frames:
            model(normalise(batch))
    with torch.no_grad():
        for conv, (count, total, squares) in sums.items():
            norm = norms[conv]
            mean = total / count
            variance = (squares / count - mean.square()).clamp(min=0)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
            norm.weight.copy_((variance + norm.eps).sqrt())
            norm.bias.add_(mean)


def _check_same(model: Network, engine: OnnxEngine, config: TrainConfig, file: Path) -> None:
    """Raise FirstWeightsError if the network does not reproduce the file."""
    width, height = engine.contract.input_wh
    drawn = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    input_bgr = np.ascontiguousarray(np.kron(drawn, np.ones((8, 8, 1), np.uint8)))
    wanted = engine.infer(input_bgr)
    training = model.training
    with torch.no_grad():
        frame = torch.from_numpy(input_bgr).permute(2, 0, 1)[None]
        given = model.eval()(Normalise(config.mean_bgr, config.std_bgr)(frame))[0].numpy()
    model.train(training)
    difference = float(np.abs(given - wanted).max()) if given.shape == wanted.shape else float("inf")
    if not difference <= LARGEST_DIFFERENCE * max(1.0, float(np.abs(wanted).max())):
        raise FirstWeightsError(
            f"weights: {file}: the network's logits differ from the file's by up to {difference:.2g}; the "
            f"file's std_bgr or layers are not those of {model.name} here"
        )
