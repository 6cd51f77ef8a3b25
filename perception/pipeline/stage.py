"""The body of a thread that runs one stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from perception.pipeline.channel import Closed
from perception.pipeline.gauges import Pulse
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
    pulse: Pulse | None = None,
) -> None:
    """Thread body of a live stage. Ends when a neighbour closes, and then closes both neighbours.

    Args:
        name: for the error, if `step` raises one.
        step: a plain function with no thread in it.
        errors: gets (name, error); the first one is the run's.
        pulse: beats with every item.
    """
    pulse = pulse or Pulse()
    try:
        while True:
            item = inbox.get()
            pulse.begin()
            result = step(item)
            pulse.end()
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
