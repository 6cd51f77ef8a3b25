"""Processes that measure at the same time: they begin together, and none outlives the measurement.

They are plain ones: a pool of processes that is interrupted while it starts waits for ever.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from threading import Thread
from typing import Any, Final

from bench.task import EXPECTED
from perception.inference.engines.engine import one_line
from perception.system.process import tune_process

MEETS: Final = "meets"
"""What a process answers when it waits for the others."""


class SideBySide:
    """The processes of one measurement; `noun` and a number name each of them in errors."""

    def __init__(self, noun: str) -> None:
        self._noun = noun
        self.started: list[tuple[SpawnProcess, Connection[Any, Any]]] = []

    def wait(self) -> None:
        """Until each of them waits for the others.

        Raises:
            ValueError: naming the process that failed, in one line.
        """
        self._answers()

    def go(self) -> list[Any]:
        """Let them go on, each time that all have met, to their end; returns their values, in order.

        Raises:
            ValueError: naming the process that failed, in one line.
        """
        while True:
            for _, link in self.started:
                with suppress(ConnectionError):  # it has ended: the answer that is missing names it
                    link.send(None)
            answers = self._answers()
            if answers[0] != MEETS:
                return answers

    def _answers(self) -> list[Any]:
        answers = []
        for number, (process, link) in enumerate(self.started, start=1):
            try:
                answer, error = link.recv()
            except (EOFError, ConnectionError):
                process.join()
                error = f"ended with status {process.exitcode}"
            if error is not None:
                raise ValueError(f"{self._noun} {number}: {error}")
            answers.append(answer)
        return answers


@contextmanager
def side_by_side(
    noun: str, body: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]
) -> Iterator[SideBySide]:
    """A process for each tuple of arguments; all have ended when the context does.

        with side_by_side("stream", body, [(…), (…)]) as processes:
            processes.wait()
            with metered() as readings:
                values = processes.go()

    Args:
        noun: what one of them is.
        body: a function of a module. It is given what waits for the others, then its arguments.
    """
    context = get_context("spawn")  # a copy of this process would hold its libraries' locks
    processes = SideBySide(noun)
    try:
        for given in arguments:
            link, other_end = context.Pipe()
            process = context.Process(target=_take_part, args=(other_end, body, given), daemon=True)
            processes.started.append((process, link))
            process.start()
            other_end.close()
        yield processes
    finally:
        begun = [process for process, _ in processes.started if process.pid is not None]
        for process in begun:  # what it had to say has been said, or nobody wants it any more
            process.kill()
        for process in begun:
            process.join()


def _take_part(link: Connection[Any, Any], body: Callable[..., Any], given: tuple[Any, ...]) -> None:
    """The process: its end is up to the one that started it, which is the one that is interrupted."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()

    def meet() -> None:
        link.send((MEETS, None))
        link.recv()

    tune_process()
    try:
        link.send((body(meet, *given), None))
    except EXPECTED as error:
        link.send((None, one_line(error)))


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
