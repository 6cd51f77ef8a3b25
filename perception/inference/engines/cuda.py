"""Finds and loads CUDA from NVIDIA's packages, and the reason if ONNX Runtime cannot use it.

ONNX Runtime raises no error if the library of a provider does not load: it uses the next provider.
"""

from __future__ import annotations

import ctypes
import io
import os
import re
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Final

import onnxruntime as ort

from perception.inference.engines.engine import one_line
from perception.inference.engines.reasons import why_not_run

DEVICES: Final = (
    *("/dev/nvidia[0-9]*", "/proc/driver/nvidia/version"),
    *("/dev/nvgpu", "/dev/nvhost-gpu"),  # on a Jetson
    "/usr/lib/wsl/lib/libcuda.so.1",
)
"""Signs of an NVIDIA device under Linux, whether or not CUDA loads."""
DRIVER_LIBRARY: Final = "libcuda.so.1"
_MISSING: Final = re.compile(r"(\S+): cannot open shared object file")
_FAILURE: Final = re.compile(r"(?:CU(?:DA|DNN|BLAS) failure \d+|Failed to allocate memory)[^;]*")


def is_device_visible(patterns: Sequence[str] = DEVICES) -> bool:
    """Whether this machine shows an NVIDIA device."""
    return any(next(Path("/").glob(pattern.lstrip("/")), None) is not None for pattern in patterns)


def may_have_device() -> bool:
    """Whether loading CUDA without a request is worth a second and 150 MB."""
    return sys.platform != "linux" or is_device_visible()


@cache
def set_up() -> None:
    """Load CUDA from the packages of `drivable[cuda]`, once per process, before a GPU provider is tried.

    If they are not installed, the system's own CUDA is used, if there is one.
    """
    # Otherwise TensorRT rounds fp32 to TF32, and an fp32 file would not give the same results everywhere.
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    # Its output must not mix with records; `why_not_loaded` finds what is missing.
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ort.preload_dlls()


def why_not_loaded(provider: str) -> str | None:
    """Why ONNX Runtime's library of "cuda" or "tensorrt" does not load; None if it does."""
    name = f"onnxruntime_providers_{provider}"
    file = f"{name}.dll" if sys.platform == "win32" else f"lib{name}.so"
    library = Path(ort.__file__).parent / "capi" / file
    if not library.is_file():
        return f"this build of ONNX Runtime {ort.__version__} for {sys.platform} has no {provider}"
    try:
        # Loads all its dependencies before any of it runs.
        ctypes.CDLL(str(library))
    except OSError as error:
        missing = _MISSING.match(str(error))
        if missing is None:
            return one_line(error)
        return f"{missing[1]} is missing; {_source_of(missing[1], provider)}"
    return None


def reason_of(error: Exception) -> str:
    """CUDA's reason for a failure, without the location in ONNX Runtime's source; otherwise what failed."""
    text = one_line(error)
    failure = _FAILURE.search(text)
    return failure[0].strip() if failure else why_not_run(error)


def _source_of(library: str, provider: str) -> str:
    if library == DRIVER_LIBRARY:
        return "it comes with NVIDIA's driver"
    if provider == "tensorrt" and library.startswith("libnv"):
        return "it comes with TensorRT"
    return "pip install 'drivable[cuda]' installs it"
