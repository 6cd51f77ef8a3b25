"""One export from start to end: checkpoint → graph → gates → file and card."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.card import model_card
from export.config import ExportConfig
from export.graph import CpuGraph, to_onnx
from export.package import ExportError, pack, write
from export.provenance import OWN_LICENCE, licence, training_data
from export.verify import check_parity
from perception.accuracy import measure_accuracy
from perception.contract import ModelContract
from perception.engines import OnnxEngine
from perception.labels import LABELS
from perception.letterbox import letterbox
from perception.perceive import Perceiver
from perception.sources.drive import DriveRenderer
from train.checkpoint import Checkpoint, CheckpointError
from train.config import GREY_LEVEL, GREY_STD
from train.data.frames import LabelledFrames
from train.data.layouts import open_frames
from train.evaluate import Normalise
from train.models import PUBLISHED, Network, build_model

PARITY_FRAMES = 16
TEST_SPLIT = "test"


@dataclass(frozen=True)
class _Trained:
    model: Network
    mean_bgr: tuple[float, float, float]
    std_bgr: tuple[float, float, float]
    training_data: str
    licence: str
    config: dict[str, Any] | None
    history: list[dict[str, float]]


def export(config: ExportConfig, report: Callable[[str], None] = print) -> Path:
    """Export one network and return the file.

    Raises:
        ExportError, CheckpointError, ParityError, ValueError: in one line; nothing is left behind.
    """
    if any(side % 32 for side in config.input_wh):
        raise ExportError(f"input_wh {config.input_wh}: both sides must be multiples of 32")
    out = Path(config.out or f"{config.model}.onnx")
    trained = _load(config)
    width, height = config.input_wh
    if config.target == "plain":
        graph = to_onnx(trained.model, torch.zeros(1, 3, height, width), "image")
        write(out, graph.SerializeToString(deterministic=True))
        report(f"{out}: plain float graph, {out.stat().st_size / 1e6:.1f} MB")
        return out

    wrapped = CpuGraph(trained.model, trained.mean_bgr, trained.std_bgr)
    graph = to_onnx(wrapped, torch.zeros(1, height, width, 3, dtype=torch.uint8), "frame")
    content, contract = pack(
        graph,
        ModelContract(
            model_id=config.model,
            labels=LABELS,
            input_wh=config.input_wh,
            pad_bgr=(round(trained.mean_bgr[0]), round(trained.mean_bgr[1]), round(trained.mean_bgr[2])),
            output_stride=trained.model.output_stride,
            training_data=trained.training_data,
            licence=trained.licence,
        ),
    )
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / out.name
        candidate.write_bytes(content)
        engine = OnnxEngine(candidate, provider="cpu")
    normalise = Normalise(trained.mean_bgr, trained.std_bgr)
    inputs = [letterbox(image, config.input_wh, contract.pad_bgr)[0] for image in _parity_images(config)]
    parity = check_parity(trained.model, normalise, engine, inputs)
    report(
        f"parity: max |Δ| of logits {parity.max_logit_difference:.1e}, classes agree {parity.agreement:.5f}"
    )
    accuracy = None
    if config.data:
        accuracy = measure_accuracy(Perceiver(engine), _labelled(config, config.data, TEST_SPLIT))
        report(f"mean IoU on {TEST_SPLIT}: {100 * accuracy.total.mean_iou():.2f} %")
    card = model_card(contract, trained.config, trained.history, parity, accuracy, TEST_SPLIT, out)
    write(out, content)
    write(out.with_suffix(".md"), card.encode())
    report(f"{out}: {len(content) / 1e6:.1f} MB, card beside it")
    return out


def _load(config: ExportConfig) -> _Trained:
    torch.manual_seed(0)
    model = build_model(config.model, len(LABELS))
    if config.random_weights:
        grey = (float(GREY_LEVEL),) * 3, (GREY_STD,) * 3
        return _Trained(model.eval(), *grey, "none: random weights", OWN_LICENCE, None, [])
    file = Path(config.checkpoint) if config.checkpoint else Path(config.runs) / config.model / "best.pt"
    if not file.is_file():
        recipe = f"published --model {config.model}" if config.model in PUBLISHED else config.model
        raise ExportError(
            f"{file}: no checkpoint of {config.model}; train one with `drivable-train --config "
            f"train/{recipe} --data DIR`, name one with --checkpoint, or try --random_weights"
        )
    checkpoint = Checkpoint.load(file)
    settings = checkpoint.config
    if settings["model"] != config.model:
        raise CheckpointError(f"{file}: holds {settings['model']}, not {config.model}")
    try:
        model.load_state_dict(checkpoint.model)
    except RuntimeError as error:
        raise CheckpointError(
            f"{file}: holds other layers than the {config.model} of this version; train it again"
        ) from error
    return _Trained(
        model.eval(),
        tuple(settings["mean_bgr"]),
        tuple(settings["std_bgr"]),
        training_data(settings),
        licence(settings, model),
        settings,
        checkpoint.history,
    )


def _parity_images(config: ExportConfig) -> Iterator[NDArray[np.uint8]]:
    """Frames that the gates look at: real ones where there are any."""
    if config.data:
        frames = _labelled(config, config.data, "val")
        step = max(1, len(frames) // PARITY_FRAMES)
        for index in range(0, min(len(frames), step * PARITY_FRAMES), step):
            yield frames[index][0]
    else:
        drive = DriveRenderer("mixed")
        for index in range(PARITY_FRAMES):
            yield drive.render(index * 60)[0]


def _labelled(config: ExportConfig, folder: str, split: str) -> LabelledFrames:
    label_map = Path(config.label_map) if config.label_map else None
    return open_frames(Path(folder), split, config.layout, label_map)
