"""Settings of the whole process that the data path relies on; called once by each command."""

from __future__ import annotations

import ctypes
import sys

import cv2

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>
_KEEP_BELOW_BYTES = 1 << 28


def tune_process() -> None:
    """One thread per OpenCV call, and frame-sized buffers that stay with the process.

    The stages are the threads: OpenCV's own would only take cores from them.

    glibc maps every buffer above 128 KB anew and gives it back when it is freed, and the page faults
    of that cost more than the work inside: 1.7 ms against 0.2 ms a frame to interpret logits at
    640x384. Below 256 MB buffers are kept and used again; what a frame needs is bounded, so
    the memory of the process is too. Elsewhere than on glibc nothing is changed.
    """
    cv2.setNumThreads(1)
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _KEEP_BELOW_BYTES)
        mallopt(_M_TRIM_THRESHOLD, 2 * _KEEP_BELOW_BYTES)
