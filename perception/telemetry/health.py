"""HealthReport: the node's health at one moment; HTTP, systemd, summary and exit status come from it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from perception.frame import CAMERA_SEES, ENGINE_SEES, CameraState, EngineState
from perception.provenance.identity import RunIdentity
from perception.provenance.utc import ClockTie
from perception.sources.counts import SourceCounts
from perception.sources.rate import FALLBACK_RATE_HZ, Rate
from perception.system.time_limits import SILENCE_LIMIT_S
from perception.telemetry.counters import FrameCounters

SILENCE_PERIODS = 5

_PROC_STATUS = Path("/proc/self/status")


class Phase(StrEnum):
    """Phase of a run."""

    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"


@dataclass(frozen=True)
class SinkHealth:
    """Health of one sink, and what became of the outputs that were handed to it."""

    written: int = 0
    dropped: int = 0
    """Because it was too slow."""
    lost: int = 0
    """As it failed or hung."""
    restarts: int = 0
    issue: str | None = None
    """Why it failed, or what is missing in what it wrote; None while all is well."""


@dataclass(frozen=True)
class Memory:
    """Memory of this process; None where the system does not report it."""

    resident_bytes: int | None = None
    peak_bytes: int | None = None


@dataclass(frozen=True)
class HealthReport:
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
    source: SourceCounts = field(default_factory=SourceCounts)
    rate: Rate = Rate(FALLBACK_RATE_HZ, "assumed")  # noqa: RUF009
    """Nominal, of the source."""
    period_ms: float = 1e3 / FALLBACK_RATE_HZ
    """Between two frames, as learnt."""
    sinks: Mapping[str, SinkHealth] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    errors: tuple[str, ...] = ()
    """Of stages, each with its name, the first one first."""
    unended: tuple[str, ...] = ()
    """Stages of a run that is to end and that are still at work."""
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
    def why_not_ready(self) -> str | None:
        """Why this node's masks must not be used now, in one line; None while they are fresh."""
        if self.dead_end is not None:
            return self.dead_end
        if self.phase is not Phase.RUNNING:
            return str(self.phase)
        if self.camera_state is None:
            return "nothing has been published yet"
        if self.engine_state not in ENGINE_SEES:
            reason = f": {self.engine_reason}" if self.engine_reason else ""
            return f"engine {self.engine_state}{reason}"
        if self.camera_state not in CAMERA_SEES:
            reason = f": {self.camera_reason}" if self.camera_reason else ""
            return f"camera {self.camera_state}{reason}"
        if self.fresh_age_s is None:
            return "no mask has been published yet"
        if self.fresh_age_s > self.fresh_limit_s:
            return f"no mask was published for {self.fresh_age_s:.1f} s"
        return None

    @property
    def has_ended_well(self) -> bool:
        """Whether it came to its end, as a recording does, and nothing stopped it."""
        return self.phase is Phase.ENDED and self.dead_end is None

    @property
    def is_alive(self) -> bool:
        """Whether outputs are published, with or without masks."""
        return self.why_not_alive is None

    @property
    def is_ready(self) -> bool:
        """Whether the last output has a mask of what the camera saw and is recent."""
        return self.why_not_ready is None

    @property
    def restarts(self) -> dict[str, int]:
        """Restarts of sinks and of the source's reader, by name."""
        source = self.source
        reader = source.hangs + source.deaths + source.malformed
        return {f"sink {name}": sink.restarts for name, sink in self.sinks.items()} | {"reader": reader}

    def problems(self, waited_s: float | None = None) -> list[str]:
        """What ended the run, or else what is missing or did not end, a line each; empty if all is well.

        With any the exit status is not 0.

        Args:
            waited_s: how long the end was waited for; None while the run may go on.
        """
        if self.errors:
            return [self.errors[0]]
        problems = []
        if waited_s is not None:
            problems = [f"{stage} did not end within {waited_s:.1f} s" for stage in self.unended]
        if suspect := self.frames.withheld_by.get(f"engine {EngineState.SUSPECT}"):
            who, them = ("1 frame has", "it") if suspect == 1 else (f"{suspect} frames have", "them")
            problems.append(f"{who} no mask: the network's output does not depend on {them}")
        if unreadable := self.source.unreadable:
            who = "1 image could not be read and has"
            if unreadable > 1:
                who = f"{unreadable} images could not be read and have"
            problems.append(f"{who} no mask")
        return problems + [f"sink {name}: {sink.issue}" for name, sink in self.sinks.items() if sink.issue]


def silence_limit_s(rate_hz: float) -> float:
    """How long a source of this rate may publish nothing: 5 periods, at least 5 s.

    The watchdog of the stages finds a stuck stage much earlier. This limit is for a data path that is stuck
    as a whole; it need not be short, but must not be wrong.
    """
    return max(SILENCE_LIMIT_S, SILENCE_PERIODS / rate_hz)


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
