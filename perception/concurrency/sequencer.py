"""Puts items that several threads bring back in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Sequencer(Generic[T]):
    """Holds items until all before them have come. Numbers begin at 0 and leave none out; not locked."""

    def __init__(self) -> None:
        self._early: dict[int, T | None] = {}
        self._next = self._forgotten = 0

    def __len__(self) -> int:
        """Items that wait for an earlier one."""
        return len(self._early)

    def put(self, number: int, item: T | None) -> Iterator[T]:
        """Take an item, or None for a number without one; gives what is next, in order."""
        self._early[number] = item
        while self._next in self._early:
            ready = self._early.pop(self._next)
            self._next += 1
            if ready is not None:
                yield ready

    @property
    def brought(self) -> int:
        """Numbers that have come, with an item or without."""
        return self._next + len(self._early) + self._forgotten

    def waiting(self) -> list[T]:
        """Items that wait for an earlier one."""
        return [item for item in self._early.values() if item is not None]

    def clear(self) -> None:
        """Forget what waits."""
        self._forgotten += len(self._early)
        self._early.clear()
