"""The kernel's clock state: whether a time service synchronises it."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

_UNSYNCHRONISED: Final = 0x0040  # STA_UNSYNC of <sys/timex.h>


@dataclass(frozen=True)
class Synchronisation:
    """The synchronisation of the system's clock."""

    is_synchronised: bool | None = None
    """Whether a time service (NTP, PTP) synchronises it; None if unknown."""
    max_error_ns: int | None = None
    """The time service's bound on the error of UTC; None if unknown."""


class _Timeval(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_usec", ctypes.c_long))


class _Timex(ctypes.Structure):
    """`struct timex` of <sys/timex.h> in glibc on 64-bit systems."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", _Timeval),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


@cache
def _adjtimex() -> Any:
    if sys.platform != "linux" or ctypes.sizeof(ctypes.c_long) != 8:
        return None
    return getattr(ctypes.CDLL(None), "adjtimex", None)


def kernel_synchronisation() -> Synchronisation:
    """The state from Linux' `adjtimex`, which changes nothing here; unknown elsewhere, or if refused."""
    call = _adjtimex()
    state = _Timex()
    if call is None or call(ctypes.byref(state)) < 0:
        return Synchronisation()
    is_synchronised = not state.status & _UNSYNCHRONISED
    return Synchronisation(is_synchronised, state.maxerror * 1000 if is_synchronised else None)
