"""A live source that survives faults of camera and network: it reports silence and reconnects."""

from __future__ import annotations

import logging
import math
import select
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol

from perception.frame import CameraState, Frame, NoFrameRecord
from perception.sources.counts import Pace, SourceCounts
from perception.sources.isolated.freshness import Backoff, Freshness, FreshnessSettings, ReconnectSettings
from perception.sources.isolated.reader import ReaderDied, ReaderLost, ReaderMalformed
from perception.sources.isolated.sessions import Lateness, Numbers
from perception.sources.source import EndOfSource, NoFrame, Source, SourceError, SourceInfo
from perception.system.time_limits import (
    OPEN_TIMEOUT_S,
    READ_TIMEOUT_S,
    READER_GRACE_S,
    READER_MARGIN_S,
    READER_START_S,
)

log = logging.getLogger(__name__)


Phase = Literal["idle", "opening", "running"]
_DOING: Final = {"opening": "it was opened", "running": "it was read"}


class FrameReader(Protocol):
    """What `IsolatedSource` needs of `Reader`."""

    counts: dict[str, int]

    @property
    def waits_for_slot(self) -> bool: ...
    def open(self) -> None: ...
    def take(self) -> SourceInfo | Frame | None: ...
    def close(self, grace_s: float) -> None: ...
    def fileno(self) -> int: ...


@dataclass(frozen=True)
class Limits:
    """Time limits of a source, and what happens when they are exceeded."""

    open_timeout_s: float = OPEN_TIMEOUT_S
    read_timeout_s: float = READ_TIMEOUT_S
    freshness: FreshnessSettings = field(default_factory=FreshnessSettings)
    reconnect: ReconnectSettings = field(default_factory=ReconnectSettings)
    open_retries: int | None = 0
    """How often a live source that does not open at first is retried; None for ever."""


def _poll(descriptors: list[int], timeout_s: float) -> bool:
    poll = select.poll()  # select.select takes no descriptor above 1023
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(math.ceil(timeout_s * 1000)))


@dataclass(frozen=True)
class Waiting:
    """Monotonic clock and poll, replaced in tests."""

    monotonic_ns: Callable[[], int] = time.monotonic_ns
    wait: Callable[[list[int], float], bool] = _poll
    """Waits for one of the descriptors, for at most so many seconds; true if one is ready."""


class IsolatedSource(Source):
    """A source in a reader process: `read` gives a frame, or raises NoFrame at the nominal rate.

    A failed source is reopened with exponential back-off; a process that hangs, dies or sends an invalid
    message is replaced. Frame ids and times continue. If the source turns out to be a recording (a finished
    file over HTTP), its errors and its end are passed on, and nothing is read twice.
    """

    def __init__(
        self,
        new_reader: Callable[[], FrameReader],
        name: str,
        limits: Limits | None = None,
        waiting: Waiting | None = None,
        awaited: SourceInfo | None = None,
    ) -> None:
        """Make the source, not yet open.

        Args:
            new_reader: gives a reader whose process has not been started.
            name: of the source in errors and outages, without any password.
            limits: time limits and retries.
            waiting: clock and poll.
            awaited: info to start with if a live source does not open at first.
        """
        self._new_reader, self._name = new_reader, name
        self._limits, self._waiting = limits or Limits(), waiting or Waiting()
        self._awaited = awaited
        self._reader: FrameReader | None = None
        self._wake: tuple[socket.socket, socket.socket] | None = None
        self._is_stopped = False
        self._info: SourceInfo | None = None
        self._was_open = False
        self._phase: Phase = "idle"
        self._phase_ns = 0  # when it began, or when the last frame arrived
        self._start_s = 0.0  # added to the limit for opening if a process has to be started
        self._problem = ""
        self._end: Exception | None = None
        self._next_attempt_ns = 0
        self._numbers = Numbers()
        self._lateness = Lateness(self._limits.freshness.max_age_s)
        self._counts = Counter[str]()  # fields of SourceCounts, without those of the current session

    def open(self) -> SourceInfo:
        """Start the reader and wait for its source.

        A live source that fails to open and may be retried (`Limits.open_retries`) gives `awaited`; `read`
        then raises NoFrame until it is open.

        Raises:
            SourceError: if it does not open and is not retried.
        """
        self._info, self._was_open, self._end, self._numbers = None, False, None, Numbers()
        self._backoff = Backoff(self._limits.reconnect)
        try:
            self._wake = socket.socketpair()
        except OSError as error:
            raise SourceError(f"{self._name}: cannot be opened: {error.strerror}") from None
        try:
            info = self._first_info()
            self._backoff = Backoff(self._limits.reconnect)
        except SourceError as error:
            if self._awaited is None or self._is_stopped or not self._may_try_again:
                self.close()
                raise
            self._problem, self._info = str(error), self._awaited
            info = self._awaited
        self._freshness = Freshness(info.rate, self._limits.freshness, self._now_ns())
        self._numbers.begin(self._now_ns())
        return info

    def read(self) -> Frame:
        """The next frame; EndOfSource once stopped.

        Raises:
            NoFrame: when a frame is overdue.
            SourceError: from a recording, or from a live source that never opened and has used its retries.
        """
        if self._info is None:
            raise SourceError(f"{self._name}: not open")
        if self._end is not None:  # a recording that ended is not reopened: it would repeat its frames
            raise self._end
        while not self._is_stopped:
            try:
                if self._phase == "idle" and self._now_ns() >= self._next_attempt_ns:
                    self._attempt()
                frame = self._take()
                now_ns = self._now_ns()
                if frame is not None:
                    return self._fresh(frame, now_ns)
                if self._reader is not None and self._reader.waits_for_slot:
                    self._phase_ns = now_ns  # the recording waits for this process
                elif self._phase != "idle" and now_ns >= self._hung_ns():
                    waited_s = (now_ns - self._phase_ns) / 1e9
                    raise _HungError(f"{self._name}: hung for {waited_s:.1f} s while {_DOING[self._phase]}")
            except (SourceError, EndOfSource) as error:
                self._failed(error)
                if not self._is_worth_trying(error):
                    self._end = error
                    raise
                continue
            if self._info.is_live and now_ns >= self._due_ns():
                raise NoFrame(self._outage(self._info, now_ns))
            self._wait(self._next_event_ns(self._info) - now_ns)
        raise EndOfSource

    def stop(self) -> None:
        """End `read` and `open` immediately, and the source; may be called from any thread."""
        self._is_stopped = True
        if self._wake is not None:
            with suppress(OSError):  # just closed
                self._wake[1].send(b"!")

    def close(self) -> None:
        """End the reader; safe to call twice."""
        self._end_reader(hangs=False)
        ends, self._wake = self._wake, None
        for end in ends or ():
            end.close()

    def pace(self) -> Pace | None:
        """As learnt; None before `open`."""
        if self._info is None:
            return None
        return Pace(self._freshness.period_ns, self._freshness.stale_after_ns)

    def counts(self) -> SourceCounts:
        """Of all sessions together."""
        of_reader = Counter(self._reader.counts) if self._reader is not None else Counter[str]()
        return SourceCounts(**(self._counts + of_reader))

    @property
    def _may_try_again(self) -> bool:
        """Whether a source that has never been open has retries left."""
        retries = self._limits.open_retries
        return retries is None or self._backoff.attempts <= retries

    def _is_worth_trying(self, error: Exception) -> bool:
        if self._info is None or not self._info.is_live or isinstance(error, _RecordedError | EndOfSource):
            return False
        return self._was_open or self._may_try_again

    def _attempt(self) -> None:
        """Request the source to be opened; `_take` receives the outcome."""
        now_ns = self._now_ns()
        self._next_attempt_ns = now_ns + self._backoff.next_step_ns()
        if self._info is not None:
            self._counts["reconnect_attempts"] += 1
        log.debug(f"{self._name}: attempt {self._backoff.attempts} to open it")
        self._ask()

    def _ask(self) -> None:
        self._phase, self._phase_ns = "opening", self._now_ns()
        self._start_s = 0.0
        if self._reader is None:
            self._reader, self._start_s = self._new_reader(), READER_START_S
        self._reader.open()

    def _first_info(self) -> SourceInfo:
        """The info of the opened source; ends the reader if it does not open in time."""
        try:
            self._attempt()
            while self._phase == "opening" and not self._is_stopped:
                left_ns = self._hung_ns() - self._now_ns()
                if left_ns <= 0:
                    waited_s = (self._now_ns() - self._phase_ns) / 1e9
                    raise SourceError(f"{self._name}: did not open within {waited_s:.1f} s")
                self._wait(left_ns)
                self._take()
        except (SourceError, EndOfSource) as error:
            self._end_reader(hangs=self._now_ns() >= self._hung_ns())
            raise SourceError(str(error) or f"{self._name}: holds no frame") from None
        if self._info is None:
            raise SourceError(f"{self._name}: stopped before it was open")
        return self._info

    def _take(self) -> Frame | None:
        """A frame if one has arrived; also handles the message that the source is open."""
        taken = self._reader.take() if self._reader is not None else None
        if taken is None:
            return None
        if not isinstance(taken, SourceInfo):
            # frames before the source is reopened belong to the previous session
            return taken if self._phase == "running" else None
        if self._info is not None and self._info.is_live and not taken.is_live:
            raise _RecordedError(
                f"{self._name}: is a recording, not the live source that was expected; start again"
            )
        if self._info is not None and self._info.is_live:
            self._freshness.set_rate(taken.rate)
        if self._info is None or self._info.is_live:
            self._info = taken
        self._was_open = True
        log.debug(f"{self._name}: open, {taken.rate}, {taken.description}")
        self._phase, self._phase_ns = "running", self._now_ns()
        self._numbers.begin_session()
        return None

    def _fresh(self, frame: Frame, now_ns: int) -> Frame:
        if self._backoff.attempts:
            self._counts["reconnects"] += 1
            self._backoff = Backoff(self._limits.reconnect)
        self._phase_ns = now_ns
        self._freshness.frame(now_ns)
        if self._info is not None and self._info.is_live and self._lateness.is_lasting(frame, now_ns):
            age_s = (now_ns - frame.captured_ns) / 1e9
            self._problem = f"{self._name}: its frames arrived {age_s:.1f} s late"
            self._counts["late"] += 1
            self._phase = "idle"
            self._next_attempt_ns = now_ns
        info = self._info
        if info is not None and (info.frame_wh, info.pixel_aspect) != (frame.frame_wh, frame.pixel_aspect):
            self._info = replace(info, frame_wh=frame.frame_wh, pixel_aspect=frame.pixel_aspect)
        return self._numbers.give(frame)

    def _failed(self, error: Exception) -> None:
        """Handle an error or the end of the source; its reader, if still there, can reopen it."""
        self._problem = str(error) or f"{self._name}: ended"
        log.debug(self._problem)
        if isinstance(error, _HungError):
            self._counts["hangs"] += 1
        elif isinstance(error, ReaderDied):
            self._counts["deaths"] += 1
        elif isinstance(error, ReaderMalformed):
            self._counts["malformed"] += 1
        if isinstance(error, _HungError | ReaderLost):
            self._end_reader(hangs=True)
        else:
            self._keep_counts()
            self._rest()

    def _end_reader(self, hangs: bool) -> None:
        if self._reader is not None:
            self._keep_counts()
            self._reader.close(0.0 if hangs else READER_GRACE_S)
            self._reader = None
        self._rest()

    def _rest(self) -> None:
        """Wait for the next attempt; one that took half of its step has waited enough."""
        now_ns, began_ns = self._now_ns(), self._phase_ns
        if self._phase == "opening" and 2 * (now_ns - began_ns) >= self._next_attempt_ns - began_ns:
            self._next_attempt_ns = now_ns
        self._phase = "idle"

    def _keep_counts(self) -> None:
        if self._reader is not None:
            self._counts.update(self._reader.counts)
            self._reader.counts = {}

    def _outage(self, info: SourceInfo, now_ns: int) -> NoFrameRecord:
        state = self._freshness.report(now_ns)
        reason = f"no frame for {self._freshness.silent_ns(now_ns) / 1e9:.1f} s"
        if self._phase != "running":
            state = CameraState.LOST
            reason += f"; {self._problem}; "
            again = "reconnect" if self._was_open else "open it"
            if self._phase == "idle":
                next_s = max(0, self._next_attempt_ns - now_ns) / 1e9
                reason += f"attempt {self._backoff.attempts + 1} to {again} in {next_s:.1f} s"
            else:
                reason += f"attempt {self._backoff.attempts} to {again}"
        return NoFrameRecord(
            source_id=info.source_id,
            frame_wh=info.frame_wh,
            time_ns=self._numbers.outage_ns(now_ns),
            captured_ns=self._numbers.last_captured_ns,
            camera_state=state,
            camera_reason=reason,
            pixel_aspect=info.pixel_aspect,
        )

    def _hung_ns(self) -> int:
        """When the reader will have been silent for too long."""
        limit_s = self._limits.open_timeout_s + self._start_s
        if self._phase == "running":
            limit_s = self._limits.read_timeout_s + (self._info.burst_s if self._info else 0.0)
        return self._phase_ns + round((limit_s + READER_MARGIN_S) * 1e9)

    def _next_event_ns(self, info: SourceInfo) -> int:
        next_ns = self._next_attempt_ns if self._phase == "idle" else self._hung_ns()
        return min(next_ns, self._due_ns()) if info.is_live else next_ns

    def _due_ns(self) -> int:
        return self._freshness.due_ns(is_open=self._phase == "running")

    def _now_ns(self) -> int:
        return self._waiting.monotonic_ns()

    def _wait(self, for_ns: int) -> None:
        descriptors = [self._wake[0].fileno()] if self._wake else []
        if self._reader is not None and self._reader.fileno() >= 0:
            descriptors.append(self._reader.fileno())
        until_ns = self._now_ns() + max(0, for_ns)
        self._waiting.wait(descriptors, max(0, for_ns) / 1e9)
        if (
            self._now_ns() - until_ns > READER_MARGIN_S * 1e9
        ):  # this process was suspended, the reader perhaps too
            self._phase_ns = self._now_ns()


class _HungError(SourceError):
    """The reader sent nothing in time."""


class _RecordedError(SourceError):
    """A source that was expected to be live is a recording."""
