"""Times of frames and of outages over all sessions of a source."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from perception.frame import Frame
from perception.sources.isolated.sessions import Numbers

MS = 1_000_000


def frame(frame_id: int, captured_ms: int) -> Frame:
    """Captured then; its session began at 0 ms."""
    pixels = np.zeros((2, 2, 3), np.uint8)
    return Frame("cam", frame_id, captured_ms * MS, captured_ms * MS, pixels, f"{frame_id:06d}")


def test_what_comes_after_an_outage_is_later_than_the_outage_and_soon_true_again() -> None:
    """Frames that had been on their way while the outage was reported were captured before it."""
    numbers = Numbers()
    numbers.begin(0)
    times_ns = [numbers.give(frame(0, 0)).time_ns]
    for reported_ms in (120, 160, 200, 240):
        times_ns.append(numbers.outage_ns(reported_ms * MS))
    times_ns += [numbers.give(frame(1, 40)).time_ns, numbers.give(frame(2, 80)).time_ns]
    times_ns.append(numbers.outage_ns(280 * MS))
    times_ns += [numbers.give(frame(number, 40 * number)).time_ns for number in range(3, 20)]

    assert all(after > before for before, after in pairwise(times_ns))
    assert times_ns[7] == 280 * MS
    assert times_ns[-12:] == [40 * number * MS for number in range(8, 20)]


def test_outages_before_the_first_frame_count_from_the_start_of_the_run() -> None:
    numbers = Numbers()
    numbers.begin(1_000 * MS)

    outages_ns = [numbers.outage_ns(ms * MS) for ms in (1_100, 1_140)]

    assert outages_ns == [100 * MS, 140 * MS]
    assert numbers.give(frame(0, 1_130)).time_ns == 140 * MS + 1
    assert numbers.give(frame(1, 1_170)).time_ns == 170 * MS
