"""Threads that can be had, or not."""

from __future__ import annotations

from threading import Event, Thread


def require_threads(count: int) -> None:
    """See that so many can be started now: a run with half of its threads would be hard to end.

    Raises:
        RuntimeError: if not; none is left running.
    """
    release = Event()
    probes: list[Thread] = []
    try:
        for _ in range(count):
            probe = Thread(target=release.wait, daemon=True)
            probe.start()
            probes.append(probe)
    finally:
        release.set()
        for probe in probes:
            probe.join()
