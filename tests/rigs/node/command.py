"""`drivable-node` as a process of its own: started, asked, ended, and its outputs read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np

ROOT: Final = Path(__file__).parents[3]
START_LIMIT_S: Final = 60.0
RATE_HZ: Final = 30


def make_clip(
    file: Path, seconds: float = 4.0, size_wh: tuple[int, int] = (1280, 720), rate_hz: int = RATE_HZ
) -> Path:
    """A rendered drive as a recording."""
    from perception.sources.synthetic import SyntheticSource

    source = SyntheticSource("day", size_wh, rate_hz)
    source.open()
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=rate_hz, options={"preset": "ultrafast"})
        stream.width, stream.height = size_wh
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, rate_hz)
        for number in range(round(seconds * rate_hz)):
            image = np.ascontiguousarray(source.read().image_bgr)
            picture = av.VideoFrame.from_ndarray(image, format="bgr24")
            picture.pts = number
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    source.close()
    return file


def command(*arguments: str) -> list[str]:
    """The command line of the node."""
    return [sys.executable, "-m", "perception.node", *arguments]


def start(arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start the node; it writes what it says to `log`."""
    with log.open("wb") as to:
        return subprocess.Popen(command(*arguments), cwd=ROOT, stdout=to, stderr=to)


def run(arguments: Sequence[str], limit_s: float) -> subprocess.CompletedProcess[str]:
    """Run the node to its end."""
    return subprocess.run(
        command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=limit_s, check=False
    )


def wait_until(holds: Callable[[], bool], limit_s: float) -> float:
    """Seconds until it held; raises TimeoutError."""
    before_s = time.monotonic()
    while not holds():
        if time.monotonic() - before_s > limit_s:
            raise TimeoutError(f"not so within {limit_s:g} s")
        time.sleep(0.02)
    return time.monotonic() - before_s


def records(file: Path) -> list[dict[str, Any]]:
    """Every whole line of a file of records; raises ValueError at a torn one that is not the last."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().split("\n")[:-1]]


def is_whole(file: Path) -> bool:
    """Whether records end with a whole line."""
    return file.read_bytes()[-1:] in (b"\n", b"")


def do_books_balance(summary: dict[str, Any]) -> bool:
    """captured = published + withheld + dropped, and nothing is left on its way."""
    frames = summary["frames"]
    gone = frames["published"] + frames["withheld"] + sum(frames["dropped"].values())
    return bool(frames["captured"] == gone and frames["in_flight"] == 0)


def playable_frames(video: Path) -> int:
    """Frames that a player gets out of a video."""
    with av.open(str(video)) as container:
        return sum(1 for _ in container.decode(video=0))


def resident_mb(pid: int) -> float:
    """Memory of a process that is in use now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
