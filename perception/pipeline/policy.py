"""RunPolicy: what is done with every result, and about a stage or a sink that is not well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from perception.concurrency.hang_watch import WatchdogSettings
from perception.frame import CameraState, NoFrameRecord, OutputItem, Prediction
from perception.provenance.trace import Tracer
from perception.refine.kind import RefineStep
from perception.sinks.sink import Sink
from perception.sources.source import SourceInfo


@dataclass(frozen=True)
class RunPolicy:
    """The rules of one run."""

    refine: Sequence[RefineStep] = ()
    """Each gets what the one before made of a prediction."""
    stamp_engine: Callable[[NoFrameRecord], NoFrameRecord] | None = None
    """Puts the engine's name and state on a record without a frame."""
    max_age_s: float = float("inf")
    """A live mask older than this when it would be published is withheld."""
    rebuild_sink: Callable[[str], Sink] | None = None
    """Gives the sink of that name again, open, going on with what the old one wrote; for live runs."""
    watchdog: WatchdogSettings = field(default_factory=WatchdogSettings)
    tracer: Tracer | None = None
    """Puts on every result what made it, and when by UTC; None leaves that out."""

    def finish(self, output: OutputItem, now_ns: int, info: SourceInfo) -> OutputItem:
        """The result as it goes to the sinks: refined and stamped."""
        trace = self.tracer.trace(output.captured_ns, now_ns) if self.tracer else None
        if not isinstance(output, Prediction):
            stamped = self.stamp_engine(output) if self.stamp_engine else output
            return replace(stamped, published_ns=now_ns, trace=trace, shown_time=info.shown_time)
        for step in self.refine:
            output = step(output)
        state, reason = output.camera_state, output.camera_reason
        age_s = (now_ns - output.captured_ns) / 1e9
        if info.is_live and age_s > self.max_age_s:
            state, reason = CameraState.STALE, f"the frame is {age_s:.1f} s old"
        return replace(
            output,
            published_ns=now_ns,
            camera_state=state,
            camera_reason=reason,
            trace=trace,
            shown_time=info.shown_time,
        )
