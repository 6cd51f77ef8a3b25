"""The stages of one run: what they share, their threads, heartbeats, errors and times."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Event, Lock, Thread, current_thread
from typing import Any, Final

from perception.concurrency.busy_cores import BusyCores
from perception.concurrency.hang_watch import HangWatch
from perception.concurrency.queue import Policy, Queue
from perception.concurrency.stage import Stage
from perception.metrics.histogram import Histogram
from perception.system.clock import Clock
from perception.system.error_text import text_of

ENDING: Final = "source close"
WATCH_S: Final = 0.1
"""How often the stages are watched."""


class RunError(Exception):
    """What ended a run; the first line names the stage. The cause is the stage's own error."""

    def __init__(self, stage: str, error: Exception) -> None:
        super().__init__(f"{stage}: {text_of(error)}")
        self.stage = stage


class StageGroup:
    """Makes stages, queues and threads, and knows what becomes of them.

    A subclass says what is done after an error that ends the run, and in its end.

    Args:
        cores: that its threads share.
        clock: monotonic time, and waiting.
    """

    def __init__(self, cores: BusyCores, clock: Clock) -> None:
        self.cores, self.clock = cores, clock
        self.lock = Lock()
        """Of all queues and counters, so that counts are of one moment; methods with `_locked` need it."""
        self.is_stopping = Event()
        self._stopped_ns: int | None = None
        self.hung: set[str] = set()
        """Names of stages that nothing waits for any more."""
        self.errors: list[tuple[str, Exception]] = []
        """With the stage's name, the first one first."""
        self.times: dict[str, Histogram] = {}
        """How long an item takes, by stage."""
        self._stages: dict[str, Stage] = {}
        self._threads: dict[str, Thread] = {}  # that have not ended
        self._finishing: set[str] = set()
        self._hang_watch = HangWatch(clock.monotonic_ns)
        self.has_ended = Event()

    def stage(self, name: str, *, is_timed: bool = False) -> Stage:
        """A new stage; takes the place of an older one of its name."""
        times = self.times.setdefault(name, Histogram()) if is_timed else None
        self._stages[name] = Stage(name, self.clock.monotonic_ns, times)
        return self._stages[name]

    def queue(
        self, policy: Policy, capacity: int = 1, counts: Callable[[Any], bool] = lambda item: True
    ) -> Queue[Any]:
        """A new queue."""
        return Queue(self.lock, policy, capacity, counts, self.room_locked)

    def thread(self, name: str, body: Callable[[], None], *, finishes: bool = False) -> Thread:
        """A new thread; takes the place of an older one of its name, for which nobody waits any more.

        Args:
            finishes: it has something to finish, such as a file, even where it is at no item.
        """
        self._threads[name] = thread = Thread(target=partial(self._run, name, body), name=name, daemon=True)
        if finishes:
            self._finishing.add(name)
        return thread

    def start(self) -> None:
        """Start all threads, in the order in which they were made; each needs the lock to do anything.

        Raises:
            RuntimeError: if the system has no more threads; then none is left.
        """
        started: list[Thread] = []
        try:
            with self.lock:
                for thread in self._threads.values():
                    thread.start()
                    started.append(thread)
        except RuntimeError:
            self._break_off()
            for thread in started:
                thread.join()
            self.has_ended.set()
            raise

    def stop(self) -> None:
        """Restart nothing any more, and let every thread work. Safe to call twice."""
        if not self.is_stopping.is_set():
            self._stopped_ns = self.clock.monotonic_ns()
        self.is_stopping.set()
        self.cores.lift(self)

    @property
    def stopping_for_s(self) -> float:
        """Seconds since `stop` was first called; 0 before."""
        return 0.0 if self._stopped_ns is None else (self.clock.monotonic_ns() - self._stopped_ns) / 1e9

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; False if it did not come in time."""
        return self.has_ended.wait(timeout_s)

    def wait_watching(self) -> None:
        """Wait until all has ended but stages that hang; watch over the stages meanwhile."""
        while not self.wait(WATCH_S) and not self.waits_for_hung_stages_alone:
            self.watch()

    def watch(self) -> None:
        """Look after stages that hang; to be called often."""

    def room_locked(self) -> None:
        """Fewer items are in flight than before; called with the lock."""

    def _break_off(self) -> None:
        """Begin nothing any more: after an error that ends the run, or a thread that could not be started."""

    def _ended(self) -> None:
        """The last thread calls it, when all others have ended."""

    def _run(self, name: str, body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as error:
            self.fail(name, error)
        with self.lock:
            if self._threads.get(name) is not current_thread():
                return  # another has taken its place
            del self._threads[name]
            is_last = not self._threads
        if is_last:
            self._ended()
            self.has_ended.set()

    def busy_ns(self) -> dict[str, int]:
        """How long each stage has been at its item, in running time; to be called often."""
        return self._hang_watch.busy_ns({name: stage.busy_since_ns for name, stage in self._stages.items()})

    def stuck_stages(self) -> list[str]:
        """Names of the stages that are at an item or have something to finish."""
        busy = {name for name, stage in self._stages.items() if stage.busy_since_ns is not None}
        if stuck := busy | self._finishing.intersection(self._threads):
            return sorted(stuck)
        return [] if self.has_ended.is_set() else [ENDING]

    @property
    def waits_for_hung_stages_alone(self) -> bool:
        """Whether everything has ended but stages that hang, for which there is nothing to wait."""
        return bool(self.hung) and set(self.stuck_stages()) <= self.hung

    def note(self, stage: str, error: BaseException) -> None:
        """Note an error; a library's SystemExit ends a run, and no thread."""
        if not isinstance(error, Exception):
            error = RuntimeError(f"{type(error).__name__}: {error}")
        self.errors.append((stage, error))

    def raise_first_error(self) -> None:
        """Raise what ended the run, if anything did.

        Raises:
            RunError: from the first error, naming its stage.
        """
        if self.errors:
            stage, error = self.errors[0]
            raise RunError(stage, error) from error

    def fail(self, stage: str, error: BaseException) -> None:
        """Note an error that ends the run."""
        self.note(stage, error)
        self._break_off()
