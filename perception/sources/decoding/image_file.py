"""Decodes image files by their content, whatever the suffix: several pictures in one file, damaged ones."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from perception.imaging.orientation import UPRIGHT, Orientation, Turn, turn_by_avif, turn_by_exif
from perception.imaging.planes import PixelFormatError, planes_of
from perception.imaging.yuv import bgr_from_yuv
from perception.sources.decoding.image_size import (
    JPEG,
    MAX_PIXELS,
    PNG,
    check_pixels,
    image_wh,
    is_avif,
    is_heif,
    jpeg_codes_zeros,
    jpeg_is_progressive,
    jpeg_pictures,
    jpeg_scan_at,
    tiff_pages,
)
from perception.sources.decoding.unreadable import what_else
from perception.sources.source import SourceError

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # decoding errors are reported here

_JPEG_END: Final = b"\xff\xd9"
_JPEG_ZEROS: Final = bytes(64)
# Markers that do not occur in a scan, or in a progressive JPEG neither in nor between scans.
_JPEG_ALIEN: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_JPEG_ALIEN_TO_PROGRESSIVE: Final = re.compile(rb"\xff[^\x00\xc4\xd0-\xd7\xda\xdb\xdd\xfe\xff]")
_PNG_END: Final = b"\0\0\0\0IEND\xaeB`\x82"
_PNG_FRAME_BYTES: Final = 12  # length and name before a chunk's content, checksum after it
_PNG_EXTRAS: Final = (b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT")
"""Ancillary chunks that matter here; libpng may print warnings about others."""
BATCH_BYTES: Final = 1 << 26
_READ_BY_OTHER_NAMES: Final = (
    *((0, b"GIF8", "GIF", ".gif"), (4, b"jP  ", "JPEG 2000", ".jp2"), (4, b"ftyp", "video", ".mp4")),
    *((0, b"P5", "PGM", ".pgm"), (0, b"P6", "PPM", ".ppm"), (0, b"\x1aE\xdf\xa3", "video", ".mkv")),
)
"""Offset of a signature, the signature, the format, and the suffix under which it is read."""
_UNREADABLE: Final = "is corrupt, or not an image that can be read"


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of a file."""

    image_bgr: NDArray[np.uint8]
    """(H, W, 3), upright according to its EXIF orientation."""
    is_damaged: bool = False
    """Parts of it are missing."""


class ImageFile:
    """An image file in memory, whose pictures are decoded one at a time."""

    def __init__(self, file: Path | str, max_pixels: int = MAX_PIXELS, content: bytes | None = None) -> None:
        """Read the file and its header.

        Args:
            file: path, or only a name for messages if `content` is given.
            max_pixels: a larger picture is refused.
            content: bytes of the file, if already read.

        Raises:
            SourceError: if it cannot be read, is not an image, or is larger than `max_pixels`.
        """
        self._file, self._max_pixels = file, max_pixels
        if content is None:
            try:
                content = Path(file).read_bytes()
            except OSError as error:
                raise SourceError(f"{file}: cannot be read: {error.strerror}") from error
        if not content:
            raise SourceError(f"{file}: is empty")
        if is_heif(content):
            raise SourceError(f"{file}: is HEIC, which is not supported; convert it to JPEG or PNG")
        wh = image_wh(content)
        if wh is None:
            raise SourceError(f"{file}: {_named_otherwise(content) or what_else(content) or _UNREADABLE}")
        check_pixels(wh, max_pixels, str(file))
        if content.startswith(PNG):
            content = whole_png(content, str(file))
        self._content = content
        self._pages = tiff_pages(content)
        self._batch_size = max(1, BATCH_BYTES // (wh[0] * wh[1] * 4))
        self._batch_start = 0
        self._batch: list[NDArray[np.uint8]] = []
        self.pictures = len(self._pages) or _animation_frames(content)
        """Number of pictures that can be decoded; at least 1."""
        self.held = max(self.pictures, jpeg_pictures(content))
        """Number of pictures in the file: of a multi-picture JPEG (MPO) only the first is decoded."""

    def picture(self, index: int = 0) -> Picture:
        """Decode one picture.

        Grey becomes three equal channels, alpha is dropped, 16 bits are scaled to 8 by a fixed factor.

        Raises:
            SourceError: if it cannot be decoded, is too large, or has float pixels (no fixed scale).
        """
        if self._content.startswith(JPEG):
            return self._jpeg()
        if self.pictures == 1:
            return Picture(self._of_8_bits(_decoded(self._content)))
        if self._pages:
            page = self._pages[index]
            check_pixels(page.wh, self._max_pixels, str(self._file))
            return Picture(self._of_8_bits(_decoded_page(self._content, page.number)))
        return Picture(self._frame_of_animation(index))

    def _jpeg(self) -> Picture:
        """Damaged if parts are missing; complete if only the end marker is."""
        content, scan_at = self._content, jpeg_scan_at(self._content)
        end = content.find(_JPEG_END, scan_at)
        was_cut = end < 0
        if was_cut:
            end, content = len(content), content + _JPEG_END
        alien = _JPEG_ALIEN_TO_PROGRESSIVE if jpeg_is_progressive(content[:scan_at]) else _JPEG_ALIEN
        if _has_damaged_scan(content, scan_at, end, was_cut or bool(alien.search(content, scan_at + 2, end))):
            # decoding would end at alien markers
            scan = alien.sub(b"\xff\0", content[scan_at + 2 : end]) + _JPEG_END
            frame = decoded_jpeg(content[: scan_at + 2] + scan, "ignore_err")
            image_bgr = None if frame is None else _image_of(frame)
            if image_bgr is None:
                raise SourceError(f"{self._file}: {_UNREADABLE}")
            return Picture(image_bgr, is_damaged=True)
        return Picture(self._of_8_bits(_decoded(content)))

    def _frame_of_animation(self, index: int) -> NDArray[np.uint8]:
        if not self._batch_start <= index < self._batch_start + len(self._batch):
            data = np.frombuffer(self._content, np.uint8)
            try:
                _, animation = cv2.imdecodeanimation(data, start=index, count=self._batch_size)
                turn = _turn_of_animation(self._content)  # OpenCV does not rotate animations
                self._batch = [turn.of_plane(np.asarray(frame, np.uint8)) for frame in animation.frames]
            except cv2.error:
                self._batch = []
            self._batch_start = index
        if not self._batch:
            raise SourceError(f"{self._file}: its picture {index + 1} of {self.pictures} cannot be decoded")
        return np.ascontiguousarray(self._batch[index - self._batch_start][:, :, :3])

    def _of_8_bits(self, image: NDArray[np.generic] | None) -> NDArray[np.uint8]:
        if image is None:
            raise SourceError(f"{self._file}: {_UNREADABLE}")
        if image.dtype == np.uint16:
            return np.asarray(cv2.convertScaleAbs(np.asarray(image, np.uint16), alpha=1 / 257), np.uint8)
        if image.dtype != np.uint8:
            raise SourceError(f"{self._file}: has {image.dtype} pixels; 8 or 16 bits per channel are needed")
        return np.asarray(image, np.uint8)


def _named_otherwise(content: bytes) -> str:
    """A message for a format that is read only under its own suffix; empty for anything else."""
    for at, mark, kind, suffix in _READ_BY_OTHER_NAMES:
        if content.startswith(mark, at):
            return f"is actually a {kind}; convert it, or give it alone under its own suffix ({suffix})"
    return ""


def read_image_bgr(file: Path, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 BGR of an image file's first picture.

    Raises:
        SourceError: if it cannot be decoded completely, is larger than `max_pixels`, or has float pixels.
    """
    picture = ImageFile(file, max_pixels).picture()
    if picture.is_damaged:
        raise SourceError(f"{file}: is corrupt: parts of the picture are missing")
    return picture.image_bgr


def whole_png(content: bytes, where: str) -> bytes:
    """A verified PNG with only the chunks that matter here; a missing end chunk is added.

    libpng would decode parts of a damaged one, and print warnings without naming the file.

    Raises:
        SourceError: if a critical chunk is cut off or its checksum is wrong (ISO/IEC 15948); the message
            begins with `where`.
    """
    view, kept, start = memoryview(content), [content[: len(PNG)]], len(PNG)
    while start + 8 <= len(view):
        length, kind = struct.unpack_from(">I4s", view, start)
        end = start + _PNG_FRAME_BYTES + length
        is_critical = not kind[0] & 0x20  # its name begins with a capital
        if kind == b"IEND":
            break
        if end > len(view) and not is_critical:
            start = end
            continue
        if is_critical and (
            end > len(view)
            or zlib.crc32(view[start + 4 : end - 4]) != struct.unpack_from(">I", view, end - 4)[0]
        ):
            raise SourceError(f"{where}: is corrupt: this PNG is cut off or damaged")
        if is_critical or kind in _PNG_EXTRAS:
            kept.append(bytes(view[start:end]))
        start = end
    else:  # the end chunk is missing
        pixels = zlib.decompressobj()
        with suppress(zlib.error):
            for chunk in kept:
                if chunk[4:8] == b"IDAT":
                    pixels.decompress(chunk[8:-4])
        if not pixels.eof:
            raise SourceError(f"{where}: is corrupt: this PNG is cut off or damaged")
    return b"".join([*kept, _PNG_END])


def _decoded(content: bytes) -> NDArray[np.generic] | None:
    # not IMREAD_UNCHANGED: it ignores EXIF and keeps alpha and grey
    if is_avif(content):
        return _decoded_avif(content)
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:
        return None


def _decoded_avif(content: bytes) -> NDArray[np.uint8] | None:
    turn = turn_by_avif(content)  # OpenCV considers only EXIF
    flags = cv2.IMREAD_COLOR | (0 if turn is None else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        # not IMREAD_ANYDEPTH: white would be 1023 with 10 bits
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None
    return (turn or UPRIGHT).of_plane(np.asarray(image, np.uint8)) if image is not None else None


def _decoded_page(content: bytes, number: int) -> NDArray[np.generic] | None:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    try:
        _, pages = cv2.imdecodemulti(np.frombuffer(content, np.uint8), flags, range=(number, number + 1))
    except cv2.error:
        return None
    return pages[0] if pages else None


def _has_damaged_scan(content: bytes, scan_at: int, end: int, is_suspect: bool) -> bool:
    """Whether parts of the picture are missing.

    Only a suspicious scan is decoded: libjpeg reports damage on the terminal alone, and libav has to decode
    the picture for it.
    """
    has_zeros = content.find(_JPEG_ZEROS, scan_at, end) >= 0
    if has_zeros and not jpeg_codes_zeros(content[:scan_at]):
        return True  # a disk sector that was never written
    return (is_suspect or has_zeros) and decoded_jpeg(content, "explode") is None


def decoded_jpeg(
    content: bytes, on_error: Literal["explode", "ignore_err"], max_pixels: int | None = None
) -> VideoFrame | None:
    """A JPEG decoded by libav; None if it is unreadable or, with "explode", damaged."""
    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.thread_count = 1
    limit = {} if max_pixels is None else {"max_pixels": str(max_pixels)}
    decoder.options = {"err_detect": on_error, **limit}
    try:
        frames = decoder.decode(av.Packet(content))
    except FFmpegError:
        return None
    return frames[0] if frames and isinstance(frames[0], VideoFrame) else None


def _image_of(frame: VideoFrame) -> NDArray[np.uint8] | None:
    try:
        return bgr_from_yuv(Orientation().of(frame).of(planes_of(frame)))
    except PixelFormatError:
        return None


def _animation_frames(content: bytes) -> int:
    """Number of frames of an animated PNG, WebP or AVIF; 1 for anything else."""
    if content.startswith(PNG):
        at = content.find(b"acTL", 0, content.find(b"IDAT"))
        return max(1, struct.unpack_from(">I", content, at + 4)[0]) if at > 0 else 1
    if content.startswith(b"RIFF"):
        return max(1, sum(kind == b"ANMF" for kind, _ in _riff_chunks(content)))
    if is_avif(content) and b"avis" in content[:64]:
        try:
            _, animation = cv2.imdecodeanimation(np.frombuffer(content, np.uint8))
        except cv2.error:
            return 1
        return max(1, len(animation.frames))
    return 1


def _turn_of_animation(content: bytes) -> Turn:
    """From AVIF properties or EXIF."""
    at = 0
    if is_avif(content):
        return turn_by_avif(content) or UPRIGHT
    if content.startswith(PNG):
        at = content.find(b"eXIf") + 4
    elif content.startswith(b"RIFF"):
        at = next((start for kind, start in _riff_chunks(content) if kind == b"EXIF"), 0)
    return turn_by_exif(content[at:].removeprefix(b"Exif\0\0")) if at > 4 else UPRIGHT


def _riff_chunks(content: bytes) -> Iterator[tuple[bytes, int]]:
    """Name and start of the content of each chunk."""
    at = 12
    while at + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, at)
        yield kind, at + 8
        at += 8 + length + length % 2
