"""A fork server: a child for every input, which may raise, crash or hang without harm to the parent."""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MEMORY_BYTES = 6 << 30
REPORT_BYTES = 4000

Kind = Literal["read", "refused", "uncaught", "hang", "crash"]


@dataclass(frozen=True)
class Outcome:
    """What became of one input."""

    kind: Kind
    detail: str
    """The error's line, the last lines of the traceback, or the signal's name."""
    took_s: float


def in_a_fork(work: Callable[[], None], refusals: tuple[type[Exception], ...], limit_s: float) -> Outcome:
    """What `work` did in a child of its own.

    Args:
        work: reads one input.
        refusals: the errors that a reader may raise; their texts must be one line.
        limit_s: a child that lives longer hangs, and is killed.
    """
    started_s = time.monotonic()
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiver)
        _live_as_child(work, refusals, sender)
    os.close(sender)
    report, ended = _report_of(receiver, started_s + limit_s)
    os.close(receiver)
    if not ended:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    took_s = time.monotonic() - started_s
    if not ended:
        return Outcome("hang", f"no end within {limit_s:g} s", took_s)
    if os.WIFSIGNALED(status):
        return Outcome("crash", signal.Signals(os.WTERMSIG(status)).name, took_s)
    kind, _, detail = report.partition("\n")
    if kind not in ("read", "refused", "uncaught"):
        return Outcome("uncaught", f"ended with status {os.WEXITSTATUS(status)} and no report", took_s)
    return Outcome(kind, detail, took_s)  # type: ignore[arg-type]  # narrowed by the line above


def _live_as_child(work: Callable[[], None], refusals: tuple[type[Exception], ...], sender: int) -> None:
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        work()
        report = "read\n"
    except refusals as error:
        text = str(error)
        report = f"refused\n{text}" if text.strip() and "\n" not in text else f"uncaught\nno line: {text!r}"
    except BaseException:  # whatever it is, it is a finding
        report = f"uncaught\n{_one_line()}"
    os.write(sender, report.encode(errors="backslashreplace")[:REPORT_BYTES])
    sys.stderr.flush()
    os._exit(0)


def _one_line() -> str:
    """The error that is being handled, and the last places that it came through."""
    kind, error, trace = sys.exc_info()
    places = [f"{Path(at.filename).name}:{at.lineno}" for at in traceback.extract_tb(trace)]
    return f"{kind.__name__ if kind else None}: {str(error)[:300]!r} at {' > '.join(places[-4:])}"


def _report_of(receiver: int, until_s: float) -> tuple[str, bool]:
    """What the child said, and whether it ended in time."""
    said = b""
    while (left_s := until_s - time.monotonic()) > 0:
        if not select.select([receiver], [], [], left_s)[0]:
            break
        part = os.read(receiver, REPORT_BYTES)
        if not part:
            return said.decode(errors="replace"), True
        said += part
    return "", False
