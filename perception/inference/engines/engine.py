"""What every engine promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from perception.frame import EngineState
from perception.inference.contract import ANY_SIZE, ModelContract
from perception.inference.known_answer import KnownAnswer


class EngineError(Exception):
    """A network that cannot be loaded or run as asked: one line that says what to do."""


class Engine(Protocol):
    """A loaded network. What its contract's `output` names may be called from several threads at once."""

    contract: ModelContract
    model_sha256: str
    """Of the bytes of the file that was loaded, as `sha256sum` prints it."""
    provider: str
    """What really runs it, as records tell it: "cpu", "cuda", "openvino bf16"."""
    nodes: Mapping[str, int]
    """Nodes of the graph by what runs them, such as {"cuda": 383, "cpu": 61}; empty where nobody counted."""
    notes: tuple[str, ...]
    """What people should know of how it was loaded, a line each: what it does not run on, and why."""
    state: EngineState
    is_proven: bool
    """Whether it gave the known answer that the file carries; False where the file carries none."""
    runs_one_at_a_time: bool
    """Whether callers wait for each other: more of them gain only what they do between their calls."""

    def infer(self, input_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(input_h, input_w, 3) uint8 to (labels, input_h / stride, input_w / stride) logits.

        Raises:
            EngineError: if the contract's output is no logits, or a logit is no finite number.
        """
        ...

    def segment(self, frame_bgr: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """(H, W, 3) uint8 camera frame to class ids and confidence, (input_h, input_w) uint8 each.

        Both cover the whole input of the network, padding included; a confidence of 255 is certain.

        Raises:
            EngineError: if the contract's output is no class map, the frame is not of its size, or a
                confidence is 0: the logits there were no finite numbers.
        """
        ...


class CheckedEngine:
    """The part that every engine of ours has alike: nothing that a runtime gives goes on unchecked."""

    contract: ModelContract
    provider: str
    nodes: Mapping[str, int] = MappingProxyType({})
    notes: tuple[str, ...] = ()
    is_proven: bool = False

    def infer(self, input_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine`."""
        self._check_output("logits")
        logits: NDArray[np.float32] = self._run(input_bgr)[0][0]
        if not np.isfinite(logits).all():  # compared, they would pass for free road
            raise EngineError(
                f"{self.contract.model_id} gave logits that are no finite numbers on {self.provider}; "
                f"run it on another provider, or export it again"
            )
        return logits

    def segment(self, frame_bgr: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """See `Engine`."""
        self._check_output("class_map")
        self._check_frame(frame_bgr)
        class_map, confidence = self._run(frame_bgr)
        # So the graph marks logits that are no finite numbers. No probability is 0: the largest of three
        # is at least a third.
        if not confidence.all():
            raise EngineError(
                f"{self.contract.model_id} found no class for a part of the frame on {self.provider}: its "
                f"logits were no finite numbers; run it on another provider, or export it again"
            )
        return class_map[0], confidence[0]

    def _run(self, image_bgr: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """The graph's outputs for one image, in its order; raises EngineError."""
        raise NotImplementedError

    def _check_output(self, asked: str) -> None:
        if self.contract.output != asked:
            name, gives = self.contract.model_id, self.contract.output
            raise EngineError(f"{name} gives {gives}, and was asked for {asked}")

    def _check_frame(self, frame_bgr: NDArray[np.uint8]) -> None:
        height, width = frame_bgr.shape[:2]
        contract = self.contract
        if contract.frame_wh not in (ANY_SIZE, (width, height)):
            only_w, only_h = contract.takes_wh
            raise EngineError(
                f"{contract.model_id} takes frames of {only_w}x{only_h} only, and this one is "
                f"{width}x{height}; export it with --frame {width}x{height} or --frame any, or take the "
                f"file for the CPU"
            )


def check_known_answer(
    known: KnownAnswer | None,
    contract: ModelContract,
    provider: str,
    run: Callable[[NDArray[np.uint8]], Sequence[NDArray[Any]]],
) -> None:
    """Run the picture that the model's file carries, and compare; nothing where it carries none.

    Args:
        run: gives the graph's outputs for one image, (H, W, 3) uint8.

    Raises:
        EngineError: if the network is not computed as it was exported.
    """
    if known is None:
        return
    if why := known.why_wrong(run(known.input_bgr(contract)), contract):
        raise EngineError(
            f"{contract.model_id} does not give its known answer on {provider}: {why}; "
            f"run it on another provider or engine, or export it again"
        )


def one_line(error: Exception) -> str:
    """What a runtime says of a failure, without its line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
