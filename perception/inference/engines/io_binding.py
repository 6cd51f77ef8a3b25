"""A session with its input and outputs in fixed buffers of a device.

Those on the host are page-locked, so that a GPU reads and writes them without an extra copy by the driver.
"""

from __future__ import annotations

import ctypes
import math
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

_DTYPES: Final = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}
_Job = tuple[Callable[[], Any], "Future[Any]"]


class BoundSession:
    """Runs a session with bound buffers, one inference at a time, in a thread of its own.

    A captured CUDA graph uses the addresses that it was captured with, must not run concurrently, and
    belongs to one thread in ONNX Runtime. The thread is a daemon, because a call to a device may never
    return.
    """

    def __init__(self, session: ort.InferenceSession, device: str, run_waits: bool = True) -> None:
        """Make the buffers of the outputs; that of the input is made for the first frame.

        Args:
            device: ONNX Runtime's name of the memory, "cpu" or "cuda".
            run_waits: whether a run waits for its outputs, like the CUDA provider's; otherwise this does.

        Raises:
            Exception: of ONNX Runtime's several types, for example if the device has no memory left.
        """
        self.session = session
        self._device = device
        self._run_waits = run_waits
        self._input: Any = None
        self._input_host: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        Thread(target=_serve, args=(self._jobs,), name="device", daemon=True).start()
        weakref.finalize(self, self._jobs.put, None)
        self._do(self._bind)

    def run(self, batch: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """Copies of the outputs for one input, in the order of the graph."""
        outputs: list[NDArray[Any]] = self._do(lambda: self._run(batch))
        return outputs

    def _do(self, work: Callable[[], Any]) -> Any:
        """Run `work` in the device's thread; returns its result or raises its error."""
        answer: Future[Any] = Future()
        self._jobs.put((work, answer))
        return answer.result()

    def _bind(self) -> None:
        self._binding = self.session.io_binding()
        self._input_name = self.session.get_inputs()[0].name
        self._outputs: list[tuple[Any, Any, NDArray[Any]]] = []
        """By output: on the device, on the host, and the host's memory as an array."""
        for output in self.session.get_outputs():
            shape, dtype = list(output.shape), _DTYPES[output.type]
            buffer = ort.OrtValue.ortvalue_from_shape_and_type(shape, dtype, self._device, 0)
            self._binding.bind_ortvalue_output(output.name, buffer)
            array = _page_locked(tuple(shape), np.dtype(dtype), self._device)
            self._outputs.append((buffer, ort.OrtValue.ortvalue_from_numpy(array), array))

    def _run(self, batch: NDArray[np.uint8]) -> list[NDArray[Any]]:
        if self._input is None or tuple(self._input.shape()) != batch.shape:
            self._input = ort.OrtValue.ortvalue_from_shape_and_type(
                list(batch.shape), batch.dtype, self._device, 0
            )
            self._input_host = _page_locked(batch.shape, batch.dtype, self._device)
            self._binding.bind_ortvalue_input(self._input_name, self._input)
        np.copyto(self._input_host, batch)
        self._input.update_inplace(self._input_host)  # synchronous
        self.session.run_with_iobinding(self._binding)
        if not self._run_waits:
            self._binding.synchronize_outputs()
        for buffer, host, _ in self._outputs:
            _copy(buffer, host)
        # Copied, because the next frame uses the same buffers.
        return [np.array(array) for _, _, array in self._outputs]


def _copy(source: Any, target: Any) -> None:
    try:
        target.update_inplace(source)
    except TypeError:  # versions of ONNX Runtime that copy from numpy only
        target.update_inplace(source.numpy())


def _serve(jobs: SimpleQueue[_Job | None]) -> None:
    """Body of the thread: run jobs until None comes."""
    while (job := jobs.get()) is not None:
        work, answer = job
        try:
            answer.set_result(work())
        except BaseException as error:  # raised in the caller
            answer.set_exception(error)
        del job, work, answer  # they hold the session, which could not be collected otherwise


def _page_locked(shape: tuple[int, ...], dtype: np.dtype[Any], device: str) -> NDArray[Any]:
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
