"""Multipart streams of pictures over HTTP (Motion JPEG), whatever the server puts around the pictures.

Cameras disagree on part headers, boundaries and lengths, and browsers accept them all. So pictures are found
by their own markers and passed to libav in a container (IVF) without ambiguities.
"""

from __future__ import annotations

import re
import struct
from collections import deque
from typing import Final, Protocol

from perception.sources.decoding.image_size import image_wh
from perception.sources.source import SourceError

FORM: Final = "ivf"
"""libav's name of the container: any codec, each picture preceded by its length."""
LARGEST_BYTES: Final = 1 << 26
"""Per picture; a JPEG of 100 megapixels is smaller."""

_READ_BYTES: Final = 1 << 16
_PNG_START: Final = b"\x89PNG\r\n\x1a\n"
_MARKER: Final = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # not stuffing, TEM, restarts, fill bytes
_START: Final = re.compile(rb"\xff\xd8\xff[\xc0-\xfe]|" + _PNG_START)
_EOI_MARK: Final = b"\xff\xd9"
_SOI, _EOI = 0xD8, 0xD9
_LENGTH: Final = re.compile(rb"^content-length[ \t]*:[ \t]*(\d{1,9})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_TYPE: Final = re.compile(rb"^content-type[ \t]*:[ \t]*([^\s;]+)", re.IGNORECASE | re.MULTILINE)
_BOUNDARY: Final = b"--"
_HEAD_BYTES: Final = 4096
_HEAD_OF_PARTS: Final = re.compile(rb"\s*(--[^\n]*\n)?\s*content-(type|length)[ \t]*:", re.IGNORECASE)


class ReadsOn(Protocol):
    """What `PictureStream` needs of `Body`."""

    def read(self, size_bytes: int) -> bytes: ...


def are_pictures(content_type: str, start: bytes) -> bool:
    """Whether an answer is a stream of pictures, by its type or else by its first bytes."""
    is_glued = start.startswith(b"\xff\xd8\xff") and not content_type.startswith("image/")
    return content_type.startswith("multipart/") or is_glued or bool(_HEAD_OF_PARTS.match(start))


class PictureFinder:
    """Finds JPEG and PNG pictures in a byte stream, each as soon as it is complete.

    A JPEG without an end marker ends with its part (`Content-Length`), or else at the next picture. One that
    the next picture interrupts is left out, as a decoder would fill the rest with the previous picture. Of
    several pictures in one part only the first counts; the others are previews.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0  # parse position within the picture at the start of `_data`; 0: no picture has begun
        self._part_bytes = 0  # `Content-Length` of the part; 0 if absent
        self._left_bytes = 0  # of the part, after the last picture
        self._is_preview = False
        self._have_ends = self._lack_ends = self._lengths_hold = False
        self.torn = 0
        """Incomplete pictures."""
        self.is_cut_off = False
        """The stream ended within a picture."""
        self.part_type = ""
        """The last `Content-Type` of a part."""

    def feed(self, data: bytes) -> list[bytes]:
        """The pictures that `data` completes; raises SourceError if one exceeds `LARGEST_BYTES`."""
        self._data += data
        pictures = []
        while self._at or self._begins():
            end = self._jpeg_end() if self._data[0] == 0xFF else self._png_end()
            if end is None:
                break
            picture = bytes(self._data[:end])
            if self._is_torn(picture):
                self.torn += 1
            elif not self._is_preview:
                pictures.append(picture)
            self._left_bytes = max(0, (self._left_bytes if self._is_preview else self._part_bytes) - end)
            self._drop(end)
        if len(self._data) > LARGEST_BYTES:
            raise SourceError(f"a picture in its answer has no end within {LARGEST_BYTES >> 20} MB")
        return pictures

    def finish(self) -> list[bytes]:
        """The last picture at the end of the stream, if it counts as complete without an end marker."""
        rest, has_begun = bytes(self._data), self._at > 0
        self._drop(len(rest))
        if not has_begun:
            return []
        self.is_cut_off = rest[0] != 0xFF or self._is_torn(rest)
        self.torn += self.is_cut_off
        return [] if self.is_cut_off else [rest]

    def _begins(self) -> bool:
        """Whether a picture has begun; what precedes it is dropped."""
        found = _START.search(self._data)
        head = self._data[: found.start()] if found else self._data
        for kind in _TYPE.finditer(head):
            self.part_type = kind[1].decode(errors="replace").lower()
        if found is None:
            self._drop(max(0, len(self._data) - _HEAD_BYTES))
            return False
        # within the same part and after padding only: a preview
        self._is_preview = found.start() < self._left_bytes and not head.strip(b"\0")
        self._left_bytes -= found.start()
        lengths = _LENGTH.findall(head)
        self._part_bytes = int(lengths[-1]) if lengths else 0
        self._drop(found.start())
        self._at = 2 if self._data[0] == 0xFF else len(_PNG_START)
        return True

    def _drop(self, size_bytes: int) -> None:
        del self._data[:size_bytes]
        self._at = 0

    def _is_torn(self, picture: bytes) -> bool:
        if picture[0] != 0xFF or picture.endswith(_EOI_MARK):
            self._have_ends, self._lengths_hold = True, len(picture) == self._part_bytes
            return False
        is_torn = len(picture) < self._part_bytes if self._part_bytes else self._have_ends
        self._lack_ends |= not is_torn
        return is_torn

    def _jpeg_end(self) -> int | None:
        data, length = self._data, self._part_bytes
        if self._lengths_hold and length:  # no need to parse markers
            if len(data) < length:
                return None
            if data.endswith(_EOI_MARK, 0, length):
                return length
        while marker := _MARKER.search(data, self._at):
            self._at = at = marker.start()
            if data[at + 1] == _EOI:
                return at + 2
            if data[at + 1] == _SOI:
                return self._end_before(at)
            if at + 4 > len(data):
                break
            self._at += 2 + max(2, struct.unpack_from(">H", data, at + 2)[0])
        else:
            self._at = max(self._at, len(data) - 1)  # where a marker may begin
        if not 0 < length <= len(data):
            return None
        following = data[length : length + _HEAD_BYTES].lstrip()  # lengths may be wrong
        return length if following.startswith(_BOUNDARY) or (self._lack_ends and not following) else None

    def _end_before(self, start: int) -> int:
        """The end of a picture without an end marker before the next one's `start`."""
        head = self._data.rfind(_BOUNDARY, max(0, start - _HEAD_BYTES), start)
        return head if head > 0 else start

    def _png_end(self) -> int | None:
        data = self._data
        while len(data) >= self._at + 8:
            size_bytes, kind = struct.unpack_from(">I4s", data, self._at)
            end = self._at + 12 + int(size_bytes)
            if len(data) < end:
                break
            if kind == b"IEND":
                return end
            self._at = end
        return None


class PictureStream:
    """The pictures in an answer as a file for libav in `FORM`; all are of the first one's codec."""

    def __init__(self, body: ReadsOn) -> None:
        self._body, self._finder = body, PictureFinder()
        self._pictures: deque[bytes] = deque()
        self._out, self._mark = b"", b""
        self._given = 0

    def wait(self) -> None:
        """Wait for the first picture.

        Raises:
            SourceError: if the answer ends first.
            TimeoutError: if none arrives in time.
        """
        if not self._fetch():
            raise SourceError(f"its answer ends before a picture{self.parts}")
        first = self._pictures[0]
        self._mark = first[:2]
        width, height = image_wh(first) or (0, 0)
        codec = b"MJPG" if self._mark == b"\xff\xd8" else b"MPNG"
        head = (b"DKIF", 0, 32, codec, width & 0xFFFF, height & 0xFFFF, 25, 1, 0, 0)
        self._out = struct.pack("<4sHH4sHHIIII", *head)

    @property
    def torn(self) -> int:
        """Incomplete pictures so far."""
        return self._finder.torn

    @property
    def is_cut_off(self) -> bool:
        """The answer ended within a picture."""
        return self._finder.is_cut_off

    @property
    def parts(self) -> str:
        """The type of the parts, for messages; empty if unknown."""
        return f"; its parts are {self._finder.part_type}" if self._finder.part_type else ""

    def read(self, size_bytes: int) -> bytes:
        """At most `size_bytes` of one picture; empty at the end of the answer. Raises TimeoutError."""
        while not self._out and self._fetch():
            picture = self._pictures.popleft()
            if picture.startswith(self._mark):
                self._out = struct.pack("<IQ", len(picture), self._given) + picture
                self._given += 1
        data, self._out = self._out[:size_bytes], self._out[size_bytes:]
        return data

    def _fetch(self) -> bool:
        """Wait for a picture; false at the end of the answer."""
        while not self._pictures:
            data = self._body.read(_READ_BYTES)
            self._pictures += self._finder.feed(data) if data else self._finder.finish()
            if not data:
                break
        return bool(self._pictures)
