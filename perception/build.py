"""From the settings to a run: engine and predictors, source and sinks, and the rules by which they work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from perception.concurrency.busy_cores import BusyCores
from perception.config import NodeConfig
from perception.frame import OutputItem
from perception.inference.engines import ENGINES, Engine, EngineError
from perception.inference.predictor import Predictor
from perception.pipeline import Runner, RunPolicy
from perception.provenance.identity import RunIdentity, checksum_of, covered_settings
from perception.provenance.trace import Tracer
from perception.refine import refine_steps
from perception.refine.steady import smooths
from perception.scene.settings import RunCalibration, calibrated
from perception.sinks.registry import SINKS, Sinks
from perception.sinks.sink import HasTarget, Sink
from perception.sources.images import folders_of
from perception.sources.registry import SOURCES, Spec, build_source
from perception.sources.source import SourceError, SourceInfo
from perception.system.cores import usable_cores
from perception.system.time_limit import within

WORKERS_A_GPU = 2
LOOKS_HZ = 10.0
"""How often the camera of a recording is looked at: an alarm within half a second needs no more, and at every
frame it would cost the fastest network a twelfth of its frames a second."""


def build_predictors(
    file: Path, config: NodeConfig, is_live: bool, rate_hz: float = 30.0
) -> tuple[Engine, list[Predictor]]:
    """The engine, warm, and one predictor a worker; as `load_engine` and `predictors_of`."""
    engine = load_engine(file, config, is_live)
    return engine, predictors_of(engine, config, is_live, rate_hz)


def load_engine(file: Path, config: NodeConfig, is_live: bool) -> Engine:
    """The engine, run once, so that the first frame is not the slowest.

    Live: one call at a time with all threads, for the least age. Recorded: one call a core with one thread
    each, for the most frames; that wastes nothing on waiting for each other inside a layer.

    Raises:
        EngineError: if the model cannot be loaded and run once, or not in time.
    """
    kind = ENGINES[config.engine]
    limit_s = config.load_timeout_s or kind.load_limit_s(kind.own(config))
    try:
        return within(limit_s, lambda: _loaded(file, config, is_live))
    except TimeoutError as error:
        raise EngineError(
            f"{file}: the model was not loaded and run once within {limit_s:g} s (does the GPU answer? does "
            f"the network ever end?); --load_timeout_s allows more time"
        ) from error


def _loaded(file: Path, config: NodeConfig, is_live: bool) -> Engine:
    cores = config.threads or usable_cores()
    calls = 1 if is_live else cores
    kind = ENGINES[config.engine]
    engine = kind.make(
        *(kind.build, file, kind.own(config), cores // calls, calls), protocol=Engine, expected=EngineError
    )
    Predictor(engine).warm_up()
    return engine


def predictors_of(
    engine: Engine, config: NodeConfig, is_live: bool, rate_hz: float = 30.0, *, leaves_mask: bool = False
) -> list[Predictor]:
    """One predictor a worker: one of a live source, of a recording one a core.

    A GPU runs one frame at a time; a recording's second worker prepares the next frame meanwhile.

    Args:
        rate_hz: the source's nominal rate.
        leaves_mask: to the step `steady`, as of `Predictor`.
    """
    workers = 1
    if not is_live:
        workers = WORKERS_A_GPU if engine.runs_one_at_a_time else config.threads or usable_cores()
    # of a live source frames are dropped, and it may always be the one that would have been looked at
    every = 1 if is_live else max(1, round(rate_hz / LOOKS_HZ))
    stats_every = every if config.health.enabled else 0
    return [Predictor(engine, stats_every, leaves_mask=leaves_mask) for _ in range(workers)]


def settings_of_run(config: NodeConfig) -> dict[str, Any]:
    """What `covered_settings` gives of them: not where the sinks write."""
    places = {kind.option.removeprefix("--") for kind in SINKS.used(config).values()}
    return covered_settings(config, places)


def build_tracer(config: NodeConfig, engine: Engine, info: SourceInfo) -> Tracer:
    """What puts software, model, settings and UTC on every output."""
    settings_sha256 = checksum_of(settings_of_run(config))
    return Tracer(
        RunIdentity(model_sha256=engine.model_sha256, settings_sha256=settings_sha256), info.is_taken_now
    )


class Connected(NamedTuple):
    """A run whose parts are connected, and that can be started."""

    runner: Runner
    sinks: Sinks
    """Those that the settings turn on, which are open."""
    tracer: Tracer


class RunParts:
    """The source of a run, and what is connected to it; a runner that has ended has closed both."""

    def __init__(self, config: NodeConfig) -> None:
        """Make the source, not yet open; raises SourceError, or CalibrationError."""
        self._calibration = RunCalibration.of(config)
        self._spec = Spec.of(config.source)
        self.source = build_source(self._spec, config)
        self._config = config
        self._opened: list[Sink] = []

    def open_source(self) -> SourceInfo:
        """What is known of the source.

        Raises:
            SourceError: if it cannot be opened.
            PluginError: as of another package's.
            CalibrationError: if the calibration is of pictures of another shape.
        """
        kind = SOURCES[self._spec.kind]
        info: SourceInfo = kind.make(self.source.open, expected=SourceError)
        if self._calibration is not None and info.frame_wh is not None:
            self._calibration.at(info.frame_wh)
        return info if self._calibration is None else calibrated(info, self._calibration)

    def close(self) -> None:
        """Close what is open of a run that did not come to its end; whatever that raises is less than why."""
        for close in (*(sink.close for sink in self._opened), self.source.close):
            with suppress(Exception):
                close()

    def connect(
        self,
        info: SourceInfo,
        engine: Engine,
        *,
        more_sinks: Sequence[Sink] = (),
        claims: Sequence[HasTarget] = (),
        listeners: Sequence[Callable[[OutputItem], None]] = (),
        cores: BusyCores | None = None,
    ) -> Connected:
        """Open the sinks, and connect everything by the rules that the settings give.

        Args:
            info: the source's, which is open.
            engine: from `load_engine`.
            more_sinks: open already, and no business of the settings.
            claims: what else is written, and claimed before a sink touches what is there.
            listeners: as of `Runner`.
            cores: shared with other runs; None has them for this one alone.

        Raises:
            SettingsError: if a refine step cannot be made of its settings.
            SinkError: if a sink cannot be opened.
        """
        config = self._config
        refine = refine_steps(config, info)  # before a sink touches what is there
        leaves_mask = smooths(config.steady, info)
        predictors = predictors_of(engine, config, info.is_live, info.rate_hz, leaves_mask=leaves_mask)
        folders = folders_of(self._spec.text) if self._spec.kind == "images" else frozenset()
        sinks = Sinks(config, info, folders)
        self._opened = sinks.open_all(claims)
        tracer = build_tracer(config, engine, info)
        policy = RunPolicy(
            refine=refine,
            stamp_engine=predictors[0].stamp_engine,
            max_age_s=config.freshness.max_age_s,
            rebuild_sink=sinks.reopened,
            watchdog=config.watchdog,
            tracer=tracer,
        )
        runner = Runner(
            *(self.source, info, predictors, [*self._opened, *more_sinks], policy),
            cores=config.threads if cores is None else cores,
            listeners=listeners,
        )
        return Connected(runner, sinks, tracer)
