"""The engines that the bench compares, by one name each."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from perception.inference.engines import Engine, OnnxEngine, OpenVinoEngine
from perception.inference.engines.openvino import EnginePrecision
from perception.inference.engines.providers import ProviderName

EngineName = Literal["onnx", "openvino", "openvino-f32", "openvino-bf16"]
OPENVINO: Final[dict[EngineName, EnginePrecision]] = {
    "openvino": "auto",  # bf16 where the CPU has it, and f32 elsewhere
    "openvino-f32": "f32",
    "openvino-bf16": "bf16",
}


def open_engine(name: EngineName, file: Path, provider: ProviderName = "cpu", threads: int = 0) -> Engine:
    """A loaded network.

    Args:
        provider: ONNX Runtime's; OpenVINO runs on the CPU.
        threads: for one inference; 0 takes every core.

    Raises:
        EngineError: if the file does not load, or does not run there.
    """
    if name == "onnx":
        return OnnxEngine(file, provider, threads)
    return OpenVinoEngine(file, threads, OPENVINO[name])
