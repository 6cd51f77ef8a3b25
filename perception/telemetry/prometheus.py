"""The node's metrics, as Prometheus reads them: of the moment that they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
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
from perception.telemetry.health import NodeStatus, Phase

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
"""Upper limits, closest where a frame of 15 to 60 Hz should be; the same for ages and for stages."""


_WITHHELD: Final = (
    *(f"camera {state}" for state in CameraState if state not in CAMERA_SEES),
    *(f"engine {state}" for state in EngineState if state not in ENGINE_SEES),
)
"""Every reason that a mask is withheld for: from 0 on, so that the first one shows as an increase."""


class NodeCollector(Collector):
    """Gives the metrics anew at every scrape.

    Args:
        status: of the moment at which it is called.
        age: from capture to publication.
        stages: by name; may get new ones while the node runs.
    """

    def __init__(
        self, status: Callable[[], NodeStatus], age: Histogram, stages: Mapping[str, Histogram]
    ) -> None:
        self._status, self._age, self._stages = status, age, stages

    def collect(self) -> Iterator[Metric]:
        """Every family once."""
        status = self._status()
        yield from _state(status)
        yield from _made_of(status)
        yield from _counts(status)
        yield from _sinks(status)
        yield from _gauges(status)
        yield _histograms("drivable_frame_age_seconds", "From capture to publication.", [], {(): self._age})
        yield _histograms(
            "drivable_stage_seconds",
            "Time a frame takes in a stage.",
            ["stage"],
            {(name,): times for name, times in list(self._stages.items()) if times.count},
        )


def _state(status: NodeStatus) -> Iterator[Metric]:
    node = InfoMetricFamily("drivable_node", "What runs, on what, and where the frames come from.")
    told = {"source_id": status.source_id, "model_id": status.model_id, "provider": status.provider}
    node.add_metric([], {name: redacted_line(value) for name, value in told.items()})
    yield node
    yield _states(
        "drivable_camera_state", "As published last; none is 1 before that.", CameraState, status.camera_state
    )
    yield _states(
        "drivable_engine_state",
        "As published last. fallback: not where it was asked to run; suspect, stalled: no mask.",
        EngineState,
        status.engine_state,
    )
    yield _states("drivable_phase", "Where in its life the node is.", Phase, status.phase)


def _made_of(status: NodeStatus) -> Iterator[Metric]:
    if status.run is not None:
        run = status.run
        build = InfoMetricFamily("drivable_build", "What the run is made of.")
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
        yield CounterMetricFamily("drivable_utc_steps", "Times that UTC was set while it ran.", value=steps)
        if is_synchronised is not None:
            text = "Whether the kernel says that a time service keeps its UTC."
            yield GaugeMetricFamily("drivable_utc_synchronised", text, value=float(is_synchronised))


def _counts(status: NodeStatus) -> Iterator[Metric]:
    frames = status.frames
    for name, text, count in (
        ("frames_captured", "Frames that came in.", frames.captured),
        ("frames_published", "Frames whose mask was published.", frames.published),
        ("frames_missed", "Frames the camera took and never handed over.", frames.missed),
        ("decode_errors", "Packets and pictures that were damaged.", status.decode_errors),
        ("io_errors", "Calls to the driver that failed and were tried again.", status.io_errors),
        ("reconnect_attempts", "Attempts to open the source again.", status.reconnect_attempts),
        ("reconnects", "Attempts that succeeded.", status.reconnects),
    ):
        yield CounterMetricFamily(f"drivable_{name}", text, value=count)
    text = "Frames without a mask: no view of the road, or an engine that is not to be believed."
    withheld = dict.fromkeys(_WITHHELD, 0) | dict(frames.withheld_by)
    yield _counters("drivable_frames_withheld", text, "reason", withheld.items())
    yield _counters("drivable_frames_dropped", "Frames thrown away.", "reason", frames.dropped.items())
    yield _counters("drivable_restarts", "Restarts of a stage.", "stage", status.restarts.items())


def _sinks(status: NodeStatus) -> Iterator[Metric]:
    dropped = [(name, sink.dropped) for name, sink in status.sinks.items()]
    yield _counters("drivable_sink_dropped", "Outputs that a sink was too slow for.", "sink", dropped)
    works = GaugeMetricFamily("drivable_sink_up", "0: it has failed.", labels=["sink"])
    for name, sink in status.sinks.items():
        works.add_metric([name], float(sink.error is None))
    yield works


def _gauges(status: NodeStatus) -> Iterator[Metric]:
    for name, text, value in (
        ("frames_in_flight", "Frames that came in and have not left yet.", status.frames.in_flight),
        ("alive", "Whether records go out: what /healthz tells.", status.is_alive),
        ("fresh", "Whether masks are fresh: what /readyz tells.", status.is_fresh),
        ("last_mask_age_seconds", "Since a mask was published; absent before.", status.fresh_age_s),
        ("last_record_age_seconds", "Since anything was published.", status.record_age_s),
        ("memory_resident_bytes", "Of the process, now.", status.memory.resident_bytes),
        ("memory_peak_bytes", "Of the process, at most.", status.memory.peak_bytes),
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
            (str(limit_ms / 1000), float(there)) for limit_ms, there in zip(BUCKETS_MS, below, strict=True)
        ]
        family.add_metric(list(values), [*buckets, ("+Inf", float(count))], total_ns / 1e9)
    return family
