"""When frames come: sources that loop, end early or keep real time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol, runtime_checkable

from perception.frame import Frame
from perception.sources.source import EndOfSource, NoFrame, Source, SourceError, SourceInfo

LATE_LIMIT_NS: Final = 250_000_000
"""That a frame of a recording in real time may come late: half of the age at which a mask is withheld."""
SKIP_LIMIT_NS: Final = 1_000_000_000
"""That frames are skipped for at a time; what is still late then is made up by slowing the recording down."""
LONGEST_PERIOD_NS: Final = 1_000_000_000
"""A longer one may be the average over a long pause: what was seen of late tells when a frame is due."""
TRIES: Final = 4
"""Frames that are skipped before it is seen whether that helps."""


@runtime_checkable
class Stoppable(Protocol):
    """A source whose waiting can be ended."""

    def stop(self) -> None:
        """End a wait in `read` at once, and the source with it; may be called from any thread."""
        ...


@runtime_checkable
class Rewindable(Protocol):
    """A source that can begin again without being opened anew, which for a video takes 20 ms."""

    def rewind(self) -> None:
        """Begin again with the first frame; raises SourceError."""
        ...


@dataclass(frozen=True)
class Clock:
    """Monotonic time, and waiting for it: a test brings its own."""

    monotonic_ns: Callable[[], int] = time.monotonic_ns
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait
    """Waits for the event or so many seconds; true if the event came."""


class Looped:
    """A recording that starts over at its end; frame ids and times go on.

    Between the last frame of a round and the first of the next lies one nominal period, or the last step
    where that is shorter: the average over a long pause is no period. Names of later rounds carry the round,
    so that no file is written twice.

    Args:
        open_again: gives the source anew for every round, not yet open.
    """

    def __init__(self, open_again: Callable[[], Source]) -> None:
        self._open_again = open_again
        self._source: Source | None = None
        self._closed: Source | None = None

    def open(self) -> SourceInfo:
        """Open the first round; a live source is refused, for it has no end to start over from."""
        self._source = self._open_again()
        info = self._source.open()
        if info.is_live:
            self.close()
            raise SourceError(f"{info.source_id}: is live and cannot be looped; leave the loop out")
        self._period_ns = round(1e9 / info.rate_hz)
        self._round, self._frames_in_round = 0, 0
        self._first_id, self._first_ns = 0, 0
        self._next_id, self._next_ns, self._last_ns = 0, 0, 0
        return info

    def read(self) -> Frame:
        """The next frame of this round or the first of the next; ends only if a round gives no frame."""
        if self._source is None:
            raise SourceError("a looped source was read before it was opened")
        try:
            frame = self._source.read()
        except EndOfSource:
            if self._frames_in_round == 0:
                raise
            self._start_over(self._source)
            self._round, self._frames_in_round = self._round + 1, 0
            self._first_id, self._first_ns = self._next_id, self._next_ns
            frame = self._source.read()
        self._frames_in_round += 1
        frame = replace(
            frame,
            frame_id=self._first_id + frame.frame_id,
            time_ns=self._first_ns + frame.time_ns,
            name=f"{frame.name}_{self._round}" if self._round else frame.name,
        )
        step_ns = frame.time_ns - self._last_ns if self._frames_in_round > 1 else self._period_ns
        self._next_id, self._last_ns = frame.frame_id + 1, frame.time_ns
        self._next_ns = frame.time_ns + min(step_ns, self._period_ns)
        return frame

    def _start_over(self, source: Source) -> None:
        if isinstance(source, Rewindable):
            source.rewind()
            return
        source.close()
        self._source = self._open_again()
        self._source.open()

    def close(self) -> None:
        """Release the round that is open."""
        if self._source is not None:
            self._source.close()
            self._source, self._closed = None, self._source

    def stop(self) -> None:
        """End a wait in the source inside."""
        if isinstance(self._source, Stoppable):
            self._source.stop()

    @property
    def inside(self) -> Source | None:
        """The source of this round, or of the last one: what it counted is asked for once it is closed."""
        return self._source or self._closed


class Limited:
    """A source that ends after so many frames or so many seconds of its own time, whichever is first."""

    def __init__(
        self, source: Source, max_frames: int | None = None, duration_s: float | None = None
    ) -> None:
        self._source = source
        self._max_frames, self._duration_s = max_frames, duration_s
        self._frames_read = 0

    def open(self) -> SourceInfo:
        """Open the source inside."""
        self._frames_read = 0
        info = self._source.open()
        return replace(info, is_one_picture=info.is_one_picture or self._max_frames == 1)

    def read(self) -> Frame:
        """The next frame; EndOfSource at the limit."""
        if self._max_frames is not None and self._frames_read >= self._max_frames:
            raise EndOfSource
        try:
            frame = self._source.read()
        except NoFrame as silence:
            self._check_duration(silence.outage.time_ns)
            raise
        self._check_duration(frame.time_ns)
        self._frames_read += 1
        return frame

    def _check_duration(self, time_ns: int) -> None:
        if self._duration_s is not None and time_ns >= self._duration_s * 1e9:
            raise EndOfSource

    @property
    def inside(self) -> Source:
        """The source that is wrapped."""
        return self._source

    def close(self) -> None:
        """Release the source inside."""
        self._source.close()

    def stop(self) -> None:
        """End a wait in the source inside."""
        if isinstance(self._source, Stoppable):
            self._source.stop()


class Paced:
    """A recording played in real time, as a live source would give it; a live source is left as it is.

    A frame counts as captured at the start plus its own time. A camera has nothing to decode before the
    frame exists, so reading begins only when the frame is due: its age then holds the decoding.

    A reader that has fallen behind, because it is slow or was paused, skips frames until it is in time again,
    and counts them in `missed_before` of the next one. Where that does not help, because it takes as long to
    skip a frame as it lasts, the recording is slowed down: all that follows counts as captured later.
    """

    def __init__(self, source: Source, clock: Clock | None = None) -> None:
        self._source = source
        self._clock = clock or Clock()
        self._stopped = threading.Event()
        self._is_live = False
        self.skipped = 0
        """Frames that were read too late, and left out."""
        self.slowed_ns = 0
        """By how much the recording was slowed down in all."""

    def open(self) -> SourceInfo:
        """Open the source inside; the clock starts with the first `read`."""
        info = self._source.open()
        self._is_live = info.is_live
        period_ns = round(1e9 / info.rate_hz)
        self._period_ns = min(period_ns, LONGEST_PERIOD_NS)
        self._steps_ns = deque([period_ns if period_ns <= LONGEST_PERIOD_NS else 0], maxlen=2)
        self._late_limit_ns = max(LATE_LIMIT_NS, 2 * self._period_ns)
        self._start_ns: int | None = None
        self._last_ns = self._read_ns = 0
        self._is_slow = self._has_ended = False
        return replace(info, is_live=True, is_replayed=not self._is_live)

    def read(self) -> Frame:
        """The next frame, not before its time; EndOfSource once stopped."""
        if self._is_live:
            return self._source.read()
        if self._has_ended:
            raise EndOfSource
        if self._start_ns is None:
            self._start_ns = self._clock.monotonic_ns()
        else:
            self._wait_until(self._start_ns + self._last_ns + min(self._steps_ns))
        frame = self._read()
        if self._late_ns(frame) > self._late_limit_ns:
            frame = self._in_time_again(frame)
        self._wait_until(self._start_ns + frame.time_ns)
        if frame.time_ns > self._last_ns:
            self._steps_ns.append(min(frame.time_ns - self._last_ns, self._period_ns))
        self._last_ns = frame.time_ns
        return replace(frame, captured_ns=self._start_ns + frame.time_ns)

    def _in_time_again(self, frame: Frame) -> Frame:
        """A newer frame instead of one that is late; or the same, and the recording slowed down."""
        assert self._start_ns is not None
        first_late_ns = late_ns = self._late_ns(frame)
        began_ns, skipped, missed = self._clock.monotonic_ns(), 0, frame.missed_before
        skips = not self._is_slow or first_late_ns > SKIP_LIMIT_NS  # a pause is worth another try
        while skips and late_ns > self._period_ns and not self._stopped.is_set():
            try:
                frame = self._read()
            except EndOfSource:  # the last frame is the newest there is
                self._has_ended = True
                break
            skipped, missed = skipped + 1, missed + 1 + frame.missed_before
            late_ns = self._late_ns(frame)
            self._is_slow = skipped >= TRIES and late_ns >= first_late_ns
            skips = not self._is_slow and self._clock.monotonic_ns() - began_ns < SKIP_LIMIT_NS
        if late_ns > self._late_limit_ns:
            # What stays is the time that reading takes: the next frame is due when this one is there.
            slowed_ns = late_ns - min(self._read_ns, self._late_limit_ns // 2)
            self._start_ns += slowed_ns
            self.slowed_ns += slowed_ns
        self.skipped += skipped
        return replace(frame, missed_before=missed)

    def _read(self) -> Frame:
        began_ns = self._clock.monotonic_ns()
        frame = self._source.read()
        self._read_ns = self._clock.monotonic_ns() - began_ns
        return frame

    def _late_ns(self, frame: Frame) -> int:
        assert self._start_ns is not None
        return self._clock.monotonic_ns() - self._start_ns - frame.time_ns

    @property
    def inside(self) -> Source:
        """The source that is wrapped."""
        return self._source

    def close(self) -> None:
        """Release the source inside."""
        self._source.close()

    def stop(self) -> None:
        """End a wait in `read` at once, and the source with it."""
        self._stopped.set()
        if isinstance(self._source, Stoppable):
            self._source.stop()

    def _wait_until(self, due_ns: int) -> None:
        left_s = (due_ns - self._clock.monotonic_ns()) / 1e9
        if self._stopped.is_set() or (left_s > 0 and self._clock.wait(self._stopped, left_s)):
            raise EndOfSource
