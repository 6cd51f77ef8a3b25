"""`drivable-node`: arguments → config → build → run → exit status."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from perception.config import NodeConfig
from perception.engines import Engine, EngineError, OnnxEngine, OpenVinoEngine
from perception.models import model_file
from perception.perceive import Perceiver
from perception.pipeline import DRAIN_LIMIT_S, Pipeline, PipelineError, Supervision
from perception.process import tune_process
from perception.settings import SettingsError, parse
from perception.sinks.registry import SinkSettings, build_sinks
from perception.sinks.sink import Sink, SinkError
from perception.sources.registry import SourceSettings, build_source
from perception.sources.source import SourceError, SourceInfo
from perception.summary import as_table, summarise

TICK_S = 0.1
WORKERS_A_GPU = 2
INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 only if nothing went wrong."""
    try:
        config = parse(NodeConfig, "drivable-node", "Frames in, drivable area out.", arguments)
        return run(config)
    except (SettingsError, SourceError, SinkError, EngineError, FileNotFoundError, PipelineError) as error:
        _say(f"drivable-node: {error}")
        return 1


def run(config: NodeConfig) -> int:
    """Open, connect, run to the end or to a signal, and tell what happened."""
    tune_process()
    file = model_file(config.model)
    source = build_source(config.source, _source_settings(config))
    try:
        info = source.open()
        width, height = info.frame_wh
        told = [info.source_id, f"{width}x{height}", f"{info.rate_hz:g} Hz", info.description]
        _say(f"source: {', '.join(part for part in told if part)}")
        engine, perceivers = build_perceivers(file, config, info.is_live)
        if engine.state != "ok":
            _say(f"warning: provider {config.provider} did not load; going on with {engine.provider}")
        sinks = _open_sinks(config, info)
    except BaseException:
        source.close()
        raise
    supervision = Supervision(
        sign=perceivers[0].sign,
        max_age_s=config.freshness.max_age_s,
        watchdog=config.watchdog,
    )
    pipeline = Pipeline(source, info, perceivers, sinks, supervision)
    started_s = time.monotonic()
    with _signals_stop(pipeline):
        pipeline.start()
        _watch(pipeline, started_s)
    summary = summarise(pipeline, time.monotonic() - started_s, engine.contract.model_id, engine.provider)
    _say(as_table(summary))
    if config.summary:
        _write_summary(Path(config.summary), summary)
    pipeline.raise_first_error()
    stuck = pipeline.stuck_stages()
    if stuck:
        _say(f"drivable-node: {', '.join(stuck)} did not end within {DRAIN_LIMIT_S:g} s")
    return 1 if stuck else 0


def build_perceivers(file: Path, config: NodeConfig, is_live: bool) -> tuple[Engine, list[Perceiver]]:
    """The engine, warm, and one perceiver a worker.

    Live: one worker with all threads, for the least age. Recorded: one worker a core with one thread
    each, for the most frames; that wastes nothing on waiting for each other inside a layer. A GPU runs
    one frame at a time; a recording's second worker prepares the next frame meanwhile.
    """
    cores = config.threads or len(os.sched_getaffinity(0))
    workers = 1 if is_live else cores
    engine: Engine
    if config.engine == "openvino":
        engine = OpenVinoEngine(file, cores // workers, config.engine_precision, streams=workers)
    else:
        engine = OnnxEngine(file, config.provider, cores // workers, config.allow_fallback)
    if engine.runs_one_at_a_time:
        workers = 1 if is_live else WORKERS_A_GPU
    perceivers = [Perceiver(engine) for _ in range(workers)]
    perceivers[0].warm_up()
    return engine, perceivers


def _source_settings(config: NodeConfig) -> SourceSettings:
    return SourceSettings(
        camera=config.camera,
        synthetic_wh=config.synthetic.wh,
        synthetic_rate_hz=config.synthetic.rate_hz,
        seed=config.synthetic.seed,
        images_rate_hz=config.images_rate_hz,
        open_timeout_s=config.open_timeout_s,
        read_timeout_s=config.read_timeout_s,
        freshness=config.freshness,
        reconnect=config.reconnect,
        isolates_recordings=config.isolate,
        realtime=config.realtime,
        loop=config.loop,
        max_frames=config.max_frames,
        duration_s=config.duration_s,
    )


def _open_sinks(config: NodeConfig, info: SourceInfo) -> list[Sink]:
    sinks = build_sinks(SinkSettings(out=config.out, jsonl=config.jsonl, masks=config.masks))
    opened: list[Sink] = []
    try:
        for sink in sinks:
            sink.open(info)
            opened.append(sink)
    except BaseException:
        for sink in opened:
            sink.close()
        raise
    return sinks


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


def _watch(pipeline: Pipeline, started_s: float) -> None:
    """Wait for the end, or for the limit once a stop was asked for; a line of progress on a terminal."""
    shows_progress = sys.stderr.isatty()
    while not pipeline.wait(TICK_S) and pipeline.stopping_for_s < DRAIN_LIMIT_S:
        pipeline.watch()
        if shows_progress:
            print(f"\r{_progress(pipeline, started_s):70}", end="", file=sys.stderr, flush=True)
    if shows_progress:
        print("\r" + " " * 70 + "\r", end="", file=sys.stderr, flush=True)


def _progress(pipeline: Pipeline, started_s: float) -> str:
    published = pipeline.ledger.published
    fps = published / (time.monotonic() - started_s)
    age_ms = pipeline.age.quantile_ms(0.5)
    age = "-" if age_ms is None else f"{age_ms:.0f} ms"
    return f"{published} frames  {fps:.1f} fps  age {age}  dropped {pipeline.ledger.dropped}"


def _write_summary(file: Path, summary: dict[str, object]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(summary, indent=2) + "\n")
    except OSError as error:
        raise SinkError(f"{file}: the summary cannot be written: {error.strerror}") from error


def _say(line: str) -> None:
    """To standard error: standard output belongs to the records."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
