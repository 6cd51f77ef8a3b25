"""ONNX Runtime as the engine, on CPU, CUDA or TensorRT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from perception.frame import EngineState
from perception.inference.contract import ANY_SIZE, ModelContract
from perception.inference.engines import cuda
from perception.inference.engines.engine import (
    CheckedEngine,
    EngineError,
    EngineKind,
    check_known_answer,
)
from perception.inference.engines.gpu import Found, first_that_runs, nodes_by_provider
from perception.inference.engines.io_binding import BoundSession
from perception.inference.engines.providers import DEVICES, ProviderName, short_name
from perception.inference.engines.session import CheckedModel
from perception.system.time_limit import within
from perception.system.time_limits import FIRST_RUN_LIMIT_S, LOAD_LIMIT_S, TENSORRT_LOAD_LIMIT_S


@dataclass(frozen=True)
class OnnxSettings:
    """ONNX Runtime, the default engine."""

    provider: ProviderName = "auto"
    """Where ONNX Runtime runs the network: auto takes CUDA where it loads and the CPU elsewhere."""
    allow_fallback: bool = False
    """Go on elsewhere, marked in every record, if the provider asked for does not load."""


class OnnxEngine(CheckedEngine):
    """A model file with a contract, loaded by ONNX Runtime."""

    def __init__(
        self, file: Path, provider: ProviderName = "auto", threads: int = 0, allow_fallback: bool = False
    ) -> None:
        """Load `file`; on a GPU also run it once, because only that proves the provider.

        Args:
            provider: "auto" uses CUDA if it runs, otherwise the CPU, and the CPU for int8 files.
            threads: for one inference; 0 uses every core.
            allow_fallback: a provider that does not run becomes a visible "fallback", not an error.

        Raises:
            EngineError: if the file does not load, has no valid contract, or the provider does not run it or
                does not give the known answer in the file.
        """
        model = CheckedModel.opened(file, threads)  # its session is used if no GPU is
        self.contract, self.model_sha256 = model.contract, model.sha256
        found = first_that_runs(model, provider)
        if found.bound is None and provider == "tensorrt" and allow_fallback:
            found = first_that_runs(model, "cuda", found.failures)
        self._bound = found.bound
        self._session = found.bound.session if found.bound else model.session
        self.provider = short_name(self._session.get_providers()[0])
        self.nodes = nodes_by_provider(self._session)
        self.notes = tuple(_notes(found, provider, self.provider, self.nodes, self.contract))
        self.state = EngineState.OK
        if provider not in ("auto", self.provider):
            if not allow_fallback:
                reason = f": {found.failures[-1]}" if found.failures else ""
                raise EngineError(
                    f"provider {provider} did not load (ONNX Runtime took {self.provider}{reason}); "
                    f"use --provider cpu, or --allow_fallback true to use a provider that runs it"
                )
            self.state = EngineState.FALLBACK
        self.runs_one_at_a_time = self.provider in DEVICES
        if self.runs_one_at_a_time and self._bound is None:
            self._bound = BoundSession(self._session, DEVICES[self.provider])
        self._input = self._session.get_inputs()[0].name
        self._run_options = ort.RunOptions()
        self._has_run = False
        self.is_proven = model.known is not None
        if found.bound is None:  # otherwise it was checked on the GPU
            check_known_answer(model.known, self.contract, self.provider, self._run)

    def _run(self, image_bgr: NDArray[np.uint8]) -> list[NDArray[Any]]:
        batch = image_bgr[np.newaxis]
        try:
            if self._bound is not None:
                return self._bound.run(batch)
            if self._has_run:
                return self._run_on_cpu(batch)
            # A graph can contain an endless loop.
            outputs = within(FIRST_RUN_LIMIT_S, lambda: self._run_on_cpu(batch))
            self._has_run = True
            return outputs
        except TimeoutError:
            self._run_options.terminate = True  # ends it after the current node
            name = self.contract.model_id
            raise EngineError(
                f"{name} was still at its first frame after {FIRST_RUN_LIMIT_S:g} s on {self.provider}; "
                f"its graph may contain an endless loop"
            ) from None
        except Exception as error:  # ONNX Runtime raises several types without a common base
            name = self.contract.model_id
            raise EngineError(f"{name} does not run on {self.provider}: {cuda.reason_of(error)}") from error

    def _run_on_cpu(self, batch: NDArray[np.uint8]) -> list[NDArray[Any]]:
        outputs: list[NDArray[Any]] = self._session.run(None, {self._input: batch}, self._run_options)
        return outputs


def _notes(
    found: Found, requested: ProviderName, used: str, nodes: Mapping[str, int], contract: ModelContract
) -> list[str]:
    failures = "; ".join(dict.fromkeys(found.failures))
    fallback = f"warning: provider {requested} did not load ({failures}); using {used}"
    if used not in DEVICES:
        if requested in DEVICES:
            return [fallback]
        if requested != "auto" or not (found.was_taken or cuda.is_device_visible()):
            return []
        if contract.precision == "int8":
            return [
                "provider auto runs int8 files on the cpu; for the GPU use a file in fp32 or fp16, such as "
                "--model rt_m, or --provider cuda"
            ]
        return [f"warning: an NVIDIA GPU is present but does not run it ({failures}); using {used}"]
    notes = []
    if requested not in ("auto", used):
        notes.append(fallback)
    elif found.failures and contract.frame_wh != ANY_SIZE:
        notes.append(f"{used} runs without a captured graph: {failures}")
    elsewhere = [f"{count} on {name}" for name, count in nodes.items() if name != used]
    if elsewhere:
        total = sum(nodes.values())
        notes.append(
            f"{used} does not run all of {contract.model_id}: of {total} nodes {', '.join(elsewhere)}"
        )
    return notes


def _build(file: Path, settings: OnnxSettings, threads: int, calls: int) -> OnnxEngine:
    return OnnxEngine(file, settings.provider, threads, settings.allow_fallback)


ONNX: Final = EngineKind(
    settings=OnnxSettings,
    build=_build,
    load_limit_s=lambda settings: TENSORRT_LOAD_LIMIT_S if settings.provider == "tensorrt" else LOAD_LIMIT_S,
)
