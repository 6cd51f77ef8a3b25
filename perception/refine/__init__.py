"""Refine steps: what is done with every prediction of a source, in order, before it is published."""

from perception.refine.kind import RefineKind, RefineStep
from perception.refine.registry import REFINE_STEPS, refine_steps

__all__ = ["REFINE_STEPS", "RefineKind", "RefineStep", "refine_steps"]
