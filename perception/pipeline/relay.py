"""Relay: the threads of a live run, one a stage. The newest frame wins; a slow sink slows nobody.

capture ─► the newest frame ─► predict and publish ─► a channel and a thread a sink
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock, Thread
from typing import Final, TypeVar

from perception.frame import NoFrameRecord, OutputItem, SourceItem
from perception.pipeline.channel import Channel, Closed
from perception.pipeline.gauges import Gauges
from perception.pipeline.sink_line import SinkLine
from perception.pipeline.stage import Inbox, Outbox, run_stage
from perception.pipeline.supervision import Supervision
from perception.sinks.sink import Sink

A = TypeVar("A")
B = TypeVar("B")

PREDICT: Final = "predict-0"
"""Name of the stage that runs the network."""
SINK_CAPACITY: Final = 8
"""Outputs that a sink may lag behind."""


class Relay:
    """Takes the newest frame of one source to every sink."""

    def __init__(
        self,
        capture: Callable[[], SourceItem],
        predict: Callable[[SourceItem], OutputItem],
        publish: Callable[[OutputItem], OutputItem],
        sinks: Sequence[Sink],
        gauges: Gauges,
        *,
        supervision: Supervision,
        on_displaced: Callable[[SourceItem], None],
    ) -> None:
        """Connect the stages.

        Args:
            capture: gives the next frame; raises EndOfSource behind the last.
            predict: used by one thread.
            publish: called with one output at a time, in order.
            sinks: open; the relay closes them.
            gauges: told of every stage.
            supervision: how sinks are started anew.
            on_displaced: told of what a newer frame took the place of.
        """
        self._gauges, self._publish_step = gauges, publish
        self._publishing = Lock()
        self._frames: Channel[SourceItem] = Channel(1, on_displaced)
        self.sinks = {sink.name: self._sink_line(sink, supervision) for sink in sinks}
        self._turns = _Turns()
        self._outbox = _FanOut([line.channel for line in self.sinks.values()])

        def perceive_and_publish(seen: SourceItem) -> OutputItem:
            output = predict(seen)
            return self._publish(output)

        self._capturing = self._thread("capture", lambda turn: capture(), self._turns, self._frames)
        self._perceiving = self._thread(PREDICT, perceive_and_publish, self._frames, _Handed(self._outbox))

    @property
    def count(self) -> int:
        """Threads: one a stage."""
        return 2 + len(self.sinks)

    def start(self) -> None:
        """Start a thread a stage."""
        for line in self.sinks.values():
            line.start()
        for thread in (self._capturing, self._perceiving):
            thread.start()

    def stop(self) -> None:
        """Take no more frames; what is in flight goes on to the sinks. Safe to call twice."""
        self._turns.close()
        self._frames.close()
        for line in self.sinks.values():
            line.stop()

    def report(self, outage: NoFrameRecord) -> bool:
        """Publish a record beside a stage that does not move; False once nothing more can be published."""
        try:
            self._publish(outage)
        except Closed:
            return False
        return True

    def _publish(self, output: OutputItem) -> OutputItem:
        with self._publishing:  # in one go, so that sinks get outputs in the order of their publication
            if self._outbox.is_closed:  # what comes too late was not published
                raise Closed
            published = self._publish_step(output)
            self._outbox.put(published)
            return published

    def replace(self, stage: str) -> bool:
        """Start a sink anew that hangs; False if the stage is another, or cannot be started anew."""
        line = next((line for line in self.sinks.values() if line.name == stage), None)
        return line is not None and line.replace_hung()

    def abandon(self, stage: str) -> None:
        """Do without a stage that hangs: the sinks finish their files with what they have."""
        self._outbox.close()

    def wait_until_ending(self) -> None:
        """Wait until nothing more will be published."""
        self._perceiving.join()

    def join(self) -> None:
        """Wait for the end of all threads."""
        for thread in (self._perceiving, self._capturing):
            thread.join()
        for line in self.sinks.values():
            line.join()

    def stuck_stages(self) -> list[str]:
        """Names of the stages whose threads have not ended."""
        stuck = [thread.name for thread in (self._capturing, self._perceiving) if thread.is_alive()]
        return stuck + [line.name for line in self.sinks.values() if line.is_alive()]

    def _thread(self, name: str, step: Callable[[A], B], inbox: Inbox[A], outbox: Outbox[B]) -> Thread:
        pulse = self._gauges.pulse_of(name)
        return Thread(
            target=run_stage,
            args=(name, step, inbox, outbox, self._gauges.errors, pulse),
            name=name,
            daemon=True,
        )

    def _sink_line(self, sink: Sink, supervision: Supervision) -> SinkLine:
        rebuild = supervision.rebuild_sink
        return SinkLine(
            sink,
            Channel(SINK_CAPACITY),
            self._gauges,
            None if rebuild is None else partial(rebuild, sink.name),
            supervision.watchdog,
        )


class _Turns:
    """Inbox of the capture stage: always one more turn, until it is closed."""

    def __init__(self) -> None:
        self._is_closed = False

    def get(self) -> None:
        if self._is_closed:
            raise Closed

    def close(self) -> None:
        self._is_closed = True


class _Handed:
    """Outbox of a stage that has handed its outputs over already."""

    def __init__(self, outbox: _FanOut) -> None:
        self._outbox = outbox

    def put(self, output: OutputItem) -> None:
        pass

    def close(self) -> None:
        self._outbox.close()


class _FanOut:
    """Where outputs go: every sink's channel. A sink that has died is passed over as long as one is left."""

    def __init__(self, channels: list[Channel[OutputItem]]) -> None:
        self._channels = channels
        self.is_closed = False

    def put(self, output: OutputItem) -> None:
        for channel in list(self._channels):
            try:
                channel.put(output)
            except Closed:
                self._channels.remove(channel)
                if not self._channels:
                    raise

    def close(self) -> None:
        self.is_closed = True
        for channel in self._channels:
            channel.close()
