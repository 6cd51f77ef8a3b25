"""Opens video files, or says what is wrong with them in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import av
from av.container import InputContainer
from av.error import ExitError, FFmpegError, InvalidDataError

from perception.sources.decoding.unreadable import why_unreadable
from perception.sources.source import SourceError
from perception.system.time_limits import FILE_LIMIT_S

SILENCE: Final = (
    f"gives nothing for {FILE_LIMIT_S:g} s; is it on a mount that hangs, or a playlist without an end?"
)

"""The message for a file that gives nothing within the limit."""

_BARE_PIXELS: Final = (".nv12", ".raw", ".rgb", ".yuv")
_FORMS_OF_ONE: Final = ("image2", "ico")


def open_file(file: Path) -> InputContainer:
    """Open a container; raises SourceError with what is wrong with the file."""
    if file.is_dir():
        raise SourceError(f"{file}: is a directory, not a video file")
    if file.is_file() and not file.stat().st_size:
        raise SourceError(f"{file}: is empty")
    try:
        # "file:", as libav takes a name with a colon for a URL
        return av.open(f"file:{file}", "r", metadata_errors="replace", timeout=FILE_LIMIT_S)
    except ExitError:
        raise SourceError(f"{file}: {SILENCE}") from None
    except (InvalidDataError, EOFError):
        raise SourceError(f"{file}: {why_unreadable(file)}") from None
    except FFmpegError as error:
        if file.suffix.lower() in _BARE_PIXELS:
            raise SourceError(
                f"{file}: raw pixels without a size and a format; put them into a container "
                "(ffmpeg -f rawvideo -s WxH -pix_fmt yuv420p -i FILE FILE.y4m)"
            ) from None
        raise SourceError(f"{file}: cannot be opened: {error.strerror}") from None


def holds_one_picture(form: str, frames_expected: int) -> bool:
    """Whether a file is an image that libav reads as a video; further images in it are not read.

    Args:
        form: libav's name of the format.
        frames_expected: frame count stated by the file; 0 if unknown.
    """
    return frames_expected == 1 or form.endswith("_pipe") or form in _FORMS_OF_ONE
