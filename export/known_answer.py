"""The known answer that every exported file carries: a rendered picture and what its network finds there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from perception.imaging.letterbox import nearest
from perception.inference.contract import ModelContract
from perception.inference.engines import OnnxEngine
from perception.inference.known_answer import KnownAnswer, mean_iou, reading_of
from perception.synthetic import DriveRenderer

LONGER_SIDE_PX: Final = 320
"""Of the picture: enough for every network, and 40 kB in the file."""
_LEVELS_APART: Final = 16


@dataclass(frozen=True)
class Picture:
    """One rendered picture of the built-in road."""

    scene: str
    seed: int
    frame: int
    warmth: int
    """Levels that red is raised by and blue lowered: so that exchanging them shows, grey roads hide it."""

    def __str__(self) -> str:
        return f"rendered: {self.scene}, seed {self.seed}, frame {self.frame}, red and blue {self.warmth:+d}"

    def draw(self, takes_wh: tuple[int, int]) -> NDArray[np.uint8]:
        """(h, w, 3) uint8 BGR of the shape of `takes_wh`, in few levels, which compress well."""
        scale = min(1.0, LONGER_SIDE_PX / max(takes_wh))
        wh = (max(1, round(takes_wh[0] * scale)), max(1, round(takes_wh[1] * scale)))
        image_bgr, _ = DriveRenderer(self.scene, wh, 30.0, self.seed).render(self.frame)
        tint = np.array([-self.warmth, 0, self.warmth])
        tinted = np.clip(image_bgr + tint, 0, 255)
        return (tinted // _LEVELS_APART * _LEVELS_APART + _LEVELS_APART // 2).astype(np.uint8)


PICTURES: Final = (
    Picture("dusk", 1, 300, 40),
    Picture("city", 0, 300, 80),
    Picture("highway", 0, 0, 0),
    Picture("day", 1, 300, 0),
)


def known_answer_of(engine: OnnxEngine) -> KnownAnswer:
    """The answer of a network to the picture that tells most: the most classes, and red from blue.

    Args:
        engine: of the file that is to carry it, on the CPU.
    """
    tried = [_tried(engine, picture) for picture in PICTURES]
    return max(tried, key=lambda entry: (len(entry[0].classes), -entry[1]))[0]


def _tried(engine: OnnxEngine, picture: Picture) -> tuple[KnownAnswer, float]:
    """The answer, and its mean IoU with what the network finds once red and blue are exchanged."""
    contract = engine.contract
    picture_bgr = picture.draw(contract.takes_wh)
    class_map, confidence = _read(engine, picture_bgr, contract)
    exchanged, _ = _read(engine, np.ascontiguousarray(picture_bgr[..., ::-1]), contract)
    return KnownAnswer(picture_bgr, class_map, confidence, str(picture)), mean_iou(class_map, exchanged)


def _read(
    engine: OnnxEngine, picture_bgr: NDArray[np.uint8], contract: ModelContract
) -> tuple[NDArray[np.uint8], float]:
    input_bgr = nearest(picture_bgr, contract.takes_wh)
    outputs: list[NDArray[Any]]
    if contract.output == "class_map":
        outputs = [output[np.newaxis] for output in engine.segment(input_bgr)]
    else:
        outputs = [engine.infer(input_bgr)[np.newaxis]]
    return reading_of(outputs, contract)
