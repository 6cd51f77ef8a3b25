"""What the pipeline does about a camera, a stage or a sink that is not well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from perception.frame import CameraState, NoFrameRecord, OutputItem, Prediction
from perception.pipeline.watchdog import WatchdogSettings
from perception.provenance.trace import Tracer
from perception.sinks.sink import Sink

Judge = Callable[[Prediction], tuple[CameraState, str | None]]
"""The camera's state and its reason; called with every prediction, in order, by one thread."""


@dataclass(frozen=True)
class Supervision:
    """The rules of one run."""

    judge: Judge | None = None
    stamp_engine: Callable[[NoFrameRecord], NoFrameRecord] | None = None
    """Puts the engine's name and state on an outage."""
    max_age_s: float = float("inf")
    """A live mask older than this when it would be published is withheld."""
    rebuild_sink: Callable[[str], Sink] | None = None
    """Gives the sink of that name anew, open, going on with what the old one wrote; for live runs."""
    watchdog: WatchdogSettings = field(default_factory=WatchdogSettings)
    tracer: Tracer | None = None
    """Puts on every output what made it, and when by UTC; None leaves that out."""

    def published(self, output: OutputItem, now_ns: int, is_live: bool) -> OutputItem:
        """The output as it goes to the sinks, with what is known of the camera."""
        trace = self.tracer.trace(output.captured_ns, now_ns) if self.tracer else None
        if not isinstance(output, Prediction):
            return replace(
                self.stamp_engine(output) if self.stamp_engine else output, published_ns=now_ns, trace=trace
            )
        state, reason = (output.camera_state, output.camera_reason)
        if self.judge is not None:
            state, reason = self.judge(output)
        age_s = (now_ns - output.captured_ns) / 1e9
        if is_live and age_s > self.max_age_s:
            state, reason = CameraState.STALE, f"the frame is {age_s:.1f} s old"
        return replace(output, published_ns=now_ns, camera_state=state, camera_reason=reason, trace=trace)
