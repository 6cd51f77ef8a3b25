"""A video file opened by libav, or one line that says what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import av
from av.container import InputContainer
from av.error import ExitError, FFmpegError, InvalidDataError

from perception.sources.source import SourceError
from perception.sources.unreadable import why_unreadable

# For a disk that has to spin up, or a slow mount; a playlist without an end would be read for ever.
FILE_LIMIT_S: Final = 10.0


def open_file(file: Path) -> InputContainer:
    """An open container; raises SourceError with one line that says what is wrong with the file."""
    if file.is_dir():
        raise SourceError(f"{file}: is a directory, not a video file")
    if file.is_file() and not file.stat().st_size:
        raise SourceError(f"{file}: is empty")
    try:
        # "file:", for libav takes a name with a colon for an address
        return av.open(f"file:{file}", "r", metadata_errors="replace", timeout=FILE_LIMIT_S)
    except ExitError:
        raise SourceError(f"{file}: {silence_told()}") from None
    except (InvalidDataError, EOFError):
        raise SourceError(f"{file}: {why_unreadable(file)}") from None
    except FFmpegError as error:
        raise SourceError(f"{file}: cannot be opened: {error.strerror}") from None


def silence_told() -> str:
    """What is said of a file that gives nothing in time."""
    return f"gives nothing for {FILE_LIMIT_S:g} s; is it on a mount that hangs, or a playlist without an end?"
