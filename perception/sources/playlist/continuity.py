"""Continuity counters of MPEG-TS across segments that were muxed separately."""

from __future__ import annotations

from typing import Final

_PACKET_BYTES: Final = 188
_SYNC: Final = b"\x47"
_HAS_FIELD_ALONE: Final = 0x20
_IS_DISCONTINUITY: Final = 0x80


class Continuity:
    """Inserts discontinuity packets where a new segment's counters do not continue the previous ones.

    They should, but many servers restart them in each segment (`ffmpeg -f segment`), and a demuxer takes that
    for lost packets and damaged pictures.
    """

    def __init__(self) -> None:
        self._counters: dict[int, int] = {}
        self._seen: set[int] = set()
        self._rest = b""
        self._is_ts = True

    def begin_part(self) -> None:
        """The following bytes go to a new demuxer."""
        self._counters = {}

    def begin_segment(self) -> None:
        """The following bytes belong to a new segment."""
        self._seen, self._rest, self._is_ts = set(), b"", True

    def joined(self, piece: bytes) -> bytes:
        """The next bytes for the demuxer; an incomplete packet is held back."""
        if not self._is_ts:
            return piece
        data = self._rest + piece
        end = len(data) - len(data) % _PACKET_BYTES
        if data[:end:_PACKET_BYTES].strip(_SYNC):
            self._is_ts, self._rest = False, b""
            return data
        self._rest = data[end:]
        joints = []
        for high, low, flags in zip(*(data[at:end:_PACKET_BYTES] for at in (1, 2, 3)), strict=True):
            pid = (high & 0x1F) << 8 | low
            if pid not in self._seen:
                self._seen.add(pid)
                joints.append(self._joint(pid, flags))
            self._counters[pid] = flags & 15
        return b"".join([*joints, data[:end]])

    def rest(self) -> bytes:
        """The bytes held back, at the end of a segment."""
        return self._rest

    def _joint(self, pid: int, flags: int) -> bytes:
        """The packet to insert before the first one of a PID in a segment; empty if none is needed."""
        expected = (flags & 15) - (flags >> 4 & 1) & 15
        if self._counters.get(pid, expected) == expected:
            return b""
        head = [pid >> 8, pid & 0xFF, _HAS_FIELD_ALONE | expected, _PACKET_BYTES - 5, _IS_DISCONTINUITY]
        return (_SYNC + bytes(head)).ljust(_PACKET_BYTES, b"\xff")
