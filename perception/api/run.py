"""Run: a source that is read, and the loop over its results."""

from __future__ import annotations

import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from threading import Condition, Thread, current_thread, main_thread
from types import TracebackType
from typing import Any, Final, Self

from perception.api.model import Model, Network
from perception.api.result import Result
from perception.api.settings import check_of_run
from perception.build import RunParts
from perception.cli.node_outputs import check_outputs
from perception.cli_config import from_values
from perception.concurrency.stage_group import WATCH_S
from perception.config import NodeConfig, node_config
from perception.frame import OutputItem, Prediction
from perception.imaging.yuv import Yuv420
from perception.inference.engines import EngineError
from perception.inference.zoo import DEFAULT_MODEL
from perception.pipeline import RunError, Runner
from perception.sinks.sink import SinkError
from perception.sources.source import SourceError, SourceInfo
from perception.system.plugins import PluginError
from perception.system.time_limits import DRAIN_LIMIT_S
from perception.telemetry.counters import FrameCounters
from perception.telemetry.health import HealthReport
from perception.telemetry.reporter import HealthReporter

RECORDED_AHEAD: Final = 4
"""Results of a recording that may wait for the loop."""


class Run:
    """The results of one source, in order: `with perception.open(…) as run: for result in run: …`.

    Of a live source the loop gets the newest result, and `skipped` counts those that it was too slow for;
    of a recording it gets all of them. An outage is a result without a frame. An error of the run is raised
    where the loop would end. Leaving the `with` block ends threads, child processes and shared memory.
    """

    def __init__(
        self,
        runner: Runner,
        report: Callable[[], HealthReport],
        info: SourceInfo,
        results: ResultQueue,
        watcher: Thread,
    ) -> None:
        """Take over a run that has been started; see `open`."""
        self.info = info
        """What is known of the source: `source_id`, `is_live`, `frame_wh`, `rate_hz`, `description`."""
        self._runner, self._report, self._results, self._watcher = runner, report, results, watcher
        self._is_error_raised = False
        self._unclosed = weakref.finalize(self, _give_up, runner, results)

    def __iter__(self) -> Iterator[Result]:
        """The results that are still to come."""
        return self

    def __next__(self) -> Result:
        """Wait for the next result.

        Raises:
            SourceError, EngineError, SinkError, PluginError, RunError: what ended the run.
        """
        output = self._results.take()
        if output is not None:
            return Result(_with_own_pixels(output))
        self.close()
        self._raise_error()
        raise StopIteration

    def __enter__(self) -> Self:
        """The run itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the run; raises what went wrong in it, unless another error is on its way."""
        self.close()
        if error is None:
            self._raise_error()

    def close(self) -> None:
        """End the run: what has not been read is given up. Safe to call twice."""
        self._unclosed.detach()
        self._results.leave()
        self._runner.stop()
        _wait(self._runner)
        self._watcher.join(DRAIN_LIMIT_S)

    @property
    def books(self) -> FrameCounters:
        """What became of every frame so far; they balance at every moment."""
        return self._runner.counters()

    @property
    def problems(self) -> list[str]:
        """What went wrong so far, a line each, as `drivable-node` ends with it; empty if all is well.

        That is an error that ended the run, and what raises none: images that could not be read, frames of
        which the network says nothing, an output that is not complete.
        """
        waited_s = None if self._unclosed.alive else DRAIN_LIMIT_S
        return self._report().problems(waited_s)

    @property
    def skipped(self) -> int:
        """Results of a live source that were published, and that the loop was too slow for."""
        return self._results.skipped

    def _raise_error(self) -> None:
        if self._is_error_raised:
            return
        self._is_error_raised = True
        try:
            self._runner.raise_first_error()
        except RunError as error:
            cause = error.__cause__
            if isinstance(cause, SourceError | EngineError | SinkError | PluginError):
                cause.add_note(f"in the stage {error.stage}")
                raise cause from None
            raise
        if stuck := self._runner.stuck_stages():
            raise RunError(stuck[0], TimeoutError(f"did not end within {DRAIN_LIMIT_S:g} s"))


def open(
    source: str | os.PathLike[str] | int,
    model: Model | str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    realtime: bool = False,
    loop: bool = False,
    max_frames: int | None = None,
    duration_s: float | None = None,
    **settings: Any,
) -> Run:
    """Begin to read a source; use it in a `with` block.

    Args:
        source: what `drivable-node --source` takes: a video, a folder or glob of images, a camera, a pipe,
            an address, or synthetic[:scene].
        model: loaded already, or its name or file.
        realtime: play a recording at its own pace, as a live source would: the newest frame wins.
        loop: start a recording over when it ends.
        max_frames: end after so many frames.
        duration_s: end after so many seconds of the source's own time.
        settings: the node's other ones by their names, such as `open_retries`, `isolate`, or `out`, `jsonl`
            and `masks` for its files. Groups are dicts or their dataclass: `health={"enabled": False}`.

    Raises:
        SettingsError: for a setting that cannot be used.
        SourceError: if the source does not open.
        FileNotFoundError, EngineError: if the model does not load.
        SinkError: if a file cannot be written.

    Example:
        >>> import perception
        >>> with perception.open("synthetic:highway", "rt_s-int8", max_frames=3) as run:
        ...     print([result.frame_id for result in run])
        [0, 1, 2]
        >>> run.books.captured, run.books.published
        (3, 3)
    """
    check_of_run(settings)
    network = model.network if isinstance(model, Model) else Network(model)
    daily = {"realtime": realtime, "loop": loop, "max_frames": max_frames, "duration_s": duration_s}
    asked = {name: value for name, value in daily.items() if value is not None and value is not False}
    given = str(source) if isinstance(source, int) else os.fspath(source)
    named = {**network.settings, **settings, **asked, "source": given}
    config = from_values(node_config(named), "drivable-node", named)
    check_outputs([config], network.file)
    return _started(config, network)


def _started(config: NodeConfig, network: Network) -> Run:
    parts = RunParts(config)
    try:
        info = parts.open_source()
        engine = network.engine_for(info.is_live)
        results = ResultQueue(1 if info.is_live else RECORDED_AHEAD, drops=info.is_live)
        reporter = HealthReporter(parts.source, info, engine, config.freshness)
        runner = parts.connect(info, engine, more_sinks=[results], listeners=[reporter.record]).runner
        watcher = Thread(target=runner.wait_watching, name="watch", daemon=True)
        watcher.start()
        runner.start()
    except BaseException:
        parts.close()
        raise
    return Run(runner, partial(reporter.report, runner), info, results, watcher)


class ResultQueue:
    """The sink that hands results to a loop; of a live source the newest one only.

    Args:
        capacity: results that may wait.
        drops: the oldest one makes way for a new one; else the run waits.
    """

    name = "results"
    issue: str | None = None

    def __init__(self, capacity: int, *, drops: bool) -> None:
        self._capacity, self._drops = capacity, drops
        self._changed = Condition()
        self._outputs: deque[OutputItem] = deque()
        self._is_closed = self._is_left = False
        self.waits_for_reader = False
        """The loop may take its time."""
        self.skipped = 0

    def open(self, info: SourceInfo, resumes: bool = False) -> None:
        """Nothing has to be made ready."""

    def write(self, output: OutputItem) -> None:
        """Hand a result over; wait for the loop to take one, or drop the oldest."""
        with self._changed:
            if self._drops and len(self._outputs) >= self._capacity:
                self._outputs.popleft()
                self.skipped += 1
            while len(self._outputs) >= self._capacity and not self._is_left:
                self.waits_for_reader = True
                self._changed.wait()
            self.waits_for_reader = False
            if not self._is_left:
                self._outputs.append(output)
                self._changed.notify_all()

    def close(self) -> None:
        """Nothing more comes."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def take(self) -> OutputItem | None:
        """The next result; None if none will come."""
        with self._changed:
            while not (self._outputs or self._is_closed or self._is_left):
                self._changed.wait()
            output = self._outputs.popleft() if self._outputs else None
            self._changed.notify_all()
            return output

    def leave(self) -> None:
        """Nobody takes any more: what waits and what comes is given up. Safe to call twice."""
        with self._changed:
            self._is_left = True
            self._outputs.clear()
            self._changed.notify_all()


def _wait(runner: Runner) -> None:
    """Until all has ended, or only what hangs is left."""
    until_s = time.monotonic() + DRAIN_LIMIT_S
    while not runner.wait(WATCH_S) and time.monotonic() < until_s:
        if runner.waits_for_hung_stages_alone:
            break


def _give_up(runner: Runner, results: ResultQueue) -> None:
    """End a run that nobody closed: its last user has gone, or the process ends."""
    results.leave()
    runner.stop()
    if current_thread() is main_thread():  # any other may be one of the run's own
        _wait(runner)


def _with_own_pixels(output: OutputItem) -> OutputItem:
    """The same with a frame that may be kept for as long as one likes.

    What comes from a reader's process lies in memory that it shares, of which there is only so much.
    """
    if not isinstance(output, Prediction):
        return output
    pixels = output.frame.pixels
    first = pixels.y if isinstance(pixels, Yuv420) else pixels
    if first.flags.writeable:
        return output
    if isinstance(pixels, Yuv420):
        pixels = Yuv420(pixels.y.copy(), pixels.u.copy(), pixels.v.copy(), pixels.matrix)
    else:
        pixels = pixels.copy()
    return replace(output, frame=replace(output.frame, pixels=pixels))
