"""Runner: one source, workers that run the network, a publisher, and any number of sinks.

    capture ─► Queue ─► workers ─► Publisher: in order, refined, stamped ─► a Queue and a SinkWorker each

Live: queues keep the newest items and count those that they displace; one worker runs the network. Recorded:
nothing is dropped, for the source waits while too many frames are in flight. As many threads are then busy
as there are cores, each with several frames in a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from threading import Condition
from typing import Final

from perception.concurrency.account import Account
from perception.concurrency.busy_cores import BusyCores
from perception.concurrency.hang_watch import HangWatch
from perception.concurrency.queue import Queue
from perception.concurrency.stage import Stage
from perception.concurrency.stage_group import ENDING, StageGroup
from perception.frame import EngineState, Frame, NoFrameRecord, OutputItem, Prediction, SourceItem
from perception.metrics.histogram import Histogram
from perception.pipeline.policy import RunPolicy
from perception.pipeline.publisher import Publisher, is_frame
from perception.pipeline.sink_worker import SinkWorker
from perception.sinks.restart import SinkRestarter
from perception.sinks.sink import Sink
from perception.sources.counts import longest_read_ns, period_ns_of
from perception.sources.isolated.freshness import PERIODS_UNTIL_STALE
from perception.sources.source import EndOfSource, NoFrame, Source, SourceInfo
from perception.system.clock import Clock
from perception.system.cores import usable_cores
from perception.telemetry.counters import DISPLACED, FAILED, RUN_ENDED, FrameCounters

LIVE_SINK_CAPACITY: Final = 8
"""Results that a sink of a live run may lag behind."""
FRAMES_AHEAD: Final = 8
"""Frames a worker that may be in flight in a recorded run, beside a batch that is read."""
BATCH, BATCH_BYTES = 8, 12_000_000
"""Frames of a recorded run that a thread works on in a row, at most: many small ones, a single large one."""
BOOKS: Final = "books"
"""Names, in place of a stage, what frames or results were lost without being counted."""


class Runner(StageGroup):
    """Takes the frames of one source through the network to every sink."""

    def __init__(
        self,
        source: Source,
        info: SourceInfo,
        predictors: Sequence[Callable[[Frame], Prediction]],
        sinks: Sequence[Sink] = (),
        policy: RunPolicy | None = None,
        *,
        cores: BusyCores | int = 0,
        listeners: Sequence[Callable[[OutputItem], None]] = (),
        clock: Clock | None = None,
    ) -> None:
        """Connect the stages. `source` and `sinks` are open already; the runner closes them.

        Args:
            source: gives the frames.
            info: what the source said when it was opened.
            predictors: one for a live source; for a recording as many as are to work at once. Each is used
                by one thread at a time and may keep buffers of its own.
            sinks: get every result.
            policy: the rules; None has none.
            cores: shared with other runs; or threads of a recorded run that may be busy at a time, where 0
                takes all cores that there are, and nothing waits in a live run.
            listeners: called with every result before it goes to the sinks, one at a time and in order.
            clock: monotonic time, and waiting; a test brings its own.

        Raises:
            ValueError: if a live source is given none or several predictors.
        """
        if info.is_live and len(predictors) != 1:
            raise ValueError(f"{len(predictors)} predictors for a live source; it needs one")
        if not info.is_live and info.frame_wh is None:
            raise ValueError(f"{info.source_id}: a recording must give its size when it is opened")
        self._source, self._info, self._policy = source, info, policy or RunPolicy()
        self._listeners = listeners
        if not isinstance(cores, BusyCores):
            most = math.inf if info.is_live else cores or max(len(predictors), usable_cores())
            cores = BusyCores(most)
        width, height = info.frame_wh or (1, 1)
        of_bytes = BATCH_BYTES // (width * height * 3 // 2 or 1)
        self._batch = 1 if info.is_live else max(1, min(BATCH, of_bytes))
        is_serial = cores.count == len(predictors) == 1  # where frames ahead would only grow old
        self._most_in_flight = self._batch + (0 if is_serial else FRAMES_AHEAD * len(predictors))
        super().__init__(cores, clock or Clock())
        self.age = Histogram()
        self._has_room = Condition(self.lock)
        self.thread("capture", self._capture)
        self._capturing = self.stage("capture", is_timed=not info.is_live)
        self._captured = self._missed = 0
        self._frames: Queue[SourceItem] = self.queue("latest" if info.is_live else "wait", counts=is_frame)
        self._workers = [self.stage(f"predict-{number}") for number in range(len(predictors))]
        for worker, predict in zip(self._workers, predictors, strict=True):
            self.thread(worker.name, partial(self._work, worker, predict))
        self._working = len(predictors)
        self.sinks: Mapping[str, SinkWorker] = {sink.name: self._sink_worker(sink) for sink in sinks}
        self._publisher = Publisher(
            *(self, [sink.queue for sink in self.sinks.values()], self._finish),
            batch_items=0 if info.is_live else self._batch,
        )
        self._stall_watch = HangWatch(self.clock.monotonic_ns)

    def stop(self) -> None:
        """Take no more frames; what is in flight goes on to the sinks. Safe to call twice."""
        with self.lock:
            self._frames.close_locked()
        super().stop()
        self._source.stop()

    def counters(self) -> FrameCounters:
        """What became of every frame so far."""
        with self.lock:
            frames, publisher = self._frames, self._publisher
            at_work = sum(is_frame(worker.item) for worker in self._workers)
            dropped = {
                DISPLACED: frames.displaced,
                RUN_ENDED: frames.lost + publisher.lost,
                FAILED: publisher.failed,
            }
            return FrameCounters(
                captured=self._captured,
                published=publisher.published,
                withheld=publisher.withheld.total(),
                dropped={reason: count for reason, count in dropped.items() if count},
                in_flight=frames.held + at_work + publisher.held,
                withheld_by=dict(publisher.withheld),
                missed=self._missed,
            )

    def unaccounted(self, *, is_over: bool = False) -> list[str]:
        """Where frames or results went missing without a count, a line each; in the end none may be held."""
        with self.lock:
            accounts = [
                Account("capture", self._captured, {"queued": self._frames.entered}),
                self._frames.account("queue of frames"),
                self._workers_locked(),
                self._publisher.account(),
            ]
            for sink in self.sinks.values():
                accounts.append(Account(sink.name, self._publisher.handed_over, sink.became(), sink.waiting))
        return [problem for account in accounts if (problem := account.problem(is_over=is_over))]

    def _workers_locked(self) -> Account:
        """Of all that they took, frames or not: one that is never brought back holds up all after it."""
        at_work = sum(worker.item is not None for worker in self._workers)
        return Account("workers", self._frames.given, {"brought back": self._publisher.brought}, at_work)

    def watch(self) -> None:
        """Replace hung sinks of a live run; end the run where another stage hangs, or a worker lost an item.

        To be called often.
        """
        with self.lock:
            problem = self._workers_locked().problem(is_over=False)
        if problem is not None:
            self._note_books(problem)
            self._break_off()
        limit_ns = self._policy.watchdog.stage_s * 1e9
        for name, busy_ns in self.busy_ns().items():
            waits_ns = longest_read_ns(self._source, self._info) if name == self._capturing.name else 0
            if busy_ns > max(limit_ns, waits_ns) and not self._waits_for_reader(name):
                sink = self.sinks.get(name.removeprefix("sink "))
                if sink is None or not sink.replace_hung(busy_ns / 1e9):
                    self._end_hung(name)

    def _waits_for_reader(self, stage: str) -> bool:
        """Whether a pipe takes nothing from it, or from what it waits for; who reads that may pause."""
        # the source of a recorded run may have to wait until frames in use are free again
        waits_for_all = stage == self._capturing.name and not self._info.is_live
        return any(it.waits_for_reader for it in self.sinks.values() if waits_for_all or it.name == stage)

    def _end_hung(self, stage: str) -> None:
        """End the run without a stage that hangs; the sinks finish their files with what they have."""
        if stage not in self.hung:
            self.hung.add(stage)
            limit_s = self._policy.watchdog.stage_s
            self.fail(stage, TimeoutError(f"hung: working on one frame for more than {limit_s:g} s"))
            self._publisher.end(hangs=stage == self._publisher.stage.name)

    def _break_off(self) -> None:
        """Begin no frame any more; what is at work is still published."""
        with self.lock:
            self._frames.close_locked(discards=True)
        self.stop()

    def _capture(self) -> None:
        """Body of the thread that reads the source."""
        # a live one waits for the camera: that is no work, and others need the core
        batch = nullcontext() if self._info.is_live else self.cores.batch(self, is_first=True)
        try:
            while room := self._wait_for_room():
                with batch:
                    while room and not self._frames.is_closed:
                        self._read()
                        room -= 1
        except EndOfSource:
            pass
        except BaseException as error:  # what was read before goes on
            self.note(self._capturing.name, error)
            self.stop()
        with self.lock:
            self._frames.close_locked()

    def room_locked(self) -> None:
        """Let the capture thread go on, where that would not only wake it to see that it cannot."""
        if self._frames.is_closed or self._room >= self._batch:
            self._has_room.notify()

    @property
    def _room(self) -> int:
        """How many frames more may be in flight."""
        if self._info.is_live:
            return 1
        working = sum(worker.item is not None for worker in self._workers)
        behind = max((len(sink.queue) for sink in self.sinks.values()), default=0)
        return self._most_in_flight - len(self._frames) - working - self._publisher.waiting - behind

    def _wait_for_room(self) -> int:
        """Wait until another batch may be in flight; gives the room, and 0 once nothing more is captured."""
        with self.lock:
            while not self._frames.is_closed:
                if (room := self._room) >= self._batch:
                    return room
                self._has_room.wait()
            return 0

    def _read(self) -> None:
        """Queue the next frame, or the record that there is none."""
        try:
            with self._capturing:
                seen: SourceItem = self._source.read()
        except NoFrame as silence:
            seen = silence.record
        with self.lock:
            if isinstance(seen, Frame):
                self._captured += 1
                self._missed += seen.missed_before
            self._frames.put_locked(seen)
        if self._info.is_live:
            self._report_stall()

    def _report_stall(self) -> None:
        """Say in a record that the network has worked on one frame for too long; called at the source's rate.

        Silence would be read as "nothing new": the last record says `ok`, with a mask, until the watchdog
        ends the run.
        """
        worker, limits = self._workers[0], self._policy
        period_ns = period_ns_of(self._source, self._info)
        busy_ns = self._stall_watch.busy_ns({"": worker.busy_since_ns}, period_ns).get("", 0)
        # A mask that is older than it may be is withheld: until then there may be one.
        oldest_s = limits.max_age_s if math.isfinite(limits.max_age_s) else 0.0
        limit_s = max(limits.watchdog.stalled_after_s, oldest_s)
        seen: SourceItem | None = worker.item
        if seen is None or busy_ns <= max(limit_s * 1e9, PERIODS_UNTIL_STALE * period_ns):
            return
        now_ns = self.clock.monotonic_ns()
        camera_state, camera_reason = self._publisher.camera
        self._publisher.report(
            NoFrameRecord(
                source_id=seen.source_id,
                frame_wh=seen.frame_wh,
                pixel_aspect=seen.pixel_aspect,
                time_ns=seen.time_ns + now_ns - (seen.captured_ns or now_ns),
                captured_ns=seen.captured_ns,
                camera_state=camera_state,
                camera_reason=camera_reason,
                engine_state=EngineState.STALLED,
                engine_reason=f"{worker.name}: working on one frame for {busy_ns / 1e9:.1f} s",
            )
        )

    def _work(self, worker: Stage, predict: Callable[[Frame], Prediction]) -> None:
        """Body of a worker's thread."""
        batch = self.cores.batch(self)
        try:
            self._frames.work_off(worker, lambda: self._predict(worker, predict), batch, self._batch)
        finally:
            with self.lock:
                self._working -= 1
                is_last = self._working == 0
            if is_last:
                self._publisher.end()

    def _predict(self, worker: Stage, predict: Callable[[Frame], Prediction]) -> None:
        result: OutputItem | None = None
        try:
            with worker:
                result = predict(worker.item) if isinstance(worker.item, Frame) else worker.item
        except BaseException as error:
            self.fail(worker.name, error)
        self._publisher.put(worker, result)

    def _finish(self, output: OutputItem) -> OutputItem:
        """Refine and stamp a result, and let those know who follow the run."""
        result = self._policy.finish(output, self.clock.monotonic_ns(), self._info)
        if isinstance(result, Prediction):
            self.age.add(result.published_ns - result.captured_ns)
            for stage, duration_ns in result.stage_ns.items():
                self.times.setdefault(stage, Histogram()).add(duration_ns)
        for listener in self._listeners:
            listener(result)
        return result

    def _sink_worker(self, sink: Sink) -> SinkWorker:
        rebuild = self._policy.rebuild_sink if self._info.is_live else None
        again = None if rebuild is None else partial(rebuild, sink.name)
        restarter = SinkRestarter(again, self._policy.watchdog, self.clock, self.is_stopping)
        queue = self.queue(self._frames.policy, LIVE_SINK_CAPACITY)
        return SinkWorker(sink, self, queue, restarter, self._batch, self._sink_died)

    def _sink_died(self) -> None:
        """A recorded run ends with the first sink that is given up, a live one with the last."""
        if not self._info.is_live or all(sink.is_dead for sink in self.sinks.values()):
            self._break_off()

    def _ended(self) -> None:
        """Once every stage has ended."""
        try:
            self._source.close()
        except BaseException as error:
            self.note(ENDING, error)
        self._note_books(*(self.unaccounted(is_over=True) or self._unexplained()))

    def _unexplained(self) -> Iterator[str]:
        """Frames that were dropped for a reason that was not there."""
        dropped = self.counters().dropped
        if not self.errors and dropped.get(FAILED):
            yield f"workers: {dropped[FAILED]} frames without a result, and no stage failed"
        if not self.errors and not self.is_stopping.is_set() and dropped.get(RUN_ENDED):
            yield f"publisher: {dropped[RUN_ENDED]} frames not published, and the run was not stopped"

    def _note_books(self, *problems: str) -> None:
        """Note what does not balance; what follows from it is no news."""
        if not any(stage == BOOKS for stage, _ in self.errors):
            for problem in problems:
                self.note(BOOKS, ValueError(problem))
