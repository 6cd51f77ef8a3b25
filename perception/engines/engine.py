"""What every engine promises."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from perception.contract import ModelContract
from perception.frame import EngineState


class EngineError(Exception):
    """A network that cannot be loaded or run as asked: one line that says what to do."""


class Engine(Protocol):
    """A loaded network. `infer` may be called from several threads at once."""

    contract: ModelContract
    provider: str
    """The provider that really runs it."""
    state: EngineState

    def infer(self, input_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(input_h, input_w, 3) uint8 to (classes, input_h / stride, input_w / stride) logits."""
        ...
