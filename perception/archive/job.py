"""Job: all that a worker needs to know of a run, and the outcome of a clip."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final, Self

from perception.config import NodeConfig

CLIP_FILE: Final = "clip.json"
"""Written last: with it a clip's folder is whole."""
CLIPS_FOLDER, WORK_FOLDER = "clips", ".work"
SCHEMA: Final = 1


class Outcome(StrEnum):
    """What became of a clip."""

    DONE = "done"
    INCOMPLETE = "incomplete"
    """It ends before its end, or frames of it cannot be read; what there is was processed."""
    FAILED = "failed"


@dataclass(frozen=True)
class Job:
    """What is the same for all clips of a run."""

    to: str
    """Address of the results."""
    node: NodeConfig
    outputs: tuple[str, ...]
    model_file: str
    key: str
    """Checksum of model, settings and outputs: equal ones give equal results."""
    scratch: str | None
    scratch_bytes: float
    """For one worker."""


@dataclass(frozen=True)
class ClipResult:
    """What became of one clip: the content of its `clip.json`."""

    name: str
    outcome: Outcome
    reason: str | None
    """In one line; None of a clip that is done."""
    source: dict[str, Any]
    """As of `Clip.source`."""
    key: str
    """As of `Job.key`."""
    files: dict[str, int]
    """What was written, and its size in bytes."""
    row: dict[str, Any]
    """Of the table of clips."""
    schema: int = SCHEMA

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """From `as_dict`; raises ValueError for what it did not give."""
        try:
            known = dict(values) | {"outcome": Outcome(values["outcome"])}
            result = cls(**known)
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"not of this kind of file: {error}") from None
        if result.schema != SCHEMA:
            raise ValueError(f"schema {result.schema}; {SCHEMA} is expected")
        return result
