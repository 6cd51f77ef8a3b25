"""The engines that the bench compares, by one name each."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from perception.inference.engines import Engine, OnnxEngine, OpenVinoEngine
from perception.inference.engines.providers import ProviderName

EngineName = Literal["onnx", "openvino", "openvino-f32", "openvino-bf16"]


def open_engine(name: EngineName, file: Path, provider: ProviderName = "cpu", threads: int = 0) -> Engine:
    """A loaded network.

    Args:
        name: `openvino` alone takes bf16 where the CPU has it and f32 elsewhere.
        provider: ONNX Runtime's; OpenVINO runs on the CPU.
        threads: for one inference; 0 takes every core.

    Raises:
        EngineError: if the file does not load, or does not run there.
    """
    if name == "onnx":
        return OnnxEngine(file, provider, threads)
    if name == "openvino":
        return OpenVinoEngine(file, threads)
    return OpenVinoEngine(file, threads, "bf16" if name == "openvino-bf16" else "f32")
