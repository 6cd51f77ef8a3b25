"""What gives way does so alone, and for good."""

from __future__ import annotations

import os
import sys
from threading import Thread, get_native_id

import pytest

from perception.system.priority import give_way

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere threads have no priority of their own"
)


def test_thread_gives_way_and_takes_nothing_back() -> None:
    seen: list[int] = []

    def body() -> None:
        for nice in (7, 3):
            give_way(nice)
            seen.append(os.getpriority(os.PRIO_PROCESS, get_native_id()))

    before = os.getpriority(os.PRIO_PROCESS, get_native_id())
    thread = Thread(target=body)
    thread.start()
    thread.join()

    assert seen == [max(7, before), max(7, before)]
    assert os.getpriority(os.PRIO_PROCESS, get_native_id()) == before


def test_thread_that_a_yielding_one_starts_gives_way_too() -> None:
    seen: list[int] = []

    def inner() -> None:
        seen.append(os.getpriority(os.PRIO_PROCESS, get_native_id()))

    def body() -> None:
        give_way(7)
        helper = Thread(target=inner)
        helper.start()
        helper.join()

    thread = Thread(target=body)
    thread.start()
    thread.join()

    assert seen[0] >= 7
