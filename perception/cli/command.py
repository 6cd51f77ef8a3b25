"""The edges of a command: its standard streams, its errors in one line each, and its end.

Nothing here takes time to import: a command has this in place before it imports what it works with.
"""

from __future__ import annotations

import atexit
import io
import logging
import os
import select
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from types import FrameType
from typing import Any, Final

from perception.cli.log import TRACEBACK_VARIABLE, log_to_stderr
from perception.system.time_limits import LOG_LIMIT_S

log = logging.getLogger(__name__)

INTERRUPTED: Final = 130
"""Exit status of a command that SIGINT ended, by the shell's convention: 128 and the signal's number."""
NOTHING_GIVEN: Final = 2
"""Exit status of a command that was given nothing to do, as where arguments are expected."""
_STDERR: Final = 2
_PIECE_BYTES: Final = 512
"""Written at once without waiting if a pipe has any room, by POSIX."""


def run_command(name: str, body: Callable[[], int]) -> int:
    """Run the whole process as a command: `body` gives its exit status.

    Standard streams that are closed are opened on /dev/null, so that no output of ours takes their number.
    Standard error never fails. What `body` raises becomes one line. Threads that cannot be ended, such as
    one that hangs in a driver, do not keep the process.
    """
    open_standard_streams()
    quiet_libraries()
    log_to_stderr(name)
    log_unexpected_errors()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        status = reported(body)
    except SystemExit as end:  # of --help
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    if sys.stdout is not None:
        try:
            sys.stdout.flush()
        except OSError as error:
            if status == 0:
                log.error(f"standard output cannot be written: {error.strerror}")
                status = 1
            # Python would flush once more at its end, and complain of it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if any(thread is not threading.current_thread() for thread in threading.enumerate()):
        # A thread inside native code that is cut off while Python ends takes the process down with an abort.
        with suppress(Exception):
            atexit._run_exitfuncs()
        os._exit(status)
    return status


def main_of(module: str) -> Callable[[], int]:
    """The function `main` of a module that is only imported when it is called.

    An interrupt that a library ignores while it is imported ends the command all the same.
    """

    def main() -> int:
        imported = import_module(module)
        if _interrupts:
            raise KeyboardInterrupt
        status: int = imported.main()
        return status

    return main


_interrupts: list[int] = []


def _interrupt(number: int, where: FrameType | None) -> None:
    """Raise KeyboardInterrupt as Python does, and remember it."""
    _interrupts.append(number)
    signal.default_int_handler(number, where)


def reported(body: Callable[[], int]) -> int:
    """The status of `body`, or that of what it raised, which is logged in one line.

    A command logs the errors that it expects itself. What is left is the machine's (OSError, no memory, no
    thread), an interrupt, or a bug in drivable.
    """
    try:
        return body()
    except KeyboardInterrupt:
        log.error("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # as of `| head`
        log.error("standard output was closed by its reader")
        return 1
    except Exception as error:
        if _interrupts:  # inside a library's import, which made another error of it
            log.error("interrupted")
            return INTERRUPTED
        log.error(describe(error), exc_info=error)
        return 1


def describe(error: BaseException) -> str:
    """An error that no command expects, in one line."""
    text = " ".join(str(error).split())
    match error:
        case KeyboardInterrupt():
            return "interrupted"
        case OSError() if error.strerror:
            return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        case MemoryError():
            return f"not enough memory{f': {text}' if text else ''}"
        case ImportError():  # a library that is not there, or that no memory is left for
            return f"cannot be loaded: {text}"
        case RuntimeError() if text == "can't start new thread":
            return "no thread can be started: the process limit is reached (ulimit -u, TasksMax)"
    return (
        f"unexpected {type(error).__name__}: {text}; this is a bug in drivable; "
        f"{TRACEBACK_VARIABLE}=1 shows where"
    )


def log_unexpected_errors() -> None:
    """Let errors that no code catches be one line too, in any thread and where Python only reports them."""

    def of_thread(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_value is not None and failed.exc_type is not SystemExit:
            where = failed.thread.name if failed.thread else "a thread"
            log.error(f"{where}: {describe(failed.exc_value)}", exc_info=failed.exc_value)

    def unraisable(failed: Any) -> None:
        if os.environ.get(TRACEBACK_VARIABLE) and failed.exc_value is not None:
            log.error(describe(failed.exc_value), exc_info=failed.exc_value)

    sys.excepthook = lambda kind, error, trace: log.error(describe(error), exc_info=error)
    threading.excepthook = of_thread
    sys.unraisablehook = unraisable


def open_standard_streams() -> None:
    """Open descriptors 0 to 2 where they are closed, and let standard error be one that never fails.

    `sys.stdout` stays None where it was closed: records must not go to /dev/null in silence. Libraries in C
    write to descriptor 2 by themselves, such as libjpeg of each damaged picture: what matters of that is
    raised or counted, and reported in our words, so it goes to /dev/null unless tracebacks are asked for.
    """
    for descriptor in (0, 1, _STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding
    descriptor = _STDERR
    if not os.environ.get(TRACEBACK_VARIABLE):
        with suppress(OSError):  # no descriptors left: rather all of it than nothing
            nothing = os.open(os.devnull, os.O_WRONLY)
            descriptor = os.dup(_STDERR)
            os.dup2(nothing, _STDERR)
            os.close(nothing)
    sys.stderr = io.TextIOWrapper(
        _Log(descriptor), encoding, errors="backslashreplace", line_buffering=True, write_through=True
    )


def quiet_libraries() -> None:
    """Let libraries in Python show no warnings of their own, unless those or tracebacks are asked for."""
    if not sys.warnoptions and not os.environ.get(TRACEBACK_VARIABLE):
        warnings.simplefilter("ignore")
        logging.lastResort = logging.NullHandler()  # the other writes what a library logs and nobody handles


class _Log(io.RawIOBase):
    """Standard error that never blocks: lines may be lost, on a full disk or without a reader.

    It waits for a pipe or a terminal once, and then not at all until that takes text again.
    """

    name = "<stderr>"

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._wait_s = LOG_LIMIT_S

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """Of standard error."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, data: Any) -> int:
        """Write what can be written and drop the rest; returns the whole length."""
        rest = bytes(data)
        with suppress(OSError):
            while rest and self._has_room():
                rest = rest[os.write(self._descriptor, rest[:_PIECE_BYTES]) :]
        return len(data)

    def _has_room(self) -> bool:
        if not hasattr(select, "poll"):
            return True
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        is_ready = bool(poll.poll(1000 * self._wait_s))
        self._wait_s = LOG_LIMIT_S if is_ready else 0.0
        return is_ready
