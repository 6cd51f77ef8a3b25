"""NodeStatus: the node's health at one moment, as endpoints and systemd report it.

It is computed from the clock at each request, so a data path that is stuck cannot keep an old answer alive.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from perception.frame import CAMERA_SEES, ENGINE_SEES, CameraState, EngineState, OutputItem
from perception.pipeline import RunError
from perception.pipeline.counters import FrameCounters
from perception.provenance.identity import RunIdentity
from perception.provenance.utc import ClockTie

SILENCE_PERIODS = 5
SILENCE_LEAST_S = 5.0

_PROC_STATUS = Path("/proc/self/status")


class Phase(StrEnum):
    """Phase of a run."""

    RUNNING = "running"
    STOPPING = "stopping"


@dataclass(frozen=True)
class SinkStatus:
    """Status of one sink."""

    dropped: int = 0
    """Outputs dropped because the sink was too slow."""
    error: str | None = None
    """Why it failed; None while it works."""


@dataclass(frozen=True)
class Memory:
    """Memory of this process; None where the system does not report it."""

    resident_bytes: int | None = None
    peak_bytes: int | None = None


@dataclass(frozen=True)
class NodeStatus:
    """The node's health at one moment."""

    source_id: str
    """Without any password."""
    model_id: str
    provider: str
    engine_state: EngineState
    """As last published; before the first output that of the loaded engine."""
    phase: Phase
    camera_state: CameraState | None
    """As last published; None before the first output."""
    camera_reason: str | None
    fresh_age_s: float | None
    """Time since the last mask was published; None before the first."""
    fresh_limit_s: float
    """Age from which the last mask is not fresh."""
    record_age_s: float
    """Time since the last output, with or without a mask, or since the start of the run; outputs of a stalled
    network do not count."""
    record_limit_s: float
    """A node that has published nothing for longer is stuck."""
    frames: FrameCounters = field(default_factory=FrameCounters)
    decode_errors: int = 0
    io_errors: int = 0
    """Calls to the camera's driver that failed and were repeated."""
    reconnect_attempts: int = 0
    reconnects: int = 0
    """Attempts that succeeded."""
    restarts: Mapping[str, int] = field(default_factory=dict)
    """By stage."""
    sinks: Mapping[str, SinkStatus] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    dead_end: str | None = None
    """Why the node cannot continue, such as a stage that failed or is stuck; None while it can."""
    engine_reason: str | None = None
    """Of an engine that is suspect or stalled."""
    run: RunIdentity | None = None
    """Versions and checksums of the run; None without a tracer."""
    clock: ClockTie | None = None
    """Relation of UTC to the monotonic clock; None without a tracer."""

    @property
    def why_not_alive(self) -> str | None:
        """Why the node cannot do its work, in one line; None while it can.

        A node that publishes at its nominal rate that the camera is lost is alive. While it stops it may take
        as long as it needs; its caller has its own limit.
        """
        if self.dead_end is not None:
            return self.dead_end
        if self.phase is Phase.RUNNING and self.record_age_s > self.record_limit_s:
            return f"nothing was published for {self.record_age_s:.1f} s"
        return None

    @property
    def why_not_fresh(self) -> str | None:
        """Why this node's masks must not be used now, in one line; None while they are fresh."""
        if self.dead_end is not None:
            return self.dead_end
        if self.phase is Phase.STOPPING:
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
        """Whether outputs are published, with or without masks."""
        return self.why_not_alive is None

    @property
    def is_fresh(self) -> bool:
        """Whether the last output has a mask of what the camera saw and is recent."""
        return self.why_not_fresh is None


@dataclass(frozen=True)
class Published:
    """The last output, and how old it is at one moment; the fields are those of `NodeStatus`."""

    camera_state: CameraState | None
    camera_reason: str | None
    engine_state: EngineState | None
    engine_reason: str | None
    fresh_age_s: float | None
    record_age_s: float


_States = tuple[CameraState | None, str | None, EngineState | None, str | None]
"""State and reason of the camera, then of the engine."""


class LastOutput:
    """Remembers the last output: recorded by the publisher, read by any thread."""

    def __init__(self) -> None:
        """Start of the run."""
        self._last: tuple[_States, int | None, int]
        self._last = ((None, None, None, None), None, time.monotonic_ns())

    def record(self, output: OutputItem) -> None:
        """Record that `output`, with `published_ns` set, goes to the sinks."""
        fresh_ns = output.published_ns if output.has_mask else self._last[1]
        # An output that reports a stall is no sign of life.
        record_ns = self._last[2] if output.engine_state is EngineState.STALLED else output.published_ns
        states = (output.camera_state, output.camera_reason, output.engine_state, output.engine_reason)
        self._last = (states, fresh_ns, record_ns)  # one assignment, so that readers need no lock

    def published(self) -> Published:
        """The last output with its ages now."""
        states, fresh_ns, record_ns = self._last
        now_ns = time.monotonic_ns()
        fresh_age_s = None if fresh_ns is None else (now_ns - fresh_ns) / 1e9
        return Published(*states, fresh_age_s, (now_ns - record_ns) / 1e9)


def dead_end_of(errors: Sequence[tuple[str, Exception]], is_live: bool) -> str | None:
    """What the run cannot go on from; None while it can. A live run goes on without a sink."""
    for stage, error in list(errors):
        if not is_live or not stage.startswith("sink "):
            return str(RunError(stage, error))
    return None


def silence_limit_s(rate_hz: float) -> float:
    """How long a source of this rate may publish nothing: 5 periods, at least 5 s.

    The watchdog of the stages finds a stuck stage much earlier. This limit is for a data path that is stuck
    as a whole; it need not be short, but must not be wrong.
    """
    return max(SILENCE_LEAST_S, SILENCE_PERIODS / rate_hz)


def own_memory() -> Memory:
    """Memory of this process now and at its peak.

    From /proc on Linux, because `getrusage` includes the peak of the process that started this one.
    """
    try:
        lines = dict(line.split(":", 1) for line in _PROC_STATUS.read_text().splitlines())
        resident_bytes, peak_bytes = (int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
        return Memory(resident_bytes, max(resident_bytes, peak_bytes))
    except (OSError, KeyError, ValueError):  # not Linux
        pass
    try:
        import resource
    except ImportError:  # Windows
        return Memory()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Memory(None, peak if sys.platform == "darwin" else peak * 1024)
