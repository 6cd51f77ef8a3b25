"""run_stage: the one thread body. Every way to end closes both neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perception.pipeline.channel import Channel, Closed
from perception.pipeline.stage import run_stage
from perception.sources.source import EndOfSource

Errors = list[tuple[str, Exception]]


def inbox_of(*items: int) -> Channel[int]:
    inbox = Channel[int](max(1, len(items)))
    for item in items:
        inbox.put(item)
    return inbox


def raising(error: Exception) -> Callable[[Any], Any]:
    def step(item: Any) -> Any:
        raise error

    return step


def test_every_item_goes_through_the_step() -> None:
    inbox, outbox, errors = inbox_of(1, 2, 3), Channel[int](3), Errors()
    inbox.close()

    run_stage("double", lambda item: item * 2, inbox, outbox, errors)

    assert [outbox.get() for _ in range(3)] == [2, 4, 6]
    assert errors == []


def test_error_is_recorded_with_the_stage_name() -> None:
    error, errors = RuntimeError("broken"), Errors()

    run_stage("infer", raising(error), inbox_of(1), Channel[int](1), errors)

    assert errors == [("infer", error)]


@pytest.mark.parametrize("end", [RuntimeError("broken"), EndOfSource(), Closed()])
def test_end_closes_both_neighbours(end: Exception) -> None:
    inbox, outbox = inbox_of(1), Channel[int](1)

    run_stage("infer", raising(end), inbox, outbox, [])

    assert inbox.is_closed
    assert outbox.is_closed


def test_end_of_source_is_a_normal_end() -> None:
    errors = Errors()

    run_stage("capture", raising(EndOfSource()), inbox_of(1), Channel[int](1), errors)

    assert errors == []


def test_closed_outbox_is_a_normal_end_that_closes_the_inbox() -> None:
    inbox, outbox, errors = inbox_of(1), Channel[int](1), Errors()
    outbox.close()

    run_stage("infer", lambda item: item, inbox, outbox, errors)

    assert inbox.is_closed
    assert errors == []


class BrokenAtClose:
    def put(self, item: Any) -> None:
        pass

    def close(self) -> None:
        raise OSError("disk full")


def test_close_that_raises_is_recorded() -> None:
    inbox, errors = inbox_of(), Errors()
    inbox.close()

    run_stage("sink", lambda item: item, inbox, BrokenAtClose(), errors)

    assert [(name, str(error)) for name, error in errors] == [("sink", "disk full")]


def test_error_of_the_step_comes_before_the_error_of_the_close() -> None:
    errors = Errors()

    run_stage("sink", raising(RuntimeError("first")), inbox_of(1), BrokenAtClose(), errors)

    assert [str(error) for _, error in errors] == ["first", "disk full"]
