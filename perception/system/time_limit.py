"""A limit of time for what may never return, such as a call into a driver."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def within(limit_s: float, work: Callable[[], T]) -> T:
    """What `work` gives, or raises, in a thread of its own.

    Raises:
        TimeoutError: if it takes longer; the thread is then left to itself, and ends with the process at the
            latest.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:  # raised where it was asked for
            answer.set_exception(error)

    Thread(target=run, name="load", daemon=True).start()
    return answer.result(limit_s)
