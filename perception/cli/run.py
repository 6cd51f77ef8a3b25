"""One run of the node: config → build → run → what happened."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from perception.build import load_engine
from perception.cli.log import show_status
from perception.cli.node_outputs import hint_without_outputs
from perception.cli.progress import Progress, is_wanted
from perception.cli.signals import StopSignals
from perception.cli.sources import ERRORS as ERRORS_OF_SOURCES
from perception.cli.sources import Sources
from perception.concurrency.hang_watch import RunningTime
from perception.config import NodeConfig
from perception.inference.engines import Engine, EngineError
from perception.inference.zoo import model_file
from perception.system.process import tune_process
from perception.system.time_limits import DRAIN_LIMIT_S, URGENT_LIMIT_S
from perception.telemetry.systemd import SystemdNotifier
from perception.web.address import EndpointsError
from perception.web.site import Site

log = logging.getLogger(__name__)

TICK_S = 0.1
ERRORS = (*ERRORS_OF_SOURCES, EngineError, EndpointsError)
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
    sources = Sources(config, file, settings_files, Site.of(config, config.ros))
    try:
        sources.open(stop)
        if outputs := hint_without_outputs(config):
            log.info(outputs)
        only = None if sources.has_several else sources.runs[0]
        sources.connect(_loaded(file, config, is_live=only is not None and only.info.is_live))
        stop.begin()
        progress = Progress(only.runner, only.info) if only is not None and is_wanted(config) else None
        try:
            sources.start()
            limit_s = _watch(sources, stop, progress)
        except BaseException:
            sources.abandon()
            raise
    except BaseException:
        sources.close()
        stop.check()  # a source that was woken says that it was not opened
        raise
    problems = sources.conclude(limit_s)
    for problem in problems:
        log.error(problem)
    return 1 if problems or sources.had_problems else 0


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


def _watch(sources: Sources, stop: StopSignals, progress: Progress | None) -> float:
    """Wait for the end of all, or for the limit once a stop was asked for, and return that limit in seconds.

    A second SIGINT cuts it to a second from then on. A source that has ended changes nothing for the others.
    Where others may come, only a signal ends the node.
    """
    limit_s, drained_s, running = DRAIN_LIMIT_S, 0.0, RunningTime()
    notifier = SystemdNotifier(is_ready_at_start=not any(run.info.is_live for run in sources.runs))

    def notify_systemd() -> None:
        if notifier.is_on:  # a report takes the run's lock and reads /proc
            notifier.tick(sources.worst_report(), is_stopping=sources.is_ending)

    notify_systemd()
    while drained_s < limit_s:
        left = [run.runner for run in sources.runs if not run.has_ended]
        if not (left or sources.can_change or sources.is_changing):
            break
        if left:
            left[0].wait(TICK_S)
        else:
            time.sleep(TICK_S)
        tick_s = running.tick_ns() / 1e9
        if sources.is_ending:
            drained_s += tick_s
        elif stop.number is not None:
            sources.stop()
        if stop.is_urgent and limit_s == DRAIN_LIMIT_S:
            limit_s = min(limit_s, drained_s + URGENT_LIMIT_S)
        sources.watch()
        notify_systemd()
        if progress is not None:
            progress.show()
    notify_systemd()
    notifier.close()
    show_status("")
    return limit_s
