"""Finding CUDA: its libraries are taken from NVIDIA's packages; what keeps ONNX Runtime from it gets a name.

ONNX Runtime raises nothing where the library of a provider does not load: it goes on with the next one.
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
"""What shows an NVIDIA device under Linux, whether or not CUDA loads."""
DRIVER_LIBRARY: Final = "libcuda.so.1"
_MISSING: Final = re.compile(r"(\S+): cannot open shared object file")
_FAILURE: Final = re.compile(r"(?:CU(?:DA|DNN|BLAS) failure \d+|Failed to allocate memory)[^;]*")


def is_device_visible(patterns: Sequence[str] = DEVICES) -> bool:
    """Whether this machine shows an NVIDIA device."""
    return any(next(Path("/").glob(pattern.lstrip("/")), None) is not None for pattern in patterns)


def may_have_device() -> bool:
    """Whether it is worth a second and 150 MB to load CUDA, unasked."""
    return sys.platform != "linux" or is_device_visible()


@cache
def set_up() -> None:
    """Once a process, before a provider of a GPU is tried: load CUDA from `drivable[cuda]`'s packages.

    Where those are not installed, the system's own CUDA serves, if there is one.
    """
    # TensorRT rounds fp32 to TF32 unless this forbids it; a file that says fp32 gives the same everywhere.
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    # What it prints belongs to no records; what is missing is found out below, in one line.
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ort.preload_dlls()


def why_not_loaded(provider: str) -> str | None:
    """What keeps ONNX Runtime's library of "cuda" or "tensorrt" from loading; None if nothing does."""
    name = f"onnxruntime_providers_{provider}"
    file = f"{name}.dll" if sys.platform == "win32" else f"lib{name}.so"
    library = Path(ort.__file__).parent / "capi" / file
    if not library.is_file():
        return f"this build of ONNX Runtime {ort.__version__} for {sys.platform} has no {provider}"
    try:
        # All that it needs is asked for before any of it runs.
        ctypes.CDLL(str(library))
    except OSError as error:
        missing = _MISSING.match(str(error))
        if missing is None:
            return one_line(error)
        return f"{missing[1]} is missing; {_source_of(missing[1], provider)}"
    return None


def reason_of(error: Exception) -> str:
    """What CUDA said of a failure, without the place in ONNX Runtime's source; else what failed."""
    text = one_line(error)
    failure = _FAILURE.search(text)
    return failure[0].strip() if failure else why_not_run(error)


def _source_of(library: str, provider: str) -> str:
    if library == DRIVER_LIBRARY:
        return "it comes with NVIDIA's driver"
    if provider == "tensorrt" and library.startswith("libnv"):
        return "it comes with TensorRT"
    return "pip install 'drivable[cuda]' brings it"
