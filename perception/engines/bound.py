"""A session whose input and outputs stay in fixed buffers of a device."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

_DTYPES: Final = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}


class BoundSession:
    """Runs a session with bound buffers, one inference at a time, all of them in one thread of its own.

    A captured CUDA graph reads and writes the addresses that it was captured with, must not run twice at
    once, and ONNX Runtime keeps it by thread. A lock would do for the first two; a thread does for all.
    Tested on the CPU's memory; no GPU was there when this was written.
    """

    def __init__(self, session: ort.InferenceSession, device: str) -> None:
        """Make the buffers of the outputs; that of the input is made for the first frame.

        Args:
            device: ONNX Runtime's name of the memory, "cpu" or "cuda".
        """
        self._session = session
        self._device = device
        self._binding = session.io_binding()
        self._input_name = session.get_inputs()[0].name
        self._input: Any = None
        self._outputs = []
        for output in session.get_outputs():
            buffer = self._buffer(output.shape, _DTYPES[output.type])
            self._binding.bind_ortvalue_output(output.name, buffer)
            self._outputs.append(buffer)
        self._thread = ThreadPoolExecutor(1, "device")

    def run(self, batch: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """The outputs for one input, in the order of the graph, as copies of the caller's own."""
        return self._thread.submit(self._run, batch).result()

    def _run(self, batch: NDArray[np.uint8]) -> list[NDArray[Any]]:
        if self._input is None or tuple(self._input.shape()) != batch.shape:
            self._input = self._buffer(batch.shape, batch.dtype)
            self._binding.bind_ortvalue_input(self._input_name, self._input)
        self._input.update_inplace(batch)
        self._binding.synchronize_inputs()
        self._session.run_with_iobinding(self._binding)
        self._binding.synchronize_outputs()
        # On the CPU `numpy` is a view of the buffer, which the next frame overwrites.
        return [np.array(output.numpy()) for output in self._outputs]

    def _buffer(self, shape: Any, dtype: Any) -> Any:
        return ort.OrtValue.ortvalue_from_shape_and_type(list(shape), dtype, self._device, 0)
