"""What the page, a bag and ROS 2 cost the path of a live run, all together and while nobody looks."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from command import START_LIMIT_S, make_clip, records, wait_until
from lines import Line
from ros_nodes import client, node
from viewers import TOKEN, listening_port, p90, reading

DOMAIN: Final = 65
ROUNDS: Final = 10
ROUND_S: Final = 6.0
RATE_HZ: Final = 25
CLASS_MAP: Final = "/drivable/class_map,sensor_msgs/msg/Image,sensor"
PAGE: Final = ("--http", "127.0.0.1:0", "--http-token", TOKEN)


class Seen(NamedTuple):
    """Of one run."""

    p90_ms: float
    captured: int
    dropped: int
    cpu_share: float
    """Of a core."""
    handed_on: int
    """Pictures of the viewer, or messages of the subscriber, whichever are fewer."""


def everything() -> Line:
    """A viewer, a bag and a subscriber by rclpy, in every other run."""
    with TemporaryDirectory() as name:
        clip = _clip(Path(name))
        rounds = [(_run(clip, Path(name)), _run(clip, Path(name), is_handed_on=True)) for _ in range(ROUNDS)]
    ratio = statistics.median(on.p90_ms / off.p90_ms for off, on in rounds)
    off_ms, on_ms = (statistics.median(seen.p90_ms for seen in side) for side in zip(*rounds, strict=True))
    captured, dropped = (sum(getattr(on, of) for _, on in rounds) for of in ("captured", "dropped"))
    handed_on = sum(on.handed_on for _, on in rounds)
    return Line.of_checks(
        "page with a viewer, bag and ROS 2 with a subscriber, together",
        f"p90 age <= 1.3 x that of records alone (1280x720 at {RATE_HZ} Hz, rt_m-int8; median of {ROUNDS} "
        "rounds), drops <= 0.1 %",
        f"p90 age {off_ms:.1f} ms alone, {on_ms:.1f} ms with them; {ratio:.2f} x; {dropped} of {captured} "
        f"frames dropped; {100 * handed_on / captured:.0f} % came to viewer and subscriber",
        {"age": ratio <= 1.3, "drops": dropped <= 0.001 * captured, "handed on": handed_on >= 0.9 * captured},
    )


def nobody() -> Line:
    """A page without a viewer, in every other run."""
    with TemporaryDirectory() as name:
        clip = _clip(Path(name))
        rounds = [(_run(clip, Path(name)), _run(clip, Path(name), *PAGE)) for _ in range(ROUNDS)]
    more_ms = statistics.median(on.p90_ms - off.p90_ms for off, on in rounds)
    more = statistics.median(on.cpu_share - off.cpu_share for off, on in rounds)
    off_ms, share = (
        statistics.median(getattr(off, of) for off, _ in rounds) for of in ("p90_ms", "cpu_share")
    )
    return Line.of_checks(
        "a page at which nobody looks",
        f"p90 age within 2 ms, CPU within 5 % (median of {ROUNDS} rounds)",
        f"p90 age {off_ms:.1f} ms without, {more_ms:+.1f} ms; {100 * share:.0f} % of a core, "
        f"{100 * more:+.1f} %",
        {"age": more_ms <= 2, "CPU": more <= 0.05 * share},
    )


def _clip(folder: Path) -> Path:
    return make_clip(folder / "clip.mp4", size_wh=(1280, 720), rate_hz=RATE_HZ)


def _run(clip: Path, folder: Path, *options: str, is_handed_on: bool = False) -> Seen:
    """A live run for some seconds."""
    jsonl, log = folder / "r.jsonl", folder / "log"
    jsonl.unlink(missing_ok=True)
    live = ["--source", str(clip), "--realtime", "--loop", "--model", "rt_m-int8", "--jsonl", str(jsonl)]
    if is_handed_on:
        options = (*PAGE, "--mcap", str(folder / "drive.mcap"), "--overwrite", "--ros")
    with ExitStack() as stack:
        process = stack.enter_context(node(DOMAIN, log, *live, *options))
        wait_until(lambda: len(records(jsonl)) > RATE_HZ, START_LIMIT_S)
        counts: list[Callable[[], int]] = []
        if is_handed_on:
            counts.append(stack.enter_context(reading(listening_port(log))))
            listener = stack.enter_context(client(DOMAIN, "listen", "60", CLASS_MAP))
            listener.wait_for(lambda one: bool(one.messages))
            counts.append(lambda: len(listener.messages))
        before, cpu_s, handed_on = len(records(jsonl)), _cpu_s(process.pid), [count() for count in counts]
        time.sleep(ROUND_S)
        during = records(jsonl)[before:]
        cpu_share = (_cpu_s(process.pid) - cpu_s) / ROUND_S
        came = min((count() - earlier for count, earlier in zip(counts, handed_on, strict=True)), default=0)
    captured = during[-1]["frame_id"] - during[0]["frame_id"] + 1
    ages_ms = [record["age_ms"] for record in during]
    return Seen(p90(ages_ms), captured, captured - len(during), cpu_share, came)


def _cpu_s(pid: int) -> float:
    """Of the process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


SCENARIOS: Final[dict[str, Callable[[], Line]]] = {"everything": everything, "nobody": nobody}
