"""Self-test of engines: a picture in the model file, and its network's class map of it.

A provider that computes nothing, or something else, raises no error. So every file has a rendered picture
with the class map that its network gave on the CPU at export, and an engine that loads the file runs that
picture first. The pixels are stored losslessly, so no version of a renderer or decoder can change them.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.imaging.letterbox import nearest
from perception.inference.contract import ContractError, ModelContract
from perception.labels import BACKGROUND, IDS

KNOWN_ANSWER_KEY: Final = "drivable.known_answer"
LEAST_MEAN_IOU: Final = 0.85
"""Shipped files reach 0.98 on ONNX Runtime with and without VNNI and on OpenVINO in f32 and bf16. With red
and blue swapped they reach at most 0.75, with classes swapped or a single class 0.34."""
MOST_CONFIDENCE_OFF: Final = 0.1
"""Allowed difference of mean confidence: separates an answer of one class from no output."""
LEAST_SHARE: Final = 0.01
"""Classes that cover less of the answer do not count, because single cells would decide."""
_LARGEST_PICTURE_PX: Final = 1024
_PNG_BEGINS: Final = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, eq=False)
class KnownAnswer:
    """A picture and the class map that a network must give for it."""

    picture_bgr: NDArray[np.uint8]
    """(h, w, 3) uint8, smaller than the graph's input."""
    class_map: NDArray[np.uint8]
    """(rows, columns) uint8 class ids, of the size of the graph's output."""
    confidence: float
    """Mean probability of the predicted class."""
    picture: str
    """Its description."""

    def input_bgr(self, contract: ModelContract) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 at the size of the graph's input; the same bytes everywhere."""
        return nearest(self.picture_bgr, contract.takes_wh)

    def why_wrong(self, outputs: Sequence[NDArray[Any]], contract: ModelContract) -> str | None:
        """How a graph's outputs for `input_bgr` differ from the answer; None if they match."""
        class_map, confidence = reading_of(outputs, contract)
        agreement = mean_iou(self.class_map, class_map) if np.isfinite(confidence) else 0.0
        if agreement < LEAST_MEAN_IOU:
            return f"mean IoU {agreement:.2f} with the class map in the file, below {LEAST_MEAN_IOU:g}"
        if abs(confidence - self.confidence) > MOST_CONFIDENCE_OFF:
            return f"a mean confidence of {confidence:.2f} instead of {self.confidence:.2f}"
        return None

    @property
    def classes(self) -> dict[str, float]:
        """Share of each class in the answer."""
        names = {number: label for label, number in IDS.items()}
        return {
            names[number]: float(np.mean(self.class_map == number)) for number in classes_in(self.class_map)
        }

    def to_json(self) -> str:
        """Its text in the file's metadata."""
        return json.dumps(
            {
                "picture": self.picture,
                "picture_png": _png(self.picture_bgr),
                "class_map_png": _png(self.class_map),
                "confidence": round(self.confidence, 4),
            }
        )

    @classmethod
    def from_json(cls, text: str, contract: ModelContract, where: str) -> Self:
        """Read it back; raises ContractError, naming `where`, if it is damaged or for another graph."""
        width, height = contract.input_wh
        stride = contract.output_stride if contract.output == "logits" else 1
        try:
            values = json.loads(text)
            answer = cls(
                _pixels(values["picture_png"], cv2.IMREAD_COLOR, _LARGEST_PICTURE_PX),
                _pixels(values["class_map_png"], cv2.IMREAD_GRAYSCALE, max(width, height)),
                float(values["confidence"]),
                str(values["picture"]),
            )
        except (ValueError, KeyError, TypeError, RecursionError, struct.error, cv2.error) as error:
            raise ContractError(
                f"{where}: the known answer in the file is damaged: drivable-export renew replaces it"
            ) from error
        ids = {IDS[label] for label in contract.labels}
        if answer.class_map.shape != (height // stride, width // stride) or not ids >= set(
            np.unique(answer.class_map).tolist()
        ):
            raise ContractError(f"{where}: the known answer in the file is for another graph")
        return answer


def reading_of(outputs: Sequence[NDArray[Any]], contract: ModelContract) -> tuple[NDArray[np.uint8], float]:
    """Class ids and mean confidence of a graph's outputs; NaN if the outputs are not finite.

    Args:
        outputs: logits (1, labels, h, w), or class map and confidence (1, h, w), depending on the contract.
    """
    if contract.output == "class_map":
        confidence = outputs[1][0]
        return outputs[0][0], float(confidence.mean()) / 255 if confidence.all() else float("nan")
    logits = outputs[0][0]
    order = sorted(range(len(logits)), key=lambda index: contract.labels[index] != "background")
    ids = np.array([IDS[contract.labels[index]] for index in order], np.uint8)
    largest = logits.max(0)
    share = 1 / np.exp(logits - largest).sum(0)
    return ids[logits[order].argmax(0)], float(share.mean())


def mean_iou(expected: NDArray[np.uint8], found: NDArray[np.uint8]) -> float:
    """Mean IoU of two class maps, over the classes that cover `LEAST_SHARE` of the first."""
    shares = [
        np.count_nonzero((expected == number) & (found == number))
        / np.count_nonzero((expected == number) | (found == number))
        for number in classes_in(expected)
    ]
    return float(np.mean(shares))


def classes_in(class_map: NDArray[np.uint8]) -> list[int]:
    """Ids of the classes that cover `LEAST_SHARE`."""
    counts = np.bincount(class_map.ravel(), minlength=BACKGROUND + 1)
    return [number for number, count in enumerate(counts.tolist()) if count >= LEAST_SHARE * class_map.size]


def _png(pixels: NDArray[np.uint8]) -> str:
    _, png = cv2.imencode(".png", pixels, (cv2.IMWRITE_PNG_COMPRESSION, 9))
    return base64.b64encode(png.tobytes()).decode()


def _pixels(text: str, flag: int, largest_side_px: int) -> NDArray[np.uint8]:
    """Decode a PNG; larger pictures are refused before they take memory."""
    png = base64.b64decode(text, validate=True)
    sides = struct.unpack(">II", png[16:24])
    if not png.startswith(_PNG_BEGINS):
        raise ValueError("not a PNG")
    if not all(0 < side <= largest_side_px for side in sides):
        raise ValueError(f"a picture of {sides[0]}x{sides[1]}")
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), flag)
    if pixels is None:
        raise ValueError("a PNG that cannot be decoded")
    return np.asarray(pixels, np.uint8)
