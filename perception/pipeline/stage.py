"""What the stages of a run share, and what is known of each while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Condition, Event, Lock
from typing import Any

from perception.frame import Frame, Prediction
from perception.metrics.histogram import Histogram
from perception.sources.pacing import Clock
from perception.system.busy_cores import BusyCores


@dataclass
class RunState:
    """Shared by all stages of one run."""

    cores: BusyCores
    clock: Clock
    break_off: Callable[[], None]
    """Called after an error that ends the run: no frame is begun any more."""
    lock: Lock = field(default_factory=Lock)
    """Of all queues and counters, so that counts are of one moment; methods with `_locked` need it held."""
    is_stopping: Event = field(default_factory=Event)
    errors: list[tuple[str, Exception]] = field(default_factory=list)
    """With the stage's name, the first one first."""
    times: dict[str, Histogram] = field(default_factory=dict)
    """How long an item takes, by stage."""

    def __post_init__(self) -> None:
        """Make the condition that fewer items are in flight than before."""
        self.room = Condition(self.lock)

    def note(self, stage: str, error: BaseException) -> None:
        """Note an error; a library's SystemExit ends a run, and no thread."""
        if not isinstance(error, Exception):
            error = RuntimeError(f"{type(error).__name__}: {error}")
        self.errors.append((stage, error))

    def fail(self, stage: str, error: BaseException) -> None:
        """Note an error that ends the run."""
        self.note(stage, error)
        self.break_off()


class Stage:
    """One stage's item, heartbeat and times. `with stage:` surrounds the work on one item."""

    def __init__(self, name: str, run: RunState, *, is_timed: bool = False) -> None:
        self.name, self._clock_ns = name, run.clock.monotonic_ns
        self.times = run.times.setdefault(name, Histogram()) if is_timed else None
        self.item: Any = None
        """Taken from a queue and not handed on yet."""
        self.number = 0
        """Of the item, in the order in which those of its queue were taken."""
        self.busy_since_ns: int | None = None
        """The heartbeat: when the work on the item began; None while the stage waits."""

    def __enter__(self) -> None:
        self.busy_since_ns = self._clock_ns()

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        began_ns, self.busy_since_ns = self.busy_since_ns, None
        if self.times is not None and kind is None and began_ns is not None:
            self.times.add(self._clock_ns() - began_ns)


def is_frame(item: object) -> bool:
    """Whether an item is a frame or its prediction, and not a record that there is none."""
    return isinstance(item, Frame | Prediction)
