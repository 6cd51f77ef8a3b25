"""The interface of engines, and their common part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from perception.frame import EngineState
from perception.inference.contract import ANY_SIZE, ModelContract
from perception.inference.known_answer import KnownAnswer
from perception.system.error_text import text_of
from perception.system.plugins import Entry, S
from perception.system.time_limits import LOAD_LIMIT_S


class EngineError(Exception):
    """A network cannot be loaded or run; one line that says what to do."""


@runtime_checkable
class Engine(Protocol):
    """A loaded network. `infer` or `segment`, whichever fits its contract, is thread-safe."""

    contract: ModelContract
    model_sha256: str
    """Of the loaded file, as printed by `sha256sum`."""
    provider: str
    """The provider in use, as in records: "cpu", "cuda", "openvino bf16"."""
    nodes: Mapping[str, int]
    """Nodes of the graph by provider, such as {"cuda": 383, "cpu": 61}; empty if unknown."""
    notes: tuple[str, ...]
    """Remarks on loading, a line each: providers that do not run it, and why."""
    state: EngineState
    is_proven: bool
    """Whether it gave the known answer in the file; False if the file has none."""
    runs_one_at_a_time: bool
    """Whether concurrent calls wait for each other."""

    def infer(self, input_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(input_h, input_w, 3) uint8 to (labels, input_h / stride, input_w / stride) logits.

        Raises:
            EngineError: if the contract's output is not logits, or a logit is not finite.
        """
        ...

    def segment(self, frame_bgr: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """(H, W, 3) uint8 camera frame to class ids and confidence, (input_h, input_w) uint8 each.

        Both cover the whole input of the network, padding included; a confidence of 255 is certain.

        Raises:
            EngineError: if the contract's output is not a class map, the frame has another size, or a
                confidence is 0, which marks logits that are not finite.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class EngineKind(Entry[S]):
    """How an engine is loaded, for the registry."""

    build: Callable[[Path, S, int, int], Engine]
    """Loads a model file. The numbers: CPU threads of one call (0 for every core), and how many calls come
    at once, each from a thread of its own. Raises EngineError."""
    load_limit_s: Callable[[S], float] = lambda settings: LOAD_LIMIT_S
    """That loading and a first run may take, unless the user says otherwise."""


class CheckedEngine:
    """Base of all engines: validates every output of the runtime."""

    contract: ModelContract
    provider: str
    nodes: Mapping[str, int] = MappingProxyType({})
    notes: tuple[str, ...] = ()
    is_proven: bool = False

    def infer(self, input_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine`."""
        self._check_output("logits")
        logits: NDArray[np.float32] = self._run(input_bgr)[0][0]
        if not np.isfinite(logits).all():  # comparisons with NaN could give drivable area
            raise EngineError(
                f"{self.contract.model_id} gave logits that are not finite on {self.provider}; "
                f"run it on another provider, or export it again"
            )
        return logits

    def segment(self, frame_bgr: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """See `Engine`."""
        self._check_output("class_map")
        self._check_frame(frame_bgr)
        class_map, confidence = self._run(frame_bgr)
        # The graph marks logits that are not finite by 0. No probability is 0: the largest of three is at
        # least a third.
        if not confidence.all():
            raise EngineError(
                f"{self.contract.model_id} found no class for a part of the frame on {self.provider}: its "
                f"logits were not finite; run it on another provider, or export it again"
            )
        return class_map[0], confidence[0]

    def _run(self, image_bgr: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """The graph's outputs for one image, in its order; raises EngineError."""
        raise NotImplementedError

    def _check_output(self, requested: str) -> None:
        if self.contract.output != requested:
            raise EngineError(f"{self.contract.model_id} outputs {self.contract.output}, not {requested}")

    def _check_frame(self, frame_bgr: NDArray[np.uint8]) -> None:
        height, width = frame_bgr.shape[:2]
        contract = self.contract
        if contract.frame_wh not in (ANY_SIZE, (width, height)):
            only_w, only_h = contract.takes_wh
            raise EngineError(
                f"{contract.model_id} takes only frames of {only_w}x{only_h}, and this one is "
                f"{width}x{height}; export it with --frame {width}x{height} or --frame any, or use the file "
                f"for the CPU"
            )


def check_known_answer(
    known: KnownAnswer | None,
    contract: ModelContract,
    provider: str,
    run: Callable[[NDArray[np.uint8]], Sequence[NDArray[Any]]],
) -> None:
    """Compare the engine's outputs with the known answer in the file, if it has one.

    Args:
        run: returns the graph's outputs for one image, (H, W, 3) uint8.

    Raises:
        EngineError: if they differ.
    """
    if known is None:
        return
    if why := known.why_wrong(run(known.input_bgr(contract)), contract):
        raise EngineError(
            f"{contract.model_id} does not give its known answer on {provider}: {why}; "
            f"run it on another provider or engine, or export it again"
        )


def one_line(error: Exception) -> str:
    """A runtime's error message in one line."""
    return " ".join(text_of(error).split())
