"""One run of the node: config → build → run → what happened."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from perception.build import load_engine
from perception.cli.log import show_status
from perception.cli.node_outputs import check_outputs, hint_without_outputs
from perception.cli.progress import Progress, is_wanted
from perception.cli.signals import StopSignals
from perception.cli.source_run import SourceRun
from perception.cli_config import SettingsError
from perception.concurrency.busy_cores import BusyCores
from perception.concurrency.hang_watch import RunningTime
from perception.config import NodeConfig
from perception.inference.engines import Engine, EngineError
from perception.inference.zoo import model_file
from perception.pipeline import RunError
from perception.scene.calibration import CalibrationError
from perception.sinks.sink import SinkError
from perception.sources.source import SourceError
from perception.system.cores import usable_cores
from perception.system.plugins import PluginError
from perception.system.process import tune_process
from perception.system.time_limits import DRAIN_LIMIT_S, URGENT_LIMIT_S
from perception.telemetry.systemd import SystemdNotifier
from perception.web.address import EndpointsError
from perception.web.site import Site, SitePart

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
    configs = config.one_each()
    check_outputs(configs, file, settings_files)
    site = Site.of(config, config.ros)
    is_one_of_several = len(configs) > 1
    sources: list[SourceRun] = []
    try:
        for each in configs:
            sources.append(source := SourceRun(each, is_one_of_several=is_one_of_several))
            stop.wake_by(source.wake)
            source.open()
            stop.check()
            source.log_facts()
        if outputs := hint_without_outputs(config):
            log.info(outputs)
        engine = _loaded(file, config, is_live=not is_one_of_several and source.info.is_live)
        cores = BusyCores(config.threads or usable_cores()) if is_one_of_several else None
        for source in sources:
            source.connect(engine, site.listeners(source.info, source.name), cores)
        site.start([SitePart(it.name, it.report, it.runner.age, it.runner.times) for it in sources])
        stop.begin()
        try:
            for source in sources:
                source.start()
            limit_s = _watch(sources, stop, progress=_progress(config, sources))
        except BaseException:
            for source in sources:
                source.runner.stop()
            for source in sources:
                source.runner.wait(DRAIN_LIMIT_S)
            raise
    except BaseException:
        for source in sources:
            source.close()
        stop.check()  # a source that was woken says that it was not opened
        raise
    site.close()
    problems = [
        f"{source.name}: {problem}" if source.name else problem
        for source in sources
        for problem in source.conclude(limit_s)
    ]
    for problem in problems:
        log.error(problem)
    return 1 if problems else 0


def _progress(config: NodeConfig, sources: Sequence[SourceRun]) -> Progress | None:
    """The line on a terminal, which is of one source."""
    if len(sources) > 1 or not is_wanted(config):
        return None
    return Progress(sources[0].runner, sources[0].info)


def _loaded(file: Path, config: NodeConfig, *, is_live: bool) -> Engine:
    """The engine, and in the log what there is to say of it; raises EngineError."""
    began_s = time.monotonic()
    engine = load_engine(file, config, is_live)
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
    return engine


def _watch(sources: Sequence[SourceRun], stop: StopSignals, progress: Progress | None) -> float:
    """Wait for the end of all, or for the limit once a stop was asked for, and return that limit in seconds.

    A second SIGINT cuts it to a second from then on. A source that has ended changes nothing for the others.
    """
    limit_s, drained_s, running = DRAIN_LIMIT_S, 0.0, RunningTime()
    notifier = SystemdNotifier(is_ready_at_start=not any(source.info.is_live for source in sources))

    def notify_systemd() -> None:
        if notifier.is_on:  # a report takes the run's lock and reads /proc
            reports = [source.report() for source in sources]
            notifier.tick(min(reports, key=lambda report: (report.is_alive, report.is_ready)))

    notify_systemd()
    while (left := [it.runner for it in sources if not it.has_ended]) and drained_s < limit_s:
        left[0].wait(TICK_S)
        tick_s = running.tick_ns() / 1e9
        if all(runner.stopping_for_s for runner in left):
            drained_s += tick_s
        elif stop.number is not None:
            for runner in left:
                runner.stop()
        if stop.is_urgent and limit_s == DRAIN_LIMIT_S:
            limit_s = min(limit_s, drained_s + URGENT_LIMIT_S)
        for runner in left:
            runner.watch()
        notify_systemd()
        for source in sources:
            source.log_changes()
        if progress is not None:
            progress.show()
    notify_systemd()
    notifier.close()
    show_status("")
    for source in sources:
        source.log_changes(is_over=True)
    return limit_s
