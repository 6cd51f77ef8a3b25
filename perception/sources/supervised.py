"""A live source that no fault of camera or network can stop: silence is told, what hangs is replaced."""

from __future__ import annotations

import select
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol

from perception.frame import CameraState, Frame, Outage
from perception.sources.freshness import Backoff, Freshness, FreshnessSettings, ReconnectSettings
from perception.sources.reader import GRACE_S, ReaderDied
from perception.sources.source import EndOfSource, NoFrame, SourceError, SourceInfo

MARGIN_S: Final = 1.0
"""That a source gets beyond its own time limits before it counts as hung."""

Phase = Literal["idle", "opening", "running"]
_DOING: Final = {"opening": "it was opened", "running": "it was read"}


class FrameReader(Protocol):
    """What is used of `Reader`."""

    counts: dict[str, int]

    def open(self) -> None: ...
    def take(self) -> SourceInfo | Frame | None: ...
    def close(self, grace_s: float) -> None: ...
    def fileno(self) -> int: ...


@dataclass(frozen=True)
class Limits:
    """How long a source may take, and what is done when it takes longer."""

    open_timeout_s: float = 10.0
    read_timeout_s: float = 5.0
    freshness: FreshnessSettings = field(default_factory=FreshnessSettings)
    reconnect: ReconnectSettings = field(default_factory=ReconnectSettings)


@dataclass(frozen=True)
class Waiting:
    """Monotonic time, and waiting for a message; a test brings its own."""

    monotonic_ns: Callable[[], int] = time.monotonic_ns
    wait: Callable[[list[int], float], bool] = lambda descriptors, timeout_s: bool(
        select.select(descriptors, [], [], timeout_s)[0]
    )
    """Waits for one of the descriptors or so many seconds; true if one came."""


@dataclass
class Reconnects:
    """What it took to keep a source."""

    attempts: int = 0
    successes: int = 0
    hangs: int = 0
    """Processes that were killed because they neither gave a frame nor an error in time."""
    deaths: int = 0
    """Processes that ended by themselves."""


class Supervised:
    """A source in a reader process: `read` gives a frame, or tells at the nominal rate that there is none.

    A reader that fails is asked to open its source again, by and by more rarely; one that hangs beyond its
    time limits is killed and replaced. Frame ids and times go on over all that. A source that turns out to
    be a recording (a finished file over HTTP) is no camera: its errors and its end go on to the caller.
    """

    def __init__(
        self,
        new_reader: Callable[[], FrameReader],
        name: str,
        limits: Limits | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        """Make the source, not yet open.

        Args:
            new_reader: gives a reader whose process has not been started.
            name: of the source in errors and outages, without any password.
        """
        self._new_reader, self._name = new_reader, name
        self._limits, self._waiting = limits or Limits(), waiting or Waiting()
        self._reader: FrameReader | None = None
        self._wake: tuple[socket.socket, socket.socket] | None = None
        self._is_stopped = False
        self._info: SourceInfo | None = None
        self._phase: Phase = "idle"
        self._phase_ns = 0  # when it began, or when the last frame came
        self._problem = ""
        self._next_attempt_ns = 0
        self._numbers = _Numbers()
        self._counts_before: Counter[str] = Counter()
        self.reconnects = Reconnects()

    def open(self) -> SourceInfo:
        """Start the reader and wait for its source; raises SourceError if it does not open the first time."""
        self._backoff = Backoff(self._limits.reconnect)
        self._wake = socket.socketpair()
        info = self._opened_by(self._attempt)
        self._backoff = Backoff(self._limits.reconnect)
        self._freshness = Freshness(info.rate_hz, self._limits.freshness, self._now_ns())
        return info

    def rewind(self) -> None:
        """Let the same process begin a recording again; ids and times start from 0. Raises SourceError.

        Once stopped it does nothing, and `read` tells the end.
        """
        if self._reader is None:
            raise SourceError(f"{self._name}: not open")
        if self._is_stopped:
            return
        self._keep_counts()
        self._numbers = _Numbers()
        self._opened_by(self._ask)

    def read(self) -> Frame:
        """The next frame; EndOfSource once stopped.

        Raises:
            NoFrame: when one is overdue.
            SourceError: of a recording alone.
        """
        if self._info is None:
            raise SourceError(f"{self._name}: not open")
        while not self._is_stopped:
            try:
                if self._phase == "idle" and self._now_ns() >= self._next_attempt_ns:
                    self._attempt()
                frame = self._take()
            except (SourceError, EndOfSource) as error:
                if not self._info.is_live:
                    raise
                self._failed(error)
                continue
            now_ns = self._now_ns()
            if frame is not None:
                return self._fresh(frame, now_ns)
            if self._phase != "idle" and now_ns >= self._hung_ns():
                self._hung()
            if self._info.is_live and now_ns >= self._freshness.due_ns():
                raise NoFrame(self._outage(self._info, now_ns))
            self._wait(self._next_event_ns(self._info) - now_ns)
        raise EndOfSource

    def stop(self) -> None:
        """End a wait in `read` at once, and the source with it; may be called from any thread."""
        self._is_stopped = True
        if self._wake is not None:
            with suppress(OSError):  # closed just now
                self._wake[1].send(b"!")

    def close(self) -> None:
        """End the reader; safe to call twice."""
        self._end_reader(hangs=False)
        ends, self._wake = self._wake, None
        for end in ends or ():
            end.close()

    @property
    def period_ns(self) -> int | None:
        """Between two frames, as learnt; None before it was open."""
        return self._freshness.period_ns if self._info is not None else None

    @property
    def counts(self) -> dict[str, int]:
        """What the source counted, such as `decode_errors`, each time it was open."""
        return dict(self._counts_before + Counter(self._reader.counts if self._reader else {}))

    def _attempt(self) -> None:
        """Ask for the source to be opened; how that ends comes by `_take`."""
        now_ns = self._now_ns()
        self._next_attempt_ns = now_ns + self._backoff.next_step_ns()
        if self._info is not None:
            self.reconnects.attempts += 1
        self._ask()

    def _ask(self) -> None:
        self._phase, self._phase_ns = "opening", self._now_ns()
        if self._reader is None:
            self._reader = self._new_reader()
        self._reader.open()

    def _opened_by(self, ask: Callable[[], None]) -> SourceInfo:
        """What the source tells once it is open; ends the reader if it does not open in time."""
        try:
            ask()
            while self._phase == "opening" and not self._is_stopped:
                left_ns = self._hung_ns() - self._now_ns()
                if left_ns <= 0:
                    raise SourceError(f"{self._name}: did not open within {self._limits.open_timeout_s:g} s")
                self._wait(left_ns)
                self._take()
        except (SourceError, EndOfSource) as error:
            self._end_reader(hangs=self._now_ns() >= self._hung_ns())
            self.close()
            raise SourceError(str(error) or f"{self._name}: holds no frame") from None
        if self._info is None:
            raise SourceError(f"{self._name}: stopped before it was open")
        return self._info

    def _take(self) -> Frame | None:
        """A frame, if one is there; that the source is open is taken note of."""
        taken = self._reader.take() if self._reader is not None else None
        if not isinstance(taken, SourceInfo):
            return taken
        if self._info is None or self._info.is_live:
            self._info = taken
        self._phase, self._phase_ns = "running", self._now_ns()
        self._numbers.begin_session()
        return None

    def _fresh(self, frame: Frame, now_ns: int) -> Frame:
        if self._backoff.attempts:
            self.reconnects.successes += 1
            self._backoff = Backoff(self._limits.reconnect)
        self._phase_ns = now_ns
        self._freshness.frame(now_ns)
        return self._numbers.give(frame)

    def _failed(self, error: Exception) -> None:
        """The source has ended by itself; its reader, if it is still there, can open it again."""
        self._problem = str(error) or f"{self._name}: ended"
        if isinstance(error, ReaderDied):
            self.reconnects.deaths += 1
            self._end_reader(hangs=True)
        else:
            self._keep_counts()
            self._phase = "idle"

    def _hung(self) -> None:
        waited_s = (self._now_ns() - self._phase_ns) / 1e9
        self._problem = f"{self._name}: hung for {waited_s:.1f} s while {_DOING[self._phase]}"
        self.reconnects.hangs += 1
        self._end_reader(hangs=True)

    def _end_reader(self, hangs: bool) -> None:
        if self._reader is not None:
            self._keep_counts()
            self._reader.close(0.0 if hangs else GRACE_S)
            self._reader = None
        self._phase = "idle"

    def _keep_counts(self) -> None:
        if self._reader is not None:
            self._counts_before.update(self._reader.counts)
            self._reader.counts = {}

    def _outage(self, info: SourceInfo, now_ns: int) -> Outage:
        state = self._freshness.tell(now_ns)
        reason = f"no frame for {self._freshness.silent_ns(now_ns) / 1e9:.1f} s"
        if self._phase != "running":
            state = CameraState.LOST
            reason += f"; {self._problem}; "
            if self._phase == "idle":
                next_s = max(0, self._next_attempt_ns - now_ns) / 1e9
                reason += f"attempt {self._backoff.attempts + 1} to reconnect in {next_s:.1f} s"
            else:
                reason += f"attempt {self._backoff.attempts} to reconnect"
        return Outage(
            source_id=info.source_id,
            frame_wh=info.frame_wh,
            time_ns=self._numbers.time_ns(now_ns),
            captured_ns=self._numbers.last_captured_ns,
            camera_state=state,
            camera_reason=reason,
        )

    def _hung_ns(self) -> int:
        """When the reader has been silent for too long."""
        limit_s = (
            self._limits.open_timeout_s if self._phase == "opening" else self._limits.read_timeout_s
        ) + MARGIN_S
        return self._phase_ns + round(limit_s * 1e9)

    def _next_event_ns(self, info: SourceInfo) -> int:
        next_ns = self._next_attempt_ns if self._phase == "idle" else self._hung_ns()
        return min(next_ns, self._freshness.due_ns()) if info.is_live else next_ns

    def _now_ns(self) -> int:
        return self._waiting.monotonic_ns()

    def _wait(self, for_ns: int) -> None:
        descriptors = [self._wake[0].fileno()] if self._wake else []
        if self._reader is not None:
            descriptors.append(self._reader.fileno())
        self._waiting.wait(descriptors, max(0, for_ns) / 1e9)


class _Numbers:
    """Frame ids and times that go on over a source that was opened again and again."""

    def __init__(self) -> None:
        self.last_captured_ns: int | None = None
        self._next_id, self._last_time_ns = 0, 0
        self._first_id, self._first_time_ns = 0, 0
        self._is_new_session = True

    def begin_session(self) -> None:
        """The next frame is the first since the source was opened."""
        self._is_new_session = True

    def give(self, frame: Frame) -> Frame:
        """The frame with its number and time over all sessions."""
        if self._is_new_session:
            self._is_new_session = False
            self._first_id = self._next_id - frame.frame_id
            self._first_time_ns = self.time_ns(frame.captured_ns) - frame.time_ns
        frame_id, time_ns = self._first_id + frame.frame_id, self._first_time_ns + frame.time_ns
        self._next_id, self._last_time_ns, self.last_captured_ns = frame_id + 1, time_ns, frame.captured_ns
        name = f"{frame_id:06d}" if frame.name == f"{frame.frame_id:06d}" else frame.name
        return replace(frame, frame_id=frame_id, time_ns=time_ns, name=name)

    def time_ns(self, now_ns: int) -> int:
        """The source's own time at a moment after the last frame."""
        if self.last_captured_ns is None:
            return 0
        return self._last_time_ns + max(1, now_ns - self.last_captured_ns)
