"""Channel and Ordered: nothing is lost without being counted, and nobody waits for ever."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from threading import Event, Semaphore, Thread
from typing import Any

import pytest

from perception.pipeline.channel import Channel, Closed, Lane, Ordered
from perception.pipeline.stage import run_stage

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
    channel = Channel[int](2, "drop_oldest", told.append)

    for item in range(5):
        channel.put(item)
    channel.close()

    assert drained(channel) == [3, 4]
    assert channel.dropped == 3
    assert told == [0, 1, 2]


def test_full_channel_that_waits_lets_put_go_on_after_a_get() -> None:
    channel = Channel[int](1, "wait")
    channel.put(1)
    put = Call(lambda: channel.put(2))
    assert not put.returned.wait(STILL_S)

    assert channel.get() == 1
    put.result()

    assert channel.get() == 2
    assert channel.dropped == 0


def test_get_waits_for_an_item() -> None:
    channel = Channel[int](1, "wait")
    get = Call(channel.get)
    assert not get.returned.wait(STILL_S)

    channel.put(7)

    assert get.result() == 7


def test_items_leave_in_the_order_they_came() -> None:
    channel = Channel[int](3, "wait")
    put = Call(lambda: put_all(channel, range(50)))

    items = [channel.get() for _ in range(50)]

    put.result()
    assert items == list(range(50))


def test_close_wakes_everyone_who_waits_to_get() -> None:
    channel = Channel[int](1, "wait")
    gets = [Call(channel.get) for _ in range(3)]
    assert not gets[0].returned.wait(STILL_S)

    channel.close()

    for get in gets:
        with pytest.raises(Closed):
            get.result()


def test_close_wakes_everyone_who_waits_to_put() -> None:
    channel = Channel[int](1, "wait")
    channel.put(0)
    puts = [Call(lambda: channel.put(1)) for _ in range(3)]
    assert not puts[0].returned.wait(STILL_S)

    channel.close()

    for put in puts:
        with pytest.raises(Closed):
            put.result()


def test_closed_channel_gives_what_is_left_and_then_closed() -> None:
    channel = Channel[int](3, "wait")
    channel.put(1)
    channel.put(2)

    channel.close()

    assert channel.get() == 1
    assert channel.get() == 2
    with pytest.raises(Closed):
        channel.get()


@pytest.mark.parametrize("when_full", ["drop_oldest", "wait"])
def test_closed_channel_takes_nothing_more(when_full: Any) -> None:
    channel = Channel[int](1, when_full)
    channel.close()

    with pytest.raises(Closed):
        channel.put(1)
    assert channel.dropped == 0


def test_close_twice_is_one_close() -> None:
    channel = Channel[int](1, "wait")
    channel.close()
    channel.close()

    assert channel.is_closed


@pytest.mark.parametrize(("capacity", "burst"), [(0, 1), (2, 3), (2, 0)])
def test_channel_without_room_is_refused(capacity: int, burst: int) -> None:
    with pytest.raises(ValueError, match=f"a channel of {capacity} items with bursts of {burst}"):
        Channel[int](capacity, "wait", burst=burst)


def test_empty_channel_gives_nothing_before_a_burst_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perception.pipeline.channel.BURST_LIMIT_S", LIMIT_S)
    channel = Channel[int](4, "wait", burst=2)
    get = Call(channel.get)
    assert not get.returned.wait(STILL_S)
    channel.put(1)
    assert not get.returned.wait(STILL_S)

    channel.put(2)

    assert get.result() == 1
    assert channel.get() == 2


def test_item_waits_no_longer_than_the_limit_for_the_rest_of_its_burst() -> None:
    channel = Channel[int](4, "wait", burst=2)
    get = Call(channel.get)
    channel.put(1)

    assert get.result() == 1


def test_full_channel_takes_nothing_before_there_is_room_for_a_burst() -> None:
    channel = Channel[int](4, "wait", burst=2)
    put_all(channel, range(4))
    put = Call(lambda: put_all(channel, range(4, 6)))
    assert channel.get() == 0
    assert not put.returned.wait(STILL_S)

    assert channel.get() == 1
    put.result()

    assert [channel.get() for _ in range(4)] == [2, 3, 4, 5]


def test_close_ends_the_wait_for_a_burst() -> None:
    channel = Channel[int](4, "wait", burst=4)
    channel.put(1)
    channel.close()

    assert drained(channel) == [1]


def test_on_drop_may_use_the_channel() -> None:
    again = Channel[int](8, "wait")
    channel = Channel[int](1, "drop_oldest", again.put)

    put = Call(lambda: put_all(channel, range(3)))

    put.result()
    again.close()
    assert drained(again) == [0, 1]


def run_workers(
    steps: list[Callable[[int], int]], inbox: Channel[int], outbox: Channel[int], errors: list[Any]
) -> list[Thread]:
    lanes: list[Lane[int, int]] = Ordered(inbox, outbox, len(steps)).lanes()
    threads = [
        Thread(target=run_stage, args=(f"worker-{number}", step, lane, lane, errors), daemon=True)
        for number, (step, lane) in enumerate(zip(steps, lanes, strict=True))
    ]
    for thread in threads:
        thread.start()
    return threads


def assert_all_end(threads: list[Thread]) -> None:
    for thread in threads:
        thread.join(LIMIT_S)
    assert not [thread.name for thread in threads if thread.is_alive()]


def filled(count: int) -> Channel[int]:
    inbox = Channel[int](count, "wait")
    for item in range(count):
        inbox.put(item)
    inbox.close()
    return inbox


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_results_leave_in_order_however_long_each_takes(workers: int) -> None:
    chance = random.Random(workers)
    durations_s = [chance.choice((0.0, 0.0, 0.0005, 0.002)) for _ in range(100)]

    def step(item: int) -> int:
        time.sleep(durations_s[item])
        return item * 10

    outbox = Channel[int](2, "wait")
    errors: list[Any] = []
    threads = run_workers([step] * workers, filled(100), outbox, errors)

    assert Call(lambda: drained(outbox)).result() == [item * 10 for item in range(100)]
    assert_all_end(threads)
    assert errors == []


@pytest.mark.parametrize("workers", [2, 3])
def test_item_of_a_failed_worker_is_passed_over(workers: int) -> None:
    def step(item: int) -> int:
        if item == 5:
            raise RuntimeError("five")
        return item

    outbox = Channel[int](2, "wait")
    errors: list[Any] = []
    threads = run_workers([step] * workers, filled(20), outbox, errors)

    assert Call(lambda: drained(outbox)).result() == [item for item in range(20) if item != 5]
    assert_all_end(threads)
    assert [str(error) for _, error in errors] == ["five"]


def test_failed_worker_lets_nothing_more_in() -> None:
    def step(item: int) -> int:
        raise RuntimeError("broken")

    inbox = Channel[int](1, "wait")
    inbox.put(0)
    threads = run_workers([step, step], inbox, Channel[int](1, "wait"), [])
    assert_all_end(threads)

    with pytest.raises(Closed):
        inbox.put(1)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_closed_way_out_ends_every_worker(workers: int) -> None:
    inbox = Channel[int](4, "wait")
    outbox = Channel[int](1, "wait")
    threads = run_workers([lambda item: item] * workers, inbox, outbox, [])
    put = Call(lambda: put_all(inbox, range(1000)))
    assert Call(outbox.get).result() == 0

    outbox.close()

    assert_all_end(threads)
    with pytest.raises(Closed):
        put.result()


def test_way_out_stays_open_until_the_last_worker_has_ended() -> None:
    is_free = Event()

    def step(item: int) -> int:
        if item == 1:
            is_free.wait(LIMIT_S)
        return item

    outbox = Channel[int](4, "wait")
    threads = run_workers([step, step], filled(2), outbox, [])
    assert Call(outbox.get).result() == 0
    assert not outbox.is_closed

    is_free.set()

    assert Call(lambda: drained(outbox)).result() == [1]
    assert_all_end(threads)


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_stay_within_a_bound_ahead_of_the_slowest(workers: int) -> None:
    is_free = Event()
    taken = Semaphore(0)

    def step(item: int) -> int:
        taken.release()
        if item == 0:
            is_free.wait(LIMIT_S)
        return item

    outbox = Channel[int](100, "wait")
    threads = run_workers([step] * workers, filled(100), outbox, [])

    # 2 results a worker are kept, and every worker but the slowest holds one more
    for _ in range(2 * workers + workers - 1):
        assert taken.acquire(timeout=LIMIT_S)
    assert not taken.acquire(timeout=STILL_S)
    is_free.set()
    assert Call(lambda: drained(outbox)).result() == list(range(100))
    assert_all_end(threads)
