"""Arrays in page-locked memory, which a GPU reads and writes without an extra copy by the driver."""

from __future__ import annotations

import ctypes
import math
import sys
import weakref
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray


def empty(shape: tuple[int, ...], dtype: np.dtype[Any], device: str) -> NDArray[Any]:
    """An array in memory locked for `device`; an ordinary one on "cpu", or if none can be locked.

    ONNX Runtime's Python API has no such memory for the CUDA provider, so this calls CUDA itself.
    """
    runtime = _cuda_runtime() if device == "cuda" else None
    size = math.prod(shape) * dtype.itemsize
    address = ctypes.c_void_p()
    if runtime is None or runtime.cudaMallocHost(ctypes.byref(address), ctypes.c_size_t(size)) != 0:
        return np.empty(shape, dtype)
    block = (ctypes.c_ubyte * size).from_address(address.value or 0)
    weakref.finalize(block, runtime.cudaFreeHost, address).atexit = False  # the process frees it
    return np.frombuffer(memoryview(block), dtype).reshape(shape)


def _cuda_runtime() -> ctypes.CDLL | None:
    """The library that the CUDA provider has loaded."""
    major = str(getattr(ort, "cuda_version", "")).partition(".")[0]
    name = f"cudart64_{major}.dll" if sys.platform == "win32" else f"libcudart.so.{major}"
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None
