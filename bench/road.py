"""A recording of the built-in road, for all tasks: to render a frame takes longer than all the rest.

Made in a process of its own, whose memory is not measured. It is no pool: one that is interrupted while it
starts waits for ever.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import av

from bench.interpreter import run_python
from perception.sources import build_source
from perception.sources.source import SourceError

FRAMES: Final = 60
"""Two seconds, played again and again."""


def record_road(file: Path) -> Path:
    """Write it there; raises SourceError, in one line, if it cannot be made."""
    try:
        run_python(sys.executable, "-m", __name__, str(file))
    except ValueError as error:
        raise SourceError(f"synthetic: no recording could be made of it: {error}") from error
    return file


def main(file: str) -> None:
    """Make it."""
    source = build_source("synthetic")
    info = source.open()
    with av.open(file, "w") as container:
        stream = container.add_stream("libx264", rate=round(info.rate_hz))
        assert info.frame_wh is not None  # a recording's
        stream.width, stream.height = info.frame_wh
        stream.pix_fmt = "yuv420p"
        for number in range(FRAMES):
            picture = av.VideoFrame.from_ndarray(source.read().image_bgr, format="bgr24")
            picture.pts = number
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    source.close()
    print(file)


if __name__ == "__main__":
    main(sys.argv[1])
