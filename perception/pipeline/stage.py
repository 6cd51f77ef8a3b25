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


def run_stage(
    name: str,
    step: Callable[[A], B],
    inbox: Inbox[A],
    outbox: Outbox[B],
    errors: list[tuple[str, Exception]],
    times: Histogram | None = None,
) -> None:
    """Thread body of every stage. Ends when a neighbour closes, and then closes both neighbours.

    Args:
        name: for the error, if `step` raises one.
        step: a plain function with no thread in it.
        errors: gets (name, error); the first one is the run's.
        times: gets the time spent in `step`.
    """
    try:
        while True:
            item = inbox.get()
            started_ns = time.monotonic_ns()
            result = step(item)
            if times:
                times.add(time.monotonic_ns() - started_ns)
            outbox.put(result)
    except (Closed, EndOfSource):
        pass
    except Exception as error:
        errors.append((name, error))
    finally:
        inbox.close()
        try:
            outbox.close()
        except Exception as error:
            errors.append((name, error))
