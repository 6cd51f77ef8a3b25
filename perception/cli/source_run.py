"""One source of a run: its parts, its lines in the log, its health, and what became of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from perception.build import RunParts, settings_of_run
from perception.concurrency.busy_cores import BusyCores
from perception.config import NodeConfig
from perception.frame import OutputItem
from perception.inference.engines import Engine
from perception.pipeline import Runner
from perception.provenance.trace import Tracer
from perception.sinks.registry import Sinks
from perception.sinks.sink import SinkError
from perception.sources.source import SourceInfo
from perception.telemetry.changes import StateChanges
from perception.telemetry.counters import DISPLACED
from perception.telemetry.health import HealthReport
from perception.telemetry.reporter import HealthReporter
from perception.telemetry.summary import SummaryFile, as_table, summarise

log = logging.getLogger(__name__)


class _Lines(logging.LoggerAdapter[logging.Logger]):
    """Lines of one source.

    Args:
        beginning: of each.
    """

    def __init__(self, logger: logging.Logger, beginning: str) -> None:
        super().__init__(logger)
        self._beginning = beginning

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """The line with its beginning."""
        return f"{self._beginning}{msg}", kwargs


class SourceRun:
    """From one source to its outputs. Opened, connected, started and concluded, in this order."""

    info: SourceInfo
    """Of the source, once that is open."""
    runner: Runner
    """Once connected."""
    report: Callable[[], HealthReport]
    """The health now, once connected; may be called from any thread."""
    summary: Mapping[str, Any]
    """What `summarise` gives of the run, with versions and checksums; once concluded."""

    def __init__(self, config: NodeConfig, *, is_one_of_several: bool = False) -> None:
        """Make the source, not yet open, and hold the file of its summary.

        Args:
            is_one_of_several: lines in the log begin with its name.

        Raises:
            SourceError: as of `RunParts`; CalibrationError too.
            SinkError: if the summary cannot be written where it is to be.
        """
        self.config = config
        """Its settings."""
        self.name = config.source_name if is_one_of_several else None
        """Of one of several sources."""
        self._log = _Lines(log, f"{self.name}: " if self.name else "")
        self._parts = RunParts(config)
        self._changes = StateChanges()
        self._engine: Engine
        self._sinks: Sinks
        self._tracer: Tracer
        self._started_s = 0.0
        self._summary_file: SummaryFile | None = None
        if config.summary:
            self._summary_file = SummaryFile(
                Path(config.summary), overwrite=config.overwrite, append=config.append
            )

    def wake(self) -> None:
        """End a wait of the source for its first frame; from any thread."""
        self._parts.source.stop()

    def open(self) -> None:
        """Open the source; raises as `RunParts.open_source`."""
        self.info = self._parts.open_source()

    def log_facts(self) -> None:
        """Say what the source is, which is open."""
        info = self.info
        size = "{}x{}".format(*info.frame_wh) if info.frame_wh else ""
        facts = [info.source_id, size, str(info.rate), info.description]
        self._log.info(f"source: {', '.join(fact for fact in facts if fact)}")

    def connect(
        self,
        engine: Engine,
        listeners: Sequence[Callable[[OutputItem], None]] = (),
        cores: BusyCores | None = None,
    ) -> None:
        """Open the sinks and connect everything; raises as `RunParts.connect`.

        Args:
            engine: from `load_engine`.
            listeners: get every output, besides those who follow the health.
            cores: shared with other runs.
        """
        reporter = HealthReporter(self._parts.source, self.info, engine, self.config.freshness)
        runner, sinks, tracer = self._parts.connect(
            *(self.info, engine),
            claims=[self._summary_file] if self._summary_file else [],
            listeners=(reporter.record, self._changes.record, *listeners),
            cores=cores,
        )
        self._log.debug(f"sinks: {', '.join(runner.sinks) or 'none'}")
        self._log.info(tracer.description)
        self.runner, self._sinks, self._tracer, self._engine = runner, sinks, tracer, engine
        self.report = partial(reporter.report, runner, tracer)

    def start(self) -> None:
        """Begin; raises RuntimeError as of `StageGroup.start`."""
        self._started_s = time.monotonic()
        self.runner.start()

    @property
    def has_ended(self) -> bool:
        """It has come to its end, or only what hangs is left of it."""
        return self.runner.wait(0) or self.runner.waits_for_hung_stages_alone

    def log_changes(self, *, is_over: bool = False) -> None:
        """Say what became of camera and engine since."""
        for line in self._changes.lines(flush=is_over):
            self._log.info(line)

    def close(self) -> None:
        """Close what is open of a run that did not begin."""
        if self._summary_file is not None:
            self._summary_file.close()
        self._parts.close()

    def conclude(self, limit_s: float) -> list[str]:
        """Say what happened, and write the summary; gives what went wrong, a line each.

        Args:
            limit_s: how long the stages were waited for, in seconds.
        """
        health = self.report()
        elapsed_s = time.monotonic() - self._started_s
        summary = summarise(health, self.runner.age, self.runner.times, elapsed_s)
        summary["provider_nodes"] = dict(self._engine.nodes)
        summary |= self._tracer.as_dict() | {"settings": settings_of_run(self.config)}
        self.summary = summary
        for line in as_table(summary).splitlines():
            self._log.info(line)
        displaced = health.frames.dropped.get(DISPLACED, 0) if self.info.is_replayed else 0
        for note in health.source.notes(displaced):
            self._log.info(f"note: {note}")
        problems = health.problems(limit_s)
        written = self._sinks.written()
        if self._summary_file is not None:
            try:
                self._summary_file.write(summary)
                written.append(str(self.config.summary))
            except SinkError as error:
                problems.append(str(error))
            finally:
                self._summary_file.close()
        if written:
            self._log.info(f"files: {', '.join(written)}")
        return problems
