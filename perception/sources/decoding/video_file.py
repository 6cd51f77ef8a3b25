"""A video file opened by libav, or one line that says what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import av
from av.container import InputContainer
from av.error import ExitError, FFmpegError, InvalidDataError

from perception.sources.decoding.unreadable import why_unreadable
from perception.sources.source import SourceError

# For a disk that has to spin up, or a slow mount; a playlist without an end would be read for ever.
FILE_LIMIT_S: Final = 10.0

_BARE_PIXELS: Final = (".nv12", ".raw", ".rgb", ".yuv")
_FORMS_OF_ONE: Final = ("image2", "ico")


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
        if file.suffix.lower() in _BARE_PIXELS:
            raise SourceError(
                f"{file}: tells nothing of its pixels' size and form; put them into a container "
                "(ffmpeg -f rawvideo -s WxH -pix_fmt yuv420p -i FILE FILE.y4m)"
            ) from None
        raise SourceError(f"{file}: cannot be opened: {error.strerror}") from None


def silence_told() -> str:
    """What is said of a file that gives nothing in time."""
    return f"gives nothing for {FILE_LIMIT_S:g} s; is it on a mount that hangs, or a playlist without an end?"


def holds_one_picture(form: str, frames_expected: int) -> bool:
    """Whether a file is an image that libav reads as a video; more of the same behind it are not seen.

    Args:
        form: libav's name of it.
        frames_expected: that the file tells of; 0 where it does not.
    """
    return frames_expected == 1 or form.endswith("_pipe") or form in _FORMS_OF_ONE
