"""ONNX Runtime as the engine: CPU, CUDA or TensorRT, whichever was asked for and really loaded."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from perception.contract import ModelContract
from perception.engines.bound import BoundSession
from perception.engines.engine import CheckedEngine, EngineError, one_line
from perception.engines.providers import (
    PROVIDERS,
    ProviderName,
    attempts,
    cache_folder,
    make_cache,
    short_name,
    tensorrt_folder,
)
from perception.engines.session import CPU, contract_of, load_session, read_model
from perception.frame import EngineState

DEVICES: Final = {"cuda": "cuda", "tensorrt": "cuda"}
"""Providers with a memory of their own, and ONNX Runtime's name of it."""


class OnnxEngine(CheckedEngine):
    """A model file with a contract, loaded by ONNX Runtime."""

    def __init__(
        self, file: Path, provider: ProviderName = "auto", threads: int = 0, allow_fallback: bool = False
    ) -> None:
        """Load `file` and check that it runs where it was asked to.

        Args:
            provider: "auto" takes CUDA where it loads, and the CPU elsewhere.
            threads: for one inference; 0 takes every core.
            allow_fallback: a provider that does not load becomes a visible "fallback", not an error.

        Raises:
            EngineError: if the file does not load, has no valid contract, or the provider did not load.
        """
        content = read_model(file)
        self.model_sha256 = hashlib.sha256(content).hexdigest()
        # On the CPU first: a contract says what a GPU is asked for, and this is what there is without one.
        session = load_session(content, str(file), [CPU], threads)
        self.contract = contract_of(session, content, str(file))
        found, reason = _beyond_the_cpu(content, str(file), self.contract, provider, threads)
        self._session = found or session
        self.provider = short_name(self._session.get_providers()[0])
        self.state = EngineState.OK
        if provider not in ("auto", self.provider):
            if not allow_fallback:
                raise EngineError(
                    f"provider {provider} did not load (ONNX Runtime took {self.provider}{reason}); "
                    f"use --provider cpu, or --allow_fallback true to go on where it does run"
                )
            self.state = EngineState.FALLBACK
        self.runs_one_at_a_time = self.provider in DEVICES
        self._bound = BoundSession(self._session, DEVICES[self.provider]) if self.runs_one_at_a_time else None
        self._input = self._session.get_inputs()[0].name

    def _run(self, image_bgr: NDArray[np.uint8]) -> list[NDArray[Any]]:
        batch = image_bgr[np.newaxis]
        try:
            if self._bound is not None:
                return self._bound.run(batch)
            outputs: list[NDArray[Any]] = self._session.run(None, {self._input: batch})
            return outputs
        except Exception as error:  # ONNX Runtime raises several kinds, none with a base of its own
            name = self.contract.model_id
            raise EngineError(f"{name} does not run on {self.provider}: {one_line(error)}") from error


def _beyond_the_cpu(
    content: bytes, where: str, contract: ModelContract, provider: ProviderName, threads: int
) -> tuple[ort.InferenceSession | None, str]:
    """A session on the provider that was asked for; without one, what ONNX Runtime said, for people."""
    cache = cache_folder()
    reason = ""
    for providers in attempts(provider, contract, cache, ort.get_available_providers()):
        if providers[0][0] == PROVIDERS["tensorrt"]:
            make_cache([tensorrt_folder(contract, cache)])
        try:
            return load_session(content, where, providers, threads), ""
        except EngineError as error:
            reason = f": {one_line(error.__cause__)}" if isinstance(error.__cause__, Exception) else ""
    return None, reason
