"""Threads that take turns on fewer cores."""

from __future__ import annotations

import os
import threading
import time

import pytest

from perception.concurrency.busy_cores import BusyCores
from perception.concurrency.wake_place import WakePlace


def work_in_turns(cores: BusyCores, threads: int, turns: int) -> tuple[int, list[set[int]]]:
    """Most threads at work at a time, and on which cores each might run at its turns."""
    lock, at_work, most = threading.Lock(), 0, 0
    allowed: list[set[int]] = []

    def work() -> None:
        nonlocal at_work, most
        batch = cores.batch(work)
        for _ in range(turns):
            with batch:
                with lock:
                    at_work += 1
                    most = max(most, at_work)
                    allowed.append(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set())
                time.sleep(0.001)
                with lock:
                    at_work -= 1

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert not any(worker.is_alive() for worker in workers)
    return most, allowed


@pytest.mark.parametrize("count", [1, 2])
def test_no_more_threads_work_than_there_are_cores(count: int) -> None:
    most, allowed = work_in_turns(BusyCores(count), threads=4, turns=6)

    assert most == count
    assert len(allowed) == 24


def test_thread_whose_turn_it_is_may_run_on_every_core_that_it_might_run_on_before() -> None:
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()

    _, allowed = work_in_turns(BusyCores(1), threads=3, turns=5)

    assert allowed == 15 * [before]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is a matter of Linux")
def test_thread_wakes_up_on_the_core_of_the_one_that_wakes_it() -> None:
    places: list[WakePlace] = []
    seen: list[set[int]] = []
    is_ready, turn = threading.Event(), threading.Event()

    def wake_up() -> None:
        places.append(WakePlace())
        is_ready.set()
        turn.wait(20)
        seen.append(os.sched_getaffinity(0))
        places[0].free()
        seen.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=wake_up)
    thread.start()
    is_ready.wait(20)
    before = os.sched_getaffinity(0)
    core = max(before)
    os.sched_setaffinity(0, {core})
    try:
        places[0].move_here()
    finally:
        os.sched_setaffinity(0, before)
    turn.set()
    thread.join(20)

    assert seen == [{core}, before]


def test_run_that_stops_waits_no_more_and_the_others_go_on_as_before() -> None:
    cores, stopping, other = BusyCores(1), threading.Event(), threading.Event()  # any objects
    is_at_work, may_end, began = threading.Event(), threading.Event(), threading.Semaphore(0)

    def hold() -> None:
        with cores.batch(stopping):
            is_at_work.set()
            while not may_end.is_set():  # all of a core, so that its share stays one
                pass

    def wait_for_turn(run: object) -> None:
        with cores.batch(run):
            began.release()
            may_end.wait(20)

    threads = [threading.Thread(target=hold)]
    threads[0].start()
    assert is_at_work.wait(20)
    threads += [threading.Thread(target=wait_for_turn, args=(run,)) for run in (stopping, other)]
    for thread in threads[1:]:
        thread.start()
    assert not began.acquire(timeout=0.1)

    cores.lift(stopping)

    # the other thread of the run that stops, and one of another run: that core is free again
    assert began.acquire(timeout=5)
    assert began.acquire(timeout=5)
    may_end.set()
    for thread in threads:
        thread.join(20)
    most, _ = work_in_turns(cores, threads=3, turns=2)
    assert most == 1
