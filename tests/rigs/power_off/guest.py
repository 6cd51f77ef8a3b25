"""The program of the guest: all sinks on a disk of its own, ten frames a second, until the power goes.

`guest.py durable|plain mp4|mkv`: a line a frame, once every sink has it: frame id, the guest's time in ns,
and the longest write to a sink so far in ms.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import numpy as np

from perception.config import NodeConfig
from perception.frame import Frame, Prediction
from perception.labels import DIRECT
from perception.sinks.registry import Sinks
from perception.sources.source import SourceInfo

DISK: Final = Path("/mnt")
WH: Final = (160, 96)
RATE_HZ: Final = 10


def main(kind: str, suffix: str) -> None:
    """Write until killed."""
    subprocess.run(["mount", "-t", "ext4", "/dev/vda", str(DISK)], check=True)
    folder = DISK / "recording"
    config = NodeConfig(
        out=str(folder / f"out.{suffix}"),
        jsonl=str(folder / "out.jsonl"),
        masks=str(folder / "masks"),
        min_free_mb=0,
        durable=kind == "durable",
    )
    sinks = Sinks(config, SourceInfo("cam", True, WH, RATE_HZ)).open_all()
    pictures = [np.random.default_rng(it).integers(0, 255, (*WH[::-1], 3), np.uint8) for it in range(10)]
    class_map = np.full((48, 80), DIRECT, np.uint8)
    frame_id, longest_ms, due_s = 0, 0.0, time.monotonic()
    while True:
        time_ns = time.monotonic_ns()
        frame = Frame("cam", frame_id, time_ns, time_ns, pictures[frame_id % 10], f"{frame_id:06d}")
        for sink in sinks:
            before_s = time.monotonic()
            sink.write(Prediction(frame, class_map, (1.0, 0.0, 0.0), "model"))
            longest_ms = max(longest_ms, 1e3 * (time.monotonic() - before_s))
        print(f"{frame_id} {time_ns} {longest_ms:.1f}", flush=True)
        frame_id, due_s = frame_id + 1, due_s + 1 / RATE_HZ
        time.sleep(max(0.0, due_s - time.monotonic()))


if __name__ == "__main__":
    main(*sys.argv[1:])
