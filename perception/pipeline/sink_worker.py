"""The sink worker: one sink with its queue, its thread, its heartbeat and its budget of restarts."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Final

from perception.frame import OutputItem
from perception.pipeline.queue import Queue
from perception.pipeline.stage import RunState, Stage
from perception.pipeline.watchdog import Budget
from perception.sinks.sink import Sink

FIRST_PAUSE_S: Final = 0.25
"""Before a failed sink is restarted; twice as long each time within the budget's window."""


class SinkWorker:
    """Writes what its queue gives, and restarts the sink within the budget.

    Without `rebuild`, or once the budget is spent, the sink is given up with its error. A sink that hangs
    keeps its thread, which nobody can end: the new sink gets a thread of its own, and the old thread closes
    the old sink should the call ever return.

    Args:
        sink: open already.
        run: the run.
        queue: gives results; closed when the sink is given up.
        rebuild: gives the sink again, open, going on with what the old one wrote; raises what its `open`
            raises. None restarts nothing.
        budget: of restarts.
        burst_items: results that are written in a row.
        on_death: called when the sink has been given up.
    """

    def __init__(
        self,
        sink: Sink,
        run: RunState,
        queue: Queue[OutputItem],
        rebuild: Callable[[], Sink] | None,
        budget: Budget,
        burst_items: int,
        on_death: Callable[[], None],
    ) -> None:
        self.name, self.queue = f"sink {sink.name}", queue
        self._sink, self._run, self._rebuild, self._budget = sink, run, rebuild, budget
        self._burst_items, self._on_death = burst_items, on_death
        self.stage = Stage(self.name, run, is_timed=True)
        self.written = self._lost = 0
        self.is_dead = False
        """Given up."""
        self._error: str | None = None
        self._left_behind: str | None = None
        self.thread = self._new_thread(None)

    @property
    def dropped(self) -> int:
        """Results that it was too slow for."""
        return self.queue.displaced

    @property
    def restarts(self) -> int:
        """How often it was restarted."""
        return self._budget.total

    @property
    def issue(self) -> str | None:
        """What is wrong with it, or missing in what it wrote, in one line; None while all is well."""
        return self._error or self._sink.issue or self._left_behind

    def join(self) -> None:
        """Wait for the end of the thread that writes now, or of the one that took its place."""
        thread = None
        while thread is not self.thread:
            thread = self.thread
            thread.join()

    @property
    def waiting(self) -> int:
        """Results that it has yet to write."""
        return len(self.queue) + (self.stage.item is not None)

    def became(self) -> dict[str, int]:
        """What became of the results that were handed over."""
        return {"written": self.written, "dropped": self.dropped, "lost": self._lost + self.queue.lost}

    def replace_hung(self, busy_s: float) -> bool:
        """Leave the sink to the call that hangs, and go on with a new one; False without `rebuild`."""
        if self._rebuild is None:
            return False
        with self._run.lock:
            self._lost += self.stage.item is not None
            self.stage = Stage(self.name, self._run, is_timed=True)
        self.thread = self._new_thread(TimeoutError(f"hung for {busy_s:.1f} s"))
        self.thread.start()
        return True

    def _new_thread(self, error: Exception | None) -> Thread:
        return Thread(target=self._work, args=(self.stage, error), name=self.name, daemon=True)

    def _work(self, stage: Stage, error: BaseException | None) -> None:
        sink = self._sink if error is None else self._restarted(error)
        while sink is not None:
            error = self._write_all(sink, stage)
            if stage is not self.stage:
                return  # it hung, and another has taken its place
            sink = None if error is None else self._restarted(error)

    def _write_all(self, sink: Sink, stage: Stage) -> BaseException | None:
        """Write until the queue ends or the sink fails; close the sink, and give back the error."""
        failure: BaseException | None = None
        try:
            burst = self._run.cores.burst(is_first=True)
            self.queue.work_off(stage, lambda: self._write(sink, stage), burst, self._burst_items)
        except BaseException as error:
            failure = error
            self._count(stage, is_written=False)
            if self._rebuild is None:  # nobody is to wait for this sink while it is closed
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
                self.written += is_written
                self._lost += not is_written
            stage.item = None

    def _restarted(self, error: BaseException) -> Sink | None:
        """The sink, restarted; None once it is given up, for want of budget or because the run ends."""
        self._error = str(error) or type(error).__name__
        is_over = self.queue.is_closed and not len(self.queue)
        while self._rebuild is not None and not is_over and self._budget.spend():
            if self._run.clock.wait(self._run.is_stopping, FIRST_PAUSE_S * 2.0 ** (self._budget.spent - 1)):
                break
            try:
                sink = self._rebuild()
            except BaseException as failure:
                error, self._error = failure, str(failure) or type(failure).__name__
            else:
                self._left_behind = self._sink.issue or self._left_behind
                self._error, self._sink = None, sink
                return sink
        self._give_up(error)
        return None

    def _give_up(self, error: BaseException) -> None:
        if self.is_dead:
            return
        with self._run.lock:
            self.is_dead = True
            self.queue.close_locked(discards=True)
        self._run.note(self.name, error)
        self._on_death()
