"""The process as a whole: settings that the data path relies on."""

from __future__ import annotations

import ctypes
import sys

import cv2

from perception.system.cores import usable_cores

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of <malloc.h>
_ONE_HEAP_CORES = 4
_LARGEST_C_INT = (1 << 31) - 1


def tune_process() -> None:
    """One thread per OpenCV call, and buffers that stay with the process; called once by each command.

    The stages are the threads: OpenCV's own would only take cores from them.
    """
    cv2.setNumThreads(1)
    keep_buffers(below_bytes=1 << 28)


def keep_buffers(below_bytes: int) -> None:
    """Let the process keep and use again what it frees, up to this size of a buffer.

    glibc maps every buffer above 128 KB anew and gives it back when it is freed, and the page faults
    of that cost more than the work inside: 1.7 ms against 0.2 ms a frame to postprocess logits at
    640x384, 2.1 s against 1.2 s for a training step. What a frame or a step needs is bounded, so the
    memory of the process is too. Elsewhere than on glibc nothing is changed.

    All threads share one heap: what one of them frees another takes. With glibc's heap for each a node of
    1280x720 frames kept 50 MB more, and came to its final size after 26,000 frames instead of 11,000.
    That was measured on 2 cores. With more than 4 threads would wait for each other at the one heap, and
    glibc's own rule stands.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        if usable_cores() <= _ONE_HEAP_CORES:
            mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, below_bytes)
        mallopt(_M_TRIM_THRESHOLD, min(2 * below_bytes, _LARGEST_C_INT))
