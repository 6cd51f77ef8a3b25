"""The one body that every stage's thread runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from perception.pipeline.channel import Closed
from perception.pipeline.histogram import Histogram
from perception.sources.source import EndOfSource

A_co = TypeVar("A_co", covariant=True)
B_contra = TypeVar("B_contra", contravariant=True)
A = TypeVar("A")
B = TypeVar("B")


class Inbox(Protocol[A_co]):
    """Where a stage takes from."""

    def get(self) -> A_co: ...

    def close(self) -> None: ...


class Outbox(Protocol[B_contra]):
    """Where a stage puts to."""

    def put(self, item: B_contra, /) -> None: ...

    def close(self) -> None: ...


class Pulse:
    """Whether a stage is at work, and since when."""

    def __init__(self, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock_ns = clock_ns
        self._since_ns: int | None = None

    def begin(self) -> int:
        """The stage takes up an item; gives the time."""
        self._since_ns = now_ns = self._clock_ns()
        return now_ns

    def end(self) -> int:
        """It is done with it; gives the time."""
        self._since_ns = None
        return self._clock_ns()

    def busy_ns(self) -> int:
        """How long it has been at one item; 0 where it waits for one, or for room for what it made."""
        since_ns = self._since_ns
        return 0 if since_ns is None else self._clock_ns() - since_ns


def run_stage(
    name: str,
    step: Callable[[A], B],
    inbox: Inbox[A],
    outbox: Outbox[B],
    errors: list[tuple[str, Exception]],
    times: Histogram | None = None,
    pulse: Pulse | None = None,
) -> None:
    """Thread body of every stage. Ends when a neighbour closes, and then closes both neighbours.

    Args:
        name: for the error, if `step` raises one.
        step: a plain function with no thread in it.
        errors: gets (name, error); the first one is the run's.
        times: gets the time spent in `step`.
        pulse: beats with every item.
    """
    pulse = pulse or Pulse()
    try:
        while True:
            item = inbox.get()
            started_ns = pulse.begin()
            result = step(item)
            ended_ns = pulse.end()
            if times:
                times.add(ended_ns - started_ns)
            outbox.put(result)
    except (Closed, EndOfSource):
        pass
    except Exception as error:
        errors.append((name, error))
    finally:
        pulse.end()
        inbox.close()
        try:
            outbox.close()
        except Exception as error:
            errors.append((name, error))
