"""An HTTP address that serves one image or animation, read like a recording of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from perception.sources.decoding.image_file import ImageFile
from perception.sources.decoding.image_size import MAX_PIXELS
from perception.sources.images import ImagesSource
from perception.sources.network.body import Body, joined
from perception.sources.source import SourceError, SourceInfo

LARGEST_BYTES: Final = 1 << 27
_SUFFIXES: Final = (
    *((rb"\xff\xd8\xff", ".jpg"), (rb"\x89PNG\r\n\x1a\n", ".png"), (rb"RIFF....WEBP", ".webp")),
    *((rb"BM....\0\0\0\0", ".bmp"), (rb"II[*+]\0|MM\0[*+]", ".tiff")),
    *((rb"....ftypavi[fs]", ".avif"), (rb"....ftyp(heic|heix|mif1)", ".heic")),
)
_MOTION_JPEG: Final = re.compile(r"\.m(otion)?jpe?g$", re.IGNORECASE)
_UNSPECIFIC_TYPES: Final = (
    *("", "application/octet-stream", "binary/octet-stream", "text/plain", "text/html"),
)


def picture_suffix(answer: Body) -> str | None:
    """The file suffix of the single picture in an answer; None for any other answer.

    With an unspecific or wrong type, a picture has at least a length, which a stream of pictures has not.
    """
    found = [suffix for mark, suffix in _SUFFIXES if re.match(mark, answer.start, re.DOTALL)]
    if not found:
        return None
    is_image = answer.content_type.startswith("image/")
    is_file = answer.size_bytes is not None and answer.content_type in _UNSPECIFIC_TYPES
    return found[0] if is_image or (is_file and not _MOTION_JPEG.search(urlsplit(answer.url).path)) else None


class WebPicture(ImagesSource):
    """A picture or an animation from the web.

    Args:
        name: of the address, without any password.
        answer: not yet consumed.
        suffix: as of `picture_suffix`.
        rate_hz: pictures per second of the frames' own time.
        max_pixels: a larger picture is refused before it is decoded.
    """

    def __init__(
        self, name: str, answer: Body, suffix: str, rate_hz: float, max_pixels: int = MAX_PIXELS
    ) -> None:
        super().__init__(name, rate_hz, max_pixels)
        self._answer, self._suffix = answer, suffix
        self._content = b""

    def open(self) -> SourceInfo:
        """Download it and decode its first picture; raises SourceError or TimeoutError."""
        try:
            content = joined(self._answer.pieces(), LARGEST_BYTES)
        except SourceError as error:
            raise SourceError(f"{self._pattern}: incomplete: {error}") from None
        if content is None:
            raise SourceError(f"{self._pattern}: its picture has no end within {LARGEST_BYTES >> 20} MB")
        self._content = content
        return super().open()

    def close(self) -> None:
        """Discard it."""
        super().close()
        self._content = b""

    def _list(self) -> list[Path]:
        stem = re.sub(r"[^\w.-]+", "_", Path(unquote(urlsplit(self._answer.url).path)).stem)
        return [Path((stem[:80].strip(".") or "picture") + self._suffix)]

    def _load(self, file: Path) -> ImageFile:
        return ImageFile(self._pattern, self._max_pixels, self._content)

    def _description(self) -> str:
        description = super()._description()
        return f"one {self._suffix[1:]} picture" if description.startswith("1 ") else description
