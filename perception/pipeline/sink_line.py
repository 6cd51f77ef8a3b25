"""One sink of a live run with its channel and thread; started anew when it fails or hangs."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from typing import Final

from perception.frame import OutputItem
from perception.pipeline.channel import Channel, Closed
from perception.pipeline.gauges import Gauges, Pulse
from perception.pipeline.watchdog import Budget, WatchdogSettings
from perception.sinks.sink import Sink

FIRST_PAUSE_S: Final = 0.25
"""Before a failed sink is started anew; twice as long each time within the budget's window."""

Rebuild = Callable[[], Sink]
"""Gives the sink anew and open, going on with what the old one wrote; raises what its `open` raises."""


class SinkLine:
    """Writes what its channel gives. Without `rebuild` the first error is the last.

    A sink that hangs keeps its thread, which nobody can end; the new one gets a thread of its own, and the
    old one ends by itself as soon as its call returns.
    """

    def __init__(
        self,
        sink: Sink,
        channel: Channel[OutputItem],
        gauges: Gauges,
        rebuild: Rebuild | None = None,
        settings: WatchdogSettings | None = None,
    ) -> None:
        """Make the line; `sink` is open already."""
        self.name = f"sink {sink.name}"
        self.channel = channel
        self.budget = Budget(settings or WatchdogSettings())
        self._error: str | None = None
        self._left_behind: str | None = None
        self._sink, self._rebuild = sink, rebuild
        self._gauges = gauges
        self._times, self._pulse = gauges.times_of(self.name), gauges.pulse_of(self.name)
        self._round = 0
        self._is_stopping = Event()
        self._thread = self._new_thread()

    @property
    def dropped(self) -> int:
        """Outputs that it was too slow for."""
        return self.channel.dropped

    @property
    def restarts(self) -> int:
        """How often it was started anew."""
        return self.budget.total

    @property
    def issue(self) -> str | None:
        """What is wrong with it, or missing in what it wrote, in one line; None while all is well."""
        return self._error or self._sink.issue or self._left_behind

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of the thread that writes now, or of the one that took its place."""
        thread = None
        while thread is not self._thread:
            thread = self._thread
            thread.join()

    def is_alive(self) -> bool:
        """Whether its thread is still at it."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Start nothing anew any more."""
        self._is_stopping.set()

    def replace_hung(self) -> bool:
        """Leave the sink to the call that hangs, and go on with a new one; False without `rebuild`."""
        if self._rebuild is None:
            return False
        self._round += 1
        error = TimeoutError(f"hung for {self._pulse.busy_ns() / 1e9:.1f} s")
        self._pulse = self._gauges.pulses[self.name] = Pulse()
        self._error = str(error)
        self._thread = self._new_thread(error)
        self._thread.start()
        return True

    def _new_thread(self, error: Exception | None = None) -> Thread:
        return Thread(target=self._run, args=(self._round, self._pulse, error), name=self.name, daemon=True)

    def _run(self, round_: int, pulse: Pulse, error: Exception | None) -> None:
        sink = self._sink if error is None else self._anew(error)
        while sink is not None:
            failure = self._write_all(sink, round_, pulse)
            if self._round != round_:
                return  # it hung, and another has taken its place
            sink = None if failure is None else self._anew(failure)
        self.channel.close()

    def _write_all(self, sink: Sink, round_: int, pulse: Pulse) -> Exception | None:
        """Write until the channel ends or the sink fails; close it, and give back the error."""
        error: Exception | None = None
        try:
            while self._round == round_:
                output = self.channel.get()
                started_ns = pulse.begin()
                sink.write(output)
                self._times.add(pulse.end() - started_ns)
        except Closed:
            pass
        except Exception as failure:
            error = failure
            if self._rebuild is None:  # nobody is to wait for this sink while it is closed
                self.channel.close()
        finally:
            pulse.begin()
            try:
                sink.close()
            except Exception as failure:
                error = error or failure
            pulse.end()
        return error

    def _anew(self, error: Exception) -> Sink | None:
        """The sink started anew, within the budget; None, and the error on the books, where that is spent."""
        self._error = str(error) or type(error).__name__
        while self._rebuild is not None and self.budget.spend():
            if self._is_stopping.wait(FIRST_PAUSE_S * 2.0 ** (self.budget.spent - 1)):
                break
            try:
                sink = self._rebuild()
            except Exception as failure:
                error = failure
                self._error = str(error) or type(error).__name__
            else:
                self._left_behind = self._sink.issue or self._left_behind
                self._error, self._sink = None, sink
                return sink
        self._gauges.errors.append((self.name, error))
        return None
