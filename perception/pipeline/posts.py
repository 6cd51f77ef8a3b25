"""The posts of a crew: what is done at each, when it is worth going there, and what lies between them."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from perception.frame import OutputItem, SourceItem
from perception.pipeline.gauges import Gauges
from perception.sinks.sink import Sink
from perception.sources.source import EndOfSource

A = TypeVar("A")
B = TypeVar("B")

WAITS_AFTER_NS: Final = 50_000_000
"""At one item: who has been at it for longer is waiting, whatever it did before."""
LOAD_ITEMS: Final = 8
"""Over which a load is averaged."""
PERCEIVE_BURST: Final = 4
PUBLISH_BURST: Final = 8
OUTPUTS_AHEAD: Final = 4
"""Outputs, at least, that may wait for a sink before nothing more is predicted."""


class Flow:
    """What lies between the posts; only touched with the crew's lock held."""

    def __init__(self) -> None:
        self.frames: deque[SourceItem] = deque()
        """That wait to be predicted."""
        self.outputs: deque[OutputItem] = deque()
        """That wait to be published, in the order of their frames."""
        self.sinks: list[SinkPost] = []
        self.is_over = False
        """Nothing more is captured."""
        self.in_hand = 0
        """Frames that were taken to be predicted and are to be published yet."""
        self._is_abandoned = False
        self._taken = self._next = 0
        self._early: dict[int, OutputItem | None] = {}

    @property
    def is_through(self) -> bool:
        """No sink gets anything more."""
        return self.is_over and not self.frames and self.in_hand == 0

    @property
    def behind(self) -> int:
        """Frames that were taken to be predicted and have not come to the slowest sink."""
        return self.in_hand + max((sink.lag for sink in self.sinks), default=0)

    def take(self) -> tuple[int, SourceItem]:
        """The oldest frame, and its number."""
        number = self._taken
        self._taken, self.in_hand = number + 1, self.in_hand + 1
        return number, self.frames.popleft()

    def predicted(self, number: int, output: OutputItem | None) -> None:
        """Line it up to be published, with those that waited for it; None where there is no output."""
        self._early[number] = output
        while self._next in self._early and not self._is_abandoned:
            ready = self._early.pop(self._next)
            self._next += 1
            if ready is None:
                self.in_hand -= 1
            else:
                self.outputs.append(ready)

    def published(self, output: OutputItem | None) -> None:
        """Every sink gets it; None if it could not be published."""
        self.in_hand = max(0, self.in_hand - 1)
        if output is not None:
            for sink in self.sinks:
                sink.hand_over(output)

    def break_off(self) -> None:
        """Predict nothing that has not been begun."""
        self.is_over = True
        self.frames.clear()

    def abandon(self, being_published: int) -> None:
        """Of what is in hand only this many and those that wait to be published still are."""
        self.break_off()
        self._is_abandoned = True
        self.in_hand = len(self.outputs) + being_published


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
        self._load = 1.0

    @property
    def load(self) -> float:
        """Share of a core that its thread takes, by its last items; the rest is waiting for a disk, a GPU."""
        return 0.0 if self._pulse.busy_ns() > WAITS_AFTER_NS else self._load

    def work(self, item: A) -> B:
        """Do what is to be done with the item; watched and timed. Raises what the stage raises."""
        started_ns, cpu_started_ns = self._pulse.begin(), time.thread_time_ns()
        try:
            result = self._step(item)
        finally:
            ended_ns = self._pulse.end()
        share = (time.thread_time_ns() - cpu_started_ns) / max(1, ended_ns - started_ns)
        self._load += (share - self._load) / LOAD_ITEMS
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


class CapturePost(Post[None, SourceItem]):
    """Reads the source."""

    def __init__(
        self, capture: Callable[[], SourceItem], flow: Flow, gauges: Gauges, *, ahead: int, burst: int
    ) -> None:
        """Args:
        ahead: frames that may be on their way before a burst of `burst` more is read.
        """
        super().__init__("capture", flow, gauges, is_timed=True)
        self.worth = self.burst = burst
        self._capture = capture
        self._most = ahead + burst

    def waiting(self) -> int:
        """Room for frames, with what is on its way to the sinks: the most is soon held, and memory final."""
        return 0 if self._flow.is_over else max(0, self._most - len(self._flow.frames) - self._flow.behind)

    def take(self) -> None:
        """Nothing is needed to read a frame."""

    def deliver(self, item: None, result: SourceItem) -> None:
        """A frame that comes after a stop is not predicted any more."""
        if not self._flow.is_over:
            self._flow.frames.append(result)

    def fail(self, item: None, error: Exception) -> None:
        """What was read before goes on."""
        self._flow.is_over = True
        if not isinstance(error, EndOfSource):
            self._errors.append((self.name, error))

    def _step(self, item: None) -> SourceItem:
        return self._capture()


class PerceivePost(Post[tuple[int, SourceItem], OutputItem]):
    """One worker predicts."""

    burst = PERCEIVE_BURST

    def __init__(
        self,
        number: int,
        predict: Callable[[SourceItem], OutputItem],
        flow: Flow,
        gauges: Gauges,
        *,
        ahead: int,
    ) -> None:
        """Args:
        ahead: frames that all workers may have in hand, with those that wait for an earlier one.
        """
        super().__init__(f"predict-{number}", flow, gauges, is_timed=False)
        self._predict, self._ahead = predict, ahead

    def waiting(self) -> int:
        """Frames; none while the sinks lag behind."""
        has_room = self._flow.in_hand < self._ahead and all(sink.has_room for sink in self._flow.sinks)
        return len(self._flow.frames) if has_room else 0

    def take(self) -> tuple[int, SourceItem]:
        """The oldest frame, with its number."""
        return self._flow.take()

    def deliver(self, item: tuple[int, SourceItem], result: OutputItem) -> None:
        """It is published in its place."""
        self._flow.predicted(item[0], result)

    def fail(self, item: tuple[int, SourceItem], error: Exception) -> None:
        """What others have begun is still published."""
        self._errors.append((self.name, error))
        self._flow.break_off()
        self._flow.predicted(item[0], None)

    def _step(self, item: tuple[int, SourceItem]) -> OutputItem:
        return self._predict(item[1])


class PublishPost(Post[OutputItem, OutputItem]):
    """Publishes one output after the other."""

    burst = PUBLISH_BURST

    def __init__(self, publish: Callable[[OutputItem], OutputItem], flow: Flow, gauges: Gauges) -> None:
        super().__init__("publish", flow, gauges, is_timed=False)
        self._publish = publish

    def waiting(self) -> int:
        """Outputs."""
        return len(self._flow.outputs)

    def take(self) -> OutputItem:
        """The next output in the order of the frames."""
        return self._flow.outputs.popleft()

    def deliver(self, item: OutputItem, result: OutputItem) -> None:
        """Every sink gets it."""
        self._flow.published(result)

    def fail(self, item: OutputItem, error: Exception) -> None:
        """What others have begun is still published."""
        self._errors.append((self.name, error))
        self._flow.published(None)
        self._flow.break_off()

    def _step(self, item: OutputItem) -> OutputItem:
        return self._publish(item)


class SinkPost(Post[OutputItem | None, None]):
    """Writes to one sink, and closes it in the end."""

    dropped = restarts = 0
    """Of a recording nothing is dropped, and no sink is started anew."""

    def __init__(self, sink: Sink, flow: Flow, gauges: Gauges, *, burst: int) -> None:
        """Make the post; `sink` is open already. A burst behind it, nothing more is predicted."""
        super().__init__(f"sink {sink.name}", flow, gauges, is_timed=True)
        self.burst = burst
        self.is_closed = False
        self._sink = sink
        self._outputs: deque[OutputItem] = deque()
        self._has_failed = False
        flow.sinks.append(self)

    @property
    def worth(self) -> int:  # type: ignore[override]
        """Half a burst; towards the end a single one, for what is left then one thread has to write alone."""
        return 1 if self._flow.is_over else max(1, self.burst // 2)

    @property
    def issue(self) -> str | None:
        """What is wrong with it, or missing in what it wrote, in one line; None while all is well."""
        return self._sink.issue

    @property
    def has_room(self) -> bool:
        """Whether it lags behind by less than it may."""
        return self.lag < max(OUTPUTS_AHEAD, self.burst)

    @property
    def lag(self) -> int:
        """Outputs that wait."""
        return len(self._outputs)

    def hand_over(self, output: OutputItem) -> None:
        """To be written, unless the sink has failed."""
        if not (self._has_failed or self.is_closed):
            self._outputs.append(output)

    def waiting(self) -> int:
        """Outputs, or the closing."""
        is_last = not self.is_closed and (self._has_failed or self._flow.is_through)
        return len(self._outputs) or int(is_last)

    def take(self) -> OutputItem | None:
        """The oldest output; None to close."""
        if self._outputs:
            return self._outputs.popleft()
        self.is_closed, self._times = True, None  # which are of frames
        return None

    def deliver(self, item: OutputItem | None, result: None) -> None:
        """Nothing comes behind a sink."""

    def fail(self, item: OutputItem | None, error: Exception) -> None:
        """The other sinks write what is published already; of one that failed the first error counts."""
        if not self._has_failed:
            self._errors.append((self.name, error))
        self._has_failed = True
        self._outputs.clear()
        self._flow.break_off()

    def _step(self, item: OutputItem | None) -> None:
        if item is None:
            self._sink.close()
        else:
            self._sink.write(item)
