"""One run of the node: config → build → run → what happened."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from perception.build import RunParts, load_engine, settings_of_run
from perception.cli.log import show_status
from perception.cli.node_outputs import check_outputs, hint_without_outputs
from perception.cli.progress import Progress, is_wanted
from perception.cli.signals import StopSignals
from perception.cli_config import SettingsError
from perception.concurrency.hang_watch import RunningTime
from perception.config import NodeConfig
from perception.inference.engines import EngineError
from perception.inference.zoo import model_file
from perception.pipeline import RunError, Runner
from perception.scene.calibration import CalibrationError
from perception.sinks.sink import SinkError
from perception.sources.source import SourceError
from perception.system.plugins import PluginError
from perception.system.process import tune_process
from perception.system.time_limits import DRAIN_LIMIT_S, URGENT_LIMIT_S
from perception.telemetry.changes import StateChanges
from perception.telemetry.counters import DISPLACED
from perception.telemetry.health import HealthReport
from perception.telemetry.reporter import HealthReporter
from perception.telemetry.summary import SummaryFile, as_table, summarise
from perception.telemetry.systemd import SystemdNotifier
from perception.web.address import EndpointsError
from perception.web.site import Site

log = logging.getLogger(__name__)

TICK_S = 0.1
ERRORS = (
    *(SettingsError, SourceError, SinkError, EngineError, EndpointsError),
    *(CalibrationError, FileNotFoundError, RunError, PluginError),
)
"""What ends a run, each in one line."""


def run(config: NodeConfig, stop: StopSignals | None = None, settings_files: Sequence[Path] = ()) -> int:
    """Open, connect, run to the end or to a signal, and report what happened; the exit status.

    Args:
        settings_files: that the settings come from, which no output may lie on.

    Raises:
        Stopped: if a signal came before the run began.
    """
    stop = stop or StopSignals()
    tune_process()
    if config.tls_insecure:
        log.warning(
            "tls_insecure: certificates of https, rtsps and mqtts are not verified; "
            "whoever answers gets the password and can send pictures"
        )
    file = model_file(config.model)
    check_outputs(config, file, settings_files)
    site = Site.of(config, config.ros)
    parts = RunParts(config)
    summary_file = None
    if config.summary:
        summary_file = SummaryFile(Path(config.summary), overwrite=config.overwrite, append=config.append)
    try:
        stop.wake_by(parts.source.stop)
        info = parts.open_source()
        stop.check()
        size = "{}x{}".format(*info.frame_wh) if info.frame_wh else ""
        facts = [info.source_id, size, str(info.rate), info.description]
        log.info(f"source: {', '.join(fact for fact in facts if fact)}")
        if outputs := hint_without_outputs(config):
            log.info(outputs)
        began_s = time.monotonic()
        engine = load_engine(file, config, info.is_live)
        loaded_s = time.monotonic() - began_s
        log.debug(
            f"engine: {config.engine} on {engine.provider}, {file}, loaded and run once in {loaded_s:.1f} s"
        )
        for line in engine.notes:
            is_warning = line.startswith("warning: ")
            log.log(logging.WARNING if is_warning else logging.INFO, line.removeprefix("warning: "))
        if not engine.is_proven:
            log.info(
                f"{engine.contract.model_id}: not verified by a known answer; drivable-export renew adds one"
            )
        reporter, changes = HealthReporter(parts.source, info, engine, config.freshness), StateChanges()
        runner, sinks, tracer = parts.connect(
            *(info, engine),
            claims=[summary_file] if summary_file else [],
            listeners=(reporter.record, changes.record, *site.listeners(info)),
        )
        log.debug(f"sinks: {', '.join(runner.sinks) or 'none'}")
        log.info(tracer.description)
        report = partial(reporter.report, runner, tracer)
        site.start(report, runner.age, runner.times)
        started_s = time.monotonic()
        stop.begin()
        try:
            runner.start()
            notifier = SystemdNotifier(is_ready_at_start=not info.is_live)
            progress = Progress(runner, info) if is_wanted(config) else None
            limit_s = _watch(runner, report, changes, notifier, progress, stop)
        except BaseException:
            runner.stop()
            runner.wait(DRAIN_LIMIT_S)
            raise
    except BaseException:
        if summary_file is not None:
            summary_file.close()
        parts.close()
        stop.check()  # a source that was woken says that it was not opened
        raise
    site.close()
    health = report()
    summary = summarise(health, runner.age, runner.times, time.monotonic() - started_s)
    summary["provider_nodes"] = dict(engine.nodes)
    summary |= tracer.as_dict() | {"settings": settings_of_run(config)}
    for line in as_table(summary).splitlines():
        log.info(line)
    displaced = health.frames.dropped.get(DISPLACED, 0) if info.is_replayed else 0
    for note in health.source.notes(displaced):
        log.info(f"note: {note}")
    problems = health.problems(limit_s)
    written = sinks.written()
    if summary_file is not None:
        try:
            summary_file.write(summary)
            written.append(str(config.summary))
        except SinkError as error:
            problems.append(str(error))
        finally:
            summary_file.close()
    if written:
        log.info(f"files: {', '.join(written)}")
    for problem in problems:
        log.error(problem)
    return 1 if problems else 0


def _watch(
    runner: Runner,
    report: Callable[[], HealthReport],
    changes: StateChanges,
    notifier: SystemdNotifier,
    progress: Progress | None,
    stop: StopSignals,
) -> float:
    """Wait for the end, or for the limit once a stop was asked for, and return that limit in seconds.

    A second SIGINT cuts it to a second from then on.
    """
    limit_s, drained_s, running = DRAIN_LIMIT_S, 0.0, RunningTime()

    def notify_systemd() -> None:
        if notifier.is_on:  # a report takes the run's lock and reads /proc
            notifier.tick(report())

    notify_systemd()
    while not runner.wait(TICK_S) and drained_s < limit_s and not runner.waits_for_hung_stages_alone:
        tick_s = running.tick_ns() / 1e9
        if runner.stopping_for_s:
            drained_s += tick_s
        elif stop.number is not None:
            runner.stop()
        if stop.is_urgent and limit_s == DRAIN_LIMIT_S:
            limit_s = min(limit_s, drained_s + URGENT_LIMIT_S)
        runner.watch()
        notify_systemd()
        _log_changes(changes)
        if progress is not None:
            progress.show()
    notify_systemd()
    notifier.close()
    show_status("")
    _log_changes(changes, is_over=True)
    return limit_s


def _log_changes(changes: StateChanges, *, is_over: bool = False) -> None:
    """What became of camera and engine since."""
    for line in changes.lines(flush=is_over):
        log.info(line)
