"""ONNX Runtime as the engine: CPU, CUDA or TensorRT, whichever was asked for and really loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from perception.contract import METADATA_KEY, ContractError, ModelContract
from perception.engines.engine import EngineError
from perception.frame import EngineState

ProviderName = Literal["auto", "cpu", "cuda", "tensorrt"]

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_SILENT = 4  # a provider that does not load is told by us, in one line


class OnnxEngine:
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
        file_bytes = _read(file)
        session = _session(file_bytes, file, _wanted(provider), threads)
        self.contract = _contract(session, file_bytes, file)
        self.provider = _short_name(session.get_providers()[0])
        self.state = EngineState.OK
        if provider not in ("auto", self.provider):
            if not allow_fallback:
                raise EngineError(
                    f"provider {provider} did not load (ONNX Runtime took {self.provider}); "
                    f"use --provider cpu, or --allow_fallback true to go on where it does run"
                )
            self.state = EngineState.FALLBACK
        self._session = session
        self._input = session.get_inputs()[0].name
        self._output = session.get_outputs()[0].name
        self._check_shapes(file)

    def infer(self, input_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(input_h, input_w, 3) uint8 to (classes, input_h / stride, input_w / stride) logits.

        Raises:
            EngineError: if a logit is no finite number: compared, it would pass for free road.
        """
        outputs = self._session.run([self._output], {self._input: input_bgr[np.newaxis]})
        logits: NDArray[np.float32] = outputs[0][0]
        if not np.isfinite(logits).all():
            raise EngineError(
                f"{self.contract.model_id} gave logits that are no finite numbers on {self.provider}; "
                f"run it on another provider, or export it again"
            )
        return logits

    def _check_shapes(self, file: Path) -> None:
        width, height = self.contract.input_wh
        wanted = [1, height, width, 3]
        found = self._session.get_inputs()[0].shape
        if list(found) != wanted:
            raise EngineError(f"{file}: the graph takes {found}, its contract says {wanted}")
        stride = self.contract.output_stride
        wanted = [1, len(self.contract.labels), height // stride, width // stride]
        found = self._session.get_outputs()[0].shape
        if list(found) != wanted:
            raise EngineError(f"{file}: the graph gives {found}, its contract says {wanted}")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise EngineError(f"{file}: the model cannot be read: {error.strerror}") from error


def _wanted(provider: ProviderName) -> list[str]:
    if provider == "auto":
        available = ort.get_available_providers()
        return [name for name in (PROVIDERS["cuda"], PROVIDERS["cpu"]) if name in available]
    return [PROVIDERS[provider]] if provider == "cpu" else [PROVIDERS[provider], PROVIDERS["cpu"]]


def _session(file_bytes: bytes, file: Path, providers: list[str], threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = _SILENT
    options.intra_op_num_threads = threads
    # Waiting threads that spin take 20 to 40 % of a small machine from the rest of the pipeline.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    present = [name for name in providers if name in ort.get_available_providers()]
    ort.set_default_logger_severity(_SILENT)
    try:
        # ONNX Runtime's own fallback prints to standard output, which belongs to the records.
        return ort.InferenceSession(file_bytes, options, providers=present, enable_fallback=0)
    except Exception as error:  # ONNX Runtime raises several kinds, none with a base of its own
        if present != [PROVIDERS["cpu"]]:
            return _session(file_bytes, file, [PROVIDERS["cpu"]], threads)
        reason = " ".join(str(error).split())
        raise EngineError(f"{file}: not a model that ONNX Runtime can load: {reason}") from error


def _contract(session: ort.InferenceSession, file_bytes: bytes, file: Path) -> ModelContract:
    try:
        text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    except UnicodeDecodeError as error:
        raise EngineError(f"{file}: the file was changed after it was exported: {error}") from error
    if text is None:
        raise EngineError(
            f"{file}: an ONNX file without a drivable contract; export it with drivable-export so that "
            f"its input, labels and normalisation are known"
        )
    try:
        contract = ModelContract.from_json(text, str(file))
        contract.verify(file_bytes, str(file))
    except ContractError as error:
        raise EngineError(str(error)) from error
    return contract


def _short_name(provider: str) -> str:
    return next((short for short, name in PROVIDERS.items() if name == provider), provider)
