"""A time limit for calls that may never return, such as into a driver."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def within(limit_s: float, work: Callable[[], T]) -> T:
    """Run `work` in a daemon thread; returns its result or raises its error.

    Raises:
        TimeoutError: if it takes longer; the thread is then abandoned.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:  # raised in the caller
            answer.set_exception(error)

    Thread(target=run, name="load", daemon=True).start()
    return answer.result(limit_s)
