"""Monitor: the status of the node at one moment, from runner, source and engine."""

from __future__ import annotations

from dataclasses import asdict

from perception.inference.engines import Engine
from perception.pipeline import Runner
from perception.provenance.trace import Tracer
from perception.sources.counts import period_ns_of, silence_ns_of
from perception.sources.isolated.freshness import FreshnessSettings
from perception.sources.source import Source, SourceInfo
from perception.telemetry.health import (
    LastOutput,
    NodeStatus,
    Phase,
    SinkStatus,
    dead_end_of,
    own_memory,
    silence_limit_s,
)


class Monitor:
    """Collects the status of runner, source and engine; may be called from any thread."""

    def __init__(
        self,
        runner: Runner,
        last_output: LastOutput,
        source: Source,
        info: SourceInfo,
        engine: Engine,
        freshness: FreshnessSettings,
        tracer: Tracer | None = None,
    ) -> None:
        self._runner, self._last_output = runner, last_output
        self._source, self._info, self._engine = source, info, engine
        self._tracer, self._freshness = tracer, freshness

    def status(self) -> NodeStatus:
        """The current status."""
        runner, published = self._runner, self._last_output.published()
        counts = self._source.counts()
        restarts = {sink.name: sink.restarts for sink in runner.sinks.values()}
        period_ns = period_ns_of(self._source, self._info)
        silence_s = silence_ns_of(self._source, self._info, self._freshness) / 1e9
        return NodeStatus(
            source_id=self._info.source_id,
            model_id=self._engine.contract.model_id,
            provider=self._engine.provider,
            engine_state=published.engine_state or self._engine.state,
            engine_reason=published.engine_reason,
            phase=Phase.STOPPING if runner.stopping_for_s else Phase.RUNNING,
            camera_state=published.camera_state,
            camera_reason=published.camera_reason,
            fresh_age_s=published.fresh_age_s,
            # the oldest mask that may be published, and the silence allowed until the next
            fresh_limit_s=self._freshness.max_age_s + silence_s,
            record_age_s=published.record_age_s,
            record_limit_s=silence_limit_s(1e9 / period_ns) + self._freshness.stale_after_s,
            frames=runner.counters(),
            decode_errors=counts.decode_errors,
            io_errors=counts.io_errors,
            reconnect_attempts=counts.reconnect_attempts,
            reconnects=counts.reconnects,
            restarts={**restarts, "reader": counts.hangs + counts.deaths + counts.malformed},
            sinks={
                name: SinkStatus(sink.became()["dropped"], sink.issue) for name, sink in runner.sinks.items()
            },
            memory=own_memory(),
            dead_end=dead_end_of(runner.errors, self._info.is_live),
            run=self._tracer.run if self._tracer else None,
            clock=self._tracer.clock.last if self._tracer else None,
        )

    def source_counts(self) -> dict[str, int | float | str]:
        """The source's counts for the summary, with its rate, where that is from, and the measured period."""
        info = self._info
        period_ns = period_ns_of(self._source, info) if info.is_taken_now else 1e9 / info.rate_hz
        rate = {"rate_hz": info.rate_hz, "rate_kind": info.rate_kind, "period_ms": round(period_ns / 1e6, 3)}
        return rate | asdict(self._source.counts())
