"""Outputs that others use too: two writers, files that are moved or removed, and runs one after the other."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from recording import LIVE, TARGETS, contents, frames_of, names, sink_at, write

from perception.config import NodeConfig
from perception.node import main
from perception.sinks.registry import Sinks
from perception.sinks.rotation import RecordingPolicy, Rotate
from perception.sinks.sink import Sink

ENDLESS = ("--source", "synthetic", "--realtime")
SMALL = ("--model", "rt_s-int8", "--synthetic.wh", "[160, 90]")
SETTINGS = {"overlay": "out", "jsonl": "jsonl", "masks": "masks"}
A_SECOND = Rotate(age_s=1.0)


def outputs_in(folder: Path) -> list[str]:
    return [
        *("--out", str(folder / "out.mp4"), "--jsonl", str(folder / "out.jsonl")),
        *("--masks", str(folder / "out"), "--summary", str(folder / "summary.json")),
    ]


@pytest.fixture
def node() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """A function that starts a node and waits until it records; what still runs is killed at the end."""
    started = []

    def start(records: Path, *arguments: str, beyond_bytes: int = 0) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "perception.node", *ENDLESS, *SMALL, *arguments]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        started.append(process)
        limit_s = time.monotonic() + 100
        while not (records.exists() and records.stat().st_size > beyond_bytes + 30_000):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < limit_s
            time.sleep(0.02)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.one_in(2)
@pytest.mark.parametrize("rotate", [(), ("--rotate.age_s", "1")])
def test_second_node_is_refused_in_one_line_before_anything_is_touched(
    rotate: tuple[str, ...],
    tmp_path: Path,
    node: Callable[..., subprocess.Popen[str]],
    only_error_line: Callable[[str], str],
) -> None:
    others = tmp_path / "others.mp4"
    others.write_bytes(b"an older recording")
    records = tmp_path / ("out-000001.jsonl" if rotate else "out.jsonl")
    first = node(records, *outputs_in(tmp_path), *rotate)

    for taken in (
        ["--jsonl", "out.jsonl"],
        ["--out", "out.mp4"],
        ["--masks", "out"],
        ["--summary", "summary.json"],
    ):
        free = [] if taken[0] == "--out" else ["--out", str(others)]
        arguments = [taken[0], str(tmp_path / taken[1]), *free, *rotate]
        assert main([*SMALL, "--max-frames", "2", *arguments]) == 1
        line = only_error_line("drivable-node")
        assert f"{taken[1]}" in line
        assert f"is being written by another node (process {first.pid})" in line
        assert others.read_bytes() == b"an older recording"

    first.send_signal(signal.SIGTERM)
    _, said = first.communicate(timeout=30)
    assert first.returncode == 0, said
    frames = json.loads((tmp_path / "summary.json").read_text())["frames"]
    segments = [path for path in tmp_path.iterdir() if path.suffix == ".jsonl"]
    recorded = [number for segment in segments for number in frames_of(segment) if number is not None]
    assert len(recorded) == frames["published"] + frames["withheld"]  # on a busy machine some are too old
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == []


@pytest.mark.one_in(2)
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_lock_goes_with_the_process(
    end: signal.Signals, tmp_path: Path, node: Callable[..., subprocess.Popen[str]]
) -> None:
    first = node(tmp_path / "out.jsonl", *outputs_in(tmp_path))
    first.send_signal(end)
    first.wait(30)

    assert main([*SMALL, "--max-frames", "2", *outputs_in(tmp_path)]) == 0


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to", "dots"])
def test_two_outputs_of_one_node_on_one_file_are_refused(
    link: str, tmp_path: Path, only_error_line: Callable[[str], str]
) -> None:
    video, other = tmp_path / "out.mp4", tmp_path / "sub" / "records"
    video.write_bytes(b"an older recording")
    other.parent.mkdir()
    if link == "dots":
        other = tmp_path / "sub" / ".." / "out.mp4"
    else:
        getattr(other, link)(video)

    assert main([*SMALL, "--max-frames", "2", "--out", str(video), "--jsonl", str(other)]) == 2

    assert "--out and --jsonl name the same file" in only_error_line("drivable-node")
    assert video.read_bytes() == b"an older recording"


def test_summary_never_takes_the_place_of_another_output(
    tmp_path: Path, only_error_line: Callable[[str], str]
) -> None:
    same = str(tmp_path / "out.json")

    assert main([*SMALL, "--max-frames", "2", "--jsonl", same, "--summary", same]) == 2

    assert "--jsonl and --summary name the same file" in only_error_line("drivable-node")
    assert os.listdir(tmp_path) == []


def test_devices_are_not_locked(tmp_path: Path) -> None:
    sinks = [sink_at(tmp_path, "jsonl") for _ in range(2)]
    (tmp_path / "out.jsonl").symlink_to("/dev/null")
    for sink in sinks:
        sink.open(LIVE)
        write(sink, range(2))
    for sink in sinks:
        sink.close()


@pytest.mark.parametrize("name", ["overlay", "jsonl", "masks"])
def test_claim_alone_leaves_no_trace(tmp_path: Path, name: str) -> None:
    for policy in (RecordingPolicy(), RecordingPolicy(A_SECOND)):
        sink = sink_at(tmp_path, name, policy)
        sink.claim()
        sink.close()

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def recorded(tmp_path: Path, name: str, change: Callable[[Path], None], rotate: Rotate) -> Sink:
    """20 frames, then the change of the output, then 20 more."""
    sink = sink_at(tmp_path / "folder", name, RecordingPolicy(rotate))
    sink.open(LIVE)
    write(sink, range(20))
    change(tmp_path / "folder")
    write(sink, range(20, 40))
    sink.close()
    return sink


@pytest.mark.parametrize("rotate", [Rotate(), Rotate(age_s=60.0)])
@pytest.mark.parametrize("name", ["overlay", "jsonl", "masks"])
def test_removed_folder_is_made_again_and_the_loss_is_reported(
    tmp_path: Path, name: str, rotate: Rotate
) -> None:
    sink = recorded(tmp_path, name, shutil.rmtree, rotate)

    (target,) = (path for path in (tmp_path / "folder").iterdir() if not path.name.startswith("."))
    if rotate.is_on and name == "masks":
        (target,) = target.iterdir()
    assert len(frames_of(target)) == 20
    assert sink.issue == (
        f"{tmp_path / 'folder' / TARGETS[name]}: 20 recorded frames are lost: "
        "their files were removed during the recording"
    )


@pytest.mark.parametrize("name", ["overlay", "jsonl", "masks"])
def test_last_frames_into_a_removed_folder_are_reported_too(tmp_path: Path, name: str) -> None:
    sink = sink_at(tmp_path / "folder", name)
    sink.open(LIVE)
    write(sink, range(7))
    shutil.rmtree(tmp_path / "folder")
    sink.close()

    assert sink.issue is not None
    assert "7 recorded frames are lost" in sink.issue


@pytest.mark.parametrize("name", ["overlay", "jsonl", "masks"])
def test_output_that_is_moved_stays_whole_and_another_goes_on(tmp_path: Path, name: str) -> None:
    moved = tmp_path / f"moved{Path(TARGETS[name]).suffix}"

    sink = recorded(tmp_path, name, lambda folder: (folder / TARGETS[name]).rename(moved) and None, Rotate())

    assert sink.issue is None
    assert len(frames_of(moved)) == 20
    assert len(frames_of(tmp_path / "folder" / TARGETS[name])) == 20
    assert names(tmp_path / "folder") == [TARGETS[name]]


def test_records_go_on_after_every_way_of_logrotate(tmp_path: Path) -> None:
    copies: list[Path] = []

    def create(folder: Path) -> None:
        (folder / "out.jsonl").rename(tmp_path / "1.jsonl")
        (folder / "out.jsonl").touch()
        copies.append(tmp_path / "1.jsonl")

    def copytruncate(folder: Path) -> None:
        shutil.copy(folder / "out.jsonl", tmp_path / "2.jsonl")
        os.truncate(folder / "out.jsonl", 0)
        copies.append(tmp_path / "2.jsonl")

    for change in (create, copytruncate):
        sink = recorded(tmp_path, "jsonl", change, Rotate())
        assert sink.issue is None
        assert frames_of(copies[-1]) == [*range(20)]
        assert frames_of(tmp_path / "folder" / "out.jsonl") == [*range(20, 40)]


def test_file_that_came_in_the_place_of_a_video_is_not_touched(tmp_path: Path) -> None:
    def swap(folder: Path) -> None:
        (folder / "out.mp4").unlink()
        (folder / "out.mp4").write_bytes(b"of somebody else")

    sink = recorded(tmp_path, "overlay", swap, Rotate())

    assert (tmp_path / "folder" / "out.mp4").read_bytes() == b"of somebody else"
    assert len(frames_of(tmp_path / "folder" / "out-000001.mp4")) == 20
    assert "20 recorded frames are lost" in str(sink.issue)


def test_video_that_is_cut_under_the_node_is_reported(tmp_path: Path) -> None:
    sink = recorded(tmp_path, "overlay", lambda folder: os.truncate(folder / "out.mp4", 0), Rotate())

    assert len(frames_of(tmp_path / "folder" / "out.mp4")) == 20
    assert "20 recorded frames are lost" in str(sink.issue)


def test_run_whose_records_were_removed_does_not_end_well(
    tmp_path: Path, node: Callable[..., subprocess.Popen[str]]
) -> None:
    folder = tmp_path / "folder"
    process = node(folder / "out.jsonl", "--jsonl", str(folder / "out.jsonl"))
    shutil.rmtree(folder)
    limit_s = time.monotonic() + 30
    while not (folder / "out.jsonl").exists() and time.monotonic() < limit_s:
        time.sleep(0.01)

    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)

    assert process.returncode == 1
    assert "recorded frames are lost" in said
    assert frames_of(folder / "out.jsonl")


@pytest.mark.parametrize("name", ["overlay", "jsonl", "masks"])
def test_boots_one_after_the_other_stay_within_keep(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out" if name == "masks" else tmp_path
    suffix = Path(TARGETS[name]).suffix
    for boot in range(5):
        settings = {SETTINGS[name]: str(tmp_path / TARGETS[name])}
        config = NodeConfig(**settings, rotate=Rotate(age_s=1.0, keep=3), append=boot % 2 == 0)
        (sink,) = Sinks(config, LIVE).open_all()
        write(sink, range(90))
        sink.close()
        assert sink.issue is None

    assert names(folder) == [
        f"{'' if name == 'masks' else 'out-'}{number:06d}{suffix}" for number in (18, 19, 20)
    ]
    assert all(len(frames_of(folder / segment)) in (25, 15) for segment in names(folder))


@pytest.mark.parametrize("name", ["overlay", "jsonl", "masks"])
def test_keep_removes_nothing_that_no_run_of_ours_has_made(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out" if name == "masks" else tmp_path
    folder.mkdir(exist_ok=True)
    foreign = {"overlay": "out-202401.mp4", "jsonl": "out-202401.jsonl", "masks": "202401"}[name]
    (folder / foreign).write_text("of the user")
    (tmp_path / "elsewhere").write_text("of the user")
    index = folder / (".segments" if name == "masks" else f".{TARGETS[name]}.segments")
    index.write_text("../elsewhere\nelsewhere\n\n/etc/hostname\nout-000001.mp4\n")

    sink = sink_at(tmp_path, name, RecordingPolicy(Rotate(age_s=1.0, keep=1)))
    sink.open(LIVE)
    write(sink, range(60))
    sink.close()

    assert (folder / foreign).read_text() == "of the user"
    assert (tmp_path / "elsewhere").read_text() == "of the user"
    assert sum(len(frames_of(folder / it)) for it in names(folder) if it not in (foreign, "elsewhere")) == 10


def test_keep_leaves_pictures_of_the_user_in_an_old_folder_and_says_so(tmp_path: Path) -> None:
    sink = sink_at(tmp_path, "masks", RecordingPolicy(Rotate(age_s=1.0, keep=1)))
    sink.open(LIVE)
    write(sink, range(20))
    photo = tmp_path / "out" / "000001" / "photo.png"
    photo.write_bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    write(sink, range(20, 40))
    sink.close()

    assert names(photo.parent) == ["photo.png"]
    assert sink.issue is not None
    assert "000001: an old segment cannot be removed: Directory not empty; remove it" in sink.issue


@pytest.mark.slow
@pytest.mark.parametrize("rotate", [(), ("--rotate.age_s", "0.5", "--rotate.keep", "6")])
def test_unit_that_is_killed_and_started_again_five_times_goes_on_with_its_outputs(
    rotate: tuple[str, ...], tmp_path: Path, node: Callable[..., subprocess.Popen[str]]
) -> None:
    kept: dict[str, bytes] = {}
    whole_lines = b""
    for _ in range(5):
        records = tmp_path / "out.jsonl"
        if rotate:
            numbers = [int(path.stem[4:]) for path in tmp_path.glob("out-*.jsonl")]
            records = tmp_path / f"out-{max(numbers, default=0) + 1:06d}.jsonl"
        had_bytes = records.stat().st_size if records.exists() else 0
        arguments = ["--config", "node/service", *outputs_in(tmp_path), *rotate]
        node(records, *arguments, beyond_bytes=had_bytes - 20_000 if rotate else had_bytes).kill()
        time.sleep(0.2)

        now = contents(tmp_path)
        for (
            file,
            content,
        ) in kept.items():  # no file of an earlier run is changed, and none but the oldest goes
            assert now.get(file, content) == content
            assert file in now or rotate
        kept = {file: it for file, it in now.items() if file.endswith((".mp4", ".png"))}
        if not rotate:
            assert now["out.jsonl"].startswith(whole_lines)
            with records.open("ab") as stream:
                whole_lines = now["out.jsonl"][: now["out.jsonl"].rfind(b"\n") + 1]
                stream.write(b'{"schema": 3, "sour')

    videos = sorted(tmp_path.glob("out*.mp4"))
    assert len(videos) == 5 if not rotate else 1 <= len(videos) <= 6
    readable = [video for video in videos if video.stat().st_size]
    frames = 0
    for video in readable:  # one that was killed within a fifth of a second holds no frame yet
        with av.open(str(video)) as container:
            frames += sum(1 for _ in container.decode(video=0))
    assert frames > 0
    masks = [*(tmp_path / "out").glob("*/*.png")]
    assert all(cv2.imread(str(mask), cv2.IMREAD_UNCHANGED) is not None for mask in masks)
    if not rotate:
        assert len(list((tmp_path / "out").glob("[0-9]*"))) == 5
        assert [json.loads(line)["frame_id"] for line in whole_lines.splitlines()].count(0) == 5
