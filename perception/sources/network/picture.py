"""The address of one picture: a recording of that."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import unquote, urlsplit

from perception.frame import Frame
from perception.sources.decoding.image_size import MAX_PIXELS
from perception.sources.images import ImagesSource
from perception.sources.network.body import Body
from perception.sources.network.client import Web
from perception.sources.source import SourceError, SourceInfo

LARGEST_BYTES: Final = 1 << 27
_READ_BYTES: Final = 1 << 16
_SUFFIXES: Final = (
    *((rb"\xff\xd8\xff", ".jpg"), (rb"\x89PNG\r\n\x1a\n", ".png"), (rb"RIFF....WEBP", ".webp")),
    *((rb"BM....\0\0\0\0", ".bmp"), (rb"II[*+]\0|MM\0[*+]", ".tiff")),
    *((rb"....ftypavi[fs]", ".avif"), (rb"....ftyp(heic|heix|mif1)", ".heic")),
)
_MANY: Final = re.compile(r"\.m(otion)?jpe?g$", re.IGNORECASE)
_SAID_BY_NONE: Final = ("", "application/octet-stream", "binary/octet-stream", "text/plain", "text/html")


def picture_suffix(answer: Body) -> str | None:
    """Of a file that would hold the one picture that an answer is; None of any other answer.

    A server that tells no type, or a wrong one, tells a length at least, which a stream of pictures has not.
    """
    found = [suffix for mark, suffix in _SUFFIXES if re.match(mark, answer.start, re.DOTALL)]
    if not found:
        return None
    is_told = answer.content_type.startswith("image/")
    is_file = answer.size_bytes is not None and answer.content_type in _SAID_BY_NONE
    return found[0] if is_told or (is_file and not _MANY.search(urlsplit(answer.url).path)) else None


class WebPicture:
    """One picture from the web, read like an image file; an animation as that is.

    Args:
        name: of the address, without any password.
        web: that the answer comes from.
        answer: not read yet.
        suffix: of a file that would hold it.
        rate_hz: pictures per second of the frames' own time.
        max_pixels: a larger picture is refused before it is decoded.
    """

    def __init__(
        self, name: str, web: Web, answer: Body, suffix: str, rate_hz: float, max_pixels: int = MAX_PIXELS
    ) -> None:
        self._name, self._web, self._answer, self._suffix = name, web, answer, suffix
        self._rate_hz, self._max_pixels = rate_hz, max_pixels
        self._folder: TemporaryDirectory[str] | None = None
        self._images: ImagesSource | None = None
        self._file = ""

    @property
    def decode_errors(self) -> int:
        """Pictures that came out damaged, so far."""
        return getattr(self._images, "decode_errors", 0)

    def open(self) -> SourceInfo:
        """Fetch it; raises SourceError or TimeoutError."""
        content = self._content()
        try:
            self._folder = TemporaryDirectory(prefix="drivable-")
            file = Path(self._folder.name) / f"{_stem_of(self._answer.url)}{self._suffix}"
            file.write_bytes(content)
        except OSError as error:
            raise SourceError(
                f"{self._name}: no room for it in the folder of temporary files: {error.strerror}"
            ) from None
        self._file = str(file)
        self._images = ImagesSource(self._file, self._rate_hz, self._max_pixels)
        try:
            info = self._images.open()
        except SourceError as error:
            raise self._named(error) from None
        description = info.description
        if description.startswith("1 "):
            description = f"one {self._suffix[1:]} picture"
        return replace(info, source_id=self._name, description=description)

    def read(self) -> Frame:
        """The picture; raises EndOfSource."""
        if self._images is None:
            raise SourceError(f"{self._name}: not open")
        try:
            return replace(self._images.read(), source_id=self._name)
        except SourceError as error:
            raise self._named(error) from None

    def close(self) -> None:
        """Let go of it."""
        if self._images is not None:
            self._images.close()
            self._images = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _content(self) -> bytes:
        content = bytearray()
        while piece := self._answer.read(_READ_BYTES):
            content += piece
            if len(content) > LARGEST_BYTES:
                raise SourceError(f"{self._name}: its picture has no end within {LARGEST_BYTES >> 20} MB")
        if self._web.failure is not None:
            raise SourceError(f"{self._name}: incomplete: {self._web.failure}")
        return bytes(content)

    def _named(self, error: SourceError) -> SourceError:
        """The error by the name that the user knows."""
        return SourceError(str(error).replace(self._file, self._name))


def _stem_of(url: str) -> str:
    stem = Path(unquote(urlsplit(url).path)).stem
    return re.sub(r"[^\w.-]+", "_", stem)[:80].strip(".") or "picture"
