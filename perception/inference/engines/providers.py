"""ONNX Runtime's execution providers: names and options, in the order they are tried.

The options are those of onnxruntime-gpu 1.31 and of ONNX Runtime's pages on its CUDA and TensorRT execution
providers. That these values are the fastest is reasoned, not measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import platformdirs

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
"""Providers with device memory, and ONNX Runtime's name of it."""


def attempts(
    provider: ProviderName, contract: ModelContract, cache: Path, available: Sequence[str]
) -> list[list[Provider]]:
    """The lists of providers to try for a session of this model, in order, as ONNX Runtime takes them.

    Empty if only the CPU is requested or available. In the first attempt the graph is captured as a CUDA
    graph and replayed, which saves kernel launches but needs fixed buffers, one thread, one size of frame,
    and all nodes on the provider: ONNX Runtime refuses others, so the second attempt captures nothing.

    Args:
        provider: as requested; "auto" is CUDA, but the CPU for int8 graphs: CUDA has only float kernels and
            would convert around every layer.
        cache: folder for TensorRT's engines; each model has a folder of its own in it, by its checksum.
        available: ONNX Runtime's names of the providers in this build.
    """
    on_gpu: Literal["cuda", "cpu"] = "cpu" if contract.precision == "int8" else "cuda"
    name = on_gpu if provider == "auto" else provider
    if name == "cpu" or PROVIDERS[name] not in available:
        return []
    lists = [
        _options(name, contract, cache, captures)
        for captures in (True, False)
        if contract.frame_wh != ANY_SIZE or not captures
    ]
    return [[entry for entry in entries if entry[0] in available] for entries in lists]


def session_entries(name: str, contract: ModelContract) -> dict[str, str]:
    """Session settings for the first provider `name`, besides that provider's options."""
    entries = {"session.record_ep_graph_assignment_info": "1"}  # nodes by provider; since 1.24
    if name == PROVIDERS["cuda"] and contract.precision == "int8":
        # CUDA has no kernel for int32 biases and computes in float anyway, so weights and biases are
        # dequantised at load. TensorRT needs them quantised.
        entries["session.disable_quant_qdq"] = "1"
    return entries


def _options(
    name: Literal["cuda", "tensorrt"], contract: ModelContract, cache: Path, captures: bool
) -> list[Provider]:
    """The providers of one attempt and their options, the requested one first."""
    cuda = {
        # A search takes place at the first run of each size of frame, so a graph for any size does without.
        # (ONNX Runtime 1.31 uses cuDNN's heuristics in both cases.)
        "cudnn_conv_algo_search": "HEURISTIC" if contract.frame_wh == ANY_SIZE else "EXHAUSTIVE",
        "cudnn_conv_use_max_workspace": "1",
        # TF32 has the mantissa of fp16, so an fp32 file would give other results than elsewhere. TensorRT
        # has no such option: `cuda.set_up` disables TF32 by NVIDIA's environment variable.
        "use_tf32": "0",
        "do_copy_in_default_stream": "1",  # 0 may race, says ONNX Runtime
        "enable_cuda_graph": _flag(captures and name == "cuda"),
    }
    others: list[Provider] = [(PROVIDERS["cuda"], cuda), (PROVIDERS["cpu"], {})]
    if name == "cuda":
        return others
    tensorrt = {
        "trt_fp16_enable": _flag(contract.precision == "fp16"),
        "trt_int8_enable": _flag(contract.precision == "int8"),  # with the graph's own scales
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(tensorrt_folder(contract, cache)),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(cache / "tensorrt"),  # shared by all models
        "trt_cuda_graph_enable": _flag(captures),
    }
    return [(PROVIDERS["tensorrt"], tensorrt), *others]


def tensorrt_folder(contract: ModelContract, cache: Path) -> Path:
    """The folder of the TensorRT engine of this file: building one takes minutes, loading it seconds."""
    return cache / "tensorrt" / contract.sha256


def make_cache(folder: Path) -> None:
    """Make a folder of the cache; raises EngineError, naming it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineError(
            f"{folder}: cannot store TensorRT's engines: {error.strerror}; "
            f"set XDG_CACHE_HOME to a writable folder"
        ) from error


def cache_folder() -> Path:
    """The user's cache folder of drivable; raises EngineError if there is none."""
    with suppress(RuntimeError):  # without a home folder; versions before 4.14 return "~/.cache"
        folder = platformdirs.user_cache_path("drivable", appauthor=False)
        if folder.is_absolute():
            return folder
    raise EngineError(
        "this user has no home folder to store TensorRT's engines in; set XDG_CACHE_HOME to a writable folder"
    )


def short_name(provider: str) -> str:
    """Our name of one of ONNX Runtime's providers, or its own if we have none."""
    return next((short for short, name in PROVIDERS.items() if name == provider), provider)


def _flag(is_on: bool) -> str:
    return "1" if is_on else "0"
