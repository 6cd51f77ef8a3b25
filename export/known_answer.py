"""The known answer of an exported file: a rendered picture and its network's class map of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from perception.imaging.letterbox import nearest
from perception.inference.engines import OnnxEngine
from perception.inference.known_answer import KnownAnswer, mean_iou, reading_of
from perception.synthetic import DriveRenderer

LONGER_SIDE_PX: Final = 320
"""Of the picture: enough for every network, and 40 kB in the file."""
_LEVEL_STEP: Final = 16


@dataclass(frozen=True)
class Picture:
    """One rendered picture of the built-in road."""

    scene: str
    seed: int
    frame: int
    warmth: int
    """Levels added to red and subtracted from blue: on grey roads swapped channels would not show."""

    def __str__(self) -> str:
        return f"rendered: {self.scene}, seed {self.seed}, frame {self.frame}, red and blue {self.warmth:+d}"

    def draw(self, takes_wh: tuple[int, int]) -> NDArray[np.uint8]:
        """(h, w, 3) uint8 BGR with the aspect ratio of `takes_wh`, in few levels, which compress well."""
        scale = min(1.0, LONGER_SIDE_PX / max(takes_wh))
        wh = (max(1, round(takes_wh[0] * scale)), max(1, round(takes_wh[1] * scale)))
        image_bgr, _ = DriveRenderer(self.scene, wh, 30.0, self.seed).render(self.frame)
        tint = np.array([-self.warmth, 0, self.warmth])
        tinted = np.clip(image_bgr + tint, 0, 255)
        return (tinted // _LEVEL_STEP * _LEVEL_STEP + _LEVEL_STEP // 2).astype(np.uint8)


PICTURES: Final = (
    Picture("dusk", 1, 300, 40),
    Picture("city", 0, 300, 80),
    Picture("highway", 0, 0, 0),
    Picture("day", 1, 300, 0),
)


def known_answer_of(engine: OnnxEngine) -> KnownAnswer:
    """The answer to the most telling picture: the most classes, then the largest change if red and blue swap.

    Args:
        engine: of the file that will carry it, on the CPU.
    """
    answers = [_answer(engine, picture) for picture in PICTURES]
    return max(answers, key=lambda answer: (len(answer[0].classes), -answer[1]))[0]


def _answer(engine: OnnxEngine, picture: Picture) -> tuple[KnownAnswer, float]:
    """The answer, and its mean IoU with the class map after swapping red and blue."""
    picture_bgr = picture.draw(engine.contract.takes_wh)
    class_map, confidence = _reading(engine, picture_bgr)
    swapped, _ = _reading(engine, np.ascontiguousarray(picture_bgr[..., ::-1]))
    return KnownAnswer(picture_bgr, class_map, confidence, str(picture)), mean_iou(class_map, swapped)


def _reading(engine: OnnxEngine, picture_bgr: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    contract = engine.contract
    input_bgr = nearest(picture_bgr, contract.takes_wh)
    outputs: list[NDArray[Any]]
    if contract.output == "class_map":
        outputs = [output[np.newaxis] for output in engine.segment(input_bgr)]
    else:
        outputs = [engine.infer(input_bgr)[np.newaxis]]
    return reading_of(outputs, contract)
