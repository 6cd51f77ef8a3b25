"""Decompression of what bags hold, in bounded memory whatever its header says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Protocol

ZSTD_BEGINS: Final = b"\x28\xb5\x2f\xfd"
BLOCK_BYTES: Final = 1 << 20
_ZSTD_HEADER_BYTES: Final = 18


class Readable(Protocol):
    """What can be read from."""

    def read(self, count: int, /) -> bytes:
        """At most so many bytes; none at the end."""
        ...


class FileRange:
    """A part of an open file, read whatever others do to the file's position.

    Args:
        stream: of the file.
        begin: offset.
        end: offset behind it.
    """

    def __init__(self, stream: BinaryIO, begin: int, end: int) -> None:
        self._stream, self._at, self._end = stream, begin, end

    def read(self, count: int = -1, /) -> bytes:
        """At most so many bytes; none at the end."""
        left = max(0, self._end - self._at)
        self._stream.seek(self._at)
        data = self._stream.read(left if count < 0 else min(count, left))
        self._at += len(data)
        return data

    def skip(self, count: int) -> bool:
        """Leave so many bytes out; whether they were there."""
        self._at = min(self._at + count, self._end + 1)
        return self._at <= self._end


def skipped(stream: Readable, count: int) -> bool:
    """Leave so many bytes out; whether they were there."""
    if isinstance(stream, FileRange):
        return stream.skip(count)
    while count > 0 and (data := stream.read(min(count, BLOCK_BYTES))):
        count -= len(data)
    return not count


def exactly(stream: Readable, count: int) -> bytes:
    """So many bytes, or fewer at the end."""
    data = stream.read(count)
    if len(data) in (0, count):
        return data
    parts, size = [data], len(data)
    while size < count and (data := stream.read(count - size)):
        parts.append(data)
        size += len(data)
    return b"".join(parts)


def blocks(stream: Readable) -> Iterator[bytes]:
    """What is left, block by block."""
    while data := stream.read(BLOCK_BYTES):
        yield data


def opened_zstd(stream: Readable) -> Readable:
    """Its content; ends early where it was cut off.

    Raises:
        zstandard.ZstdError: when it is read, where it is damaged.
    """
    import zstandard

    reader: Readable = zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)  # type: ignore[arg-type]
    return reader


def unpacked_zstd(data: bytes, limit_bytes: int) -> bytes:
    """The content; raises ValueError if it is larger, and ZstdError if it is damaged."""
    import zstandard

    reader = zstandard.ZstdDecompressor().stream_reader(data)
    content = bytearray()
    for block in blocks(reader):
        content += block
        if len(content) > limit_bytes:
            raise ValueError(f"it has more than {limit_bytes} bytes")
    return bytes(content)


def unpack_file(file: Path, to: Path) -> str:
    """Decompress a file as far as it can be; why it ends there, or nothing if it is whole.

    Raises:
        OSError: of either file.
    """
    import zstandard

    count = 0
    with file.open("rb") as stream, to.open("wb") as unpacked:
        try:
            expected = zstandard.frame_content_size(stream.read(_ZSTD_HEADER_BYTES))
            stream.seek(0)
            for block in blocks(opened_zstd(stream)):
                count += unpacked.write(block)
        except zstandard.ZstdError as error:
            return f"cannot be decompressed: {error}"
    return "was cut off" if count < expected else ""
