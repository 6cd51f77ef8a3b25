"""OpenVINO as the engine: Intel's runtime for CPUs, AMD's too; optional, with bf16 where the CPU has it."""

from __future__ import annotations

import hashlib
import importlib
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import local
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from perception.frame import EngineState
from perception.inference.engines.engine import CheckedEngine, EngineError, check_known_answer, one_line
from perception.inference.engines.kind import EngineKind
from perception.inference.engines.reasons import why_not_loaded, why_not_run
from perception.inference.engines.session import CPU, contract_of, known_answer_of, load_session, read_model

EnginePrecision = Literal["auto", "f32", "bf16"]

CPU_FEATURES: Final = Path("/proc/cpuinfo")
BF16_FEATURES: Final = ("avx512_bf16", "amx_bf16")
"""Linux' names of the instructions. OpenVINO itself lists BF16 wherever it can emulate it."""


@dataclass(frozen=True)
class OpenVinoSettings:
    """OpenVINO."""

    engine_precision: EnginePrecision = "auto"
    """OpenVINO's arithmetic for floats: auto takes bf16 where the CPU has it and f32 elsewhere."""


class OpenVinoEngine(CheckedEngine):
    """A model file with a contract, on the CPU; verified by the very code that `OnnxEngine` uses."""

    def __init__(
        self, file: Path, threads: int = 0, precision: EnginePrecision = "auto", streams: int = 1
    ) -> None:
        """Load `file` and compile it for this CPU.

        Args:
            threads: for one inference; 0 takes every core for all of them.
            precision: of what the file holds as floats. "auto" takes bf16 where the CPU has it, and f32
                elsewhere: bf16 has the range of f32 with 8 bits of mantissa.
            streams: inferences that run side by side, each asked for by a thread of its own.

        Raises:
            EngineError: if the package is missing, the file does not load, has no valid contract or does
                not give the known answer that it carries, or the CPU has no bf16 and it was asked for.
        """
        openvino = _package()
        content = read_model(file)
        self.model_sha256 = hashlib.sha256(content).hexdigest()
        session = load_session(content, str(file), [CPU], 1)
        self.contract = contract_of(session, content, str(file))
        known = known_answer_of(session, self.contract, str(file))
        self.precision = _precision(precision)
        self.provider = f"openvino {self.precision}"
        self.state = EngineState.OK
        self.runs_one_at_a_time = False
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": threads * streams,
            "INFERENCE_PRECISION_HINT": self.precision,
        }

        def compile_network() -> Any:
            core = openvino.Core()
            return core.compile_model(core.read_model(content), "CPU", settings)

        try:
            # The plugin gives the thread that loads it a stack for signals, and takes the memory back when
            # the last network goes, from whatever thread that is: a signal to the first one then crashes the
            # process. A thread that has ended gets no signal.
            with ThreadPoolExecutor(max_workers=1) as loader:
                self._network = loader.submit(compile_network).result()
        except Exception as error:  # OpenVINO raises RuntimeError for whatever it does not like
            raise EngineError(
                f"{file}: not a model that OpenVINO can load: {why_not_loaded(error)}"
            ) from error
        self._own = local()
        self.is_proven = known is not None
        check_known_answer(known, self.contract, self.provider, self._run)

    def _run(self, image_bgr: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """The outputs in the order of the graph; each thread has a request, and so buffers, of its own."""
        if not hasattr(self._own, "request"):
            self._own.request = self._network.create_infer_request()
        try:
            outputs = self._own.request.infer({0: image_bgr[np.newaxis]}, share_inputs=True)
            return [outputs[index] for index in range(len(outputs))]
        except Exception as error:  # as above
            name = self.contract.model_id
            raise EngineError(f"{name} does not run on {self.provider}: {why_not_run(error)}") from error


def has_bf16(cpu_features: Path = CPU_FEATURES) -> bool:
    """Whether the CPU computes in bf16 itself; False where the system does not tell."""
    try:
        lines = cpu_features.read_text().splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    return any(feature in flags for feature in BF16_FEATURES)


def _precision(asked: EnginePrecision) -> Literal["f32", "bf16"]:
    if asked == "auto":
        return "bf16" if has_bf16() else "f32"
    if asked == "bf16" and not has_bf16():
        raise EngineError(
            f"this CPU does not compute in bf16 (none of {', '.join(BF16_FEATURES)} in {CPU_FEATURES}); "
            f"use --engine_precision f32"
        )
    return asked


def _package() -> Any:
    """The package, imported without `openvino_telemetry`.

    With it, the mere import writes a client id to the home folder and reports to Google Analytics, unless
    somebody opted out. Without it the package takes a stub of its own: a vehicle tells nobody where it is.
    """
    is_ours_to_hide = "openvino_telemetry" not in sys.modules
    if is_ours_to_hide:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # an import of it fails
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise EngineError(
            f"--engine openvino needs a package that is not here ({one_line(error)}); "
            f"pip install 'drivable[openvino]'"
        ) from error
    finally:
        if is_ours_to_hide:
            del sys.modules["openvino_telemetry"]


def _build(file: Path, settings: OpenVinoSettings, threads: int, calls: int) -> OpenVinoEngine:
    return OpenVinoEngine(file, threads, settings.engine_precision, streams=calls)


OPENVINO: Final = EngineKind(settings=OpenVinoSettings, build=_build)
