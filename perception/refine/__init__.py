"""Refine steps: what is done with every prediction of a source, in order, before it is published."""

from perception.refine.registry import REFINE_STEPS

__all__ = ["REFINE_STEPS"]
