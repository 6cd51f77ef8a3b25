"""Recordings in segments: names, ends, what is removed, nearly full disks, and restarts in place."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import av
import pytest
from recording import (
    A_SECOND,
    LIVE,
    PERIOD_NS,
    RECORDED,
    TARGETS,
    WH,
    frames_of,
    names,
    predicted,
    sink_at,
    write,
)

from perception.cli_config import SettingsError, parse
from perception.config import NodeConfig
from perception.frame import CameraState, NoFrameRecord, OutputItem
from perception.sinks.registry import Sinks
from perception.sinks.rotation import RecordingPolicy, Rotate
from perception.sinks.sink import SinkError


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """A disk and a clock to set: bytes that are free, and nanoseconds."""
    state = {"free": 10**12, "now": 0}
    monkeypatch.setattr("perception.sinks.space.free_bytes", lambda folder: state["free"])
    monkeypatch.setattr("perception.sinks.space.monotonic_ns", lambda: state["now"])
    return state


def test_video_segments_play_alone_from_zero_and_lose_no_frame(tmp_path: Path) -> None:
    sink = sink_at(tmp_path, "overlay", A_SECOND)
    sink.open(LIVE)
    write(sink, range(60))
    sink.close()

    assert names(tmp_path) == [f"out-00000{number}.mp4" for number in (1, 2, 3)]
    assert [frames_of(tmp_path / name) for name in names(tmp_path)] == [
        [*range(25)],
        [*range(25)],
        [*range(10)],
    ]
    with av.open(tmp_path / "out-000003.mp4") as container:
        assert container.metadata["comment"] == "begins 2.000 s into the source"


@pytest.mark.parametrize(
    ("name", "segments"),
    [
        ("jsonl", ["out-000001.jsonl", "out-000002.jsonl", "out-000003.jsonl"]),
        ("masks", ["000001", "000002", "000003"]),
    ],
)
def test_records_and_masks_are_cut_by_the_sources_time(
    tmp_path: Path, name: str, segments: list[str]
) -> None:
    sink = sink_at(tmp_path, name, A_SECOND)
    sink.open(LIVE)
    write(sink, range(60))
    sink.close()

    folder = tmp_path / "out" if name == "masks" else tmp_path
    assert names(folder) == segments
    assert [frames_of(folder / segment) for segment in segments] == [
        [*range(25)],
        [*range(25, 50)],
        [*range(50, 60)],
    ]


@pytest.mark.parametrize("name", list(TARGETS))
def test_segment_ends_with_the_frame_that_reaches_the_size(tmp_path: Path, name: str) -> None:
    sink = sink_at(tmp_path, name, RecordingPolicy(Rotate(size_mb=0.004)))
    sink.open(LIVE)
    write(sink, range(40))
    sink.close()

    folder = tmp_path / "out" if name == "masks" else tmp_path
    counts = [len(frames_of(folder / segment)) for segment in names(folder)]
    assert sum(counts) == 40
    assert len(counts) > 1


@pytest.mark.parametrize("name", list(TARGETS))
def test_oldest_segments_go_and_nothing_that_is_none_of_ours(tmp_path: Path, name: str) -> None:
    target = {{"overlay": "out"}.get(name, name): str(tmp_path / TARGETS[name])}
    sinks = Sinks(NodeConfig(**target, rotate=Rotate(age_s=1.0, keep=2)), LIVE)
    folder = tmp_path / "out" if name == "masks" else tmp_path
    foreign = {"overlay": "out-000007.mp4", "jsonl": "out-000007.jsonl", "masks": "000007"}[name]
    folder.mkdir(exist_ok=True)
    (folder / foreign).write_text("of another run")
    first, second = sinks.build(name), sinks.build(name)

    first.open(LIVE)
    write(first, range(60))
    second.open(LIVE, resumes=True)
    write(second, range(60, 100))
    first.close()
    second.close()

    assert names(folder) == [foreign, foreign.replace("07", "11"), foreign.replace("07", "12")]
    assert (folder / foreign).read_text() == "of another run"
    assert first.issue is second.issue is None


@pytest.mark.parametrize("name", list(TARGETS))
def test_recording_stops_whole_while_the_disk_is_nearly_full(
    tmp_path: Path, name: str, disk: dict[str, int]
) -> None:
    sink = sink_at(tmp_path, name)
    sink.open(LIVE)
    for frame_id, free_mb in enumerate([900] * 10 + [199] * 5 + [399] * 5 + [400] * 10):
        disk["free"], disk["now"] = free_mb * 10**6, frame_id * 10**9
        sink.write(predicted(frame_id))
        if frame_id == 12:
            assert len(frames_of(tmp_path / TARGETS[name])) == 10
    sink.close()

    assert sink.issue == (
        f"{tmp_path / TARGETS[name]}: 10 frames not recorded, less than 200 MB were free on the disk; "
        "make room, or set min_free_mb lower"
    )
    parts = {
        "overlay": {"out.mp4": 10, "out-000001.mp4": 10},
        "jsonl": {"out.jsonl": 20},
        "masks": {"out": 20},
    }
    assert {path: len(frames_of(tmp_path / path)) for path in names(tmp_path)} == parts[name]


def test_file_system_is_asked_once_a_second(tmp_path: Path, disk: dict[str, int]) -> None:
    sink = sink_at(tmp_path, "jsonl")
    sink.open(LIVE)

    disk["free"], disk["now"] = 0, 999_999_999
    sink.write(predicted(0))
    disk["now"] += 1
    sink.write(predicted(1))
    sink.close()

    assert frames_of(tmp_path / "out.jsonl") == [0]


@pytest.mark.parametrize("name", list(TARGETS))
def test_nearly_full_disk_refuses_a_recorded_source_and_lets_a_live_one_drive(
    tmp_path: Path, name: str, disk: dict[str, int]
) -> None:
    disk["free"] = 5_000_000

    with pytest.raises(SinkError, match="5 MB are free on its disk, below the limit of 200 MB"):
        sink_at(tmp_path, name).open(RECORDED)
    live = sink_at(tmp_path, name)
    live.open(LIVE)
    live.write(predicted(0))
    live.close()

    assert live.issue is not None
    assert "1 frames not recorded" in live.issue


def test_sink_in_the_place_of_a_hanging_one_touches_none_of_its_files(tmp_path: Path) -> None:
    for name, continuation in (("overlay", "out-000001.mp4"), ("jsonl", "out-000001.jsonl")):
        policy = RecordingPolicy()
        hanging, new = sink_at(tmp_path, name, policy), sink_at(tmp_path, name, policy)
        hanging.open(LIVE)
        write(hanging, range(10))
        new.open(LIVE, resumes=True)
        write(new, range(10, 15))
        write(hanging, range(15, 18))
        new.close()
        hanging.close()

        assert len(frames_of(tmp_path / TARGETS[name])) == 13
        assert len(frames_of(tmp_path / continuation)) == 5


@pytest.mark.parametrize("torn", ["", '{"schema":3,"na', '{"schema":"' + "y" * 200_000])
def test_records_go_on_behind_the_last_whole_line(tmp_path: Path, torn: str) -> None:
    sink = sink_at(tmp_path, "jsonl")
    sink.open(LIVE)
    write(sink, range(3))
    sink.close()
    with (tmp_path / "out.jsonl").open("a") as file:
        file.write(torn)

    new = sink_at(tmp_path, "jsonl")
    new.open(LIVE, resumes=True)
    write(new, range(4, 6))
    new.close()

    assert frames_of(tmp_path / "out.jsonl") == [0, 1, 2, 4, 5]


def test_killed_process_leaves_every_segment_readable(tmp_path: Path) -> None:
    here = Path(__file__).parent
    code = f"""
        import sys
        sys.path[:0] = [{str(here.parents[1])!r}, {str(here)!r}]
        from pathlib import Path
        from recording import A_SECOND, LIVE, sink_at, write
        sink = sink_at(Path({str(tmp_path)!r}), "overlay", A_SECOND)
        sink.open(LIVE)
        write(sink, range(57))
        print("written", flush=True)
        sys.stdin.read()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)

    lengths = [len(frames_of(tmp_path / name)) for name in names(tmp_path)]
    assert lengths[:2] == [25, 25]
    assert lengths[2] == 5  # one whole fragment of a fifth of a second, of 7 frames


def test_outages_are_black_with_a_banner_at_their_time_and_a_new_size_is_resized(tmp_path: Path) -> None:
    lost = NoFrameRecord("cam", WH, 5 * PERIOD_NS, 0, CameraState.LOST, "no frame for 1 s")
    outputs: list[OutputItem] = [
        predicted(0),
        lost,
        replace(lost, time_ns=9 * PERIOD_NS),
        predicted(12, (320, 192)),
    ]
    sink = sink_at(tmp_path, "overlay")
    sink.open(LIVE)
    for output in outputs:
        sink.write(output)
    sink.close()

    assert frames_of(tmp_path / "out.mp4") == [0, 5, 9, 12]
    with av.open(tmp_path / "out.mp4") as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [picture.shape for picture in pictures] == [(96, 160, 3)] * 4
    assert pictures[1][55:80, 8:-8].max() < 16
    red = pictures[1][2:20].reshape(-1, 3).mean(0)
    assert red[0] > 120
    assert red[0] > 2 * red[1]
    assert pictures[3][40:70].mean() > 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rotate.keep", "3"], "set rotate.size_mb or rotate.age_s too"),
        (["--rotate.age_s", "-1"], "rotate.age_s is -1.0; 0 turns it off"),
        (["--min-free-mb", "-1"], "min_free_mb is -1.0; 0 turns it off"),
    ],
)
def test_settings_that_cut_nothing_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse(NodeConfig, "drivable-node", "", arguments)
    assert parse(NodeConfig, "drivable-node", "", ["--rotate.size-mb", "9"]).rotate == Rotate(size_mb=9.0)
