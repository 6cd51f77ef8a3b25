"""The kernel's clock state: whether a time service synchronises it."""

from __future__ import annotations

import ctypes
import struct
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

_UNSYNCHRONISED: Final = 0x0040  # STA_UNSYNC of <sys/timex.h>
# `struct timex` of <sys/timex.h> on 64-bit systems: modes, offset, freq, maxerror, esterror, status, …
_TIMEX_BYTES: Final = 208
_TIMEX_BEGINS: Final = struct.Struct("@I4li")


@dataclass(frozen=True)
class Synchronisation:
    """The synchronisation of the system's clock."""

    is_synchronised: bool | None = None
    """Whether a time service (NTP, PTP) synchronises it; None if unknown."""
    max_error_ns: int | None = None
    """The time service's bound on the error of UTC; None if unknown."""


@cache
def _adjtimex() -> Any:
    if sys.platform != "linux" or ctypes.sizeof(ctypes.c_long) != 8:
        return None
    return getattr(ctypes.CDLL(None), "adjtimex", None)


def kernel_synchronisation() -> Synchronisation:
    """The state from Linux' `adjtimex`, which changes nothing here; unknown elsewhere, or if refused."""
    call = _adjtimex()
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    if call is None or call(timex) < 0:
        return Synchronisation()
    _, _, _, max_error_us, _, status = _TIMEX_BEGINS.unpack_from(timex)
    is_synchronised = not status & _UNSYNCHRONISED
    return Synchronisation(is_synchronised, max_error_us * 1000 if is_synchronised else None)
