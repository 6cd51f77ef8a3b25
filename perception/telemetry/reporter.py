"""HealthReporter: makes the reports of one run, from its runner, source and engine."""

from __future__ import annotations

from perception.frame import CameraState, EngineState, OutputItem
from perception.inference.engines import Engine
from perception.pipeline import RunError, Runner
from perception.provenance.trace import Tracer
from perception.sources.counts import period_ns_of, silence_ns_of
from perception.sources.isolated.freshness import FreshnessSettings
from perception.sources.source import Source, SourceInfo
from perception.system.clock import Clock
from perception.telemetry.health import HealthReport, Phase, SinkHealth, own_memory, silence_limit_s

_States = tuple[CameraState | None, str | None, EngineState | None, str | None]
"""State and reason of the camera, then of the engine."""


class HealthReporter:
    """Remembers the last output, and reports at any time; made at the start of the run.

    Ages come from the clock at each report, so a data path that is stuck cannot keep an old answer alive.
    """

    def __init__(
        self,
        source: Source,
        info: SourceInfo,
        engine: Engine,
        freshness: FreshnessSettings,
        clock: Clock | None = None,
    ) -> None:
        self._source, self._info, self._engine = source, info, engine
        self._freshness, self._clock = freshness, clock or Clock()
        self._last: tuple[_States, int | None, int]
        self._last = ((None, None, None, None), None, self._clock.monotonic_ns())

    def record(self, output: OutputItem) -> None:
        """Record that `output`, with `published_ns` set, goes to the sinks; called by the publisher."""
        fresh_ns = output.published_ns if output.has_mask else self._last[1]
        # An output that reports a stall is no sign of life.
        record_ns = self._last[2] if output.engine_state is EngineState.STALLED else output.published_ns
        states = (output.camera_state, output.camera_reason, output.engine_state, output.engine_reason)
        self._last = (states, fresh_ns, record_ns)  # one assignment, so that readers need no lock

    def report(self, runner: Runner, tracer: Tracer | None = None) -> HealthReport:
        """The health now; may be called from any thread.

        Args:
            runner: of the run.
            tracer: of the run, if it has one.
        """
        (camera_state, camera_reason, engine_state, engine_reason), fresh_ns, record_ns = self._last
        info, engine, freshness = self._info, self._engine, self._freshness
        now_ns = self._clock.monotonic_ns()
        period_ns = period_ns_of(self._source, info)
        silence_s = silence_ns_of(self._source, info, freshness) / 1e9
        is_stopping = runner.is_stopping.is_set()
        phase = Phase.ENDED if runner.wait(0) else Phase.STOPPING if is_stopping else Phase.RUNNING
        errors = [str(RunError(stage, error)) for stage, error in list(runner.errors)]
        # a live run goes on without a sink
        ending = [error for error in errors if not (info.is_live and error.startswith("sink "))]
        return HealthReport(
            source_id=info.source_id,
            model_id=engine.contract.model_id,
            provider=engine.provider,
            engine_state=engine_state or engine.state,
            engine_reason=engine_reason,
            phase=phase,
            camera_state=camera_state,
            camera_reason=camera_reason,
            fresh_age_s=None if fresh_ns is None else (now_ns - fresh_ns) / 1e9,
            # the oldest mask that may be published, and the silence allowed until the next
            fresh_limit_s=freshness.max_age_s + silence_s,
            record_age_s=(now_ns - record_ns) / 1e9,
            record_limit_s=silence_limit_s(1e9 / period_ns) + freshness.stale_after_s,
            frames=runner.counters(),
            source=self._source.counts(),
            rate=info.rate,
            period_ms=round((period_ns if info.is_taken_now else 1e9 / info.rate_hz) / 1e6, 3),
            sinks={
                name: SinkHealth(**sink.became(), restarts=sink.restarts, issue=sink.issue)
                for name, sink in runner.sinks.items()
            },
            memory=own_memory(),
            errors=tuple(errors),
            unended=tuple(runner.stuck_stages()) if is_stopping else (),
            dead_end=next(iter(ending), None),
            run=tracer.run if tracer else None,
            clock=tracer.clock.last if tracer else None,
        )
