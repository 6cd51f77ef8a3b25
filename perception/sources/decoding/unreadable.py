"""What a file or an answer is that libav does not read as a video: in words that tell what to do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from av.error import FFmpegError, HTTPClientError, HTTPServerError, HTTPUnauthorizedError, InvalidDataError

from perception.sources.decoding.file_end import ENDS_BEFORE_FIRST, is_cut_off
from perception.sources.decoding.mp4_index import is_index_behind

_HEAD_BYTES: Final = 1 << 16
_LIBAVS_OWN: Final = 200  # numbers of errors below are the system's
INDEX_IS_BEHIND: Final = "the index of this mp4 stands at its end"
INDEX_IS_MISSING: Final = "incomplete: its index (moov) is missing; the recording or a copy of it was cut off"
MOVE_INDEX: Final = "move the index to the front (ffmpeg -movflags +faststart)"
_ARCHIVES: Final = (b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"\xfd7zXZ", b"BZh")


def why_unreadable(file: Path) -> str:
    """To stand behind the file's name."""
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "is empty"
    if text.startswith(b"v=0") or file.suffix.lower() == ".sdp":
        return (
            "describes a stream on the net (SDP), which is not read; give an rtsp:// address of that stream"
        )
    if other := what_else(head):
        return other
    if head[4:8] == b"ftyp" or is_index_behind(head):
        return INDEX_IS_MISSING
    return ENDS_BEFORE_FIRST if is_cut_off(file) else "is not a video file that can be read"


def what_else(head: bytes) -> str:
    """What a file is that is neither video nor image, by its beginning; empty where that is not known."""
    if is_web_page(head):
        return "is a web page"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS; `git lfs pull` fetches the file itself"
    return "is an archive; unpack it" if head.startswith(_ARCHIVES) else ""


def written_ns(file: Path | None) -> int:
    """When a file was written to last; 0 of what is none."""
    try:
        return file.stat().st_mtime_ns if file is not None else 0
    except OSError:
        return 0


def is_web_page(start: bytes) -> bool:
    """Whether something begins as HTML does."""
    return start.lstrip(b"\xef\xbb\xbf \t\r\n")[:15].lower().startswith((b"<!doctype html", b"<html"))


def why_no_video(start: bytes, head: str) -> str:
    """What is wrong with an answer of a web server, by its beginning; empty where nothing is known to be.

    Args:
        start: what came first.
        head: its status and type, for the message.
    """
    told = f"the server answers {head}"
    if not start:
        return f"{told}, and sends nothing"
    if is_web_page(start):
        return f"{told}: a web page and no video, perhaps one to log in at, or the camera's own"
    return ""


def in_words(error: FFmpegError) -> str:
    """What libav found, in words that do not tell of libav."""
    match error:
        case InvalidDataError():
            return "what it sends is no video that can be read"
        case EOFError():
            return "it ends before any video has come"
        case HTTPUnauthorizedError():
            return "it refuses this user or password, or asks for it in a way that is not known here"
        case HTTPClientError() | HTTPServerError():
            return "it refuses the request"
    number = error.errno or 0
    if 0 < number < _LIBAVS_OWN:
        return os.strerror(number)
    return "no video that can be read"
