"""NodeStatus: what the node knows of itself at one moment; endpoints, systemd and the summary tell it.

Made anew, from the clock, whenever somebody asks: a data path that stands still cannot keep an old answer
alive.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from perception.frame import CAMERA_SEES, ENGINE_SEES, CameraState, EngineState, OutputItem
from perception.pipeline.counters import FrameCounters
from perception.provenance.identity import RunIdentity
from perception.provenance.utc import ClockTie

SILENCE_PERIODS = 5
SILENCE_LEAST_S = 5.0

_PROC_STATUS = Path("/proc/self/status")


class Phase(StrEnum):
    """Where in its life the node is."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


@dataclass(frozen=True)
class SinkStatus:
    """One output."""

    dropped: int = 0
    """Predictions it was too slow for."""
    error: str | None = None
    """What ended it; None while it works."""


@dataclass(frozen=True)
class Memory:
    """Of this process; None where the system does not tell."""

    resident_bytes: int | None = None
    peak_bytes: int | None = None


@dataclass(frozen=True)
class NodeStatus:
    """Everything that the node tells of itself at one moment."""

    source_id: str
    """Without any password."""
    model_id: str
    provider: str
    engine_state: EngineState
    """As it was published last; that of the loaded network before anything was."""
    phase: Phase
    camera_state: CameraState | None
    """As it was published last; None before anything was."""
    camera_reason: str | None
    fresh_age_s: float | None
    """Since a mask was published last; None before the first."""
    fresh_limit_s: float
    """A last mask older than this is not fresh."""
    record_age_s: float
    """Since anything was published last, a record without a mask too, or since the run began; records of a
    network that is stalled do not count."""
    record_limit_s: float
    """A node that has published nothing for longer stands still."""
    frames: FrameCounters = field(default_factory=FrameCounters)
    decode_errors: int = 0
    io_errors: int = 0
    """Calls to the camera's driver that failed and were tried again."""
    reconnect_attempts: int = 0
    reconnects: int = 0
    """Attempts that succeeded."""
    restarts: Mapping[str, int] = field(default_factory=dict)
    """By stage."""
    sinks: Mapping[str, SinkStatus] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    dead_end: str | None = None
    """What the node cannot go on from, such as a stage that failed or does not move; None while it can."""
    engine_reason: str | None = None
    """Of an engine that is suspect or stalled."""
    run: RunIdentity | None = None
    """What the run is made of; None where nobody traces it."""
    clock: ClockTie | None = None
    """How UTC is tied to the monotonic clock; None where nobody traces it."""

    @property
    def why_not_alive(self) -> str | None:
        """Why the node cannot do its work, in one line; None while it can, with a camera or without one.

        A node that tells at its nominal rate that the camera is lost is alive. While it starts it may take
        as long as it needs; what waits for it has a limit of its own.
        """
        if self.dead_end is not None:
            return self.dead_end
        if self.phase is Phase.RUNNING and self.record_age_s > self.record_limit_s:
            return f"nothing was published for {self.record_age_s:.1f} s"
        return None

    @property
    def why_not_fresh(self) -> str | None:
        """Why nobody should drive by this node's masks now, in one line; None while they are fresh."""
        if self.dead_end is not None:
            return self.dead_end
        if self.phase is not Phase.RUNNING:
            return str(self.phase)
        if self.camera_state is None:
            return "nothing was published yet"
        if self.engine_state not in ENGINE_SEES:
            reason = f": {self.engine_reason}" if self.engine_reason else ""
            return f"engine {self.engine_state}{reason}"
        if self.camera_state not in CAMERA_SEES:
            reason = f": {self.camera_reason}" if self.camera_reason else ""
            return f"camera {self.camera_state}{reason}"
        if self.fresh_age_s is None:
            return "no mask was published yet"
        if self.fresh_age_s > self.fresh_limit_s:
            return f"no mask was published for {self.fresh_age_s:.1f} s"
        return None

    @property
    def is_alive(self) -> bool:
        """Whether records go out, with masks or without."""
        return self.why_not_alive is None

    @property
    def is_fresh(self) -> bool:
        """Whether the last thing published was a mask of what the camera saw, and is still young."""
        return self.why_not_fresh is None


@dataclass(frozen=True)
class Published:
    """What was published last, and how long ago, at one moment; the fields are those of `NodeStatus`."""

    camera_state: CameraState | None
    camera_reason: str | None
    engine_state: EngineState | None
    engine_reason: str | None
    fresh_age_s: float | None
    record_age_s: float


_States = tuple[CameraState | None, str | None, EngineState | None, str | None]
"""Of the camera and of the engine, each with its reason."""


class LastOutput:
    """Remembers what was published last: told by the publish stage, asked by any thread."""

    def __init__(self) -> None:
        """The run begins."""
        self._told: tuple[_States, int | None, int]
        self._told = ((None, None, None, None), None, time.monotonic_ns())

    def tell(self, output: OutputItem) -> None:
        """Let it be known that `output` goes to the sinks; its `published_ns` is set."""
        fresh_ns = output.published_ns if output.has_mask else self._told[1]
        # one assignment: who asks meanwhile gets all of the old or all of the new
        # A record that nothing moves is no sign of life.
        record_ns = self._told[2] if output.engine_state is EngineState.STALLED else output.published_ns
        states = (output.camera_state, output.camera_reason, output.engine_state, output.engine_reason)
        self._told = (states, fresh_ns, record_ns)

    def ask(self) -> Published:
        """The same, with the ages of this moment."""
        states, fresh_ns, record_ns = self._told
        now_ns = time.monotonic_ns()
        fresh_age_s = None if fresh_ns is None else (now_ns - fresh_ns) / 1e9
        return Published(*states, fresh_age_s, (now_ns - record_ns) / 1e9)


def silence_limit_s(rate_hz: float) -> float:
    """How long a source of this rate may publish nothing: 5 periods, and never less than 5 s.

    A stage that does not move is found and named long before by who watches the stages. This is for the
    case that the whole data path stands, so it need not be short, and must not be wrong.
    """
    return max(SILENCE_LEAST_S, SILENCE_PERIODS / rate_hz)


def own_memory() -> Memory:
    """What this process holds now and has held at most.

    By Linux's own file: `getrusage` would count what the process held that started this one.
    """
    try:
        lines = dict(line.split(":", 1) for line in _PROC_STATUS.read_text().splitlines())
        resident_bytes, peak_bytes = (int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
        return Memory(resident_bytes, max(resident_bytes, peak_bytes))
    except (OSError, KeyError, ValueError):  # no Linux
        pass
    try:
        import resource
    except ImportError:  # Windows
        return Memory()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Memory(None, peak if sys.platform == "darwin" else peak * 1024)
