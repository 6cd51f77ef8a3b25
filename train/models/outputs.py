"""What a network gives back: logits alone, or in training also what its auxiliary heads say."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class TrainingOutputs(NamedTuple):
    """Outputs of one step in training mode. Heads beside the main one serve the loss alone."""

    logits: Tensor
    """(N, classes, h, w)"""
    auxiliary: Tensor | None = None
    """(N, classes, h, w): the same question asked of an earlier layer (deep supervision)."""
    lines: Tensor | None = None
    """(N, 1, h, w): logits of lane lines, learned from a teacher."""


Outputs = Tensor | TrainingOutputs
"""Logits (N, classes, h, w) in evaluation, `TrainingOutputs` in training."""
