"""Queue: nothing is lost without being counted, and nobody waits for ever."""

from __future__ import annotations

import math
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import numpy as np

from perception.concurrency.busy_cores import BusyCores
from perception.concurrency.queue import Policy, Queue
from perception.concurrency.stage_group import StageGroup
from perception.frame import Frame
from perception.pipeline.publisher import is_frame
from perception.system.clock import Clock

LIMIT_S = 2.0
STILL_S = 0.05  # long enough to see that something does not happen


class Call:
    """A call on a thread of its own, so that it may block without blocking the test."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.returned = Event()
        self._work = work
        self._result: Any = None
        self._error: BaseException | None = None
        Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:
            self._error = error
        self.returned.set()

    def result(self) -> Any:
        assert self.returned.wait(LIMIT_S), "still blocked"
        if self._error:
            raise self._error
        return self._result


class Given:
    """A queue of numbers, and the stage that takes from it."""

    def __init__(self, policy: Policy = "latest", capacity: int = 100) -> None:
        self.run = StageGroup(BusyCores(math.inf), Clock())
        self.queue = Queue[int](self.run.lock, policy, capacity)
        self.stage = self.run.stage("reader")

    def put(self, *items: int) -> None:
        for item in items:
            with self.run.lock:
                self.queue.put_locked(item)

    def take(self) -> int | None:
        return self.stage.item if self.queue.take(self.stage) else None

    def close(self, *, discards: bool = False) -> None:
        with self.run.lock:
            self.queue.close_locked(discards=discards)

    def drained(self) -> list[int]:
        items = []
        while (item := self.take()) is not None:
            items.append(item)
        assert self.queue.account("").problem(is_over=True) is None
        return items


def test_full_queue_drops_its_oldest_and_counts_it() -> None:
    given = Given("latest", 2)

    given.put(*range(5))
    given.close()

    assert given.drained() == [3, 4]
    assert given.queue.displaced == 3


def test_queue_that_waits_drops_nothing() -> None:
    given = Given("wait", 2)

    given.put(*range(5))
    given.close()

    assert given.drained() == list(range(5))
    assert given.queue.account("").became == {"taken": 5, "displaced": 0, "lost": 0}


def test_take_waits_for_an_item() -> None:
    given = Given()
    take = Call(given.take)
    assert not take.returned.wait(STILL_S)

    given.put(7)

    assert take.result() == 7


def test_take_that_is_not_to_wait_gives_what_is_there() -> None:
    given = Given()

    assert not given.queue.take(given.stage, waits=False)
    given.put(7)
    assert given.queue.take(given.stage, waits=False)
    assert (given.stage.item, given.stage.number) == (7, 0)


def test_close_wakes_everyone_who_waits() -> None:
    given = Given()
    takes = [Call(given.take) for _ in range(3)]
    assert not takes[0].returned.wait(STILL_S)

    given.close()

    assert [take.result() for take in takes] == [None] * 3


def test_closed_queue_gives_what_is_left_and_loses_what_comes() -> None:
    given = Given()
    given.put(1, 2)

    given.close()
    given.put(3)
    given.close()

    assert given.drained() == [1, 2]
    assert given.queue.account("").became == {"taken": 2, "displaced": 0, "lost": 1}


def test_close_that_discards_loses_what_waits() -> None:
    given = Given()
    given.put(1, 2)

    given.close(discards=True)

    assert given.drained() == []
    assert given.queue.lost == 2


def test_records_without_a_frame_are_not_counted_among_frames() -> None:
    run = StageGroup(BusyCores(math.inf), Clock())
    queue = Queue[object](run.lock, "latest", 1, is_frame)
    frame = Frame("cam", 0, 0, 0, np.zeros((2, 2, 3), np.uint8), "0")

    with run.lock:
        for item in (frame, "no frame", frame):
            queue.put_locked(item)

    assert queue.account("").became == {"taken": 0, "displaced": 1, "lost": 0}
    assert queue.entered == 2


def test_work_is_done_in_bursts_until_the_end() -> None:
    given = Given("wait")
    given.put(*range(5))
    given.close()
    done: list[int | str] = []

    class Bracket:
        def __enter__(self) -> None:
            done.append("(")

        def __exit__(self, *error: object) -> None:
            done.append(")")

    given.queue.work_off(given.stage, lambda: done.append(given.stage.item), Bracket(), 3)  # type: ignore[arg-type]

    assert done == ["(", 0, 1, 2, ")", "(", 3, 4, ")"]


def test_newest_item_is_taken_once_its_turn_has_come() -> None:
    given = Given("latest", 1)
    given.put(1)
    done: list[int | str] = []

    class Turn:
        """Newer items come, and then the end, while it is waited for."""

        def __enter__(self) -> None:
            given.put(2, 3)
            given.close()

        def __exit__(self, *error: object) -> None:
            done.append("given back")

    given.queue.work_off(given.stage, lambda: done.append(given.stage.item), Turn(), 1)  # type: ignore[arg-type]

    assert done == [3, "given back"]
    assert given.queue.account("").became == {"taken": 1, "displaced": 2, "lost": 0}


def test_turn_that_came_too_late_for_what_was_discarded_is_given_back() -> None:
    given = Given("latest", 1)
    given.put(1)
    turns: list[str] = []

    class Turn:
        def __enter__(self) -> None:
            turns.append("got")
            with given.run.lock:
                given.queue.close_locked(discards=True)

        def __exit__(self, *error: object) -> None:
            turns.append("given back")

    given.queue.work_off(given.stage, lambda: turns.append("worked"), Turn(), 1)  # type: ignore[arg-type]

    assert turns == ["got", "given back"]
    assert given.queue.account("").became == {"taken": 0, "displaced": 0, "lost": 1}
