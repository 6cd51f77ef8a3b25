"""Frame ids and times of a source that is opened again and again."""

from __future__ import annotations

from dataclasses import replace

from perception.frame import Frame


class Numbers:
    """Frame ids and times that go on over a source that was opened again and again."""

    def __init__(self) -> None:
        self.last_captured_ns: int | None = None
        self._next_id, self._last_time_ns = 0, 0  # the time by the last frame's capture
        self._given_ns = -1  # the latest time of a frame or an outage: what follows is later
        self._first_id, self._first_time_ns = 0, 0
        self._is_new_session = True
        self._began_ns = 0

    def begin(self, now_ns: int) -> None:
        """The run begins: its time counts from here, where no frame comes."""
        self._began_ns = now_ns

    def begin_session(self) -> None:
        """The next frame is the first since the source was opened."""
        self._is_new_session = True

    def give(self, frame: Frame) -> Frame:
        """The frame with its number and time over all sessions."""
        if self._is_new_session:
            self._is_new_session = False
            self._first_id = self._next_id - frame.frame_id
            self._first_time_ns = self._begins_at_ns(frame.captured_ns) - frame.time_ns
        frame_id, time_ns = self._first_id + frame.frame_id, self._first_time_ns + frame.time_ns
        self._next_id, self._last_time_ns, self.last_captured_ns = frame_id + 1, time_ns, frame.captured_ns
        self._given_ns = time_ns = max(time_ns, self._given_ns + 1)
        name = f"{frame_id:06d}" if frame.name == f"{frame.frame_id:06d}" else frame.name
        return replace(frame, frame_id=frame_id, time_ns=time_ns, name=name)

    def tell(self, now_ns: int) -> int:
        """The source's own time at a moment after the last frame, for an outage; later than all before."""
        self._given_ns = max(self._time_ns(now_ns), self._given_ns + 1)
        return self._given_ns

    def _begins_at_ns(self, captured_ns: int) -> int:
        """The time of a session's first frame: 0 of the first of all, if no outage was told before it."""
        if self.last_captured_ns is None:
            return 0 if self._given_ns < 0 else self._time_ns(captured_ns)
        return self._time_ns(captured_ns)

    def _time_ns(self, now_ns: int) -> int:
        if self.last_captured_ns is None:
            return max(0, now_ns - self._began_ns)
        return self._last_time_ns + max(1, now_ns - self.last_captured_ns)
