"""Publisher: results of all workers in the order of their frames, finished and handed to every sink."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from perception.concurrency.account import Account
from perception.concurrency.queue import Queue
from perception.concurrency.sequencer import Sequencer
from perception.concurrency.stage import Stage
from perception.concurrency.stage_group import StageGroup
from perception.frame import CameraState, Frame, OutputItem, Prediction


def is_frame(item: object) -> bool:
    """Whether an item is a frame or its prediction, and not a record that there is none."""
    return isinstance(item, Frame | Prediction)


class Publisher:
    """Live it has no thread of its own: a worker that brings a result publishes what is ready, at once.

    In a recorded run it has one, and publishes several results in a row: after the network the many small
    steps of refining would find nothing of theirs in the caches, and take a tenth more.

    Args:
        run: the run.
        queues: of the sinks; each gets every result.
        finish: refines and stamps a result; called with one at a time, in order.
        batch_items: results that are published in a row; 0 has no thread.
    """

    def __init__(
        self,
        run: StageGroup,
        queues: Sequence[Queue[OutputItem]],
        finish: Callable[[OutputItem], OutputItem],
        batch_items: int = 0,
    ) -> None:
        self.stage = run.stage("publish")
        self._run, self._queues, self._finish = run, queues, finish
        self._early: Sequencer[OutputItem] = Sequencer()
        self._results: Queue[OutputItem] = run.queue("wait", counts=is_frame)
        self._has_thread = self._is_at_work = batch_items > 0
        self._is_given_up = False
        self.camera: tuple[CameraState, str | None] = (CameraState.OK, None)
        """As published last, with the reason."""
        self.entered = self.failed = self.published = self._lost = self.handed_over = 0
        self.withheld: Counter[str] = Counter()
        if self._has_thread:
            run.thread(self.stage.name, partial(self._work, batch_items))

    @property
    def waiting(self) -> int:
        """Results that are to be published."""
        return len(self._early) + len(self._results) + (self.stage.item is not None)

    @property
    def brought(self) -> int:
        """Items of workers that came to an end, with a result or without."""
        return self._early.brought

    @property
    def held(self) -> int:
        """Results of frames that are to be published."""
        return self._results.held + sum(map(is_frame, [*self._early.waiting(), self.stage.item]))

    @property
    def lost(self) -> int:
        """Results of frames that are never published."""
        return self._lost + self._results.lost

    def account(self) -> Account:
        """What became of all results of frames."""
        became = {"published": self.published, "withheld": self.withheld.total(), "lost": self.lost}
        return Account("publisher", self.entered, became, self.held)

    def put(self, worker: Stage, result: OutputItem | None) -> None:
        """Publish a worker's result once all before it are; None if the worker failed."""
        with self._run.lock:
            self.failed += result is None and is_frame(worker.item)
            self.entered += is_frame(result)
            worker.item = None
            for ready in self._early.put(worker.number, result):
                self._results.put_locked(ready)
            if self._results.is_closed:
                self._close_locked()
        if not self._has_thread:
            self._publish_ready()

    def report(self, record: OutputItem) -> None:
        """Publish a record that is no worker's, in a live run."""
        with self._run.lock:
            self._results.put_locked(record)
        self._publish_ready()

    def end(self, *, hangs: bool = False) -> None:
        """Take no more results; end the sinks once what is ready is published, at once if that `hangs`."""
        with self._run.lock:
            self._is_given_up |= hangs
            self._close_locked(discards=hangs)
            self._end_sinks_locked()

    def _close_locked(self, *, discards: bool = False) -> None:
        self._results.close_locked(discards=discards)
        self._lost += sum(map(is_frame, self._early.waiting()))
        self._early.clear()

    def _end_sinks_locked(self) -> None:
        if self._is_given_up or not (self._is_at_work or len(self._results)):
            for queue in self._queues:
                queue.close_locked()

    def _work(self, batch_items: int) -> None:
        """Body of its thread."""
        batch = self._run.cores.batch(self._run, is_first=True)
        try:
            self._results.work_off(self.stage, self._publish, batch, batch_items)
        finally:
            with self._run.lock:
                self._is_at_work = False
                self._close_locked(discards=True)
                self._end_sinks_locked()

    def _publish_ready(self) -> None:
        """Publish what is ready; nothing if another thread is at it, which goes on until nothing is left."""
        while self._take_next():
            self._publish()

    def _take_next(self) -> bool:
        with self._run.lock:
            if self._is_at_work:
                return False
            self._is_at_work = self._results.take_locked(self.stage)
            return self._is_at_work

    def _publish(self) -> None:
        """Publish what was taken."""
        result: OutputItem | None = None
        try:
            with self.stage:
                result = self._finish(self.stage.item)
        except BaseException as error:
            self._run.fail(self.stage.name, error)
        with self._run.lock:
            self._hand_over_locked(result)
            self._is_at_work = self._has_thread
            if self._results.is_closed:
                self._end_sinks_locked()

    def _hand_over_locked(self, result: OutputItem | None) -> None:
        item, self.stage.item = self.stage.item, None
        if result is None or self._is_given_up:
            self._lost += is_frame(item)
            return
        if isinstance(result, Prediction):
            if result.withheld_by is None:
                self.published += 1
            else:
                self.withheld[result.withheld_by] += 1
        self.camera = result.camera_state, result.camera_reason
        self.handed_over += 1
        for queue in self._queues:
            queue.put_locked(result)
        self._run.room_locked()
