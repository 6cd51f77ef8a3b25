"""ONNX Runtime as the engine: CPU, CUDA or TensorRT, whichever was asked for and really runs it."""

from __future__ import annotations

import hashlib
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
from perception.inference.engines.engine import CheckedEngine, EngineError, check_known_answer
from perception.inference.engines.gpu import Asked, Found, first_that_runs, nodes_by_provider
from perception.inference.engines.io_binding import BoundSession
from perception.inference.engines.kind import LOAD_S, EngineKind
from perception.inference.engines.providers import DEVICES, ProviderName, short_name
from perception.inference.engines.session import CPU, contract_of, known_answer_of, load_session, read_model
from perception.system.time_limit import within

TENSORRT_LOAD_S: Final = 900.0
"""It builds its engine while the model is loaded."""
FIRST_RUN_LIMIT_S: Final = 60.0
"""The first frame takes the longest, and no network of ours two seconds."""


@dataclass(frozen=True)
class OnnxSettings:
    """ONNX Runtime."""

    provider: ProviderName = "auto"
    """Where ONNX Runtime runs the network: auto takes CUDA where it loads and the CPU elsewhere."""
    allow_fallback: bool = False
    """Go on elsewhere, marked in every record, if the provider asked for does not load."""


class OnnxEngine(CheckedEngine):
    """A model file with a contract, loaded by ONNX Runtime."""

    def __init__(
        self, file: Path, provider: ProviderName = "auto", threads: int = 0, allow_fallback: bool = False
    ) -> None:
        """Load `file`, and on a GPU run it once: what was asked for is only there once it has run.

        Args:
            provider: "auto" takes CUDA where it runs, and the CPU elsewhere; int8 files it leaves to the CPU.
            threads: for one inference; 0 takes every core.
            allow_fallback: a provider that does not run becomes a visible "fallback", not an error.

        Raises:
            EngineError: if the file does not load, has no valid contract, or the provider does not run it or
                does not give the known answer that the file carries.
        """
        content = read_model(file)
        self.model_sha256 = hashlib.sha256(content).hexdigest()
        # On the CPU first: a contract says what a GPU is asked for, and this is what there is without one.
        session = load_session(content, str(file), [CPU], threads)
        self.contract = contract_of(session, content, str(file))
        known = known_answer_of(session, self.contract, str(file))
        asked = Asked(content, str(file), self.contract, threads, known)
        found = first_that_runs(asked, provider)
        if found.session is None and provider == "tensorrt" and allow_fallback:
            found = first_that_runs(asked, "cuda", found.failures)
        self._session = found.session or session
        self.provider = short_name(self._session.get_providers()[0])
        self.nodes = nodes_by_provider(self._session)
        self.notes = tuple(_notes(found, provider, self.provider, self.nodes, self.contract))
        self.state = EngineState.OK
        if provider not in ("auto", self.provider):
            if not allow_fallback:
                reason = f": {found.failures[-1]}" if found.failures else ""
                raise EngineError(
                    f"provider {provider} did not load (ONNX Runtime took {self.provider}{reason}); "
                    f"use --provider cpu, or --allow_fallback true to go on where it does run"
                )
            self.state = EngineState.FALLBACK
        self.runs_one_at_a_time = self.provider in DEVICES
        self._bound = found.bound
        if self.runs_one_at_a_time and self._bound is None:
            self._bound = BoundSession(self._session, DEVICES[self.provider])
        self._input = self._session.get_inputs()[0].name
        self._run_options = ort.RunOptions()
        self._has_run = False
        self.is_proven = known is not None
        if found.session is None:  # on a GPU it was part of the attempt
            check_known_answer(known, self.contract, self.provider, self._run)

    def _run(self, image_bgr: NDArray[np.uint8]) -> list[NDArray[Any]]:
        batch = image_bgr[np.newaxis]
        try:
            if self._bound is not None:
                return self._bound.run(batch)
            if self._has_run:
                return self._run_on_cpu(batch)
            # A graph can hold a loop without an end.
            outputs = within(FIRST_RUN_LIMIT_S, lambda: self._run_on_cpu(batch))
            self._has_run = True
            return outputs
        except TimeoutError:
            self._run_options.terminate = True  # ends it behind the node of the graph that it is at
            name = self.contract.model_id
            raise EngineError(
                f"{name} was still at its first frame after {FIRST_RUN_LIMIT_S:g} s on {self.provider}; "
                f"its graph may hold a loop without an end"
            ) from None
        except Exception as error:  # ONNX Runtime raises several kinds, none with a base of its own
            name = self.contract.model_id
            raise EngineError(f"{name} does not run on {self.provider}: {cuda.reason_of(error)}") from error

    def _run_on_cpu(self, batch: NDArray[np.uint8]) -> list[NDArray[Any]]:
        outputs: list[NDArray[Any]] = self._session.run(None, {self._input: batch}, self._run_options)
        return outputs


def _notes(
    found: Found, asked: ProviderName, taken: str, nodes: Mapping[str, int], contract: ModelContract
) -> list[str]:
    failures = "; ".join(dict.fromkeys(found.failures))
    if taken not in DEVICES:
        if asked in DEVICES:
            return [f"warning: provider {asked} did not load ({failures}); going on with {taken}"]
        if asked != "auto" or not (found.was_taken or cuda.is_device_visible()):
            return []
        if contract.precision == "int8":
            return [
                "provider auto runs int8 files on the cpu; for the GPU take a file in fp32 or fp16, such as "
                "--model rt_m, or ask for --provider cuda"
            ]
        return [f"warning: an NVIDIA GPU is here and does not run it ({failures}); going on with {taken}"]
    notes = []
    if asked not in ("auto", taken):
        notes.append(f"warning: provider {asked} did not load ({failures}); going on with {taken}")
    elif found.failures and contract.frame_wh != ANY_SIZE:
        notes.append(f"{taken} runs without a captured graph: {failures}")
    elsewhere = {name: count for name, count in nodes.items() if name != taken}
    if elsewhere:
        told = ", ".join(f"{count} on {name}" for name, count in elsewhere.items())
        notes.append(
            f"{taken} does not run all of {contract.model_id}: of {sum(nodes.values())} nodes {told}"
        )
    return notes


def _build(file: Path, settings: OnnxSettings, threads: int, calls: int) -> OnnxEngine:
    return OnnxEngine(file, settings.provider, threads, settings.allow_fallback)


ONNX: Final = EngineKind(
    settings=OnnxSettings,
    build=_build,
    load_limit_s=lambda settings: TENSORRT_LOAD_S if settings.provider == "tensorrt" else LOAD_S,
)
