"""Which epoch of a run its best checkpoint is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def best_epoch(config: dict[str, Any], history: Sequence[dict[str, float]]) -> int | None:
    """Index in `history` of the epoch that `best.pt` holds; None where nothing was validated.

    It is of the last stage: another frame size is another question, so each stage starts to choose anew.
    """
    by_loss = config.get("choose_by", "mean_iou") == "loss"
    best, at = -math.inf, None
    for index, entry in enumerate(history):
        score = -entry.get("val_loss", math.nan) if by_loss else entry.get("val_mean_iou", math.nan)
        if entry.get("stage") == history[-1].get("stage") and score > best:
            best, at = score, index
    return at
