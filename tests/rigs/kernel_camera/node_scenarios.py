"""Faults of the camera as `drivable-node` lives through them: judged by its records alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Final

import vivid
from lines import Line
from node_run import POLL_S, NodeRun, Record, has_mask

CYCLES: Final = 20
BACK_MS: Final = 2000.0
HANGS_MS: Final = 3000.0  # 2 s without a frame and a margin of 1 s make a reader count as hung
STARTS: Final = 2.5  # how many times its libraries' start a reader may take, beside the node
START: Final = "import perception.sources.isolated.reader_process, perception.sources.registry"
WAIT_S: Final = 60.0  # for a record that must come, and may be late in a way worth reporting


def is_lost(record: Record) -> bool:
    """Whether the node says that its camera is gone."""
    return bool(record["camera"]["state"] == "lost")


def replugged() -> Line:
    """Pulled out and put in again under the node; every other time under another number."""
    fault = f"node: disconnect, unbind, bind, {CYCLES} times"
    asked = (
        f"lost, no mask while away; mask <= {BACK_MS:g} ms after the driver's first buffer; nothing leaked"
    )
    back_ms, from_file_ms, lost_ms, numbers, masks_while_away = [], [], [], set(), 0
    with NodeRun() as node:
        for cycle in range(CYCLES):
            if cycle == 2:  # by then both kinds of cycle have been seen, and what is kept is kept
                before = node.held()
            holder = os.open(vivid.node(), os.O_RDWR) if cycle % 2 else None
            pulled_ns = time.monotonic_ns()
            vivid.set_control("disconnect")
            vivid.unbind()
            lost = node.wait_for(is_lost, WAIT_S, pulled_ns)
            lost_ms.append((lost["published_ns"] - pulled_ns) / 1e6)
            time.sleep(0.3)
            back_ns = time.monotonic_ns()
            while_away = node.records(lost["published_ns"])
            masks_while_away += sum(map(has_mask, while_away))
            vivid.bind()
            back = node.wait_for(has_mask, WAIT_S, back_ns)
            back_ms.append(back["age_ms"])  # the first frame of a stream is the driver's first buffer
            from_file_ms.append((back["published_ns"] - back_ns) / 1e6)
            numbers.add(vivid.node())
            if holder is not None:
                os.close(holder)
        after = node.held()
        status = node.end()
    seen = (
        f"lost after {max(lost_ms):.0f} ms, {masks_while_away} masks while away; "
        f"mask after {max(back_ms):.0f} ms, from the device file median {median(from_file_ms):.0f}, "
        f"max {max(from_file_ms):.0f} ms; as {', '.join(sorted(numbers))}; "
        f"processes, threads, descriptors {before} {after}; status {status}"
    )
    holds = masks_while_away == 0 and max(back_ms) <= BACK_MS and before == after and len(numbers) > 1
    return Line(fault, asked, seen, holds)


def start_ms() -> float:
    """What a reader's interpreter and libraries take to start: seconds where the processor is emulated."""
    began_ns = time.monotonic_ns()
    subprocess.run([sys.executable, "-c", START], check=True)
    return (time.monotonic_ns() - began_ns) / 1e6


def reader(number: signal.Signals, detected_ms: float) -> Callable[[], Line]:
    """A scenario in which the process that reads the camera gets a signal.

    Args:
        detected_ms: what it may take until the node knows.
    """

    def scenario() -> Line:
        alone_ms = start_ms()
        limit_ms = detected_ms + STARTS * alone_ms
        with NodeRun(["--read_timeout_s", "2"]) as node:
            (old,) = node.readers()
            before = node.held()
            hit_ns = time.monotonic_ns()
            os.kill(old, number)
            while node.readers() in ([], [old]):
                if time.monotonic_ns() - hit_ns > WAIT_S * 1e9:
                    raise TimeoutError(f"no other reader within {WAIT_S:g} s: {node.said()}")
                time.sleep(POLL_S)
            back = node.wait_for(has_mask, WAIT_S, time.monotonic_ns())
            again_ms = (back["published_ns"] - hit_ns) / 1e6
            after = node.held()
            status = node.end()
        seen = (
            f"mask of another reader after {again_ms:.0f} ms of {limit_ms:.0f}, start {alone_ms:.0f} ms; "
            f"processes, threads, descriptors {before} {after}; status {status}"
        )
        holds = again_ms <= limit_ms and before == after
        asked = f"mask <= {detected_ms:g} ms + {STARTS:g} x what a reader's start takes in this machine"
        return Line(f"node: its reader gets {number.name}", asked, seen, holds)

    return scenario


SCENARIOS: Final[dict[str, Callable[[], Line]]] = {
    "node_replugged": replugged,
    "node_reader_killed": reader(signal.SIGKILL, 0.0),
    "node_reader_stopped": reader(signal.SIGSTOP, HANGS_MS),
}
