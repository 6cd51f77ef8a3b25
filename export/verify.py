"""The gates: an exported file must give what the network gave in torch, or it is not written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from perception.engines import Engine
from train.evaluate import Normalise

MAX_LOGIT_DIFFERENCE = 1e-2
MIN_AGREEMENT = 0.9999


class ParityError(RuntimeError):
    """The exported graph is not the trained network."""


@dataclass(frozen=True)
class Parity:
    """How close the exported graph is to the network in torch."""

    frames: int
    max_logit_difference: float
    agreement: float
    """Share of the logits' positions where the same class is the largest."""


def check_parity(
    model: nn.Module, normalise: Normalise, engine: Engine, inputs_bgr: Sequence[NDArray[np.uint8]]
) -> Parity:
    """Run both on the same inputs and compare.

    Args:
        inputs_bgr: (input_h, input_w, 3) uint8 each.

    Raises:
        ParityError: if a gate fails.
    """
    difference, agreeing, positions = 0.0, 0, 0
    model.eval()
    for input_bgr in inputs_bgr:
        frame = torch.from_numpy(input_bgr).permute(2, 0, 1)[None]
        with torch.inference_mode():
            wanted = model(normalise(frame))[0].numpy()
        found = engine.infer(input_bgr)
        difference = max(difference, float(np.abs(wanted - found).max()))
        agreeing += int((wanted.argmax(0) == found.argmax(0)).sum())
        positions += wanted[0].size
    parity = Parity(len(inputs_bgr), difference, agreeing / positions)
    if not (parity.max_logit_difference <= MAX_LOGIT_DIFFERENCE and parity.agreement >= MIN_AGREEMENT):
        raise ParityError(
            f"the exported graph is not the trained network: logits differ by up to {difference:.2g} "
            f"(limit {MAX_LOGIT_DIFFERENCE:g}), classes agree on {100 * parity.agreement:.2f} % "
            f"(limit {100 * MIN_AGREEMENT:g} %); nothing was written"
        )
    return parity
