"""Networks that others trained, run on the same frames: known by the inputs and outputs of their files.

None of them tells our alternative lanes from the direct one. So their masks are of the two classes
drivable and background, and only the two-class figures can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from perception.frame import Frame, Prediction
from perception.labels import BACKGROUND, DRIVABLE, LABELS_OF_TWO
from perception.perceive import class_shares

_SILENT = 4  # a file that does not load is told by us, in one line


class PeerError(ValueError):
    """A file that is no peer we know how to run."""


class PeerKind(Protocol):
    """How a kind of network takes a frame, and what its outputs mean."""

    note: str
    """What a reader of the table must know; may be empty."""

    def recognises(self, inputs: list[Any], outputs: list[Any]) -> bool:
        """Whether a file with these inputs and outputs, as ONNX Runtime lists them, is of this kind."""
        ...

    def prepare(self, resized_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(h, w, 3) uint8 BGR of the network's size to the (1, 3, h, w) float32 that it takes."""
        ...

    def drivable(self, outputs: dict[str, NDArray[np.float32]]) -> NDArray[np.bool_]:
        """(h, w) whether a pixel is drivable."""
        ...


class DrivableAndLines:
    """TwinLiteNet (Che et al., 2023): RGB / 255 in; logits of drivable area and lane lines out."""

    note = ""

    def recognises(self, inputs: list[Any], outputs: list[Any]) -> bool:
        shapes = {output.name: output.shape for output in outputs}
        height, width = inputs[0].shape[2:]
        return shapes.keys() == {"da", "ll"} and shapes["da"] == [1, 2, height, width]

    def prepare(self, resized_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        return _planes(resized_bgr[..., ::-1]) / np.float32(255)

    def drivable(self, outputs: dict[str, NDArray[np.float32]]) -> NDArray[np.bool_]:
        background, drivable = outputs["da"][0]
        return np.asarray(drivable > background)


class RoadSurface:
    """Open Model Zoo's road-segmentation-adas-0001: BGR of 0 to 255 in; scores of four classes out."""

    note = "road and lane marks count as drivable: it was taught all road surface, oncoming lanes too"
    BACKGROUND, ROAD, CURB, MARK = range(4)

    def recognises(self, inputs: list[Any], outputs: list[Any]) -> bool:
        return inputs[0].shape == [1, 3, 512, 896] and [out.shape for out in outputs] == [[1, 4, 512, 896]]

    def prepare(self, resized_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        return _planes(resized_bgr)

    def drivable(self, outputs: dict[str, NDArray[np.float32]]) -> NDArray[np.bool_]:
        (scores,) = outputs.values()
        return np.isin(scores[0].argmax(0), (self.ROAD, self.MARK))


KINDS: dict[str, PeerKind] = {
    "outputs da and ll, 1x2xHxW, for an input 1x3xHxW (TwinLiteNet)": DrivableAndLines(),
    "one output 1x4x512x896 for an input 1x3x512x896 (OMZ road-segmentation-adas-0001)": RoadSurface(),
}


@dataclass(frozen=True)
class Peer:
    """One such network; called with a frame, as the node's own `Perceiver` is."""

    name: str
    kind: PeerKind
    session: ort.InferenceSession

    def __call__(self, frame: Frame) -> Prediction:
        """`DRIVABLE` where the network says so, `BACKGROUND` elsewhere, at the network's own size."""
        taken = self.session.get_inputs()[0]
        height, width = taken.shape[2:]
        # Stretched, as both publish it: their aspect ratio is that of the frames, or nearly so.
        resized_bgr = np.asarray(cv2.resize(frame.image_bgr, (width, height)), np.uint8)
        names = [output.name for output in self.session.get_outputs()]
        outputs = self.session.run(names, {taken.name: self.kind.prepare(resized_bgr)})
        is_drivable = self.kind.drivable(dict(zip(names, outputs, strict=True)))
        class_map = np.where(is_drivable, np.uint8(DRIVABLE), np.uint8(BACKGROUND))
        shares = class_shares(class_map, LABELS_OF_TWO)
        return Prediction(frame, class_map, shares, self.name, labels=LABELS_OF_TWO)


def load_peer(file: Path) -> Peer:
    """A network of one of the `KINDS`.

    Raises:
        PeerError: if the file cannot be read, does not load, or is of none of them.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise PeerError(f"{file}: the peer cannot be read: {error.strerror}") from error
    options = ort.SessionOptions()
    options.log_severity_level = _SILENT
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises several kinds, none with a base of its own
        reason = " ".join(str(error).split())
        raise PeerError(f"{file}: not a network that ONNX Runtime can load: {reason}") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if [taken.type for taken in inputs] == ["tensor(float)"] and _is_image(inputs[0].shape):
        for kind in KINDS.values():
            if kind.recognises(inputs, outputs):
                return Peer(file.stem, kind, session)
    found = "; ".join(
        f"{what} {', '.join(f'{value.name} {value.type} {value.shape}' for value in values)}"
        for what, values in (("takes", inputs), ("gives", outputs))
    )
    raise PeerError(f"{file}: no peer that is known here: it {found}; known: {'; '.join(KINDS)}")


def _is_image(shape: list[Any]) -> bool:
    return len(shape) == 4 and shape[:2] == [1, 3] and all(isinstance(side, int) for side in shape)


def _planes(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(h, w, 3) to (1, 3, h, w)."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)[np.newaxis], np.float32)
