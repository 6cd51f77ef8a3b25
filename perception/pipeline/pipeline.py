"""The data path of the node: threads live here and nowhere else.

    source ─► newest | every ─► perceive (one or more workers) ─► publish ─► a channel and thread per sink

Perceiving is prepare, infer and interpret in one worker: a frame stays with one core and its caches,
a live worker takes the newest frame at the moment it is free, and nothing ages between the three.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event, Thread, get_native_id
from typing import TypeVar

from perception.frame import Frame, Outage, Output, Prediction
from perception.pipeline.channel import Channel, Closed, Ordered, WhenFull
from perception.pipeline.histogram import Histogram
from perception.pipeline.ledger import Ledger
from perception.pipeline.sink_line import SinkLine
from perception.pipeline.stage import Inbox, Outbox, Pulse, run_stage
from perception.pipeline.supervision import Supervision
from perception.sinks.sink import Sink
from perception.sources.source import NoFrame, Source, SourceInfo
from perception.status import LastOutput

A = TypeVar("A")
B = TypeVar("B")

DRAIN_LIMIT_S = 5.0
FRAMES_AHEAD = 4  # frames per worker that a recording may be decoded ahead
BURST, BURST_BYTES = 16, 24_000_000  # of frames of a recording that are decoded in a row, at most
PREDICTIONS_BURST = 4  # at most; what waits at the end of a run is written with the other cores idle
WORKER_NICE = 10  # steps of priority that the workers of a recording give way to the other stages
CAPTURE_PERIODS = 3  # of the source, that reading one frame may take at least
SINK_CAPACITY = 8  # predictions a sink may lag behind


class PipelineError(Exception):
    """What ended the run; the first line names the stage. The cause is the stage's own error."""

    def __init__(self, stage: str, error: Exception) -> None:
        super().__init__(f"{stage}: {str(error) or type(error).__name__}")
        self.stage = stage


class Pipeline:
    """One source, `len(perceivers)` workers, any number of sinks."""

    def __init__(
        self,
        source: Source,
        info: SourceInfo,
        perceivers: Sequence[Callable[[Frame], Prediction]],
        sinks: Sequence[Sink],
        supervision: Supervision | None = None,
    ) -> None:
        """Connect the stages. `source` and `sinks` are open already; the pipeline closes them.

        Each perceiver is used by one thread alone and may keep buffers of its own.
        """
        self.ledger = Ledger()
        self.age = Histogram()
        self.times: dict[str, Histogram] = {}
        self.errors: list[tuple[str, Exception]] = []
        self.last_output = LastOutput()
        self._supervision = supervision or Supervision()
        self._pulses: dict[str, Pulse] = {}
        self._hung: set[str] = set()
        self._is_live, self._period_ns = info.is_live, 1e9 / info.rate_hz
        self._source = source
        self._turns = _Turns()
        self._has_ended = Event()
        self._stopped_s: float | None = None

        workers, burst = len(perceivers), 1 if info.is_live else _burst_of(info.frame_wh)
        self._frames: Channel[Frame | Outage] = (
            Channel(1, "drop_oldest", self._displaced)
            if info.is_live
            else Channel(max(FRAMES_AHEAD * workers, 2 * burst), "wait", burst=burst)
        )
        burst = min(burst, PREDICTIONS_BURST)
        self._predictions: Channel[Output] = Channel(2 * max(workers, burst), "wait", burst=burst)
        lanes = Ordered(self._frames, self._predictions, workers).lanes()
        self._threads = [
            self._thread("capture", self._capture, self._turns, self._frames, timed=not info.is_live)
        ]
        for number, (perceive, lane) in enumerate(zip(perceivers, lanes, strict=True)):
            self._threads.append(
                self._thread(
                    f"perceive-{number}", partial(_perceive, perceive), lane, lane, yields=not info.is_live
                )
            )
        self.sink_lines: dict[str, SinkLine] = {sink.name: self._sink_line(sink, burst) for sink in sinks}
        fan_out = _FanOut([line.channel for line in self.sink_lines.values()], info.is_live)
        self._publisher = self._thread("publish", self._publish, self._predictions, fan_out)
        self._threads.append(self._publisher)

        self._settler = Thread(target=self._settle, name="source close", daemon=True)

    def start(self) -> None:
        """Start every stage's thread, and one that sees them all end."""
        for line in self.sink_lines.values():
            line.start()
        for thread in [*self._threads, self._settler]:
            thread.start()

    def stop(self) -> None:
        """Take no more frames; what is in flight goes on to the sinks. Safe to call twice."""
        self._stopped_s = self._stopped_s or time.monotonic()
        self._turns.close()
        self._frames.close()
        for line in self.sink_lines.values():
            line.stop()
        wake = getattr(self._source, "stop", None)
        if wake:
            wake()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; False if it did not come in time."""
        return self._has_ended.wait(timeout_s)

    @property
    def stopping_for_s(self) -> float:
        """Seconds since `stop` was first called; 0 before."""
        return time.monotonic() - self._stopped_s if self._stopped_s else 0.0

    @property
    def dead_end(self) -> str | None:
        """What the run cannot go on from; None while it can. A live run goes on without a sink."""
        for stage, error in list(self.errors):
            if not self._is_live or not stage.startswith("sink "):
                return f"{stage}: {str(error) or type(error).__name__}"
        return None

    def raise_first_error(self) -> None:
        """Raise what ended the run, if anything did.

        Raises:
            PipelineError: from the first error, naming its stage.
        """
        if self.errors:
            stage, error = self.errors[0]
            raise PipelineError(stage, error) from error

    def watch(self) -> None:
        """Replace hung sinks of a live run; end the run where another stage hangs. To be called often."""
        limit_ns = self._supervision.watchdog.stage_s * 1e9
        for line in self.sink_lines.values():
            if line.busy_ns() > limit_ns:
                if self._is_live and self._supervision.rebuild_sink is not None:
                    line.replace_hung()
                else:
                    self._end_hung(line.name)
        for name, pulse in self._pulses.items():
            waits_ns = CAPTURE_PERIODS * self._period_ns if name == "capture" else 0.0
            if pulse.busy_ns() > max(limit_ns, waits_ns):
                self._end_hung(name)

    def _end_hung(self, stage: str) -> None:
        if stage in self._hung:
            return
        self._hung.add(stage)
        limit_s = self._supervision.watchdog.stage_s
        self.errors.append((stage, TimeoutError(f"hung: at one frame for more than {limit_s:g} s")))
        self.stop()
        self._predictions.close()  # whatever hangs before them, the sinks are to finish their files

    def stuck_stages(self) -> list[str]:
        """Names of the stages whose threads have not ended."""
        stuck = [thread.name for thread in self._threads if thread.is_alive()]
        stuck += [line.name for line in self.sink_lines.values() if line.is_alive()]
        if not stuck and self._settler.is_alive() and not self._has_ended.is_set():
            stuck = [self._settler.name]
        return stuck

    def _thread(
        self,
        name: str,
        step: Callable[[A], B],
        inbox: Inbox[A],
        outbox: Outbox[B],
        *,
        timed: bool = False,
        yields: bool = False,
    ) -> Thread:
        times = self.times.setdefault(name, Histogram()) if timed else None
        pulse = self._pulses.setdefault(name, Pulse())

        def body() -> None:
            if yields:
                _lower_priority()
            run_stage(name, step, inbox, outbox, self.errors, times, pulse)

        return Thread(target=body, name=name, daemon=True)

    def _sink_line(self, sink: Sink, burst: int) -> SinkLine:
        anew = self._supervision.rebuild_sink if self._is_live else None
        when_full: WhenFull = "drop_oldest" if self._is_live else "wait"
        channel: Channel[Output] = Channel(SINK_CAPACITY, when_full, burst=burst)
        return SinkLine(
            sink,
            channel,
            self.times.setdefault(f"sink {sink.name}", Histogram()),
            self.errors,
            None if anew is None else partial(anew, sink.name),
            self._supervision.watchdog,
        )

    def _capture(self, turn: None) -> Frame | Outage:
        try:
            frame = self._source.read()
        except NoFrame as silence:
            return silence.outage
        self.ledger.capture(frame.missed_before)
        return frame

    def _displaced(self, seen: Frame | Outage) -> None:
        if isinstance(seen, Frame):
            self.ledger.drop("newer frame")

    def _publish(self, output: Output) -> Output:
        published = self._supervision.published(output, time.monotonic_ns(), self._is_live)
        if isinstance(published, Prediction):
            if published.has_mask:
                self.ledger.publish()
            else:
                self.ledger.withhold()
            self.age.add(published.published_ns - published.captured_ns)
            for stage, duration_ns in published.stage_ns.items():
                self.times.setdefault(stage, Histogram()).add(duration_ns)
        self.last_output.tell(published)
        return published

    def _settle(self) -> None:
        """Once every stage has ended: close the source, and book what nobody took."""
        self._publisher.join()
        if self.errors:  # a source that waits for a frame does not see that nobody wants it any more
            self.stop()
        for thread in self._threads:
            thread.join()
        for line in self.sink_lines.values():
            line.join()
        try:
            self._source.close()
        except Exception as error:
            self.errors.append((self._settler.name, error))
        in_flight = self.ledger.balance()["in_flight"]
        assert isinstance(in_flight, int)
        if in_flight:
            self.ledger.drop("run ended", in_flight)
        self._has_ended.set()


def _perceive(perceive: Callable[[Frame], Prediction], seen: Frame | Outage) -> Output:
    return perceive(seen) if isinstance(seen, Frame) else seen


def _burst_of(frame_wh: tuple[int, int]) -> int:
    """Frames of this size that a stage does in a row: many small ones, a single large one.

    A core that goes from decoding to the network to encoding with each frame finds its caches cold, and
    wakes a thread each time. Of 1280x720 on two cores, bursts of 16 give 3 to 10 % more frames a second
    (medians of 5 rounds in turns, two networks, with and without an overlay video).
    """
    width, height = frame_wh
    return max(1, min(BURST, BURST_BYTES // (width * height * 3 // 2)))


def _lower_priority() -> None:
    """Let the other stages run first: workers that wait for a frame to be decoded waste a core.

    With the fastest network on two cores, 17 % more frames a second into an overlay video than with
    workers of the same priority (median of 5 rounds in turns), 4 % more without one.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + WORKER_NICE)


class _Turns:
    """Inbox of the capture stage: always one more turn, until it is closed."""

    def __init__(self) -> None:
        self._is_closed = False

    def get(self) -> None:
        if self._is_closed:
            raise Closed

    def close(self) -> None:
        self._is_closed = True


class _FanOut:
    """Outbox of the publish stage: every sink's channel.

    A sink that has died ends a recorded run (its channel is closed, and so is this). A live run goes
    on without it, as long as one sink is left.
    """

    def __init__(self, channels: list[Channel[Output]], is_live: bool) -> None:
        self._channels = channels
        self._is_live = is_live

    def put(self, output: Output) -> None:
        for channel in list(self._channels):
            try:
                channel.put(output)
            except Closed:
                self._channels.remove(channel)
                if not self._is_live or not self._channels:
                    raise

    def close(self) -> None:
        for channel in self._channels:
            channel.close()
