"""The data path of the node, from a source to its sinks. Its threads are a `Relay`'s or a `Crew`'s."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import isfinite
from threading import Event, Thread

from perception.frame import (
    CameraState,
    EngineState,
    Frame,
    NoFrameRecord,
    OutputItem,
    Prediction,
    SourceItem,
)
from perception.pipeline.crew import Crew
from perception.pipeline.gauges import Gauges
from perception.pipeline.histogram import Histogram
from perception.pipeline.ledger import DISPLACED, Ledger
from perception.pipeline.posts import SinkPost
from perception.pipeline.relay import PREDICT, Relay
from perception.pipeline.sink_line import SinkLine
from perception.pipeline.stalled import StallReports
from perception.pipeline.supervision import Supervision
from perception.pipeline.threads import require_threads
from perception.pipeline.watchdog import HangWatch
from perception.sinks.sink import HasReader, Sink
from perception.sources.counts import longest_read_ns, period_ns_of
from perception.sources.source import NoFrame, Source, SourceInfo
from perception.system.cores import usable_cores
from perception.telemetry.changes import StateChanges
from perception.telemetry.health import LastOutput

DRAIN_LIMIT_S = 5.0


class PipelineError(Exception):
    """What ended the run; the first line names the stage. The cause is the stage's own error."""

    def __init__(self, stage: str, error: Exception) -> None:
        super().__init__(f"{stage}: {str(error) or type(error).__name__}")
        self.stage = stage


class Pipeline:
    """One source, its predictors, any number of sinks."""

    def __init__(
        self,
        source: Source,
        info: SourceInfo,
        predictors: Sequence[Callable[[Frame], Prediction]],
        sinks: Sequence[Sink],
        supervision: Supervision | None = None,
        *,
        cores: int = 0,
    ) -> None:
        """Connect the stages. `source` and `sinks` are open already; the pipeline closes them.

        Args:
            source: gives the frames.
            info: what the source told when it was opened.
            predictors: one for a live source; for a recording as many as are to work at once. Each is used
                by one thread at a time and may keep buffers of its own.
            sinks: get every output.
            supervision: the rules; None has none.
            cores: threads of a recording that may be at work at a time; 0 takes all cores that there are.

        Raises:
            ValueError: if a live source is given none or several predictors.
        """
        self._gauges = Gauges()
        self.ledger = Ledger()
        self.age = Histogram()
        self.times, self.errors = self._gauges.times, self._gauges.errors
        self.last_output, self.changes = LastOutput(), StateChanges()
        self._supervision = supervision or Supervision()
        self._hung: set[str] = set()
        self._hang_watch = HangWatch()
        self._sinks = {f"sink {sink.name}": sink for sink in sinks}
        self._is_live, self._source, self._info = info.is_live, source, info
        self._has_ended = Event()
        self._in_hand: SourceItem | None = None
        self._stalls: StallReports | None = None
        self._stopped_s: float | None = None
        self._threads: Relay | Crew
        if info.is_live:
            if len(predictors) != 1:
                raise ValueError(f"{len(predictors)} predictors for a live source; it needs one")
            self._threads = relay = Relay(
                self._capture,
                partial(self._predict_live, predictors[0]),
                self._publish,
                sinks,
                self._gauges,
                supervision=self._supervision,
                on_displaced=self._displaced,
            )
            max_age_s = self._supervision.max_age_s
            self._stalls = StallReports(
                self._gauges.pulse_of(PREDICT),
                # A mask that is older than it may be is withheld: until then there may be one.
                max(self._supervision.watchdog.stalled_after_s, max_age_s if isfinite(max_age_s) else 0.0),
                lambda: period_ns_of(source, info),
                lambda busy_s: relay.report(self._stall(busy_s)),
            )
        elif info.frame_wh is None:
            raise ValueError(f"{info.source_id}: a recording tells its size when it is opened")
        else:
            self._threads = Crew(
                self._capture,
                [partial(_predict, predict) for predict in predictors],
                self._publish,
                sinks,
                self._gauges,
                frame_wh=info.frame_wh,
                size=cores or max(len(predictors), usable_cores()),
            )
        self._settler = Thread(target=self._settle, name="source close", daemon=True)

    @property
    def sinks(self) -> Mapping[str, SinkLine | SinkPost]:
        """By name, each with its `issue`, and the counts of what it `dropped` and of its `restarts`."""
        return self._threads.sinks

    def start(self) -> None:
        """Start the threads, and one that sees them all end.

        Raises:
            RuntimeError: if the system has no more threads; then there is no end to wait for, and source and
                sinks are the caller's to close.
        """
        try:
            require_threads(self._threads.count + 1 + (self._stalls is not None))
            self._threads.start()
            if self._stalls is not None:
                self._stalls.start()
            self._settler.start()
        except RuntimeError:
            self.stop()
            self._has_ended.set()
            raise

    def stop(self) -> None:
        """Take no more frames; what is in flight goes on to the sinks. Safe to call twice."""
        self._stopped_s = self._stopped_s or time.monotonic()
        self._threads.stop()
        wake = getattr(self._source, "stop", None)
        if wake:
            wake()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; False if it did not come in time."""
        return self._has_ended.wait(timeout_s)

    @property
    def stopping_for_s(self) -> float:
        """Seconds since `stop` was first called; 0 before."""
        return time.monotonic() - self._stopped_s if self._stopped_s else 0.0

    @property
    def dead_end(self) -> str | None:
        """What the run cannot go on from; None while it can. A live run goes on without a sink."""
        for stage, error in list(self.errors):
            if not self._is_live or not stage.startswith("sink "):
                return f"{stage}: {str(error) or type(error).__name__}"
        return None

    def raise_first_error(self) -> None:
        """Raise what ended the run, if anything did.

        Raises:
            PipelineError: from the first error, naming its stage.
        """
        if self.errors:
            stage, error = self.errors[0]
            raise PipelineError(stage, error) from error

    def watch(self) -> None:
        """Replace hung sinks of a live run; end the run where another stage hangs. To be called often."""
        limit_ns = self._supervision.watchdog.stage_s * 1e9
        busy = self._hang_watch.look({name: pulse.since_ns for name, pulse in self._gauges.pulses.items()})
        for name, busy_ns in busy.items():
            waits_ns = longest_read_ns(self._source, self._info) if name == "capture" else 0
            if (
                busy_ns > max(limit_ns, waits_ns)
                and not self._waits_for_reader(name)
                and not self._threads.replace(name)
            ):
                self._end_hung(name)

    def _waits_for_reader(self, stage: str) -> bool:
        """Whether a pipe takes nothing from it, or from what it waits for; who reads that may pause."""
        if stage == "capture" and not self._is_live:  # may have to wait until frames in use are free again
            return any(isinstance(sink, HasReader) and sink.waits_for_reader for sink in self._sinks.values())
        sink = self._sinks.get(stage)
        return isinstance(sink, HasReader) and sink.waits_for_reader

    def _end_hung(self, stage: str) -> None:
        if stage in self._hung:
            return
        self._hung.add(stage)
        limit_s = self._supervision.watchdog.stage_s
        self.errors.append((stage, TimeoutError(f"hung: at one frame for more than {limit_s:g} s")))
        self.stop()
        self._threads.abandon(stage)

    @property
    def waits_for_hung_stages_alone(self) -> bool:
        """Whether everything has ended but stages that hang, for which there is nothing to wait."""
        return bool(self._hung) and set(self._threads.stuck_stages()) <= self._hung

    def stuck_stages(self) -> list[str]:
        """Names of the stages that have not ended."""
        stuck = self._threads.stuck_stages()
        if not stuck and self._settler.is_alive() and not self._has_ended.is_set():
            stuck = [self._settler.name]
        return stuck

    def _capture(self) -> SourceItem:
        try:
            frame = self._source.read()
        except NoFrame as silence:
            return silence.outage
        self.ledger.capture(frame.missed_before)
        return frame

    def _predict_live(self, predict: Callable[[Frame], Prediction], seen: SourceItem) -> OutputItem:
        self._in_hand = seen
        return _predict(predict, seen)

    def _stall(self, busy_s: float) -> NoFrameRecord:
        """The record of a network that is at one frame for so long: it names that frame's time and age."""
        seen = self._in_hand
        assert seen is not None  # the stage is at it
        now_ns = time.monotonic_ns()
        last = self.last_output.ask()
        return NoFrameRecord(
            source_id=seen.source_id,
            frame_wh=seen.frame_wh,
            pixel_aspect=seen.pixel_aspect,
            time_ns=seen.time_ns + now_ns - (seen.captured_ns or now_ns),
            captured_ns=seen.captured_ns,
            camera_state=last.camera_state or CameraState.OK,
            camera_reason=last.camera_reason,
            engine_state=EngineState.STALLED,
            engine_reason=f"{PREDICT}: at one frame for {busy_s:.1f} s",
        )

    def _displaced(self, seen: SourceItem) -> None:
        if isinstance(seen, Frame):
            self.ledger.drop(DISPLACED)

    def _publish(self, output: OutputItem) -> OutputItem:
        published = self._supervision.published(output, time.monotonic_ns(), self._is_live)
        if isinstance(published, Prediction):
            if published.withheld_by is None:
                self.ledger.publish()
            else:
                self.ledger.withhold(published.withheld_by)
            self.age.add(published.published_ns - published.captured_ns)
            for stage, duration_ns in published.stage_ns.items():
                self.times.setdefault(stage, Histogram()).add(duration_ns)
        self.last_output.tell(published)
        self.changes.tell(published)
        return published

    def _settle(self) -> None:
        """Once every stage has ended: close the source, and book what nobody took."""
        self._threads.wait_until_ending()
        if self._stalls is not None:
            self._stalls.stop()
        if self.errors:  # a source that waits for a frame does not see that nobody wants it any more
            self.stop()
        self._threads.join()
        self._in_hand = None
        try:
            self._source.close()
        except Exception as error:
            self.errors.append((self._settler.name, error))
        in_flight = self.ledger.balance()["in_flight"]
        assert isinstance(in_flight, int)
        if in_flight:
            self.ledger.drop("run ended", in_flight)
        self._has_ended.set()


def _predict(predict: Callable[[Frame], Prediction], seen: SourceItem) -> OutputItem:
    return predict(seen) if isinstance(seen, Frame) else seen
