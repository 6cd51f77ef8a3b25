"""The posts of a crew: what is done at each, when it is worth going there, and what lies between them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from perception.frame import Frame, Outage, Output, Prediction
from perception.pipeline.gauges import Gauges
from perception.sinks.sink import Sink
from perception.sources.source import EndOfSource

Seen = Frame | Outage
"""What a source gives."""

A = TypeVar("A")
B = TypeVar("B")

PERCEIVE_BURST: Final = 4
OUTPUTS_AHEAD: Final = 4
"""Outputs, at least, that may wait for a sink before nothing more is perceived."""


class Flow:
    """What lies between the posts; only touched with the crew's lock held."""

    def __init__(self, publish: Callable[[Output], Output]) -> None:
        self.frames: deque[Seen] = deque()
        self.sinks: list[SinkPost] = []
        self.is_over = False
        """Nothing more is captured."""
        self._publish = publish
        self._taken = self._delivered = 0
        self._early: dict[int, Output | None] = {}
        self._is_abandoned = False

    @property
    def is_through(self) -> bool:
        """No sink gets anything more."""
        return self.is_over and not self.frames and (self._is_abandoned or self.in_hand == 0)

    @property
    def in_hand(self) -> int:
        """Frames that were taken to be perceived and have not come to the sinks."""
        return self._taken - self._delivered

    def take(self) -> tuple[int, Seen]:
        """The oldest frame, and its number."""
        self._taken += 1
        return self._taken - 1, self.frames.popleft()

    def deliver(self, number: int, output: Output | None) -> None:
        """Publish it, and what waited for it; None is what cannot be had. Raises what publishing raises."""
        self._early[number] = output
        while self._delivered in self._early and not self._is_abandoned:
            self._delivered += 1
            ready = self._early.pop(self._delivered - 1)
            if ready is not None:
                published = self._publish(ready)
                for sink in self.sinks:
                    sink.hand_over(published)

    def break_off(self) -> None:
        """Perceive nothing that has not been begun."""
        self.is_over = True
        self.frames.clear()

    def abandon(self) -> None:
        """Wait for nothing: the sinks finish with what they have."""
        self.break_off()
        self._is_abandoned = True


class Post(ABC, Generic[A, B]):
    """A place of work for one thread at a time. All but `work` is called with the crew's lock held."""

    worth = 1
    """Items for which it is worth coming while there is other work."""
    burst = 1
    """Items in a row, at most, while there is other work."""

    def __init__(self, name: str, flow: Flow, gauges: Gauges, *, is_timed: bool) -> None:
        self.name = name
        self.is_manned = False
        self._flow = flow
        self._errors = gauges.errors
        self._times = gauges.times_of(name) if is_timed else None
        self._pulse = gauges.pulse_of(name)

    @property
    def busy_s(self) -> float:
        """How long a thread has been at one item."""
        return self._pulse.busy_ns() / 1e9

    def work(self, item: A) -> B:
        """Do what is to be done with the item; watched and timed. Raises what the stage raises."""
        started_ns = self._pulse.begin()
        try:
            result = self._step(item)
        finally:
            ended_ns = self._pulse.end()
        if self._times:
            self._times.add(ended_ns - started_ns)
        return result

    @abstractmethod
    def waiting(self) -> int:
        """Items that could be done now, one after the other."""

    @abstractmethod
    def take(self) -> A:
        """The next one of them."""

    @abstractmethod
    def deliver(self, item: A, result: B) -> None:
        """It is done."""

    @abstractmethod
    def fail(self, item: A, error: Exception) -> None:
        """It could not be done; the run ends."""

    @abstractmethod
    def _step(self, item: A) -> B: ...


class CapturePost(Post[None, Seen]):
    """Reads the source."""

    def __init__(
        self, capture: Callable[[], Seen], flow: Flow, gauges: Gauges, *, ahead: int, burst: int
    ) -> None:
        """Args:
        ahead: frames that may wait before a burst of `burst` more is read.
        """
        super().__init__("capture", flow, gauges, is_timed=True)
        self.worth = self.burst = burst
        self._capture = capture
        self._most = ahead + burst

    def waiting(self) -> int:
        """Room for frames."""
        return 0 if self._flow.is_over else self._most - len(self._flow.frames)

    def take(self) -> None:
        """Nothing is needed to read a frame."""

    def deliver(self, item: None, result: Seen) -> None:
        """A frame that comes after a stop is not perceived any more."""
        if not self._flow.is_over:
            self._flow.frames.append(result)

    def fail(self, item: None, error: Exception) -> None:
        """What was read before goes on."""
        self._flow.is_over = True
        if not isinstance(error, EndOfSource):
            self._errors.append((self.name, error))

    def _step(self, item: None) -> Seen:
        return self._capture()


class PerceivePost(Post[tuple[int, Seen], Output]):
    """One worker perceives."""

    burst = PERCEIVE_BURST

    def __init__(
        self,
        number: int,
        perceive: Callable[[Frame], Prediction],
        flow: Flow,
        gauges: Gauges,
        *,
        ahead: int,
    ) -> None:
        """Args:
        ahead: frames that all workers may have in hand, with those that wait for an earlier one.
        """
        super().__init__(f"perceive-{number}", flow, gauges, is_timed=False)
        self._perceive, self._ahead = perceive, ahead

    def waiting(self) -> int:
        """Frames; none while the sinks lag behind."""
        has_room = self._flow.in_hand < self._ahead and all(sink.has_room for sink in self._flow.sinks)
        return len(self._flow.frames) if has_room else 0

    def take(self) -> tuple[int, Seen]:
        """The oldest frame, with its number."""
        return self._flow.take()

    def deliver(self, item: tuple[int, Seen], result: Output) -> None:
        """It is published in its place."""
        self._flow.deliver(item[0], result)

    def fail(self, item: tuple[int, Seen], error: Exception) -> None:
        """What others have begun is still published."""
        self._errors.append((self.name, error))
        self._flow.break_off()
        self._flow.deliver(item[0], None)

    def _step(self, item: tuple[int, Seen]) -> Output:
        seen = item[1]
        return self._perceive(seen) if isinstance(seen, Frame) else seen


class SinkPost(Post[Output | None, None]):
    """Writes to one sink, and closes it in the end."""

    dropped = restarts = 0
    """Of a recording nothing is dropped, and no sink is started anew."""

    def __init__(self, sink: Sink, flow: Flow, gauges: Gauges, *, burst: int) -> None:
        """Make the post; `sink` is open already, and may lag behind by two bursts."""
        super().__init__(f"sink {sink.name}", flow, gauges, is_timed=True)
        self.burst = burst
        self.is_closed = False
        self._sink = sink
        self._outputs: deque[Output] = deque()
        self._has_failed = False
        flow.sinks.append(self)

    @property
    def worth(self) -> int:  # type: ignore[override]
        """Half a burst; towards the end a single one, for what is left then one thread has to write alone."""
        return 1 if self._flow.is_over else max(1, self.burst // 2)

    @property
    def trouble(self) -> str | None:
        """What is wrong with it, or missing in what it wrote, in one line; None while all is well."""
        return self._sink.trouble

    @property
    def has_room(self) -> bool:
        """Whether it lags behind by less than it may."""
        return len(self._outputs) < max(OUTPUTS_AHEAD, 2 * self.burst)

    def hand_over(self, output: Output) -> None:
        """To be written, unless the sink has failed."""
        if not (self._has_failed or self.is_closed):
            self._outputs.append(output)

    def waiting(self) -> int:
        """Outputs, or the closing."""
        is_last = not self.is_closed and (self._has_failed or self._flow.is_through)
        return len(self._outputs) or int(is_last)

    def take(self) -> Output | None:
        """The oldest output; None to close."""
        if self._outputs:
            return self._outputs.popleft()
        self.is_closed, self._times = True, None  # which are of frames
        return None

    def deliver(self, item: Output | None, result: None) -> None:
        """Nothing comes behind a sink."""

    def fail(self, item: Output | None, error: Exception) -> None:
        """The other sinks write what is published already; of one that failed the first error counts."""
        if not self._has_failed:
            self._errors.append((self.name, error))
        self._has_failed = True
        self._outputs.clear()
        self._flow.break_off()

    def _step(self, item: Output | None) -> None:
        if item is None:
            self._sink.close()
        else:
            self._sink.write(item)
