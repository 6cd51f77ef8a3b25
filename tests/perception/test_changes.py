"""Changes of camera and engine are reported when they happen, one line each, never as a flood."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from perception.frame import CameraState, EngineState, Frame, NoFrameRecord, OutputItem, Prediction
from perception.node import main
from perception.telemetry.changes import BURST, INTERVAL_S, StateChanges

PERIOD_NS = 100_000_000


class Watched:
    """State changes with a clock that is turned by hand, and a source of ten outputs a second."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.changes = StateChanges(lambda: self.now_s)
        self._frame_id = 0

    def frames(self, count: int, state: CameraState = CameraState.OK, reason: str | None = None) -> None:
        for _ in range(count):
            self.changes.record(self._prediction(state, reason, EngineState.OK, None))

    def engine(self, count: int, state: EngineState, reason: str | None = None) -> None:
        for _ in range(count):
            self.changes.record(self._prediction(CameraState.OK, None, state, reason))

    def outage(self, state: CameraState, reason: str) -> None:
        time_ns = self._next_ns()
        outage: OutputItem = NoFrameRecord(
            "cam", (4, 3), time_ns, None, camera_state=state, camera_reason=reason
        )
        self.changes.record(outage)

    def lines(self, *, flush: bool = False) -> list[str]:
        return self.changes.lines(flush=flush)

    def _next_ns(self) -> int:
        self._frame_id += 1
        return self._frame_id * PERIOD_NS

    def _prediction(
        self, camera: CameraState, reason: str | None, engine: EngineState, why: str | None
    ) -> Prediction:
        frame = Frame("cam", self._frame_id, 0, self._next_ns(), np.zeros((3, 4, 3), np.uint8), "0")
        return Prediction(
            *(frame, np.zeros((3, 4), np.uint8), (0.0, 0.0, 1.0), "rt_s"),
            camera_state=camera,
            camera_reason=reason,
            engine_state=engine,
            engine_reason=why,
        )


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_nothing_is_said_while_all_is_well(watched: Watched) -> None:
    watched.frames(50)
    watched.engine(5, EngineState.FALLBACK)

    assert watched.lines(flush=True) == []


def test_issue_is_reported_when_it_comes_and_when_it_goes(watched: Watched) -> None:
    watched.frames(9)
    watched.frames(20, CameraState.BLOCKED, "black")
    first = watched.lines()
    watched.frames(5)

    assert first == ["at 1.0 s: camera blocked (black): no masks"]
    assert watched.lines() == ["at 3.0 s: camera ok again, after 2.0 s, 20 frames without a mask"]


def test_degraded_says_that_masks_are_marked(watched: Watched) -> None:
    watched.frames(3, CameraState.DEGRADED, "dark")

    assert watched.lines() == ["at 0.1 s: camera degraded (dark): masks are marked"]


def test_another_reason_is_another_line_and_a_counting_one_is_not(watched: Watched) -> None:
    for seconds in range(1, 20):
        watched.outage(
            CameraState.LOST, f"no frame for {seconds}.5 s; unplugged; attempt {seconds} to reconnect"
        )
    watched.outage(CameraState.LOST, "no frame for 30.5 s; unplugged; attempt 20 to reconnect in 0.3 s")
    watched.outage(CameraState.LOST, "no frame for 31.5 s; no permission; attempt 21 to reconnect")

    assert watched.lines() == [
        "at 0.1 s: camera lost (no frame for 1.5 s; unplugged; attempt 1 to reconnect): no masks",
        "at 2.1 s: camera lost (no frame for 31.5 s; no permission; attempt 21 to reconnect): no masks",
    ]


def test_suspect_engine_is_reported_with_its_reason(watched: Watched) -> None:
    watched.engine(4, EngineState.SUSPECT, "the same logits everywhere")
    watched.engine(1, EngineState.OK)

    assert watched.lines() == [
        "at 0.1 s: engine suspect (the same logits everywhere): no masks",
        "at 0.5 s: engine ok again, after 0.4 s, 4 frames without a mask",
    ]


def test_flood_is_cut_and_its_end_is_reported(watched: Watched) -> None:
    for _ in range(100):
        watched.frames(1, CameraState.BLOCKED, "black")
        watched.frames(1)
    first = watched.lines()
    immediately_after = watched.lines()
    watched.now_s += INTERVAL_S
    later = watched.lines()

    assert len(first) == BURST
    assert immediately_after == []
    assert later == [
        "at 20.0 s: camera ok again, after 0.1 s, 1 frame without a mask",
        f"({200 - BURST - 1} more changes of camera or engine were left out)",
    ]


def test_last_change_is_reported_at_the_end_of_the_run(watched: Watched) -> None:
    for _ in range(BURST):
        watched.frames(1, CameraState.BLOCKED, "black")
        watched.frames(1)
    watched.lines()
    watched.frames(1, CameraState.LOST, "gone")

    assert watched.lines(flush=True)[-2].startswith("at 1.3 s: camera lost (gone)")


def _black_in_between(file: Path, write_clip: Callable[[Path, list[np.ndarray]], None]) -> None:
    chance = np.random.default_rng(7)
    noisy = [chance.integers(0, 255, (90, 160, 3), dtype=np.uint8) for _ in range(20)]
    black = [np.zeros((90, 160, 3), np.uint8)] * 30
    write_clip(file, [*noisy, *black, *noisy])


def _write_clip(file: Path, images: list[np.ndarray]) -> None:
    with av.open(str(file), "w") as video:
        stream = video.add_stream("libx264", rate=Fraction(20))
        stream.width, stream.height = images[0].shape[1], images[0].shape[0]
        stream.pix_fmt = "yuv420p"
        for image in images:
            video.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        video.mux(stream.encode(None))


def test_run_reports_a_black_camera_and_where_its_files_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, out, records = tmp_path / "a.mp4", tmp_path / "o.mp4", tmp_path / "r.jsonl"
    masks, summary = tmp_path / "m", tmp_path / "s.json"
    _black_in_between(clip, _write_clip)

    outputs = ["--out", str(out), "--jsonl", str(records), "--masks", str(masks), "--summary", str(summary)]
    assert main(["--source", str(clip), "--model", "rt_s-int8", *outputs]) == 0

    said = capsys.readouterr().err
    withheld = json.loads(summary.read_text())["withheld_by"]["camera blocked"]
    assert withheld
    assert ": camera blocked (black): no masks\n" in said
    assert f"{withheld} camera blocked" in said
    (files,) = [line for line in said.splitlines() if line.startswith("files: ")]
    for part in (
        f"{out} (70 frames, ",
        f"{records} (70 records, ",
        f"{masks} ({70 - withheld} masks, looks black without --mask-palette, ",
        f"kB), {summary}",
    ):
        assert part in files


def test_issue_is_on_the_terminal_while_the_run_goes_on(tmp_path: Path) -> None:
    clip = tmp_path / "a.mp4"
    _black_in_between(clip, _write_clip)
    node = "import sys; from perception.node import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["--source", str(clip), "--loop", "--model", "rt_s-int8"]

    with subprocess.Popen([sys.executable, "-c", node, *arguments], stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        line = next((line for line in run.stderr if "camera blocked" in line), None)
        is_running = run.poll() is None
        run.terminate()
        rest = run.stderr.read()

    assert line is not None
    assert line.endswith(": camera blocked (black): no masks\n")
    assert is_running
    assert "frames captured" in rest
    assert run.returncode == 0


def test_run_that_writes_nothing_names_no_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--max-frames", "2", "--synthetic.wh", "160x90", "--model", "rt_s-int8"]) == 0

    assert "files:" not in capsys.readouterr().err


def test_segments_are_listed_from_the_first_to_the_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--max-frames", "90", "--synthetic.wh", "160x90", "--model", "rt_s-int8"]

    assert main([*arguments, "--jsonl", str(tmp_path / "r.jsonl"), "--rotate.age", "1s"]) == 0

    expected = f"files: {tmp_path / 'r-000001.jsonl'} to r-000003.jsonl (90 records, "
    assert expected in capsys.readouterr().err
