"""The usual float NCHW graph, without a contract: for other programs, and as the bench's rival."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from export.config import ExportConfig
from export.frames import GateFrames
from export.graph import to_onnx
from export.package import ExportError, write
from export.source import Source
from export.torch_source import TorchSource
from export.verify import LIMITS, Gate, Infer, check_control, compare, held
from perception.engines.session import CPU, load_session
from perception.letterbox import letterbox


def export_plain(
    source: Source, config: ExportConfig, input_wh: tuple[int, int], out: Path, say: Callable[[str], None]
) -> list[Gate]:
    """Write the graph that takes (1, 3, h, w) float32, normalised as in training, and gives logits.

    Raises:
        ExportError: if the source is no network in torch, or `out` cannot be written.
        GateError: if the graph is not the network.
    """
    if not isinstance(source, TorchSource):
        raise ExportError(
            "target plain is made from a checkpoint of drivable-train (or --random-weights), not from "
            "a file whose input is bytes already"
        )
    frames = GateFrames.open(config)
    width, height = input_wh
    content = to_onnx(source.model, torch.zeros(1, 3, height, width), "image").SerializeToString(
        deterministic=True
    )
    inputs = [letterbox(image, input_wh, source.pad_bgr)[0] for image in frames.parity_bgr]
    infer = _infer(content, source)
    parity = compare(source.infer(input_wh), infer, inputs)
    gates = held(parity.gates(LIMITS["fp32"], frames.parity_on), say)
    check_control(compare(source.control(input_wh), infer, inputs), LIMITS["fp32"])
    write(out, content)
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (source.mean_bgr, source.std_bgr))
    say(f"{out}: plain float graph, {len(content) / 1e6:.1f} MB; it takes BGR levels less {mean}, over {std}")
    return gates


def _infer(content: bytes, source: TorchSource) -> Infer:
    """As other programs would run it: normalised in numpy."""
    session = load_session(content, "the plain graph", [CPU], threads=0)
    mean, std = (np.array(values, np.float32) for values in (source.mean_bgr, source.std_bgr))

    def infer(input_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        planes = ((input_bgr.astype(np.float32) - mean) / std).transpose(2, 0, 1)
        return np.asarray(session.run(None, {"image": np.ascontiguousarray(planes[np.newaxis])})[0][0])

    return infer
