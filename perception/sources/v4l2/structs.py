"""The part of `<linux/videodev2.h>` that cameras need: structures and ioctl numbers."""

from __future__ import annotations

import ctypes
from typing import Any, Final

VIDEO_CAPTURE: Final = 1
"""Single-planar video capture."""
MEMORY_MMAP: Final = 1
FIELD_NONE: Final = 1
FIELD_ALTERNATE: Final = 7

CAP_VIDEO_CAPTURE: Final = 0x1
CAP_STREAMING: Final = 0x0400_0000
CAP_DEVICE_CAPS: Final = 0x8000_0000

FLAG_ERROR: Final = 0x40
FLAG_TIMESTAMP_MASK: Final = 0xE000
FLAG_TIMESTAMP_MONOTONIC: Final = 0x2000

COLORSPACE_REC709: Final = 3
COLORSPACE_JPEG: Final = 7
YCBCR_DEFAULT: Final = 0
YCBCR_709: Final = 2
QUANTIZATION_DEFAULT: Final = 0
QUANTIZATION_FULL: Final = 1

_U32 = ctypes.c_uint32
_Field = tuple[str, type[Any]]


def _u32(names: str) -> tuple[_Field, ...]:
    return tuple((name, _U32) for name in names.split())


class Capability(ctypes.Structure):
    """`struct v4l2_capability`."""

    _fields_ = (
        *(("driver", ctypes.c_char * 16), ("card", ctypes.c_char * 32), ("bus_info", ctypes.c_char * 32)),
        *(*_u32("version capabilities device_caps"), ("reserved", _U32 * 3)),
    )


class FormatDescription(ctypes.Structure):
    """`struct v4l2_fmtdesc`."""

    _fields_ = (
        *(*_u32("index type flags"), ("description", ctypes.c_char * 32)),
        *(*_u32("pixelformat mbus_code"), ("reserved", _U32 * 3)),
    )


class PixFormat(ctypes.Structure):
    """`struct v4l2_pix_format`."""

    _fields_ = _u32(
        "width height pixelformat field bytesperline sizeimage "
        "colorspace priv flags ycbcr_enc quantization xfer_func"
    )


class _FormatUnion(ctypes.Union):
    # the unused pointer member sets the alignment
    _fields_ = (("pix", PixFormat), ("raw", ctypes.c_uint8 * 200), ("alignment", ctypes.c_void_p))


class Format(ctypes.Structure):
    """`struct v4l2_format`."""

    _fields_ = (("type", _U32), ("fmt", _FormatUnion))


class Fraction(ctypes.Structure):
    """`struct v4l2_fract`."""

    _fields_ = _u32("numerator denominator")


class CaptureParameters(ctypes.Structure):
    """`struct v4l2_captureparm`."""

    _fields_ = (
        *_u32("capability capturemode"),
        ("timeperframe", Fraction),
        *_u32("extendedmode readbuffers"),
        ("reserved", _U32 * 4),
    )


class _ParametersUnion(ctypes.Union):
    _fields_ = (("capture", CaptureParameters), ("raw", ctypes.c_uint8 * 200))


class StreamParameters(ctypes.Structure):
    """`struct v4l2_streamparm`."""

    _fields_ = (("type", _U32), ("parm", _ParametersUnion))


class RequestBuffers(ctypes.Structure):
    """`struct v4l2_requestbuffers`."""

    _fields_ = (
        *_u32("count type memory capabilities"),
        *(("flags", ctypes.c_uint8), ("reserved", ctypes.c_uint8 * 3)),
    )


class _Timeval(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_usec", ctypes.c_long))


class _Timecode(ctypes.Structure):
    _fields_ = (*_u32("type flags"), ("fields", ctypes.c_uint8 * 8))


class _BufferMemory(ctypes.Union):
    _fields_ = (("offset", _U32), ("userptr", ctypes.c_ulong))


class Buffer(ctypes.Structure):
    """`struct v4l2_buffer`."""

    _fields_ = (
        *_u32("index type bytesused flags field"),
        ("timestamp", _Timeval),
        ("timecode", _Timecode),
        *_u32("sequence memory"),
        ("m", _BufferMemory),
        *_u32("length reserved2"),
        ("request_fd", ctypes.c_int32),
    )


class BufferType(ctypes.Structure):
    """The `int` argument of STREAMON and STREAMOFF."""

    _fields_ = (("type", ctypes.c_int32),)


def _call_number(is_written: bool, is_read: bool, number: int, argument: type[ctypes.Structure]) -> int:
    """Encoded as in `<asm-generic/ioctl.h>`: direction, size, the letter V, number."""
    direction = int(is_written) | int(is_read) << 1
    return direction << 30 | ctypes.sizeof(argument) << 16 | ord("V") << 8 | number


QUERYCAP: Final = _call_number(False, True, 0, Capability)
ENUM_FMT: Final = _call_number(True, True, 2, FormatDescription)
S_FMT: Final = _call_number(True, True, 5, Format)
REQBUFS: Final = _call_number(True, True, 8, RequestBuffers)
QUERYBUF: Final = _call_number(True, True, 9, Buffer)
QBUF: Final = _call_number(True, True, 15, Buffer)
DQBUF: Final = _call_number(True, True, 17, Buffer)
STREAMON: Final = _call_number(True, False, 18, BufferType)
STREAMOFF: Final = _call_number(True, False, 19, BufferType)
S_PARM: Final = _call_number(True, True, 22, StreamParameters)


def fourcc_number(letters: str) -> int:
    """The number of a pixel format.

    Example:
        >>> hex(fourcc_number("MJPG"))
        '0x47504a4d'
    """
    return int.from_bytes(letters.encode("ascii"), "little")


def fourcc_letters(number: int) -> str:
    """The four letters of a pixel format, or its number in hexadecimal if they are not printable.

    Example:
        >>> fourcc_letters(0x56595559), fourcc_letters(1)
        ('YUYV', '0x1')
    """
    letters = number.to_bytes(4, "little").decode("latin-1")
    return letters if letters.isascii() and letters.isprintable() else hex(number)
