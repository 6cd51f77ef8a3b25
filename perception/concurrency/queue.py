"""Queues between stages, which count what became of every item."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Condition, Lock
from typing import Generic, Literal, TypeVar

from perception.concurrency.account import Account
from perception.concurrency.stage import Stage

T = TypeVar("T")
Policy = Literal["latest", "wait"]


class Queue(Generic[T]):
    """Hands items from one stage to the next, in order; methods with `_locked` need the lock.

    With the policy `latest` a full queue drops its oldest item. With `wait` nothing is dropped: who fills the
    queue waits while too much is in flight.

    Args:
        lock: shared by queues, so that their counts are of one moment.
        policy: what is done where the queue is full.
        capacity: items that a `latest` queue takes.
        counts: whether an item is counted.
        on_room: called, with the lock, when fewer items wait or none comes any more.
    """

    def __init__(
        self,
        lock: Lock,
        policy: Policy,
        capacity: int = 1,
        counts: Callable[[T], bool] = lambda item: True,
        on_room: Callable[[], object] = lambda: None,
    ) -> None:
        self.policy, self._capacity, self._counts = policy, capacity, counts
        self._lock, self._changed, self._on_room = lock, Condition(lock), on_room
        self._items: deque[T] = deque()
        self.given = 0
        """Items that were taken, counted or not."""
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
        with self._lock:
            while not (is_taken := self.take_locked(stage)) and waits and not self.is_closed:
                self._changed.wait()
            return is_taken

    def _wait(self) -> bool:
        """Wait for an item; False once none will come."""
        with self._lock:
            while not (self._items or self.is_closed):
                self._changed.wait()
            return bool(self._items)

    def take_locked(self, stage: Stage) -> bool:
        """Give the stage the oldest item; False if there is none."""
        if not self._items:
            return False
        stage.item, stage.number = self._items.popleft(), self.given
        self.given += 1
        self.taken += self._counts(stage.item)
        self._on_room()
        return True

    def work_off(
        self, stage: Stage, work: Callable[[], None], batch: AbstractContextManager[None], max_batch: int
    ) -> None:
        """Do a stage's work on every item until the queue is closed and empty, up to `max_batch` in a row.

        With the policy `latest` an item is taken once its turn has come: while a core is waited for, a newer
        one may take its place.
        """
        takes_late = self.policy == "latest"
        while self._wait() if takes_late else self.take(stage):
            with batch:
                if takes_late and not self.take(stage, waits=False):
                    continue
                work()
                for _ in range(max_batch - 1):
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
        self._on_room()

    def account(self, place: str) -> Account:
        """What became of all that entered."""
        became = {"taken": self.taken, "displaced": self.displaced, "lost": self.lost}
        return Account(place, self.entered, became, self.held)
