"""Publisher: results of all workers in the order of their frames, finished and handed to every sink."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from threading import Lock

from perception.frame import CameraState, OutputItem, Prediction
from perception.pipeline.queue import Queue
from perception.pipeline.stage import RunState, Stage, is_frame


class Publisher:
    """Has no thread of its own: a worker that brings a result publishes what is ready.

    Args:
        run: the run.
        queues: of the sinks; each gets every result.
        finish: refines and stamps a result; called with one at a time, in order.
    """

    def __init__(
        self, run: RunState, queues: Sequence[Queue[OutputItem]], finish: Callable[[OutputItem], OutputItem]
    ) -> None:
        self.stage = Stage("publish", run)
        self._run, self._queues, self._finish = run, queues, finish
        self._results: Queue[OutputItem] = Queue(run, "wait")
        self._early: dict[int, OutputItem | None] = {}
        self._next = 0
        self._turn = Lock()
        self._is_given_up = False
        self.camera: tuple[CameraState, str | None] = (CameraState.OK, None)
        """As published last, with the reason."""
        self.entered = self.failed = self.published = self._lost = self.handed_over = 0
        self.withheld: Counter[str] = Counter()

    @property
    def lost(self) -> int:
        """Results of frames that were not published."""
        return self._lost + self._results.lost

    @property
    def waiting(self) -> int:
        """Results that are to be published."""
        return len(self._early) + len(self._results) + (self.stage.item is not None)

    @property
    def held(self) -> int:
        """Those of them that are of frames."""
        return self._results.held + sum(map(is_frame, [*self._early.values(), self.stage.item]))

    def became(self) -> dict[str, int]:
        """What became of all results of frames that entered."""
        withheld = self.withheld.total()
        return {"published": self.published, "withheld": withheld, "lost": self.lost}

    def put(self, worker: Stage, result: OutputItem | None) -> None:
        """Publish a worker's result once all before it are; None if the worker failed."""
        with self._run.lock:
            self.failed += result is None and is_frame(worker.item)
            self.entered += is_frame(result)
            self._early[worker.number], worker.item = result, None
            while self._next in self._early:
                ready = self._early.pop(self._next)
                self._next += 1
                if ready is not None:
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
        """Take no more results, publish what is ready, and end the sinks; safe to call twice.

        Args:
            hangs: publishing itself does: nothing more is published.
        """
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
        self._lost += sum(map(is_frame, self._early.values()))
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
                self.published += 1
            else:
                self.withheld[result.withheld_by] += 1
        self.camera = result.camera_state, result.camera_reason
        self.handed_over += 1
        for queue in self._queues:
            queue.put_locked(result)
        self._run.room.notify()
