"""Queues between stages, which count what became of every item."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Condition
from typing import Generic, Literal, TypeVar

from perception.pipeline.stage import RunState, Stage, is_frame

T = TypeVar("T")
Policy = Literal["latest", "wait"]


class Queue(Generic[T]):
    """Hands items from one stage to the next, in order.

    With the policy `latest` a full queue drops its oldest item. With `wait` nothing is dropped: the source
    waits while too much is in flight.

    Args:
        run: whose lock it uses.
        policy: what is done where the queue is full.
        capacity: items that a `latest` queue takes.
        counts_all: whether records without a frame are counted too.
    """

    def __init__(self, run: RunState, policy: Policy, capacity: int = 1, *, counts_all: bool = False) -> None:
        self.policy, self._capacity, self._counts_all = policy, capacity, counts_all
        self._run, self._changed = run, Condition(run.lock)
        self._items: deque[T] = deque()
        self._numbers = 0
        self.is_closed = False
        self.entered = self.taken = self.displaced = self.lost = 0

    def __len__(self) -> int:
        """Items that wait."""
        return len(self._items)

    @property
    def held(self) -> int:
        """Items that wait and are counted."""
        return sum(map(self._counts, self._items))

    def put_locked(self, item: T) -> None:
        """Hand an item over; a queue that is closed loses it."""
        self.entered += self._counts(item)
        if self.is_closed:
            self.lost += self._counts(item)
            return
        if self.policy == "latest" and len(self._items) >= self._capacity:
            self.displaced += self._counts(self._items.popleft())
        self._items.append(item)
        self._changed.notify()

    def take(self, stage: Stage, *, waits: bool = True) -> bool:
        """Give the stage the oldest item; False if there is none, and none is waited for or will come."""
        with self._run.lock:
            while waits and not (self._items or self.is_closed):
                self._changed.wait()
            if not self._items:
                return False
            stage.item, stage.number = self._items.popleft(), self._numbers
            self._numbers += 1
            self.taken += self._counts(stage.item)
            self._run.room.notify()
            return True

    def work_off(
        self, stage: Stage, work: Callable[[], None], burst: AbstractContextManager[None], most: int
    ) -> None:
        """Do a stage's work on every item until the queue is closed and empty, up to `most` in a burst."""
        while self.take(stage):
            with burst:
                work()
                for _ in range(most - 1):
                    if not self.take(stage, waits=False):
                        break
                    work()

    def close_locked(self, *, discards: bool = False) -> None:
        """Let nothing more in; safe to call twice. What waits can still be taken, or is lost too."""
        self.is_closed = True
        if discards:
            self.lost += self.held
            self._items.clear()
        self._changed.notify_all()
        self._run.room.notify_all()

    def became(self) -> dict[str, int]:
        """What became of all that entered."""
        return {"taken": self.taken, "displaced": self.displaced, "lost": self.lost}

    def _counts(self, item: T) -> bool:
        return self._counts_all or is_frame(item)
