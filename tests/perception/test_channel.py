"""Channel: nothing is lost without being counted, and nobody waits for ever."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import pytest

from perception.pipeline.channel import Channel, Closed

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


def put_all(channel: Channel[int], items: range) -> None:
    for item in items:
        channel.put(item)


def drained(channel: Channel[int]) -> list[int]:
    items = []
    while True:
        try:
            items.append(channel.get())
        except Closed:
            return items


def test_full_channel_drops_oldest_and_counts_it() -> None:
    told: list[int] = []
    channel = Channel[int](2, told.append)

    for item in range(5):
        channel.put(item)
    channel.close()

    assert drained(channel) == [3, 4]
    assert channel.dropped == 3
    assert told == [0, 1, 2]


def test_get_waits_for_an_item() -> None:
    channel = Channel[int](1)
    get = Call(channel.get)
    assert not get.returned.wait(STILL_S)

    channel.put(7)

    assert get.result() == 7


def test_items_leave_in_the_order_they_came() -> None:
    channel = Channel[int](50)
    put = Call(lambda: put_all(channel, range(50)))

    items = [channel.get() for _ in range(50)]

    put.result()
    assert items == list(range(50))


def test_close_wakes_everyone_who_waits_to_get() -> None:
    channel = Channel[int](1)
    gets = [Call(channel.get) for _ in range(3)]
    assert not gets[0].returned.wait(STILL_S)

    channel.close()

    for get in gets:
        with pytest.raises(Closed):
            get.result()


def test_closed_channel_gives_what_is_left_and_then_closed() -> None:
    channel = Channel[int](3)
    channel.put(1)
    channel.put(2)

    channel.close()

    assert channel.get() == 1
    assert channel.get() == 2
    with pytest.raises(Closed):
        channel.get()


def test_closed_channel_takes_nothing_more() -> None:
    channel = Channel[int](1)
    channel.close()

    with pytest.raises(Closed):
        channel.put(1)
    assert channel.dropped == 0


def test_close_twice_is_one_close() -> None:
    channel = Channel[int](1)
    channel.close()
    channel.close()

    assert channel.is_closed


def test_channel_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="a channel of 0 items; it needs room for 1"):
        Channel[int](0)


def test_on_drop_may_use_the_channel() -> None:
    again = Channel[int](8)
    channel = Channel[int](1, again.put)

    put = Call(lambda: put_all(channel, range(3)))

    put.result()
    again.close()
    assert drained(again) == [0, 1]
