"""A session whose input and outputs stay in fixed buffers of a device."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from perception.inference.engines.pinned import empty

_DTYPES: Final = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}
_Job = tuple[Callable[[], Any], "Future[Any]"]


class BoundSession:
    """Runs a session with bound buffers, one inference at a time, all of them in one thread of its own.

    A captured CUDA graph reads and writes the addresses that it was captured with, must not run twice at
    once, and ONNX Runtime keeps it by thread. A lock would do for the first two; a thread does for all.
    Nobody waits for that thread at the end of the process: a call to a device may never return.
    """

    def __init__(self, session: ort.InferenceSession, device: str, run_waits: bool = True) -> None:
        """Make the buffers of the outputs; that of the input is made for the first frame.

        Args:
            device: ONNX Runtime's name of the memory, "cpu" or "cuda".
            run_waits: whether a run ends when its outputs are there, as the CUDA provider's does; else they
                are waited for.

        Raises:
            Exception: what ONNX Runtime raises, of several kinds, such as no memory on the device.
        """
        self._session = session
        self._device = device
        self._run_waits = run_waits
        self._input: Any = None
        self._input_host: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        Thread(target=_serve, args=(self._jobs,), name="device", daemon=True).start()
        weakref.finalize(self, self._jobs.put, None)
        self._do(self._bind)

    def run(self, batch: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """The outputs for one input, in the order of the graph, as copies of the caller's own."""
        outputs: list[NDArray[Any]] = self._do(lambda: self._run(batch))
        return outputs

    def _do(self, work: Callable[[], Any]) -> Any:
        """What `work` gives in the device's thread, or raises there."""
        answer: Future[Any] = Future()
        self._jobs.put((work, answer))
        return answer.result()

    def _bind(self) -> None:
        self._binding = self._session.io_binding()
        self._input_name = self._session.get_inputs()[0].name
        self._outputs: list[tuple[Any, Any, NDArray[Any]]] = []
        """By output: on the device, on the host, and the host's memory as an array."""
        for output in self._session.get_outputs():
            shape, dtype = list(output.shape), _DTYPES[output.type]
            buffer = ort.OrtValue.ortvalue_from_shape_and_type(shape, dtype, self._device, 0)
            self._binding.bind_ortvalue_output(output.name, buffer)
            array = empty(tuple(shape), np.dtype(dtype), self._device)
            self._outputs.append((buffer, ort.OrtValue.ortvalue_from_numpy(array), array))

    def _run(self, batch: NDArray[np.uint8]) -> list[NDArray[Any]]:
        if self._input is None or tuple(self._input.shape()) != batch.shape:
            self._input = ort.OrtValue.ortvalue_from_shape_and_type(
                list(batch.shape), batch.dtype, self._device, 0
            )
            self._input_host = empty(batch.shape, batch.dtype, self._device)
            self._binding.bind_ortvalue_input(self._input_name, self._input)
        np.copyto(self._input_host, batch)
        self._input.update_inplace(self._input_host)  # returns once it is there: nothing to synchronise
        self._session.run_with_iobinding(self._binding)
        if not self._run_waits:
            self._binding.synchronize_outputs()
        for buffer, host, _ in self._outputs:
            _copy(buffer, host)
        # The buffers are those of the next frame too.
        return [np.array(array) for _, _, array in self._outputs]


def _copy(source: Any, target: Any) -> None:
    try:
        target.update_inplace(source)
    except TypeError:  # an ONNX Runtime that copies from numpy alone
        target.update_inplace(source.numpy())


def _serve(jobs: SimpleQueue[_Job | None]) -> None:
    """Body of the thread: one job after the other, until there is none any more."""
    while (job := jobs.get()) is not None:
        work, answer = job
        try:
            answer.set_result(work())
        except BaseException as error:  # raised where the work was asked for
            answer.set_exception(error)
        del job, work, answer  # holds the session while it waits, or it would never be collected
