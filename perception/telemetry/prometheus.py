"""The node's metrics for Prometheus, computed at each scrape."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.registry import Collector

from perception.frame import CAMERA_SEES, ENGINE_SEES, CameraState, EngineState
from perception.metrics.histogram import Histogram
from perception.system.redaction import redacted_line
from perception.telemetry.health import HealthReport, Phase

BUCKETS_MS: Final = (
    1,
    2.5,
    5,
    7.5,
    10,
    15,
    20,
    25,
    33,
    40,
    50,
    67,
    80,
    100,
    150,
    200,
    300,
    500,
    1000,
    2500,
    5000,
)
"""Upper limits, densest around the periods of 15 to 60 Hz; for ages and stages."""

_WITHHELD: Final = (
    *(f"camera {state}" for state in CameraState if state not in CAMERA_SEES),
    *(f"engine {state}" for state in EngineState if state not in ENGINE_SEES),
)
"""All reasons to withhold a mask. They start at 0, so that the first withheld mask shows as an increase."""


_OF_PROCESS: Final = ("drivable_memory_resident_bytes", "drivable_memory_peak_bytes")


class SourcesCollector(Collector):
    """The metrics of several sources, each with the label `source`, and those of the process without it.

    Args:
        collectors: by the source's name; may change.
        missing: names of sources that should be there and are not; neither alive nor fresh.
    """

    def __init__(
        self, collectors: Mapping[str | None, NodeCollector], missing: Collection[str | None] = ()
    ) -> None:
        self._collectors, self._missing = collectors, missing

    def collect(self) -> Iterator[Metric]:
        """Each metric family once."""
        families: dict[str, Metric] = {}
        for name, collector in list(self._collectors.items()):
            for metric in collector.collect():
                if metric.name in _OF_PROCESS:
                    families[metric.name] = metric
                else:
                    _add(families, metric, str(name))
        for name in list(self._missing):
            for metric in _alive_and_fresh(is_alive=False, is_fresh=False):
                _add(families, metric, str(name))
        yield from families.values()


def _add(families: dict[str, Metric], metric: Metric, source: str) -> None:
    family = families.setdefault(metric.name, metric)
    samples = [it._replace(labels={**it.labels, "source": source}) for it in metric.samples]
    family.samples = samples if family is metric else family.samples + samples


class NodeCollector(Collector):
    """Computes the metrics at every scrape.

    Args:
        status: returns the current status.
        age: from capture to publication.
        stages: times by stage; stages may be added while the node runs.
    """

    def __init__(
        self, status: Callable[[], HealthReport], age: Histogram, stages: Mapping[str, Histogram]
    ) -> None:
        self._status, self._age, self._stages = status, age, stages

    def collect(self) -> Iterator[Metric]:
        """Each metric family once."""
        status = self._status()
        yield from _state(status)
        yield from _provenance(status)
        yield from _counts(status)
        yield from _sinks(status)
        yield from _gauges(status)
        yield _histograms("drivable_frame_age_seconds", "From capture to publication.", [], {(): self._age})
        yield _histograms(
            "drivable_stage_seconds",
            "Time of a frame in a stage.",
            ["stage"],
            {(name,): times for name, times in list(self._stages.items()) if times.count},
        )


def _state(status: HealthReport) -> Iterator[Metric]:
    node = InfoMetricFamily("drivable_node", "Source, model and execution provider.")
    labels = {"source_id": status.source_id, "model_id": status.model_id, "provider": status.provider}
    node.add_metric([], {name: redacted_line(value) for name, value in labels.items()})
    yield node
    yield _states(
        "drivable_camera_state", "As last published; none is 1 before that.", CameraState, status.camera_state
    )
    yield _states(
        "drivable_engine_state",
        "As last published. fallback: not on the requested provider; suspect, stalled: no mask.",
        EngineState,
        status.engine_state,
    )
    yield _states("drivable_phase", "Phase of the run.", Phase, status.phase)


def _provenance(status: HealthReport) -> Iterator[Metric]:
    if status.run is not None:
        run = status.run
        build = InfoMetricFamily("drivable_build", "Versions and checksums of the run.")
        build.add_metric(
            [],
            {
                "version": run.version,
                "code_sha256": run.code_sha256,
                "model_id": redacted_line(status.model_id),
                "model_sha256": run.model_sha256,
                "settings_sha256": run.settings_sha256,
            },
        )
        yield build
    if status.clock is not None:
        steps, is_synchronised = status.clock.steps, status.clock.synchronisation.is_synchronised
        yield CounterMetricFamily("drivable_utc_steps", "Times that UTC was set during the run.", value=steps)
        if is_synchronised is not None:
            text = "Whether a time service keeps UTC synchronised, according to the kernel."
            yield GaugeMetricFamily("drivable_utc_synchronised", text, value=float(is_synchronised))


def _counts(status: HealthReport) -> Iterator[Metric]:
    frames = status.frames
    for name, text, count in (
        ("frames_captured", "Frames captured.", frames.captured),
        ("frames_published", "Frames published with a mask.", frames.published),
        ("frames_missed", "Frames that the camera took and did not deliver.", frames.missed),
        ("decode_errors", "Damaged packets and images.", status.source.decode_errors),
        ("io_errors", "Calls to the driver that failed and were repeated.", status.source.io_errors),
        ("reconnect_attempts", "Attempts to reopen the source.", status.source.reconnect_attempts),
        ("reconnects", "Attempts that succeeded.", status.source.reconnects),
    ):
        yield CounterMetricFamily(f"drivable_{name}", text, value=count)
    text = "Frames published without a mask: no view of the road, or an engine whose output is not plausible."
    withheld = dict.fromkeys(_WITHHELD, 0) | dict(frames.withheld_by)
    yield _counters("drivable_frames_withheld", text, "reason", withheld.items())
    yield _counters("drivable_frames_dropped", "Frames dropped.", "reason", frames.dropped.items())
    yield _counters("drivable_restarts", "Restarts of a stage.", "stage", status.restarts.items())


def _sinks(status: HealthReport) -> Iterator[Metric]:
    dropped = [(name, sink.dropped) for name, sink in status.sinks.items()]
    yield _counters("drivable_sink_dropped", "Outputs dropped because a sink was too slow.", "sink", dropped)
    up = GaugeMetricFamily(
        "drivable_sink_up", "1 while the sink works, 0 once it has failed.", labels=["sink"]
    )
    for name, sink in status.sinks.items():
        up.add_metric([name], float(sink.issue is None))
    yield up


def _alive_and_fresh(*, is_alive: bool, is_fresh: bool) -> Iterator[Metric]:
    text = "Whether outputs are published, as in /healthz."
    yield GaugeMetricFamily("drivable_alive", text, value=float(is_alive))
    text = "Whether masks are fresh, as in /readyz."
    yield GaugeMetricFamily("drivable_fresh", text, value=float(is_fresh))


def _gauges(status: HealthReport) -> Iterator[Metric]:
    yield from _alive_and_fresh(is_alive=status.is_alive, is_fresh=status.is_ready)
    for name, text, value in (
        ("frames_in_flight", "Frames captured and not yet published or dropped.", status.frames.in_flight),
        ("last_mask_age_seconds", "Time since the last mask; absent before the first.", status.fresh_age_s),
        ("last_record_age_seconds", "Time since the last output.", status.record_age_s),
        ("memory_resident_bytes", "Resident memory of the process.", status.memory.resident_bytes),
        ("memory_peak_bytes", "Peak resident memory of the process.", status.memory.peak_bytes),
    ):
        if value is not None:
            yield GaugeMetricFamily(f"drivable_{name}", text, value=float(value))


def _states(name: str, text: str, kind: type[StrEnum], now: StrEnum | None) -> Metric:
    family = StateSetMetricFamily(name, text)
    family.add_metric([], {state.value: state is now for state in kind})
    return family


def _counters(name: str, text: str, label: str, counts: Iterable[tuple[str, int]]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in counts:
        family.add_metric([redacted_line(value)], count)
    return family


def _histograms(
    name: str, text: str, labels: list[str], histograms: Mapping[tuple[str, ...], Histogram]
) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, histogram in histograms.items():
        below, count, total_ns = histogram.cumulative([round(limit_ms * 1e6) for limit_ms in BUCKETS_MS])
        buckets = [
            (str(limit_ms / 1000), float(below_it))
            for limit_ms, below_it in zip(BUCKETS_MS, below, strict=True)
        ]
        family.add_metric(list(values), [*buckets, ("+Inf", float(count))], total_ns / 1e9)
    return family
