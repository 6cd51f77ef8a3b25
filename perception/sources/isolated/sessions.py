"""Frame ids, times and lateness of a source over all its sessions: it may be opened again and again."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from perception.frame import Frame

LATE_S: Final = 1.0
"""Frames that stay too old for a mask for this long, and do not catch up, start a new session."""
_LEAST_S: Final = 0.2  # lower delays occur on any network; a new session would not help
_CATCHES_UP: Final = 0.25  # share of the time; at a lower rate it would stay late for at least as long again
_LATE_PAUSES_S: Final = (2.0, 60.0)  # between such sessions: doubled from the first to the second


class Numbers:
    """Frame ids and times that continue over sessions."""

    def __init__(self) -> None:
        self.last_captured_ns: int | None = None
        self._next_id, self._last_time_ns = 0, 0  # the time of the last frame's capture
        self._given_ns = -1  # latest time of a frame or an outage; the next is later
        self._first_id, self._first_time_ns = 0, 0
        self._is_new_session = True
        self._began_ns = 0

    def begin(self, now_ns: int) -> None:
        """The run starts: times count from here until the first frame."""
        self._began_ns = now_ns

    def begin_session(self) -> None:
        """The next frame is the first of a session."""
        self._is_new_session = True

    def give(self, frame: Frame) -> Frame:
        """The frame with its id and time over all sessions."""
        if self._is_new_session:
            self._is_new_session = False
            self._first_id = self._next_id - frame.frame_id
            self._first_time_ns = self._begins_at_ns(frame.captured_ns) - frame.time_ns
        frame_id, time_ns = self._first_id + frame.frame_id, self._first_time_ns + frame.time_ns
        self._next_id, self._last_time_ns, self.last_captured_ns = frame_id + 1, time_ns, frame.captured_ns
        self._given_ns = time_ns = max(time_ns, self._given_ns + 1)
        name = f"{frame_id:06d}" if frame.name == f"{frame.frame_id:06d}" else frame.name
        return replace(frame, frame_id=frame_id, time_ns=time_ns, name=name)

    def outage_ns(self, now_ns: int) -> int:
        """The time of an outage record; later than all before."""
        self._given_ns = max(self._time_ns(now_ns), self._given_ns + 1)
        return self._given_ns

    def _begins_at_ns(self, captured_ns: int) -> int:
        """The time of a session's first frame: 0 for the first session, unless an outage preceded it."""
        if self.last_captured_ns is None and self._given_ns < 0:
            return 0
        return self._time_ns(captured_ns)

    def _time_ns(self, now_ns: int) -> int:
        if self.last_captured_ns is None:
            return max(0, now_ns - self._began_ns)
        return self._last_time_ns + max(1, now_ns - self.last_captured_ns)


class Lateness:
    """Detects frames that arrive but stay too old for a mask.

    A new session starts with what the sender has now; what is queued on the way to the old one is given up.
    """

    def __init__(self, max_age_s: float) -> None:
        self._max_age_ns = max(max_age_s, _LEAST_S) * 1e9
        self._since: tuple[int, int] | None = None
        self._pause_s, self._not_before_ns = 0.0, 0

    def is_lasting(self, frame: Frame, now_ns: int) -> bool:
        """Whether a new session is due after this frame."""
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
