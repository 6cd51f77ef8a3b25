"""EngineKind: what the registry knows of one engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from perception.inference.engines.engine import Engine
from perception.system.plugins import Entry, S

LOAD_S = 120.0
"""A GPU's driver may have to compile its kernels for a new GPU."""


@dataclass(frozen=True, kw_only=True)
class EngineKind(Entry[S]):
    """How an engine is loaded."""

    build: Callable[[Path, S, int, int], Engine]
    """Loads a model file. The numbers: CPU threads of one call (0 for every core), and how many calls come
    at once, each from a thread of its own. Raises EngineError."""
    load_limit_s: Callable[[S], float] = lambda settings: LOAD_S
    """That loading and a first run may take, unless the user says otherwise."""
