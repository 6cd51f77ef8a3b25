"""One run of the node: config → build → run → what happened."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from perception.build import Sinks, build_perceivers, build_tracer, source_settings, supervision
from perception.config import NodeConfig
from perception.endpoints import Endpoints, EndpointsError
from perception.engines import EngineError
from perception.identity import covered_settings
from perception.masking import masked
from perception.models import model_file
from perception.monitor import Monitor
from perception.pipeline import DRAIN_LIMIT_S, Pipeline, PipelineError
from perception.process import tune_process
from perception.settings import SettingsError
from perception.sinks.sink import Sink, SinkError
from perception.sources.registry import build_source
from perception.sources.source import SourceError
from perception.summary import as_table, summarise, write_summary
from perception.systemd import SystemdNotifier

TICK_S = 0.1
INTERRUPTED = 130
ERRORS = (
    *(SettingsError, SourceError, SinkError, EngineError, EndpointsError),
    *(FileNotFoundError, PipelineError),
)
"""What ends a run, each in one line."""


def run(config: NodeConfig) -> int:
    """Open, connect, run to the end or to a signal, and tell what happened."""
    tune_process()
    if config.tls_insecure:
        _say(
            "warning: tls_insecure: certificates of https and rtsps are not verified; "
            "whoever answers gets the password and can send pictures"
        )
    file = model_file(config.model)
    endpoints = Endpoints(config.http) if config.http else None
    source = build_source(config.source, source_settings(config))
    opened: list[Sink] = []
    try:
        info = source.open()
        width, height = info.frame_wh
        told = [info.source_id, f"{width}x{height}", f"{info.rate_hz:g} Hz", info.description]
        _say(f"source: {', '.join(part for part in told if part)}")
        engine, perceivers = build_perceivers(file, config, info.is_live, info.rate_hz)
        for line in engine.notes:
            _say(line)
        sinks = Sinks(config, info)
        opened = sinks.open_all()
        tracer = build_tracer(config, engine, info)
        _say(tracer.description)
        rules = supervision(config, perceivers[0], sinks, tracer)
        pipeline = Pipeline(source, info, perceivers, opened, rules)
        monitor = Monitor(pipeline, source, info, engine, config.freshness, tracer)
        if endpoints is not None:
            endpoints.start(monitor.status, pipeline.age, pipeline.times)
            _say(f"http: /healthz, /readyz and /metrics on port {endpoints.port}")
    except BaseException:
        for sink in opened:
            sink.close()
        source.close()
        raise
    started_s = time.monotonic()
    with _signals_stop(pipeline):
        pipeline.start()
        _watch(pipeline, monitor, SystemdNotifier(is_ready_at_start=not info.is_live), started_s)
    if endpoints is not None:
        endpoints.close()
    summary = summarise(pipeline, time.monotonic() - started_s, engine.contract.model_id, engine.provider)
    summary["source"] = monitor.source_counts()
    summary |= tracer.as_dict() | {"settings": covered_settings(config)}
    _say(as_table(summary))
    problems = _problems(pipeline)
    if config.summary:
        try:
            write_summary(Path(config.summary), summary)
        except OSError as error:
            problems.append(f"{config.summary}: the summary cannot be written: {error.strerror}")
    for problem in problems:
        _say(f"drivable-node: {problem}")
    return 1 if problems else 0


@contextmanager
def _signals_stop(pipeline: Pipeline) -> Iterator[None]:
    """SIGINT and SIGTERM drain the pipeline; a second SIGINT ends the process at once."""
    seen: list[int] = []

    def stop(number: int, where: FrameType | None) -> None:
        if seen and number == signal.SIGINT:
            os._exit(INTERRUPTED)
        seen.append(number)
        pipeline.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(pipeline: Pipeline, monitor: Monitor, notifier: SystemdNotifier, started_s: float) -> None:
    """Wait for the end, or for the limit once a stop was asked for; a line of progress on a terminal."""
    shows_progress = sys.stderr.isatty()

    def tell_systemd() -> None:
        if notifier.is_on:  # the status takes the ledger's lock and reads /proc
            notifier.tick(monitor.status())

    tell_systemd()
    while not pipeline.wait(TICK_S) and pipeline.stopping_for_s < DRAIN_LIMIT_S:
        pipeline.watch()
        tell_systemd()
        if shows_progress:
            print(f"\r{_progress(pipeline, started_s):70}", end="", file=sys.stderr, flush=True)
    tell_systemd()
    notifier.close()
    if shows_progress:
        print("\r" + " " * 70 + "\r", end="", file=sys.stderr, flush=True)


def _progress(pipeline: Pipeline, started_s: float) -> str:
    published = pipeline.ledger.published
    fps = published / (time.monotonic() - started_s)
    age_ms = pipeline.age.quantile_ms(0.5)
    age = "-" if age_ms is None else f"{age_ms:.0f} ms"
    return f"{published} frames  {fps:.1f} fps  age {age}  dropped {pipeline.ledger.dropped}"


def _problems(pipeline: Pipeline) -> list[str]:
    """What went wrong in the run, a line each: what ended it, or else what is missing or did not end."""
    try:
        pipeline.raise_first_error()
    except PipelineError as error:
        return [str(error)]
    problems = [f"{stage} did not end within {DRAIN_LIMIT_S:g} s" for stage in pipeline.stuck_stages()]
    return problems + [f"{sink.name}: {sink.trouble}" for sink in pipeline.sinks.values() if sink.trouble]


def _say(line: str) -> None:
    """To standard error, without passwords: standard output belongs to the records."""
    print(masked(line), file=sys.stderr, flush=True)
