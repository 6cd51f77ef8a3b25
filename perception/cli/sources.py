"""The sources of a node: those that it begins with, and those that are added and removed over HTTP."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields, replace
from http import HTTPStatus
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from perception.cli.collisions import CollisionError
from perception.cli.command import describe
from perception.cli.node_outputs import check_outputs, check_read_once
from perception.cli.signals import StopSignals
from perception.cli.source_run import SourceRun
from perception.cli_config import SettingsError, from_values
from perception.cli_config.names import resolved
from perception.concurrency.busy_cores import BusyCores
from perception.config import NodeConfig
from perception.inference.engines import Engine
from perception.pipeline import RunError
from perception.scene.calibration import CalibrationError
from perception.several import OwnSettings, check_names
from perception.sinks.sink import SinkError
from perception.sources.registry import Spec
from perception.sources.source import SourceError
from perception.system.cores import usable_cores
from perception.system.plugins import PluginError
from perception.system.redaction import redacted_line, redacted_url
from perception.system.time_limits import DRAIN_LIMIT_S
from perception.web.changes import STOPPING, RefusedError
from perception.web.site import Site, SitePart

if TYPE_CHECKING:
    from perception.telemetry.health import HealthReport

log = logging.getLogger(__name__)

ERRORS: Final = (
    *(SettingsError, SourceError, SinkError, CalibrationError),
    *(FileNotFoundError, RunError, PluginError),
)
"""Why a source cannot be added, each in one line."""
LOOK_S: Final = 0.1
OPENING: Final = "is being opened"


class Sources:
    """The runs of a node.

    It is opened, connected and started in this order; then the main thread calls `watch` often. Changes are
    made by a thread of their own, one at a time, so a camera that does not answer holds up other changes and
    nothing else.

    Args:
        config: the node's.
        model: its file, which no output may lie on.
        settings_files: which no output may lie on either.
        site: where every run is shown.
    """

    def __init__(self, config: NodeConfig, model: Path, settings_files: Sequence[Path], site: Site) -> None:
        """Make nothing yet; raises SettingsError, or SourceError if a source is none."""
        self._config, self._model, self._settings_files, self._site = config, model, settings_files, site
        self._configs = config.one_each()
        if self.has_several:
            check_read_once(self._configs)
        check_outputs(self._configs, model, settings_files)
        self._engine: Engine
        self._cores: BusyCores | None = None
        self._lock = Lock()
        """Of what the main thread looks at, while a change takes something away."""
        self._runs: list[SourceRun] = []
        self._missing: dict[str, tuple[NodeConfig, str]] = {}
        """Sources that should be there and are not, and why: they are being opened, or could not be."""
        self._ending: SourceRun | None = None
        """The one that a change ends."""
        self.had_problems = False
        """Something went wrong with a source that was removed or restarted."""
        self._names_used: set[str] = set()
        self._opening: SourceRun | None = None
        self.is_changing = False
        """A source is being added or removed."""
        self._is_stopping = False
        self.changes = ThreadPoolExecutor(1, "sources")

    @property
    def runs(self) -> list[SourceRun]:
        """Those that there are now."""
        with self._lock:
            return list(self._runs)

    @property
    def has_several(self) -> bool:
        """Whether there are several, or may be some day."""
        return self._config.has_several

    @property
    def is_ending(self) -> bool:
        """Whether nothing is to come any more, but what is in flight."""
        return not self.can_change and all(
            run.has_ended or run.runner.is_stopping.is_set() for run in self.runs
        )

    def worst_report(self) -> HealthReport | None:
        """Of the source that is worst off: a recording that has ended counts only where there is no other.

        One that a change ends does not count.
        """
        reports = [run.report() for run in self.runs if run is not self._ending]
        left = [report for report in reports if not report.has_ended_well] or reports
        return min(left, key=lambda report: (report.is_alive, report.is_ready), default=None)

    @property
    def can_change(self) -> bool:
        """Whether others may come while the node runs."""
        return bool(self._config.http_sources) and not self._is_stopping

    def open(self, stop: StopSignals) -> None:
        """Open every source that the settings name; raises as `SourceRun.open`, and Stopped."""
        for config in self._configs:
            run = SourceRun(config, is_one_of_several=self.has_several)
            self._runs.append(run)
            stop.wake_by(run.wake)
            run.open()
            stop.check()
            run.log_facts()

    def connect(self, engine: Engine) -> None:
        """Connect everything, and listen; raises as `SourceRun.connect` and `Site.start`."""
        self._engine = engine
        if self.can_change:
            gc.collect()
            gc.freeze()  # so that a source's memory is found in no time when it has gone
        if self.has_several:
            self._cores = BusyCores(self._config.threads or usable_cores())
        for run in self._runs:
            self._connect(run)
        self._site.start([_part(run) for run in self._runs], self if self.has_several else None)

    def start(self) -> None:
        """Begin with all of them; raises RuntimeError."""
        for run in self._runs:
            run.start()
            self._names_used.add(run.config.source_name or "")

    def abandon(self) -> None:
        """End what has begun, as far as it can in time."""
        runs = self.runs
        for run in runs:
            run.runner.stop()
        for run in runs:
            run.runner.wait(DRAIN_LIMIT_S)

    def close(self) -> None:
        """Close what is open of runs that did not begin, or did not come to their end."""
        self.changes.shutdown(wait=False, cancel_futures=True)
        for run in self.runs:
            run.close()
        self._site.close()

    def watch(self) -> None:
        """Look after all of them; see `Runner.watch`."""
        with self._lock:
            for run in self._runs:
                if not run.has_ended:
                    run.runner.watch()
                run.log_changes()

    def stop(self) -> None:
        """End all, and begin nothing any more; to be called often until there is none left."""
        self._is_stopping = True
        self.changes.shutdown(wait=False, cancel_futures=True)
        if (opening := self._opening) is not None:
            opening.wake()
        for run in self.runs:
            if not run.runner.stopping_for_s:
                run.runner.stop()

    def conclude(self, limit_s: float) -> list[str]:
        """Say what happened, as `SourceRun.conclude` for every run that there still is."""
        self._site.close()
        self.changes.shutdown(wait=False, cancel_futures=True)
        if self._config.http_sources:
            gc.unfreeze()
        problems = []
        for run in self.runs:
            run.log_changes(is_over=True)
        for run in self.runs:
            problems += [f"{run.name}: {it}" if run.name else it for it in run.conclude(limit_s)]
        return problems + [f"{name}: {why}" for name, (_, why) in self._missing.items() if why != OPENING]

    def listed(self) -> list[dict[str, Any]]:
        """See `ChangeableSources`."""
        runs = self.runs
        listed = [_shown(run.config, "ended" if run.has_ended else "running", run.report()) for run in runs]
        there = {run.name for run in runs}
        for name, (config, why) in list(self._missing.items()):
            if name not in there:
                listed.append(
                    _shown(config, "opening" if why == OPENING else "failed", None) | {"reason": why}
                )
        return listed

    def put(self, name: str, settings: Mapping[str, Any] | None) -> tuple[bool, list[str]]:
        """See `ChangeableSources`."""
        with self._changing():
            return self._put(name, settings)

    def delete(self, name: str) -> list[str]:
        """See `ChangeableSources`."""
        with self._changing():
            return self._delete(name)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Errors of a change are RefusedError, those that none expects too."""
        self.is_changing = True
        try:
            if self._is_stopping:
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, STOPPING)
            yield
        except RefusedError:
            raise
        except Exception as error:
            if self._is_stopping:
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, STOPPING) from error
            line = describe(error)
            log.error(line, exc_info=error)
            raise RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, line) from error
        finally:
            self.is_changing = False

    def _put(self, name: str, settings: Mapping[str, Any] | None) -> tuple[bool, list[str]]:
        before = self._run_of(name)
        try:
            config = self._config_of(name, settings)
            kind = Spec.of(config.source).kind
            if settings is not None and kind not in self._config.http_sources:
                allowed = ", ".join(self._config.http_sources)
                raise RefusedError(
                    HTTPStatus.FORBIDDEN, f"the source is of kind {kind}, and http_sources allows {allowed}"
                )
            others = [run.config for run in self.runs if run is not before]
            others += [missed for missing, (missed, _) in self._missing.items() if missing != name]
            check_read_once([*others, config])
            check_outputs([*others, config], self._model, self._settings_files)
        except CollisionError as error:
            raise RefusedError(HTTPStatus.CONFLICT, str(error)) from error
        except (*ERRORS, OSError) as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, _line(error)) from error
        was_there = before is not None or name in self._missing
        if was_there:
            self._missing[name] = config, OPENING
        problems = [] if before is None else self._end(before, missing=OPENING)
        try:
            self._begin(config)
        except (*ERRORS, OSError) as error:
            if self._is_stopping:
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, STOPPING) from error
            if was_there:
                self._miss(config, error)
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, _line(error)) from error
        except BaseException as error:
            if was_there:
                self._miss(config, error)
            raise
        self._missing.pop(name, None)
        log.info(f"{name}: {'restarted' if was_there else 'added'} over HTTP")
        return not was_there, problems

    def _delete(self, name: str) -> list[str]:
        run = self._run_of(name)
        if run is None and name not in self._missing:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"there is no source {name}")
        problems = [] if run is None else self._end(run)
        self._missing.pop(name, None)
        self._site.withdraw(name)
        log.info(f"{name}: removed over HTTP")
        return problems

    def _config_of(self, name: str, settings: Mapping[str, Any] | None) -> NodeConfig:
        """The settings of a source's run; raises RefusedError, SettingsError or SourceError."""
        if settings is not None:
            _check_are_own(settings)
            own = from_values(OwnSettings, "drivable-node", {"name": name, **settings})
            if own.name != name:
                raise SettingsError(f"the name in the settings is {own.name}, and that in the address {name}")
            check_names(sorted({*(str(run.name) for run in self.runs), *self._missing, name}))
            config = self._config.of_source(own, name)
        else:
            known = {str(run.name): run.config for run in self.runs}
            known |= {missing: config for missing, (config, _) in self._missing.items()}
            if name not in known:
                raise RefusedError(
                    HTTPStatus.NOT_FOUND, f'there is no source {name}; {{"source": …}} in the body adds one'
                )
            config = known[name]
        if name in self._names_used:  # what the earlier run of that name wrote is kept
            config = replace(config, overwrite=False)
        return config

    def _begin(self, config: NodeConfig) -> None:
        """Open, connect and start a run; raises what `SourceRun` does, and nothing is left then."""
        run = SourceRun(config, is_one_of_several=True)
        try:
            self._opening = run
            if self._is_stopping:
                raise SourceError(STOPPING)
            run.open()
            run.log_facts()
            self._connect(run)
            self._names_used.add(str(run.name))
            run.start()
        except BaseException:
            run.close()
            missing = self._missing.get(str(run.name))
            self._site.withdraw(str(run.name), missing and missing[1])
            raise
        finally:
            self._opening = None
        with self._lock:
            self._runs.append(run)
        self._site.serve(_part(run))

    def _connect(self, run: SourceRun) -> None:
        run.connect(self._engine, self._site.listeners(run.info, run.name), self._cores)

    def _end(self, run: SourceRun, missing: str | None = None) -> list[str]:
        """End a run in good order, within the limit; gives what went wrong with it.

        Args:
            missing: as of `Site.withdraw`.
        """
        self._ending = run
        run.runner.stop()
        end_s = time.monotonic() + DRAIN_LIMIT_S
        while not run.has_ended and time.monotonic() < end_s:
            run.runner.wait(LOOK_S)
        with self._lock:
            self._runs.remove(run)
        self._ending = None
        self._site.withdraw(str(run.name), missing)
        run.log_changes(is_over=True)
        problems = run.conclude(DRAIN_LIMIT_S)
        for problem in problems:
            log.error(f"{run.name}: {problem}")
        self.had_problems |= bool(problems)
        gc.collect()  # a run's parts know each other, and hold the memory of its pictures
        return problems

    def _run_of(self, name: str) -> SourceRun | None:
        return next((run for run in self.runs if run.name == name), None)

    def _miss(self, config: NodeConfig, error: BaseException) -> None:
        name, line = str(config.source_name), redacted_line(_line(error))
        self._missing[name] = config, line
        self._site.withdraw(name, line)
        log.error(f"{name}: not started again: {line}")


def _check_are_own(settings: Mapping[str, Any]) -> None:
    """Refuse what one source has no setting for; raises SettingsError."""
    known = [one.name for one in fields(OwnSettings)]
    if other := next((name for name in settings if resolved(name, known) is None), None):
        raise SettingsError(
            f"{other} is no setting of one source, which has {', '.join(known)}; "
            "all else is as for the others"
        )


def _line(error: BaseException) -> str:
    return str(error) if isinstance(error, ERRORS) else describe(error)


def _part(run: SourceRun) -> SitePart:
    return SitePart(run.name, run.report, run.runner.age, run.runner.times)


def _shown(config: NodeConfig, state: str, report: HealthReport | None) -> dict[str, Any]:
    """A source in `/sources`, without any password."""
    shown: dict[str, Any] = {
        "name": config.source_name,
        "source": redacted_url(config.source),
        "state": state,
        "is_ready": report is not None and report.is_ready,
        "reason": None,
    }
    if report is not None:
        reason = report.why_not_ready
        shown["reason"] = redacted_line(reason) if reason else None
        shown["published"], shown["dropped"] = report.frames.published, report.frames.dropped_in_all
    return shown
