"""Publisher: results of all workers in the order of their frames, finished and handed to every sink."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from threading import Lock

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
    """Has no thread of its own: a worker that brings a result publishes what is ready.

    Args:
        run: the run.
        queues: of the sinks; each gets every result.
        finish: refines and stamps a result; called with one at a time, in order.
    """

    def __init__(
        self,
        run: StageGroup,
        queues: Sequence[Queue[OutputItem]],
        finish: Callable[[OutputItem], OutputItem],
    ) -> None:
        self.stage = run.stage("publish")
        self._run, self._queues, self._finish = run, queues, finish
        self._early: Sequencer[OutputItem] = Sequencer()
        self._results: Queue[OutputItem] = run.queue("wait", counts=is_frame)
        self._turn = Lock()
        self._is_given_up = False
        self.camera: tuple[CameraState, str | None] = (CameraState.OK, None)
        """As published last, with the reason."""
        self.entered = self.failed = self._published = self._lost = self.handed_over = 0
        self.withheld: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        """Results that are to be published."""
        return len(self._early) + len(self._results) + (self.stage.item is not None)

    def account(self) -> Account:
        """What became of all results of frames."""
        published, withheld = self._published, self.withheld.total()
        lost = self._lost + self._results.lost
        held = self._results.held + sum(map(is_frame, [*self._early.waiting(), self.stage.item]))
        became = {"published": published, "withheld": withheld, "lost": lost}
        return Account("publisher", self.entered, became, held)

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
        self._publish_ready()

    def report(self, record: OutputItem) -> None:
        """Publish a record that is no worker's."""
        with self._run.lock:
            self._results.put_locked(record)
        self._publish_ready()

    def end(self, *, hangs: bool = False) -> None:
        """Take no more results, publish what is ready unless that `hangs`, and end the sinks."""
        with self._run.lock:
            self._is_given_up |= hangs
            self._close_locked(discards=hangs)
        if not hangs:
            self._publish_ready()
        with self._run.lock:
            for queue in self._queues:
                queue.close_locked()

    def _close_locked(self, *, discards: bool = False) -> None:
        self._results.close_locked(discards=discards)
        self._lost += sum(map(is_frame, self._early.waiting()))
        self._early.clear()

    def _publish_ready(self) -> None:
        with self._turn:
            while self._results.take(self.stage, waits=False):
                result: OutputItem | None = None
                try:
                    with self.stage:
                        result = self._finish(self.stage.item)
                except BaseException as error:
                    self._run.fail(self.stage.name, error)
                with self._run.lock:
                    self._hand_over_locked(result)

    def _hand_over_locked(self, result: OutputItem | None) -> None:
        item, self.stage.item = self.stage.item, None
        if result is None or self._is_given_up:
            self._lost += is_frame(item)
            return
        if isinstance(result, Prediction):
            if result.withheld_by is None:
                self._published += 1
            else:
                self.withheld[result.withheld_by] += 1
        self.camera = result.camera_state, result.camera_reason
        self.handed_over += 1
        for queue in self._queues:
            queue.put_locked(result)
        self._run.room.notify()
