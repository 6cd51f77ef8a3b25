"""Sources that loop, leave frames out, end early or keep real time."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from typing import Final

from perception.frame import Frame
from perception.sources.counts import Pace, SourceCounts
from perception.sources.source import EndOfSource, NoFrame, Source, SourceError, SourceInfo
from perception.system.clock import Clock
from perception.system.time_limits import SKIP_LIMIT_S

LATE_LIMIT_NS: Final = 250_000_000
"""Tolerated delay of a recording in real time: half of the age at which a mask is withheld."""
SKIP_LIMIT_NS: Final = round(SKIP_LIMIT_S * 1e9)
"""A delay that remains then slows the recording down."""
LONGEST_PERIOD_NS: Final = 1_000_000_000
"""A longer nominal period may be the average over a pause; then the latest steps predict the next frame."""
TRIES: Final = 4
"""Frames to skip before checking whether it helps."""


class _Wrapper(Source):
    """Passes everything on to the source inside."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def open(self) -> SourceInfo:
        """Open the source inside."""
        return self._source.open()

    def close(self) -> None:
        """Release the source inside."""
        self._source.close()

    def stop(self) -> None:
        """End a wait in the source inside."""
        self._source.stop()

    def counts(self) -> SourceCounts:
        """Counters of the source inside."""
        return self._source.counts()

    def pace(self) -> Pace | None:
        """The rate of the source inside."""
        return self._source.pace()


class Looped(_Wrapper):
    """A recording that starts over at its end; frame ids and times continue.

    The first frame of a round follows the last one of the previous round by one nominal period, or by the
    last step if that is shorter: a nominal period may be the average over a long pause. Frame names of later
    rounds carry the round, so that no file is overwritten.
    """

    def open(self) -> SourceInfo:
        """Open the first round; raises SourceError for a live source, which has no end to start over from."""
        info = super().open()
        if info.is_live:
            self.close()
            raise SourceError(f"{info.source_id}: is live and cannot be looped; leave out loop")
        self._period_ns = round(1e9 / info.rate_hz)
        self._round, self._frames_in_round = 0, 0
        self._first_id, self._first_ns = 0, 0
        self._next_id, self._next_ns, self._last_ns = 0, 0, 0
        return replace(info, frames_expected=0)

    def read(self) -> Frame:
        """The next frame of this round or the first of the next; ends only if a round gives no frame."""
        try:
            frame = self._source.read()
        except EndOfSource:
            if self._frames_in_round == 0:
                raise
            self._source.rewind()
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


def _with_missed(frame: Frame, missed: int) -> Frame:
    """The frame with those that were missed among the frames left out before it."""
    return replace(frame, missed_before=missed + frame.missed_before) if missed else frame


class Sampled(_Wrapper):
    """Every nth frame of a recording, the first included; ids, names and times are those of the recording.

    All frames are decoded, as most of them are needed for those after them.
    """

    def __init__(self, source: Source, every: int) -> None:
        super().__init__(source)
        self._every, self._has_begun = every, False

    def open(self) -> SourceInfo:
        """Open the source inside; raises SourceError for a live source, of which the newest frame counts."""
        info = super().open()
        if info.is_live:
            self.close()
            raise SourceError(f"{info.source_id}: is live, and every is for recordings; leave it out")
        self._has_begun = False
        frames_expected = -(-info.frames_expected // self._every)
        return replace(info, rate_hz=info.rate_hz / self._every, frames_expected=frames_expected)

    def read(self) -> Frame:
        """The next frame that is not left out."""
        missed = 0
        for _ in range(self._every - 1 if self._has_begun else 0):
            missed += self._source.read().missed_before
        self._has_begun = True
        return _with_missed(self._source.read(), missed)


class Capped(_Wrapper):
    """At most so many frames a second of the source's own time; the others are left out, and not counted."""

    def __init__(self, source: Source, limit_hz: float) -> None:
        super().__init__(source)
        self._period_ns = round(1e9 / limit_hz)
        self._due_ns = 0

    def open(self) -> SourceInfo:
        """Open the source inside."""
        info = super().open()
        self._due_ns = 0
        self._early_ns = round(1e9 / info.rate_hz / 4)
        rate_hz = min(info.rate_hz, 1e9 / self._period_ns)
        return replace(
            info, rate_hz=rate_hz, frames_expected=round(info.frames_expected * rate_hz / info.rate_hz)
        )

    def read(self) -> Frame:
        """The next frame that is due."""
        missed = 0
        while (frame := self._source.read()).time_ns + self._early_ns < self._due_ns:
            missed += frame.missed_before
        # what comes late does not make those after it come early
        self._due_ns = max(self._due_ns, frame.time_ns - self._period_ns) + self._period_ns
        return _with_missed(frame, missed)

    def pace(self) -> Pace | None:
        """The rate at which frames are taken."""
        inside = self._source.pace()
        if inside is None or inside.period_ns >= self._period_ns:
            return inside
        return Pace(self._period_ns, max(inside.stale_after_ns, self._period_ns))


class Named(_Wrapper):
    """A source under a name of its own."""

    def __init__(self, source: Source, name: str) -> None:
        super().__init__(source)
        self._name = name

    def open(self) -> SourceInfo:
        """Open the source inside."""
        return replace(super().open(), source_id=self._name)

    def read(self) -> Frame:
        """The next frame, under that name."""
        try:
            return replace(self._source.read(), source_id=self._name)
        except NoFrame as silence:
            raise NoFrame(replace(silence.record, source_id=self._name)) from None


class Limited(_Wrapper):
    """Ends after a number of frames or of seconds of the source's own time, whichever comes first."""

    def __init__(
        self, source: Source, max_frames: int | None = None, duration_s: float | None = None
    ) -> None:
        super().__init__(source)
        self._max_frames, self._duration_s = max_frames, duration_s
        self._frames_read = 0

    def open(self) -> SourceInfo:
        """Open the source inside."""
        self._frames_read = 0
        info = super().open()
        seconds = None if self._duration_s is None else round(self._duration_s * info.rate_hz)
        limits = (limit for limit in (info.frames_expected, self._max_frames, seconds) if limit)
        return replace(info, frames_expected=min(limits, default=0))

    def read(self) -> Frame:
        """The next frame; EndOfSource at the limit."""
        if self._max_frames is not None and self._frames_read >= self._max_frames:
            raise EndOfSource
        try:
            frame = self._source.read()
        except NoFrame as silence:
            self._check_duration(silence.record.time_ns)
            raise
        self._check_duration(frame.time_ns)
        self._frames_read += 1
        return frame

    def _check_duration(self, time_ns: int) -> None:
        if self._duration_s is not None and time_ns >= self._duration_s * 1e9:
            raise EndOfSource


class Paced(_Wrapper):
    """A recording played in real time, as a live source would give it; a live source is passed through.

    A frame counts as captured at the start of the run plus its own time. It is read only when it is due, as a
    camera cannot decode a frame that does not exist yet: its age includes the decoding.

    If reading falls behind, frames are skipped until it has caught up, and counted in `missed_before` of the
    next one. If skipping takes as long as playing, the recording is slowed down instead: the following frames
    count as captured later.
    """

    def __init__(self, source: Source, clock: Clock | None = None) -> None:
        super().__init__(source)
        self._clock = clock or Clock()
        self._stopped = threading.Event()
        self._is_live = False
        self.skipped = 0
        """Frames that were read too late and left out."""
        self.slowed_ns = 0
        """By how much the recording was slowed down in total."""

    def open(self) -> SourceInfo:
        """Open the source inside; the clock starts with the first `read`."""
        info = super().open()
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
        """A newer frame instead of a late one, or the same one with the recording slowed down."""
        assert self._start_ns is not None
        first_late_ns = late_ns = self._late_ns(frame)
        began_ns, skipped, missed = self._clock.monotonic_ns(), 0, frame.missed_before
        skips = not self._is_slow or first_late_ns > SKIP_LIMIT_NS  # after a pause, skipping is tried again
        while skips and late_ns > self._period_ns and not self._stopped.is_set():
            try:
                frame = self._read()
            except EndOfSource:  # keep the last frame
                self._has_ended = True
                break
            skipped, missed = skipped + 1, missed + 1 + frame.missed_before
            late_ns = self._late_ns(frame)
            self._is_slow = skipped >= TRIES and late_ns >= first_late_ns
            skips = not self._is_slow and self._clock.monotonic_ns() - began_ns < SKIP_LIMIT_NS
        if late_ns > self._late_limit_ns:
            # except for the time that reading takes: the next frame is due when this one has been read
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

    def stop(self) -> None:
        """End a wait in `read` immediately, and the source."""
        self._stopped.set()
        super().stop()

    def counts(self) -> SourceCounts:
        """Counters of the source inside, with the frames skipped here."""
        return replace(super().counts(), skipped=self.skipped, slowed_ms=self.slowed_ns // 1_000_000)

    def _wait_until(self, due_ns: int) -> None:
        left_s = (due_ns - self._clock.monotonic_ns()) / 1e9
        if self._stopped.is_set() or (left_s > 0 and self._clock.wait(self._stopped, left_s)):
            raise EndOfSource
