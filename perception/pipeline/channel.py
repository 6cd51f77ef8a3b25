"""Channel: the bounded hand-off between two threads. Ordered: several workers, results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Condition, Lock
from typing import Final, Generic, Literal, TypeVar

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")

WhenFull = Literal["drop_oldest", "wait"]

BURST_LIMIT_S: Final = 0.05
"""That an item may lie in a channel because others are to come with it."""


class Closed(Exception):
    """The channel is closed. A normal end, not an error."""


class Channel(Generic[T]):
    """Bounded hand-off between two threads; `dropped` counts the items it threw away.

    With a `burst` the thread that found it empty sleeps until so many items are there, and the one that
    found it full until there is room for so many: each then does several items in a row, with its code and
    data still in the caches of its core.
    """

    def __init__(
        self,
        capacity: int,
        when_full: WhenFull,
        on_drop: Callable[[T], None] | None = None,
        burst: int = 1,
    ) -> None:
        if not 1 <= burst <= capacity:
            raise ValueError(f"a channel of {capacity} items with bursts of {burst}; 1 <= burst <= capacity")
        self.dropped = 0
        self._capacity = capacity
        self._burst = burst
        self._when_full = when_full
        self._on_drop = on_drop
        self._items: deque[T] = deque()
        self._is_closed = False
        self._changed = Condition()

    def put(self, item: T) -> None:
        """Hand an item over; a full channel drops its oldest or waits, as it was built to.

        Raises:
            Closed: if the channel is closed, also while waiting.
        """
        displaced: list[T] = []
        with self._changed:
            if self._when_full == "wait" and len(self._items) >= self._capacity:
                while not (self._is_closed or self._has_room_for_a_burst):
                    self._changed.wait()
            if self._is_closed:
                raise Closed
            while len(self._items) >= self._capacity:
                displaced.append(self._items.popleft())
                self.dropped += 1
            self._items.append(item)
            if len(self._items) >= self._burst:
                self._changed.notify_all()
        if self._on_drop:
            for old in displaced:
                self._on_drop(old)

    def get(self) -> T:
        """The oldest item; waits for one.

        Raises:
            Closed: if the channel is closed and what was left in it has been taken.
        """
        with self._changed:
            if not self._items:
                self._wait_for_a_burst()
            if not self._items:
                raise Closed
            item = self._items.popleft()
            if self._has_room_for_a_burst:
                self._changed.notify_all()
            return item

    def close(self) -> None:
        """Let nothing more in and wake everyone; safe to call twice."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def is_closed(self) -> bool:
        """Nothing more comes in; what is left can still be taken."""
        return self._is_closed

    @property
    def _has_room_for_a_burst(self) -> bool:
        return len(self._items) <= self._capacity - self._burst

    def _wait_for_a_burst(self) -> None:
        """Or for the end; or, where the rest of a burst does not come, for one item."""
        while len(self._items) < self._burst and not self._is_closed:
            is_woken = self._changed.wait(BURST_LIMIT_S if self._burst > 1 else None)
            if self._items and not is_woken:
                return


class Ordered(Generic[A, B]):
    """Several workers between one inbox and one outbox; results leave in the order the items came.

    A worker that is ahead goes on with the next item, at most `2 * workers` ahead of the slowest.
    """

    def __init__(self, inbox: Channel[A], outbox: Channel[B], workers: int) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._lanes = workers
        self._lanes_open = workers
        self._taking = Lock()
        self._taken = 0
        self._delivered = 0
        self._waiting: dict[int, B | None] = {}
        self._moved = Condition()

    def lanes(self) -> list[Lane[A, B]]:
        """One lane a worker: its inbox and its outbox."""
        return [Lane(self) for _ in range(self._lanes)]

    def _take(self) -> tuple[int, A]:
        with self._taking:
            item = self._inbox.get()
            number = self._taken
            self._taken += 1
            return number, item

    def _deliver(self, number: int, result: B | None) -> None:
        """Result `number`, or None where a worker failed on that item."""
        with self._moved:
            while number >= self._delivered + 2 * self._lanes and not self._outbox.is_closed:
                self._moved.wait()
            self._waiting[number] = result
            while self._delivered in self._waiting:
                ready = self._waiting.pop(self._delivered)
                self._delivered += 1
                self._moved.notify_all()
                if ready is not None:
                    self._outbox.put(ready)

    def _leave(self) -> None:
        """A worker ended: nothing more comes in, and the last one to go closes the way out."""
        self._inbox.close()
        with self._moved:
            self._lanes_open -= 1
            if self._lanes_open == 0:
                self._outbox.close()
            self._moved.notify_all()


class Lane(Generic[A, B]):
    """One worker's side of `Ordered`: `get`, `put`, `close`, as a channel has them."""

    def __init__(self, ordered: Ordered[A, B]) -> None:
        self._ordered = ordered
        self._number: int | None = None
        self._is_closed = False

    def get(self) -> A:
        """The next item, for this worker alone; raises Closed."""
        self._number, item = self._ordered._take()
        return item

    def put(self, result: B) -> None:
        """The result of the item taken last; raises Closed."""
        assert self._number is not None
        number, self._number = self._number, None
        self._ordered._deliver(number, result)

    def close(self) -> None:
        """Leave; an item taken and not finished is passed over. Safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if self._number is not None:
                self._ordered._deliver(self._number, None)
        except Closed:
            pass
        finally:
            self._ordered._leave()
