"""What every engine promises."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from perception.contract import ModelContract
from perception.frame import EngineState


class EngineError(Exception):
    """A network that cannot be loaded or run as asked: one line that says what to do."""


class Engine(Protocol):
    """A loaded network. What its contract's `output` names may be called from several threads at once."""

    contract: ModelContract
    provider: str
    """What really runs it, as records tell it: "cpu", "cuda", "openvino bf16"."""
    state: EngineState
    runs_one_at_a_time: bool
    """Whether callers wait for each other: more of them gain only what they do between their calls."""

    def infer(self, input_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(input_h, input_w, 3) uint8 to (labels, input_h / stride, input_w / stride) logits.

        Raises:
            EngineError: if the contract's output is no logits, or a logit is no finite number.
        """
        ...

    def classify(self, frame_bgr: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """(H, W, 3) uint8 camera frame to class ids and confidence, (input_h, input_w) uint8 each.

        Both cover the whole input of the network, padding included; a confidence of 255 is certain.

        Raises:
            EngineError: if the contract's output is no class map, the frame is not of its size, or a
                confidence is 0: the logits there were no finite numbers.
        """
        ...


def check_output(contract: ModelContract, asked: str) -> None:
    """Refuse to ask a graph for what it does not give; raises EngineError."""
    if contract.output != asked:
        raise EngineError(f"{contract.model_id} gives {contract.output}, and was asked for {asked}")


def check_frame(contract: ModelContract, frame_bgr: NDArray[np.uint8]) -> None:
    """Refuse a frame that the graph was not exported for; raises EngineError."""
    height, width = frame_bgr.shape[:2]
    if contract.frame_wh not in ((0, 0), (width, height)):
        only_w, only_h = contract.frame_wh or contract.input_wh
        raise EngineError(
            f"{contract.model_id} takes frames of {only_w}x{only_h} only, and this one is {width}x{height}; "
            f"export it with --frame {width}x{height} or --frame any, or take the file for the CPU"
        )


def check_finite(logits: NDArray[np.float32], contract: ModelContract, provider: str) -> None:
    """Refuse logits that are no finite numbers: compared, they would pass for free road."""
    if not np.isfinite(logits).all():
        raise EngineError(
            f"{contract.model_id} gave logits that are no finite numbers on {provider}; "
            f"run it on another provider, or export it again"
        )


def check_confidence(confidence: NDArray[np.uint8], contract: ModelContract, provider: str) -> None:
    """Refuse a class map of logits that were no finite numbers: the graph marks them with 0.

    No probability gives that: the largest of three is at least a third.
    """
    if not confidence.all():
        raise EngineError(
            f"{contract.model_id} found no class for a part of the frame on {provider}: its logits were no "
            f"finite numbers; run it on another provider, or export it again"
        )


def one_line(error: Exception) -> str:
    """What a runtime says of a failure, without its line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
