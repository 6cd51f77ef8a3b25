"""The sink worker: one sink with its queue, its thread and its heartbeat."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from perception.concurrency.queue import Queue
from perception.concurrency.stage import Stage
from perception.concurrency.stage_group import StageGroup
from perception.frame import OutputItem
from perception.sinks.restart import SinkRestarter
from perception.sinks.sink import HasReader, Sink
from perception.system.error_text import text_of


class SinkWorker:
    """Writes what its queue gives. A sink that fails or hangs is restarted, or else given up with its error.

    A sink that hangs keeps its thread, which nobody can end: the new sink gets a thread of its own, and the
    old thread closes the old sink should the call ever return.

    Args:
        sink: open already.
        run: the run.
        queue: gives results; closed when the sink is given up.
        restarter: opens the sink again.
        batch_items: results that are written in a row.
        on_death: called when the sink has been given up.
    """

    def __init__(
        self,
        sink: Sink,
        run: StageGroup,
        queue: Queue[OutputItem],
        restarter: SinkRestarter,
        batch_items: int,
        on_death: Callable[[], None],
    ) -> None:
        self.name, self.queue = f"sink {sink.name}", queue
        self._sink, self._run, self._restarter = sink, run, restarter
        self._batch_items, self._on_death = batch_items, on_death
        self.stage = run.stage(self.name, is_timed=True)
        self._written = self._lost = 0
        self.is_dead = False
        """Given up."""
        self._error: str | None = None
        self._left_behind: str | None = None
        run.thread(self.name, partial(self._work, self.stage, None), finishes=True)

    @property
    def restarts(self) -> int:
        """How often it was restarted."""
        return self._restarter.restarts

    @property
    def issue(self) -> str | None:
        """What is wrong with it, or missing in what it wrote, in one line; None while all is well."""
        return self._error or self._sink.issue or self._left_behind

    @property
    def waits_for_reader(self) -> bool:
        """Whether a write waits for a program that reads it; that may pause, and nothing hangs."""
        return isinstance(self._sink, HasReader) and self._sink.waits_for_reader

    @property
    def waiting(self) -> int:
        """Results that it has yet to write."""
        return len(self.queue) + (self.stage.item is not None)

    def became(self) -> dict[str, int]:
        """What became of the results that were handed over; `dropped` are those that it was too slow for."""
        lost = self._lost + self.queue.lost
        return {"written": self._written, "dropped": self.queue.displaced, "lost": lost}

    def replace_hung(self, busy_s: float) -> bool:
        """Leave the sink to the call that hangs, and go on with a new one; False where none is restarted."""
        if self._restarter.can_restart:
            with self._run.lock:
                if self.stage.busy_since_ns is None:
                    return True  # the call has just returned
                self._lost += self.stage.item is not None
                self.stage = self._run.stage(self.name, is_timed=True)
                hung = TimeoutError(f"hung for {busy_s:.1f} s")
                thread = self._run.thread(self.name, partial(self._work, self.stage, hung))
            thread.start()
        return self._restarter.can_restart

    def _work(self, stage: Stage, error: BaseException | None) -> None:
        sink = self._sink if error is None else self._restarted(error)
        while sink is not None:
            error = self._write_all(sink, stage)
            if stage is not self.stage:
                return  # it hung, and another thread has taken its place
            sink = None if error is None else self._restarted(error)

    def _write_all(self, sink: Sink, stage: Stage) -> BaseException | None:
        """Write until the queue ends or the sink fails; close the sink, and give back the error."""
        failure: BaseException | None = None
        try:
            batch = self._run.cores.batch(self._run, is_first=True)
            self.queue.work_off(stage, lambda: self._write(sink, stage), batch, self._batch_items)
        except BaseException as error:
            failure = error
            self._count(stage, is_written=False)
            if not self._restarter.can_restart:  # nobody is to wait for this sink while it is closed
                self._give_up(error)
        stage.times = None  # which are of results
        try:
            with stage:
                sink.close()
        except BaseException as error:
            failure = failure or error
        return failure

    def _write(self, sink: Sink, stage: Stage) -> None:
        with stage:
            sink.write(stage.item)
        self._count(stage, is_written=True)
        if stage is not self.stage:
            raise TimeoutError("another thread writes now")

    def _count(self, stage: Stage, *, is_written: bool) -> None:
        with self._run.lock:
            if stage is self.stage:  # else it counted as lost when it hung
                self._written += is_written
                self._lost += not is_written
            stage.item = None

    def _restarted(self, error: BaseException) -> Sink | None:
        """The sink, open again; None once it is given up, and where there is nothing left to write."""
        self._error = text_of(error)
        try:
            if self.queue.is_closed and not len(self.queue):
                raise error
            sink = self._restarter.restarted(error)
        except BaseException as last:
            self._give_up(last)
            return None
        self._left_behind = self._sink.issue or self._left_behind
        self._error, self._sink = None, sink
        return sink

    def _give_up(self, error: BaseException) -> None:
        if self.is_dead:
            return
        self._error = text_of(error)
        with self._run.lock:
            self.is_dead = True
            self.queue.close_locked(discards=True)
        self._run.note(self.name, error)
        self._on_death()
