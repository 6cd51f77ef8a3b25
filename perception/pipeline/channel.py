"""Channel: the bounded hand-off between two threads of a live run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):
    """The channel is closed. A normal end, not an error."""


class Channel(Generic[T]):
    """Bounded hand-off between two threads: the newest items win; `dropped` counts those they displaced."""

    def __init__(self, capacity: int, on_drop: Callable[[T], None] | None = None) -> None:
        if capacity < 1:
            raise ValueError(f"a channel of {capacity} items; it needs room for 1")
        self.dropped = 0
        self._capacity = capacity
        self._on_drop = on_drop
        self._items: deque[T] = deque()
        self._is_closed = False
        self._changed = Condition()

    def put(self, item: T) -> None:
        """Hand an item over; a full channel drops its oldest.

        Raises:
            Closed: if the channel is closed.
        """
        displaced: list[T] = []
        with self._changed:
            if self._is_closed:
                raise Closed
            while len(self._items) >= self._capacity:
                displaced.append(self._items.popleft())
                self.dropped += 1
            self._items.append(item)
            self._changed.notify()
        if self._on_drop:
            for old in displaced:
                self._on_drop(old)

    def get(self) -> T:
        """The oldest item; waits for one.

        Raises:
            Closed: if the channel is closed and what was left in it has been taken.
        """
        with self._changed:
            while not (self._items or self._is_closed):
                self._changed.wait()
            if not self._items:
                raise Closed
            return self._items.popleft()

    def close(self) -> None:
        """Let nothing more in and wake everyone; safe to call twice."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def is_closed(self) -> bool:
        """Nothing more comes in; what is left can still be taken."""
        return self._is_closed
