"""RefineKind: what the registry knows of one refine step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from perception.frame import Prediction
from perception.sources.source import SourceInfo
from perception.system.plugins import Entry, S

RefineStep = Callable[[Prediction], Prediction]
"""Gets every prediction of one source, one at a time and in order, and gives it as it is to be published."""


@dataclass(frozen=True, kw_only=True)
class RefineKind(Entry[S]):
    """How a refine step is turned on and made."""

    build: Callable[[S, SourceInfo], RefineStep]
    """Makes the step for one source; it may keep a state from frame to frame."""
    is_on: Callable[[S], bool] = lambda settings: True
    """Whether these settings turn it on. That of another package is off while no setting names it."""
