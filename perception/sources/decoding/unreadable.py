"""Messages for files and HTTP answers that libav does not read as video, with what to do about it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from av.error import FFmpegError, HTTPClientError, HTTPServerError, HTTPUnauthorizedError, InvalidDataError

from perception.sources.decoding.file_end import ENDS_BEFORE_FIRST, is_cut_off, is_index_behind

_HEAD_BYTES: Final = 1 << 16
_LIBAVS_OWN: Final = 200  # error numbers below are the system's
INDEX_IS_BEHIND: Final = "the index of this mp4 is at its end"
INDEX_IS_MISSING: Final = "incomplete: its index (moov) is missing; the recording or a copy of it was cut off"
MOVE_INDEX: Final = "move the index to the front (ffmpeg -movflags +faststart)"
_ARCHIVES: Final = (b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"\xfd7zXZ", b"BZh")


def why_unreadable(file: Path) -> str:
    """The message that follows the file's name."""
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "is empty"
    if text.startswith(b"v=0") or file.suffix.lower() == ".sdp":
        return "describes a network stream (SDP), which is not supported; give that stream's rtsp:// address"
    if other := what_else(head):
        return other
    if head[4:8] == b"ftyp" or is_index_behind(head):
        return INDEX_IS_MISSING
    return ENDS_BEFORE_FIRST if is_cut_off(file) else "is not a readable video file"


def what_else(head: bytes) -> str:
    """The message for a known file that is neither video nor image, by its first bytes; else empty."""
    if is_web_page(head):
        return "is a web page"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer; `git lfs pull` fetches the file itself"
    return "is an archive; unpack it" if head.startswith(_ARCHIVES) else ""


def written_ns(file: Path | None) -> int:
    """When a file was last modified; 0 if there is none."""
    try:
        return file.stat().st_mtime_ns if file is not None else 0
    except OSError:
        return 0


def is_web_page(start: bytes) -> bool:
    """Whether something begins like HTML."""
    return start.lstrip(b"\xef\xbb\xbf \t\r\n")[:15].lower().startswith((b"<!doctype html", b"<html"))


def why_no_video(start: bytes, head: str) -> str:
    """The message for an HTTP answer that is no video, by its first bytes; empty if none is known.

    Args:
        start: first bytes of the body.
        head: status and type.
    """
    if not start:
        return f"the server answers {head}, but sends nothing"
    if is_web_page(start):
        return f"the server answers {head}: a web page, not a video; perhaps a login page, or the camera's"
    return ""


def in_words(error: FFmpegError) -> str:
    """libav's error as a message for users."""
    match error:
        case InvalidDataError():
            return "what it sends is not a readable video"
        case EOFError():
            return "it ends before any video has arrived"
        case HTTPUnauthorizedError():
            return "it refuses this user or password, or asks for it in an unsupported way"
        case HTTPClientError() | HTTPServerError():
            return "it refuses the request"
    number = error.errno or 0
    if 0 < number < _LIBAVS_OWN:
        return os.strerror(number)
    return "not a readable video"
