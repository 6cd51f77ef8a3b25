"""Faults of a broker, beside a live run at 25 Hz."""

from __future__ import annotations

import json
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from command import START_LIMIT_S, make_clip, records, resident_mb, start, wait_until
from lines import Line
from mosquitto import Broker

TOPIC: Final = "fleet/7"
OUTAGE_S: Final = 600.0
SETTLE_S: Final = 60.0
STILL_S: Final = 60.0
BACK_S: Final = 15.0
WILL_S: Final = 20.0


class Drive:
    """A live run that publishes to a broker, and writes records."""

    def __init__(self, folder: Path, broker: Broker) -> None:
        clip = make_clip(folder / "clip.mp4", size_wh=(640, 360))
        self.jsonl, self.broker = folder / "r.jsonl", broker
        live = ["--source", str(clip), "--realtime", "--loop", "--model", "rt_s-int8"]
        outputs = ["--jsonl", str(self.jsonl), "--mqtt", broker.url(TOPIC)]
        self.process = start([*live, *outputs], folder / "log")
        wait_until(lambda: len(records(self.jsonl)) > 100, START_LIMIT_S)

    def ages_ms(self, seconds: float) -> list[float]:
        """Of the frames that are published in the next seconds."""
        before = len(records(self.jsonl))
        time.sleep(seconds)
        return [record["age_ms"] for record in records(self.jsonl)[before:]]

    def state(self) -> dict[str, Any]:
        """That the broker keeps."""
        kept = self.broker.retained(f"{TOPIC}/state")
        return json.loads(kept) if kept else {}

    def end(self) -> int:
        """Stop it; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def _drive() -> Iterator[Drive]:
    with TemporaryDirectory() as name, Broker(Path(name)) as broker:
        drive = Drive(Path(name), broker)
        try:
            yield drive
        finally:
            drive.process.kill()
            drive.process.wait()


def _away(
    fault: str, seconds: float, leave: Callable[[Broker], None], come_back: Callable[[Broker], None]
) -> Line:
    asked = f"memory within 5 MB; p99 age within 10 % or 2 ms; records <= {BACK_S:g} s after; status 0"
    with _drive() as drive:
        before_ms = drive.ages_ms(SETTLE_S)
        leave(drive.broker)
        during_ms = drive.ages_ms(min(SETTLE_S, seconds / 2))
        early_mb = resident_mb(drive.process.pid)
        during_ms += drive.ages_ms(seconds - min(SETTLE_S, seconds / 2))
        late_mb = resident_mb(drive.process.pid)
        come_back(drive.broker)
        with drive.broker.subscriber(f"{TOPIC}/#") as subscriber:
            back_s = wait_until(lambda: bool(subscriber.got(f"{TOPIC}/record")), 60)
        is_online = drive.state().get("online")
        status = drive.end()
    alone_ms, away_ms = _p99(before_ms), _p99(during_ms)
    checks = {
        "memory": late_mb - early_mb <= 5,
        "age": away_ms <= max(1.1 * alone_ms, alone_ms + 2.0),
        "back": back_s <= BACK_S,
        "state": is_online is True,
        "status": status == 0,
    }
    seen = (
        f"{late_mb - early_mb:+.1f} MB (from {early_mb:.0f} to {late_mb:.0f}); "
        f"p99 age {alone_ms:.1f} ms before, {away_ms:.1f} ms meanwhile; "
        f"records after {back_s:.1f} s; status {status}"
    )
    return Line.of_checks(fault, asked, seen, checks)


def _p99(ages_ms: list[float]) -> float:
    return statistics.quantiles(ages_ms, n=100)[98]


def killed() -> Line:
    """No broker for ten minutes."""
    return _away(f"MQTT broker killed, back after {OUTAGE_S:.0f} s", OUTAGE_S, Broker.kill, Broker.start)


def stopped() -> Line:
    """A broker that takes nothing, and whose connection stands."""
    return _away(
        f"MQTT broker stopped for {STILL_S:.0f} s",
        STILL_S,
        lambda broker: os.kill(broker.pid, signal.SIGSTOP),
        lambda broker: os.kill(broker.pid, signal.SIGCONT),
    )


def node_killed() -> Line:
    """The last will after SIGKILL, and after a stop that looks like a machine without power."""
    fault, asked = "node killed; node frozen", f"the last will <= 1 s; <= {WILL_S:g} s"
    killed_s, frozen_s = _will_after(signal.SIGKILL), _will_after(signal.SIGSTOP)
    seen = f"the broker publishes lost {killed_s:.1f} s after; {frozen_s:.1f} s after"
    return Line(fault, asked, seen, killed_s <= 1.0 and frozen_s <= WILL_S)


def _will_after(fault: signal.Signals) -> float:
    """Seconds until the broker publishes that the node is lost."""
    topic = f"{TOPIC}/state"
    with _drive() as drive, drive.broker.subscriber(topic) as subscriber:
        wait_until(lambda: bool(subscriber.got(topic)), 10)
        drive.process.send_signal(fault)
        return wait_until(lambda: json.loads(subscriber.got(topic)[-1]).get("reason") == "lost", 60)


SCENARIOS: Final[dict[str, Callable[[], Line]]] = {
    "killed": killed,
    "stopped": stopped,
    "node_killed": node_killed,
}
