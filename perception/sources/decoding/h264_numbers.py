"""Detects missing H.264 pictures by their `frame_num` (ITU-T H.264, 7.4.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_SLICE, _IDR, _SPS = 1, 5, 7
_START: Final = b"\0\0\1"
HEAD_BYTES: Final = 4096
"""Parsed bytes of a packet: up to the first slice header."""
_SLICE_BYTES: Final = 32
_WITH_CHROMA: Final = (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)
"""Profiles whose parameter sets include chroma and scaling."""


@dataclass(frozen=True)
class _Numbering:
    """How a stream numbers its pictures."""

    bits: int
    has_planes: bool
    """`separate_colour_plane_flag`."""
    has_gaps: bool
    """`gaps_in_frame_num_value_allowed_flag`."""


class PictureNumbers:
    """Follows the numbers of reference pictures, which rise by one.

    A picture that the camera skips before encoding leaves no gap; one lost on the network or dropped by a
    server does.

    Args:
        parameters: codec parameters from the session description; later ones in the stream replace them.
    """

    def __init__(self, parameters: bytes | None) -> None:
        self._numbering: _Numbering | None = None
        self._last: int | None = None
        for nal in _nals(parameters or b""):
            self._take_parameters(nal)

    @property
    def are_known(self) -> bool:
        """Whether a missing picture would be found."""
        return self._numbering is not None and not self._numbering.has_gaps

    def misses_before(self, packet: bytes) -> bool:
        """Whether pictures are missing before the one in a packet."""
        for nal in _nals(packet):
            kind = nal[0] & 31
            if kind == _SPS:
                self._take_parameters(nal)
            elif kind in (_SLICE, _IDR):
                return self._misses_before(nal, kind == _IDR)
        return False

    def _take_parameters(self, nal: bytes) -> None:
        if nal[0] & 31 == _SPS:
            try:
                self._numbering = _numbering(_Bits(nal[1:]))
            except EOFError:
                self._numbering = None

    def _misses_before(self, nal: bytes, is_idr: bool) -> bool:
        numbering, last = self._numbering, self._last
        if numbering is None:
            return False
        bits = _Bits(nal[1:_SLICE_BYTES])
        try:
            for _ in range(3):  # first_mb_in_slice, slice_type, pic_parameter_set_id
                bits.unsigned()
            bits.take(2 * numbering.has_planes)
            number = bits.take(numbering.bits)
        except EOFError:
            return False
        if nal[0] >> 5 & 3 or is_idr:  # a reference picture
            self._last = number
        rises = (number, (number - 1) % (1 << numbering.bits))
        return self.are_known and not is_idr and last is not None and last not in rises


def _numbering(bits: _Bits) -> _Numbering:
    """Parse a sequence parameter set; raises EOFError."""
    profile = bits.take(8)
    bits.take(16)
    bits.unsigned()
    has_planes = False
    if profile in _WITH_CHROMA:
        chroma = bits.unsigned()
        has_planes = chroma == 3 and bool(bits.take(1))
        bits.unsigned()
        bits.unsigned()
        bits.take(1)
        if bits.take(1):
            for index in range(12 if chroma == 3 else 8):
                if bits.take(1):
                    _skip_scaling(bits, 16 if index < 6 else 64)
    number_bits = bits.unsigned() + 4
    order = bits.unsigned()
    if order == 0:
        bits.unsigned()
    elif order == 1:
        bits.take(1)
        bits.signed()
        bits.signed()
        for _ in range(bits.unsigned()):
            bits.signed()
    bits.unsigned()
    return _Numbering(number_bits, has_planes, bool(bits.take(1)))


def _skip_scaling(bits: _Bits, size: int) -> None:
    last, following = 8, 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _nals(data: bytes) -> Iterator[bytes]:
    """NAL units without start codes and emulation prevention bytes."""
    data = data[:HEAD_BYTES]
    at = data.find(_START)
    while at >= 0:
        end = data.find(_START, at + 3)
        unit = data[at + 3 : end if end >= 0 else len(data)]
        if unit:
            yield unit.replace(b"\0\0\3", b"\0\0")
        at = end


class _Bits:
    """Bit reader; raises EOFError at the end."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data), 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise EOFError
        return self._value >> self._left & ((1 << count) - 1)

    def unsigned(self) -> int:
        """An Exp-Golomb code."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        code = self.unsigned()
        return -(code // 2) if code % 2 == 0 else (code + 1) // 2
