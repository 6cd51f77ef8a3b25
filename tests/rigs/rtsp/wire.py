"""A wire between this network namespace and another that loses and delays packets.

    python wire.py OURS THEIRS

Two TUN devices, one at either end, and this process between them: whatever IP carries, TCP and UDP alike,
meets the fault. A line of JSON on standard input sets it: {"loss": 0.05, "jitter_ms": 200, "seed": 0}.
Stopped by a signal it is a cable that was pulled. (The kernels of many test machines lack netem.)
"""

from __future__ import annotations

import fcntl
import heapq
import json
import os
import random
import select
import struct
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

TUNSETIFF: Final = 0x400454CA  # of <linux/if_tun.h>
IFF_TUN_NO_PI: Final = 0x1001
LARGEST_PACKET: Final = 65_535


@dataclass
class Wire:
    """Packets on their way, by the time at which they arrive; those of one direction keep their order."""

    loss: float = 0.0
    jitter_ms: float = 0.0
    choice: random.Random = field(default_factory=lambda: random.Random(0))
    on_the_way: list[tuple[float, int, int, bytes]] = field(default_factory=list)
    packets: int = 0

    def take(self, packet: bytes, to: int, now_s: float) -> None:
        """Lose a packet, or find when it arrives."""
        if self.choice.random() < self.loss:
            return
        before_s = max((arrives for arrives, _, other, _ in self.on_the_way if other == to), default=now_s)
        arrives_s = max(before_s, now_s + self.choice.uniform(0, self.jitter_ms) / 1000)
        self.packets += 1
        heapq.heappush(self.on_the_way, (arrives_s, self.packets, to, packet))

    def due(self, now_s: float) -> list[tuple[int, bytes]]:
        """Descriptors and packets that arrive by now."""
        arrived = []
        while self.on_the_way and self.on_the_way[0][0] <= now_s:
            _, _, to, packet = heapq.heappop(self.on_the_way)
            arrived.append((to, packet))
        return arrived


def open_end(name: str) -> int:
    """The descriptor of a new TUN device."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN_NO_PI))
    return descriptor


def main() -> None:
    """Carry packets until standard input is closed."""
    ours, theirs = (open_end(name) for name in sys.argv[1:3])
    print("ready", flush=True)
    other, wire = {ours: theirs, theirs: ours}, Wire()
    while True:
        next_s = wire.on_the_way[0][0] - time.monotonic() if wire.on_the_way else None
        ready, _, _ = select.select([0, ours, theirs], [], [], None if next_s is None else max(0.0, next_s))
        if 0 in ready:
            line = sys.stdin.buffer.raw.readline()  # type: ignore[attr-defined]
            if not line:
                return
            change = json.loads(line)
            wire.loss, wire.jitter_ms = change["loss"], change["jitter_ms"]
            wire.choice = random.Random(change["seed"])
        for end in ready:
            if end:
                wire.take(os.read(end, LARGEST_PACKET), other[end], time.monotonic())
        for to, packet in wire.due(time.monotonic()):
            with suppress(OSError):  # that end is down
                os.write(to, packet)


if __name__ == "__main__":
    main()
