"""A live source whose frames stay too old, though they come."""

from __future__ import annotations

from typing import Final

from perception.frame import Frame

LATE_S: Final = 1.0
"""That every frame may be too old for a mask, and not catch up, before a stream is opened again."""
_LEAST_S: Final = 0.2  # by less frames are late on any network, and no new session helps
_CATCHES_UP: Final = 0.25  # of the time: by less, it would be late for as long again and more
_LATE_PAUSES_S: Final = (2.0, 60.0)  # between two such attempts: doubled each time, up to the second


class Lateness:
    """Whether frames have been too old for a mask for a while, and do not catch up.

    A new session begins with what the sender has now: what waits on the way to the old one is given up.
    """

    def __init__(self, max_age_s: float) -> None:
        self._max_age_ns = max(max_age_s, _LEAST_S) * 1e9
        self._since: tuple[int, int] | None = None
        self._pause_s, self._not_before_ns = 0.0, 0

    def is_lasting(self, frame: Frame, now_ns: int) -> bool:
        """Whether it is time to begin a new session, after one more frame."""
        age_ns = now_ns - frame.captured_ns
        if age_ns <= self._max_age_ns:
            self._since = None
            if now_ns > self._not_before_ns + _LATE_PAUSES_S[1] * 1e9:
                self._pause_s = 0.0
            return False
        if self._since is None:
            self._since = now_ns, age_ns
        since_ns, first_age_ns = self._since
        for_ns = now_ns - since_ns
        if for_ns < LATE_S * 1e9:
            return False
        self._since = now_ns, age_ns
        if first_age_ns - age_ns >= _CATCHES_UP * for_ns or now_ns < self._not_before_ns:
            return False
        self._since = None
        self._pause_s = min(max(2 * self._pause_s, _LATE_PAUSES_S[0]), _LATE_PAUSES_S[1])
        self._not_before_ns = now_ns + round(self._pause_s * 1e9)
        return True
