"""The log of a command: one line a message on standard error, without secrets and control characters.

Modules log by the standard `logging`, under their own names. A program that imports them sets up its own log.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from perception.system.redaction import redacted, redacted_line

TRACEBACK_VARIABLE: Final = "DRIVABLE_TRACEBACK"
"""Environment variable that lets an unexpected error show its traceback."""
_PACKAGES: Final = ("perception", "bench", "train", "export")


class LineFormatter(logging.Formatter):
    """One line, whatever is in the message; a warning says that it is one, an error which command it is of.

    Args:
        command: its name.
    """

    def __init__(self, command: str) -> None:
        super().__init__()
        self._prefixes = {logging.WARNING: "warning: ", logging.ERROR: f"{command}: "}

    def format(self, record: logging.LogRecord) -> str:
        """The line; a traceback follows where the environment asks for it."""
        line = redacted_line(self._prefixes.get(record.levelno, "") + record.getMessage())
        if record.exc_info and os.environ.get(TRACEBACK_VARIABLE):
            line += "\n" + redacted(self.formatException(record.exc_info))
        return line


class StderrHandler(logging.Handler):
    """Writes to `sys.stderr` as it is at that moment; never fails. A status line makes room."""

    _status = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        with suppress(Exception):
            show(f"{self._cleared()}{self.format(record)}\n")

    def show_status(self, text: str) -> None:
        """Show a line that stays the last one until the next replaces it; an empty one clears it."""
        self.acquire()
        try:
            show(self._cleared() + text)
            self._status = text
        finally:
            self.release()

    def _cleared(self) -> str:
        blank, self._status = " " * len(self._status), ""
        return f"\r{blank}\r" if blank else ""


_handler: StderrHandler | None = None


def log_to_stderr(command: str) -> StderrHandler:
    """Let our packages log to standard error, from `logging.INFO` on."""
    global _handler
    _handler = handler = StderrHandler()
    handler.setFormatter(LineFormatter(command))
    for package in _PACKAGES:
        logging.getLogger(package).addHandler(handler)
    set_verbosity(logging.INFO)
    return handler


@contextmanager
def command_log(command: str) -> Iterator[None]:
    """`log_to_stderr` for as long as a block runs; nothing more inside a process that is a command itself."""
    global _handler
    if _handler is not None:
        yield
        return
    handler = log_to_stderr(command)
    try:
        yield
    finally:
        for package in _PACKAGES:
            logging.getLogger(package).removeHandler(handler)
        set_verbosity(logging.NOTSET)
        _handler = None


def set_verbosity(level: int) -> None:
    """Log from this level of `logging` on."""
    for package in _PACKAGES:
        logging.getLogger(package).setLevel(level)


def show_status(text: str) -> None:
    """Show a line of progress on the terminal, below the log; an empty one clears it."""
    if _handler is not None:
        _handler.show_status(text)


def show(text: str) -> None:
    """Text to standard error as it is; never fails. Standard output belongs to results."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()


def print_line(text: str) -> None:
    """A result to standard output at once, without secrets."""
    print(redacted(text), flush=True)
