"""The recording of the built-in road: made in a process of its own, which an interrupt ends too."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import av
import pytest

from bench.road import FRAMES, record_road
from perception.sources.source import SourceError


@pytest.mark.slow
def test_road_is_recorded(tmp_path: Path) -> None:
    road = record_road(tmp_path / "road.mp4")

    with av.open(str(road)) as container:
        pictures = list(container.decode(video=0))
    assert [(picture.width, picture.height) for picture in pictures] == [(1280, 720)] * FRAMES


def test_recording_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"^synthetic: no recording could be made of it: .+") as raised:
        record_road(tmp_path / "nowhere/road.mp4")

    assert "\n" not in str(raised.value)


def test_interrupt_while_the_road_is_recorded_ends_the_command(tmp_path: Path) -> None:
    body = (
        "import sys; from pathlib import Path; from bench.road import record_road;"
        "record_road(Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", body, str(tmp_path / "road.mp4")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
        while not children.read_text():
            assert run.poll() is None
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=20)

    assert said.endswith("KeyboardInterrupt\n")
