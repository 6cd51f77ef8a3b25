"""Continuity counters of MPEG-TS across segments that were muxed separately."""

from __future__ import annotations

from typing import Final

import numpy as np

_PACKET_BYTES: Final = 188
_SYNC: Final = 0x47
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
        count = len(data) // _PACKET_BYTES
        packets = np.frombuffer(data, np.uint8, count * _PACKET_BYTES).reshape(count, _PACKET_BYTES)
        if not (packets[:, 0] == _SYNC).all():
            self._is_ts, self._rest = False, b""
            return data
        self._rest = data[count * _PACKET_BYTES :]
        pids = (packets[:, 1].astype(np.int64) & 0x1F) << 8 | packets[:, 2]
        joints = [self._joint(packets[at]) for at in np.sort(np.unique(pids, return_index=True)[1])]
        last = count - 1 - np.unique(pids[::-1], return_index=True)[1]
        self._counters.update(zip(pids[last].tolist(), (packets[last, 3] & 15).tolist(), strict=True))
        self._seen.update(pids[last].tolist())
        return b"".join([*joints, data[: count * _PACKET_BYTES]])

    def rest(self) -> bytes:
        """The bytes held back, at the end of a segment."""
        return self._rest

    def _joint(self, packet: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> bytes:
        """The packet to insert before the first one of a PID in a segment; empty if none is needed."""
        high, low, flags = int(packet[1]) & 0x1F, int(packet[2]), int(packet[3])
        pid, before = high << 8 | low, self._counters.get(high << 8 | low)
        expected = (flags & 15) - (flags >> 4 & 1) & 15
        if pid in self._seen or before is None or before == expected:
            return b""
        head = bytes([_SYNC, high, low, _HAS_FIELD_ALONE | expected, _PACKET_BYTES - 5, _IS_DISCONTINUITY])
        return head.ljust(_PACKET_BYTES, b"\xff")
