"""How many threads keep a core busy at a time."""

from __future__ import annotations

import math
import time
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import Lock, get_native_id
from typing import Final
from weakref import WeakSet

from perception.concurrency.wake_place import WakePlace

FREE_SHARE: Final = 0.75
"""Of a core: a thread may begin where that much or more is free."""
LOOK_EVERY_NS: Final = 50_000_000
"""A thread that waits for a core looks so often whether those that have one want it."""


class BusyCores:
    """Shares a number of cores among more threads, of one run or of several: first come, first served.

    Args:
        count: cores; `math.inf` lets every thread work at any time.
    """

    def __init__(self, count: float) -> None:
        self.count: Final = count
        self._lock = Lock()
        self._working: set[Batch] = set()
        self._waiting: deque[Batch] = deque()
        self._batches: WeakSet[Batch] = WeakSet()
        self._lifted: WeakSet[object] = WeakSet()
        """Runs whose threads wait for nothing."""

    def batch(self, run: object, *, is_first: bool = False) -> AbstractContextManager[None]:
        """What surrounds several items that one thread does in a row; each thread has its own.

        Args:
            run: that the thread is of; see `lift`.
            is_first: goes before others that wait: what only one thread can do, and many wait for.
        """
        if math.isinf(self.count):
            return nullcontext()
        batch = Batch(self, run, is_first)
        with self._lock:
            self._batches.add(batch)
            batch.is_lifted = run in self._lifted
        return batch

    def acquire(self, batch: Batch) -> None:
        """Wait until a core is free."""
        with self._lock:
            if batch.is_lifted:
                return
            (self._waiting.appendleft if batch.is_first else self._waiting.append)(batch)
            self._admit()
        while not batch.turn.acquire(timeout=LOOK_EVERY_NS / 1e9):
            with self._lock:
                for working in self._working:
                    working.measure()
                self._admit()

    def release(self, batch: Batch) -> None:
        """Let others work: the next one on the caller's core, which is about to be free."""
        with self._lock:
            batch.measure()
            self._working.discard(batch)
            self._admit(leaves_core=True)

    def lift(self, run: object) -> None:
        """Let every thread of a run work from now on: one that has a core may never give it back.

        Nothing changes for the threads of other runs.
        """
        with self._lock:
            self._lifted.add(run)
            for batch in self._batches:
                if batch.run is not run or batch.is_lifted:
                    continue
                batch.is_lifted = True
                self._working.discard(batch)
                if batch in self._waiting:
                    self._waiting.remove(batch)
                    batch.begin(is_here=False)
            self._admit()

    def _admit(self, *, leaves_core: bool = False) -> None:
        while self._waiting and self.count - sum(it.share for it in self._working) >= FREE_SHARE:
            batch = self._waiting.popleft()
            self._working.add(batch)
            batch.begin(is_here=leaves_core)
            leaves_core = False


class Batch:
    """Several items in a row on a core that is shared.

    Threads that took turns at every item would each time find the caches full of the others' data. Of a core
    a thread has the share that it wanted lately; the rest is waiting, for a disk, a GPU, a decoder's threads.
    """

    def __init__(self, cores: BusyCores, run: object, is_first: bool) -> None:
        self.run, self.is_first, self.share, self.is_lifted = run, is_first, 1.0, False
        self.turn = Lock()
        self.turn.acquire()
        self._cores = cores
        self._file: Path | None = None
        self._place: WakePlace | None = None
        self._wanted_ns = self._took_ns = self._began_ns = 0

    def __enter__(self) -> None:
        if self._file is None or self._place is None:
            self._file = Path(f"/proc/self/task/{get_native_id()}/schedstat")
            self._wanted_ns = _wanted_ns(self._file)
            self._place = WakePlace()
        self._cores.acquire(self)
        self._place.free()

    def __exit__(self, *error: object) -> None:
        self._cores.release(self)

    def begin(self, *, is_here: bool) -> None:
        """Its thread gets a core, the caller's one if that `is_here`; called by any thread."""
        if is_here and self._place is not None:
            self._place.move_here()
        self._began_ns = time.monotonic_ns()
        self.turn.release()

    def measure(self) -> None:
        """See how much of a core its thread wants, if that was not seen of late."""
        now_ns = time.monotonic_ns()
        self._took_ns, self._began_ns = self._took_ns + now_ns - self._began_ns, now_ns
        if self._took_ns >= LOOK_EVERY_NS and self._file is not None:
            before_ns, self._wanted_ns = self._wanted_ns, _wanted_ns(self._file)
            self.share = min(1.0, (self._wanted_ns - before_ns) / self._took_ns)
            self._took_ns = 0


def _wanted_ns(file: Path) -> int:
    """Time for which a thread ran or waited for others to leave it a core; all time, where no Linux is."""
    try:
        ran_ns, waited_ns, _ = file.read_text().split()
    except (OSError, ValueError):
        return time.monotonic_ns()
    return int(ran_ns) + int(waited_ns)
