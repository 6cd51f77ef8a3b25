"""OpenVINO as the engine, for Intel's and AMD's CPUs; optional, with bf16 if the CPU has it."""

from __future__ import annotations

import importlib
import itertools
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import local
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from perception.frame import EngineState
from perception.inference.engines.engine import (
    CheckedEngine,
    EngineError,
    EngineKind,
    check_known_answer,
    one_line,
)
from perception.inference.engines.reasons import why_not_loaded, why_not_run
from perception.inference.engines.session import CheckedModel
from perception.system.cores import usable_cores

EnginePrecision = Literal["auto", "f32", "bf16"]

CPU_FEATURES: Final = Path("/proc/cpuinfo")
BF16_FEATURES: Final = ("avx512_bf16", "amx_bf16")
"""Linux' names of the instructions. OpenVINO itself also reports BF16 where it only emulates it."""


@dataclass(frozen=True)
class OpenVinoSettings:
    """OpenVINO, another engine for CPUs."""

    engine_precision: EnginePrecision = "auto"
    """OpenVINO's arithmetic for floats: auto takes bf16 where the CPU has it and f32 elsewhere."""


class OpenVinoEngine(CheckedEngine):
    """A model file with a contract, on the CPU; verified by the same code as in `OnnxEngine`."""

    def __init__(
        self, file: Path, threads: int = 0, precision: EnginePrecision = "auto", streams: int = 1
    ) -> None:
        """Load `file` and compile it for this CPU.

        Args:
            threads: for one inference; 0 shares every core among all of them.
            precision: of the graph's floats. "auto" uses bf16 if the CPU has it, otherwise f32; bf16 has the
                range of f32 with 8 bits of mantissa.
            streams: concurrent inferences, each called from a thread of its own.

        Raises:
            EngineError: if the package is missing, the file does not load, has no valid contract or does
                not give its known answer, or bf16 is requested and the CPU lacks it.
        """
        openvino = _package()
        model = CheckedModel.opened(file, threads=1)
        self.contract, self.model_sha256 = model.contract, model.sha256
        self.precision = _precision(precision)
        self.provider = f"openvino {self.precision}"
        self.state = EngineState.OK
        self.runs_one_at_a_time = False
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": self.precision,
        }
        if streams > 1:
            settings |= {
                "INFERENCE_NUM_THREADS": threads or max(1, usable_cores() // streams),
                "ENABLE_CPU_PINNING": False,  # each network would take the first core
            }

        def compile_networks() -> list[Any]:
            core = openvino.Core()
            graph = core.read_model(model.content)
            return [core.compile_model(graph, "CPU", settings) for _ in range(streams)]

        try:
            # The plugin gives the thread that loads it a signal stack, and frees it when the last network is
            # deleted, in whatever thread: a signal to the first thread then crashes the process. A thread
            # that has ended gets no signal.
            # One network per stream: OpenVINO builds the streams of one network at the same time, and on a
            # loaded machine they sometimes come out wrong, all alike (2026.4: 1 of 25 loads of rt_s-int8 with
            # two streams, none of 90 with one).
            with ThreadPoolExecutor(max_workers=1) as loader:
                networks = loader.submit(compile_networks).result()
        except Exception as error:  # OpenVINO raises RuntimeError for everything
            raise EngineError(
                f"{file}: not a model that OpenVINO can load: {why_not_loaded(error)}"
            ) from error
        self._networks, self._own = itertools.cycle(networks), local()
        self.is_proven = model.known is not None
        for network in networks:
            self._own.request = network.create_infer_request()
            check_known_answer(model.known, self.contract, self.provider, self._run)

    def _run(self, image_bgr: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """The outputs in the order of the graph; each thread has a request with its own buffers."""
        if not hasattr(self._own, "request"):
            self._own.request = next(self._networks).create_infer_request()
        try:
            outputs = self._own.request.infer({0: image_bgr[np.newaxis]}, share_inputs=True)
            return [outputs[index] for index in range(len(outputs))]
        except Exception as error:  # as above
            name = self.contract.model_id
            raise EngineError(f"{name} does not run on {self.provider}: {why_not_run(error)}") from error


def has_bf16(cpu_features: Path = CPU_FEATURES) -> bool:
    """Whether the CPU has bf16 instructions; False if unknown."""
    try:
        lines = cpu_features.read_text().splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    return any(feature in flags for feature in BF16_FEATURES)


def _precision(requested: EnginePrecision) -> Literal["f32", "bf16"]:
    if requested == "auto":
        return "bf16" if has_bf16() else "f32"
    if requested == "bf16" and not has_bf16():
        raise EngineError(
            f"this CPU does not compute in bf16 (none of {', '.join(BF16_FEATURES)} in {CPU_FEATURES}); "
            f"use --engine_precision f32"
        )
    return requested


def _package() -> Any:
    """The package, imported without `openvino_telemetry`.

    With it, the import alone writes a client id to the home folder and reports to Google Analytics, unless
    the user opted out. Without it the package uses a stub: a vehicle must not report where it is.
    """
    is_ours_to_hide = "openvino_telemetry" not in sys.modules
    if is_ours_to_hide:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # an import of it fails
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise EngineError(
            f"--engine openvino needs a package that is not installed ({one_line(error)}); "
            f"pip install 'drivable[openvino]'"
        ) from error
    finally:
        if is_ours_to_hide:
            del sys.modules["openvino_telemetry"]


def _build(file: Path, settings: OpenVinoSettings, threads: int, calls: int) -> OpenVinoEngine:
    return OpenVinoEngine(file, threads, settings.engine_precision, streams=calls)


OPENVINO: Final = EngineKind(settings=OpenVinoSettings, build=_build)
