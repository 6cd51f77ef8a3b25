"""Settings of the whole process."""

from __future__ import annotations

import ctypes
import sys

import cv2

from perception.system.cores import usable_cores

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of <malloc.h>
_ONE_HEAP_CORES = 4
_LARGEST_C_INT = (1 << 31) - 1


def tune_process() -> None:
    """Use one thread per OpenCV call, and keep freed buffers; called once by each command.

    OpenCV's own threads would only take cores from the pipeline's.
    """
    cv2.setNumThreads(1)
    keep_buffers(below_bytes=1 << 28)


def keep_buffers(below_bytes: int) -> None:
    """Let the process reuse freed buffers up to this size. Changes nothing without glibc.

    glibc maps every buffer above 128 KB afresh and unmaps it when it is freed, and the page faults cost more
    than the work: 1.7 ms instead of 0.2 ms per frame to postprocess logits at 640x384, 2.1 s instead of 1.2 s
    per training step. A frame or step needs a bounded amount, so memory stays bounded.

    On up to 4 cores all threads share one heap, so that memory freed by one serves another. With glibc's heap
    per thread a node of 1280x720 frames kept 50 MB more and reached its final size after 26,000 frames
    instead of 11,000 (measured on 2 cores). More threads would contend for the one heap.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        if usable_cores() <= _ONE_HEAP_CORES:
            mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, below_bytes)
        mallopt(_M_TRIM_THRESHOLD, min(2 * below_bytes, _LARGEST_C_INT))
