"""Processes that measure at the same time: they begin together, and none outlives the measurement.

They are plain ones: a pool of processes that is interrupted while it starts waits for ever.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from subprocess import PIPE, Popen
from types import TracebackType
from typing import Any, Self

from bench.task import EXPECTED
from perception.inference.engines.engine import one_line
from perception.system.process import tune_process

MEETS = "meets"
"""What a process says when it waits for the others."""


class SideBySide:
    """A process for each tuple of arguments, all of the same module, which calls `take_part`.

    with SideBySide(__name__, "stream", [(…), (…)]) as processes:
        processes.wait()
        with Meter() as meter:
            values = processes.go()
    """

    def __init__(self, module: str, noun: str, arguments: Sequence[Sequence[str]]) -> None:
        self._module, self._noun, self._arguments = module, noun, arguments
        self._processes: list[Popen[str]] = []
        self._ending = ExitStack()

    def __enter__(self) -> Self:
        """Start them all."""
        with self._ending:
            for words in self._arguments:
                command = [sys.executable, "-P", "-m", self._module, *words]
                process = self._ending.enter_context(Popen(command, stdin=PIPE, stdout=PIPE, text=True))
                self._ending.push(lambda kind, *_, process=process: kind and process.kill())
                self._processes.append(process)
            self._ending = self._ending.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Wait for their end; after an error end them."""
        self._ending.__exit__(kind, error, where)

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
            for process in self._processes:
                assert process.stdin is not None
                process.stdin.write("\n")
                process.stdin.flush()
            answers = self._answers()
            if answers[0] != MEETS:
                return answers

    def _answers(self) -> list[Any]:
        answers = []
        for number, process in enumerate(self._processes, start=1):
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise ValueError(f"{self._noun} {number}: ended with status {process.wait()}")
            answer, error = json.loads(line)
            if error is not None:
                raise ValueError(f"{self._noun} {number}: {error}")
            answers.append(answer)
        return answers


def take_part(body: Callable[[Callable[[], None]], Any]) -> None:
    """Run a part of what is measured in such a process.

    Args:
        body: gives JSON values; it is given what waits for the others.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer

    def answer(value: Any, error: str | None = None) -> None:
        print(json.dumps([value, error]), file=answers, flush=True)

    def meet() -> None:
        answer(MEETS)
        if not sys.stdin.readline():
            raise BrokenPipeError

    tune_process()
    try:
        answer(body(meet))
    except BrokenPipeError:  # the measurement was broken off
        sys.exit(1)
    except EXPECTED as error:
        answer(None, one_line(error))
