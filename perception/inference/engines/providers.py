"""What ONNX Runtime is asked for on each provider: names and options, in the order they are tried.

The option names are those in the libraries of onnxruntime-gpu 1.31 and in ONNX Runtime's pages on its CUDA
and TensorRT execution providers. That they are the fastest ones is reasoned, not measured.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from perception.inference.contract import ANY_SIZE, ModelContract
from perception.inference.engines.engine import EngineError
from perception.inference.engines.session import CPU

ProviderName = Literal["auto", "cpu", "cuda", "tensorrt"]
Provider = tuple[str, dict[str, str]]
"""ONNX Runtime's name of a provider, and its options."""

PROVIDERS: Final = {
    "cpu": CPU,
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
DEVICES: Final = {"cuda": "cuda", "tensorrt": "cuda"}
"""Providers with a memory of their own, and ONNX Runtime's name of it."""


def attempts(
    provider: ProviderName, contract: ModelContract, cache: Path, available: Sequence[str]
) -> list[list[Provider]]:
    """The lists of providers that a session of this model is asked for, one after the other.

    Empty where the CPU alone is wanted, or nothing else is there. A graph with a part that the GPU does
    not run cannot be captured, and ONNX Runtime refuses it; so the second attempt captures nothing.

    Args:
        provider: as it was asked for; "auto" takes CUDA, but leaves an int8 graph to the CPU, which it
            was quantised for: CUDA has float kernels alone, and converts around every layer.
        cache: folder for what TensorRT builds.
        available: ONNX Runtime's names of the providers that it was built with.
    """
    on_gpu: Literal["cuda", "cpu"] = "cpu" if contract.precision == "int8" else "cuda"
    name = on_gpu if provider == "auto" else provider
    if name == "cpu" or PROVIDERS[name] not in available:
        return []
    captures = [True, False] if contract.frame_wh != ANY_SIZE else [False]
    lists = [provider_options(name, contract, cache, contract.precision, captured) for captured in captures]
    return [[entry for entry in entries if entry[0] in available] for entries in lists]


def session_entries(name: str, contract: ModelContract) -> dict[str, str]:
    """Settings of a session whose first provider is `name`, besides that provider's options."""
    entries = {"session.record_ep_graph_assignment_info": "1"}  # who runs which node; since 1.24
    if name == PROVIDERS["cuda"] and contract.precision == "int8":
        # CUDA has no kernel for int32 biases, and computes in float anyway: weights and biases are
        # dequantised at load. TensorRT wants to see them as they are.
        entries["session.disable_quant_qdq"] = "1"
    return entries


def provider_options(
    name: Literal["cpu", "cuda", "tensorrt"],
    contract: ModelContract,
    cache: Path,
    precision: str,
    captures: bool,
) -> list[Provider]:
    """The list of providers with their options, as ONNX Runtime takes it, the wanted one first.

    Args:
        name: the wanted provider.
        contract: of the model: a graph for any size of frame chooses its convolutions by rule, since
            each new size would be searched for anew; one for a single size may search, at the first run.
            (ONNX Runtime 1.31 asks cuDNN's heuristics in both cases, and measures nothing.)
        cache: folder for what TensorRT builds; a model has a folder of its own in it, by its checksum.
        precision: "fp32", "fp16" or "int8" (a graph that holds its own scales).
        captures: whether the whole graph is captured as a CUDA graph and replayed: no launch of single
            kernels, but fixed buffers, one thread, and no node outside the provider.

    Raises:
        ValueError: if a graph for any size of frame is to be captured.
    """
    is_static = contract.frame_wh != ANY_SIZE
    if captures and not is_static:
        raise ValueError("a CUDA graph has one size of frame")
    cpu: Provider = (PROVIDERS["cpu"], {})
    if name == "cpu":
        return [cpu]
    cuda = {
        "cudnn_conv_algo_search": "EXHAUSTIVE" if is_static else "HEURISTIC",
        "cudnn_conv_use_max_workspace": "1",
        # TF32 has the mantissa of fp16: a file that says fp32 would not give what it gives elsewhere.
        # TensorRT has no such option: `cuda.set_up` forbids it by NVIDIA's environment variable.
        "use_tf32": "0",
        "do_copy_in_default_stream": "1",  # 0 may race, says ONNX Runtime
        "enable_cuda_graph": _flag(captures and name == "cuda"),
    }
    if name == "cuda":
        return [(PROVIDERS["cuda"], cuda), cpu]
    tensorrt = {
        "trt_fp16_enable": _flag(precision == "fp16"),
        "trt_int8_enable": _flag(precision == "int8"),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(tensorrt_folder(contract, cache)),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(cache / "tensorrt"),  # kernels' times serve every model
        "trt_cuda_graph_enable": _flag(captures),
    }
    return [(PROVIDERS["tensorrt"], tensorrt), (PROVIDERS["cuda"], cuda), cpu]


def tensorrt_folder(contract: ModelContract, cache: Path) -> Path:
    """Where TensorRT keeps what it built of this very file: building takes minutes, loading seconds."""
    return cache / "tensorrt" / contract.sha256


def make_cache(folders: Sequence[Path]) -> None:
    """Make folders of the cache; raises EngineError, naming the folder."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EngineError(
                f"{folder}: cannot keep TensorRT's engines: {error.strerror}; "
                f"set XDG_CACHE_HOME to a folder that can be written"
            ) from error


def cache_folder(environment: Mapping[str, str] | None = None, platform: str = sys.platform) -> Path:
    """The folder for what can be built again, in the user's cache; raises EngineError where there is none."""
    environment = os.environ if environment is None else environment
    if environment.get("XDG_CACHE_HOME"):
        return Path(environment["XDG_CACHE_HOME"]) / "drivable"
    if platform == "win32" and environment.get("LOCALAPPDATA"):
        return Path(environment["LOCALAPPDATA"]) / "drivable"
    try:
        return Path.home() / ".cache" / "drivable"
    except RuntimeError as error:
        raise EngineError(
            "this user has no home folder to keep TensorRT's engines in; "
            "set XDG_CACHE_HOME to a folder that can be written"
        ) from error


def short_name(provider: str) -> str:
    """Our name of one of ONNX Runtime's providers, or its own where we have none."""
    return next((short for short, name in PROVIDERS.items() if name == provider), provider)


def _flag(is_on: bool) -> str:
    return "1" if is_on else "0"
