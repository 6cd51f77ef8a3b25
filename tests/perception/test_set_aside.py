"""What an earlier run left is never replaced unasked: it is kept under another name, and that is said."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import cv2
import numpy as np
import pytest
from recording import LIVE, TARGETS, frames_of, names, predicted, sink_at, write

from perception.imaging.mask_png import mask_png
from perception.node import main
from perception.sinks.rotation import RecordingPolicy, Rotate
from perception.sinks.sink import SinkError
from perception.system.atomic_file import partial_of
from perception.system.set_aside import is_stream, make_way, set_aside, write_outputs
from perception.telemetry.summary import SummaryFile

SMALL = ("--model", "rt_s-int8", "--synthetic.wh", "[160, 90]")
OUTPUTS = ("--out", "o.mp4", "--jsonl", "r.jsonl", "--masks", "masks", "--summary", "s.json")


def run(frames: int, *arguments: str) -> int:
    return main([*SMALL, "--max-frames", str(frames), *OUTPUTS, *arguments])


def lengths(folder: Path) -> dict[str, int]:
    return {name: len(frames_of(folder / name)) for name in names(folder) if not name.startswith("s.")}


def files_in(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def test_second_run_keeps_what_the_first_one_wrote_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    statuses = [run(frames) for frames in (4, 3, 2)]

    assert statuses == [0, 0, 0]
    assert lengths(tmp_path) == {
        **{"masks": 2, "masks.1": 4, "masks.2": 3},
        **{"o.mp4": 2, "o.1.mp4": 4, "o.2.mp4": 3},
        **{"r.jsonl": 2, "r.1.jsonl": 4, "r.2.jsonl": 3},
    }
    assert [name for name in names(tmp_path) if name.startswith("s.")] == ["s.1.json", "s.2.json", "s.json"]
    said = capsys.readouterr().err
    assert said.count("r.jsonl exists already; it is kept as r.2.jsonl (--overwrite replaces)\n") == 1
    assert said.count("masks: 3 masks of an earlier run are kept in masks.2") == 1


def test_overwrite_replaces_and_append_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    statuses = [run(4), run(3, "--overwrite"), run(2, "--append")]

    assert statuses == [0, 0, 0]
    assert names(tmp_path) == ["masks", "o-000001.mp4", "o.mp4", "r.jsonl", "s.json"]
    assert len(frames_of(tmp_path / "r.jsonl")) == 5
    assert len(frames_of(tmp_path / "o.mp4")) == 3
    assert sorted(str(mask.relative_to("masks")) for mask in Path("masks").rglob("*.png")) == [
        *("000000.png", "000001.png", "000001/000000.png", "000001/000001.png", "000002.png"),
    ]
    assert "kept" not in capsys.readouterr().err


def test_append_and_overwrite_exclude_each_other(only_error_line: Callable[[str], str]) -> None:
    assert run(1, "--append", "--overwrite") == 2
    assert "leave one out" in only_error_line("drivable-node")


@pytest.mark.parametrize("name", list(TARGETS))
def test_rotation_neither_counts_nor_removes_what_was_set_aside(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out" if name == "masks" else tmp_path
    plain, rotated = RecordingPolicy(), RecordingPolicy(Rotate(age_s=1.0, keep=1))
    for policy in (plain, plain, rotated, plain):
        sink = sink_at(tmp_path, name, policy)
        sink.open(LIVE)
        write(sink, range(60))
        sink.close()
        assert sink.issue is None

    target = Path(TARGETS[name])
    asides = [tmp_path / f"{target.stem}.{number}{target.suffix}" for number in (1, 2)]
    assert [len(frames_of(aside)) for aside in asides] == [60, 60]
    assert len(frames_of(tmp_path / target)) == 60
    assert [it for it in names(folder) if "0000" in it and "_" not in it] == (
        [f"{number:06d}.png" for number in range(60)] if name == "masks" else [f"out-000003{target.suffix}"]
    )


@pytest.mark.parametrize("name", ["overlay", "jsonl"])
def test_file_of_the_user_is_kept_too_and_a_link_stays_a_link(tmp_path: Path, name: str) -> None:
    target = tmp_path / TARGETS[name]
    (tmp_path / "disk").mkdir()
    real = tmp_path / "disk" / f"real{target.suffix}"
    real.write_bytes(b"of the user")
    target.symlink_to(real)

    sink = sink_at(tmp_path, name)
    sink.open(LIVE)
    write(sink, range(3))
    sink.close()

    assert (tmp_path / "disk" / f"real.1{target.suffix}").read_bytes() == b"of the user"
    assert target.is_symlink()
    assert len(frames_of(real)) == 3


@pytest.mark.parametrize("name", ["overlay", "jsonl"])
def test_overwriting_one_name_of_a_file_leaves_its_other_names_whole(tmp_path: Path, name: str) -> None:
    (tmp_path / "other").write_bytes(b"of the user")
    (tmp_path / TARGETS[name]).hardlink_to(tmp_path / "other")

    sink = sink_at(tmp_path, name, RecordingPolicy(overwrite=True))
    sink.open(LIVE)
    write(sink, range(3))
    sink.close()

    assert (tmp_path / "other").read_bytes() == b"of the user"
    assert len(frames_of(tmp_path / TARGETS[name])) == 3


def test_file_of_two_names_that_may_not_be_removed_is_not_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").write_bytes(b"of the user")
    (tmp_path / TARGETS["jsonl"]).hardlink_to(tmp_path / "other")

    def unlink(file: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))  # as in a sticky folder

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(SinkError, match=r"out\.jsonl: .*not permitted"):
        sink_at(tmp_path, "jsonl", RecordingPolicy(overwrite=True)).open(LIVE)

    assert (tmp_path / "other").read_bytes() == b"of the user"


@pytest.mark.parametrize("name", ["overlay", "jsonl"])
def test_link_that_leads_nowhere_stays_where_nothing_is_written(tmp_path: Path, name: str) -> None:
    target = tmp_path / TARGETS[name]
    target.symlink_to("elsewhere")

    sink = sink_at(tmp_path, name)
    sink.claim()
    sink.open(LIVE)
    sink.close()

    assert os.readlink(target) == "elsewhere"


@pytest.mark.parametrize(
    "content",
    [b"one line without an end", b"a line\nanother", b"\x00\x00ftyp\nmdat", b'{"mine": 1}', b"{\n}"],
)
def test_append_cuts_nothing_off_that_is_no_half_record(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "out.jsonl").write_bytes(content)

    sink = sink_at(tmp_path, "jsonl", RecordingPolicy(append=True))
    sink.open(LIVE)
    write(sink, range(3))
    sink.close()

    assert (tmp_path / "out.jsonl").read_bytes() == content
    assert len(frames_of(tmp_path / "out-000001.jsonl")) == 3


@pytest.mark.parametrize(
    "torn", [b"", b"{", b'{"sche', b'{"schema": 3, "sour', b'{"schema":3\0\0', b"\0" * 99]
)
def test_append_goes_on_behind_half_records_and_what_power_cuts_leave(tmp_path: Path, torn: bytes) -> None:
    for frames in (range(3), range(3, 5)):
        sink = sink_at(tmp_path, "jsonl", RecordingPolicy(append=True))
        sink.open(LIVE)
        write(sink, frames)
        sink.close()
        with (tmp_path / "out.jsonl").open("ab") as stream:
            stream.write(torn)

    (tmp_path / "out.jsonl").write_bytes((tmp_path / "out.jsonl").read_bytes().removesuffix(torn))
    assert frames_of(tmp_path / "out.jsonl") == [0, 1, 2, 3, 4]
    assert names(tmp_path) == ["out.jsonl"]


@pytest.mark.parametrize("content", ["a letter", '{"mine": 1}', "[1]", '{"schema": 1, "name": "mine"}'])
def test_append_replaces_no_file_that_is_no_summary(tmp_path: Path, content: str) -> None:
    (tmp_path / "s.json").write_text(content)
    summary = {"schema": 1, "model_id": "m", "frames": {}, "sinks": {}}

    for _ in range(2):
        file = SummaryFile(tmp_path / "s.json", append=True)
        file.claim()
        file.write(summary)
        file.close()

    assert (tmp_path / "s.1.json").read_text() == content
    assert names(tmp_path) == ["s.1.json", "s.json"]


def test_second_writer_of_a_file_that_was_set_aside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("of an earlier run\n")
    first, second = sink_at(tmp_path, "jsonl"), sink_at(tmp_path, "jsonl")
    first.open(LIVE)

    with pytest.raises(SinkError, match=r"out\.jsonl: .*another"):
        second.open(LIVE)
    first.close()

    assert names(tmp_path) == ["out.1.jsonl"]


@pytest.mark.parametrize("name", list(TARGETS))
def test_of_writers_that_begin_at_one_instant_one_writes_and_what_was_there_is_kept_once(
    tmp_path: Path, name: str
) -> None:
    earlier = sink_at(tmp_path, name)
    earlier.open(LIVE)
    write(earlier, range(7))
    earlier.close()
    writers = 6
    together, all_tried = Barrier(writers), Barrier(writers)

    def begin(_: int) -> bool:
        sink = sink_at(tmp_path, name)
        together.wait()
        try:
            sink.open(LIVE)
        except SinkError:
            return False
        finally:
            all_tried.wait()
        write(sink, range(3))
        sink.close()
        return True

    with ThreadPoolExecutor(writers) as pool:
        wrote = list(pool.map(begin, range(writers)))

    target = Path(TARGETS[name])
    kept = f"{target.stem}.1{target.suffix}"
    assert wrote.count(True) == 1
    assert len(frames_of(tmp_path / kept)) == 7
    assert names(tmp_path) == sorted([kept, target.name])
    assert len(frames_of(tmp_path / target)) == 3


def test_sink_in_the_place_of_one_that_failed_sets_nothing_aside(tmp_path: Path) -> None:
    for name in TARGETS:
        policy = RecordingPolicy()
        for resumes in (False, True):
            sink = sink_at(tmp_path, name, policy)
            sink.open(LIVE, resumes=resumes)
            write(sink, range(10) if not resumes else range(10, 15))
            sink.close()

    assert names(tmp_path) == ["out", "out-000001.mp4", "out.jsonl", "out.mp4"]


def test_no_old_mask_stays_and_all_else_does(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    old = ["000001.png", "000002/a.png", "000009.png", "deep/000001.png", "deep/er/1.png"]
    for file in old:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(mask_png(np.full((36, 64), 2, np.uint8)))
    cv2.imwrite(str(folder / "deep" / "photo.png"), np.full((36, 64, 3), 90, np.uint8))
    (folder / "notes.txt").write_text("of the user")

    sink = sink_at(tmp_path, "masks", RecordingPolicy(folders=frozenset({"deep", "deep/er"})))
    sink.open(LIVE)
    write(sink, range(2))
    sink.close()

    assert files_in(tmp_path / "out.1") == old
    assert files_in(folder) == ["000000.png", "000001.png", "deep/photo.png", "notes.txt"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_runs_do_not_write_to_is_left_alone(tmp_path: Path, overwrite: bool) -> None:
    """Labels that somebody drew look like masks, and masks of other runs are theirs."""
    folder = tmp_path / "out"
    others = ["000002/label.png", "a/label.png", "labels/1.png", "monday/masks/000001.png"]
    for file in others:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / file), np.full((36, 64), 2, np.uint8))
    (folder / others[-1]).write_bytes(mask_png(np.full((36, 64), 2, np.uint8)))

    sink = sink_at(tmp_path, "masks", RecordingPolicy(overwrite=overwrite, folders=frozenset({"a"})))
    sink.claim()
    sink.open(LIVE)
    write(sink, range(1))
    sink.close()

    assert files_in(folder) == ["000000.png", *others]
    assert names(tmp_path) == ["out"]


def test_overwriting_removes_nothing_that_no_run_is_known_to_have_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    cv2.imwrite(str(folder / "label.png"), np.full((36, 64), 2, np.uint8))
    for has_palette in (False, True):
        png = mask_png(np.full((36, 64), 2, np.uint8), has_palette=has_palette)
        (folder / f"{has_palette}.png").write_bytes(png)

    sink = sink_at(tmp_path, "masks", RecordingPolicy(overwrite=True))
    sink.claim()
    sink.open(LIVE)
    write(sink, range(1))
    sink.close()

    assert files_in(folder) == ["000000.png"]
    assert files_in(tmp_path / "out.1") == ["label.png"]
    assert "out: 1 mask is kept in " in caplog.text


def test_label_in_the_place_of_a_mask_in_a_folder_within_is_reported_before_anything_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only_error_line: Callable[[str], str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for trip in ("a", "b"):
        for file in (f"trips/{trip}/1.jpg", f"labels/{trip}/1.png"):
            Path(file).parent.mkdir(parents=True)
            cv2.imwrite(file, np.full((36, 64), 2, np.uint8))
    arguments = ["--model", "rt_s-int8", "--source", "trips/*/*.jpg", "--masks", "labels", "--overwrite"]

    assert main(arguments) == 2

    assert "labels/a/1.png already exists and is no mask; name another folder" in only_error_line(
        "drivable-node"
    )
    assert files_in(tmp_path / "labels") == ["a/1.png", "b/1.png"]


@pytest.mark.parametrize("picture", [np.full((36, 64, 3), 0, np.uint8), np.full((36, 64), 90, np.uint8)])
@pytest.mark.parametrize("overwrite", [False, True])
def test_folder_with_a_picture_of_the_user_is_refused_before_anything_is_touched(
    tmp_path: Path, picture: np.ndarray, overwrite: bool
) -> None:
    (tmp_path / "out").mkdir()
    cv2.imwrite(str(tmp_path / "out" / "street.png"), picture)
    cv2.imwrite(str(tmp_path / "out" / "mask.png"), np.full((36, 64), 2, np.uint8))
    sink = sink_at(tmp_path, "masks", RecordingPolicy(overwrite=overwrite))

    with pytest.raises(
        SinkError, match=r"street\.png exists and is no mask; name another folder with --masks"
    ):
        sink.claim()

    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["mask.png", "street.png"]


def test_masks_of_images_in_several_folders_lie_in_such_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for trip in ("a", "b"):
        Path("trips", trip).mkdir(parents=True)
        cv2.imwrite(f"trips/{trip}/0001.jpg", predicted(0).frame.image_bgr)
    arguments = ["--model", "rt_s-int8", "--source", "trips/*/*.jpg", "--jsonl", "r.jsonl", "--durable"]

    for masks in ("masks", "rotated"):
        more = ["--rotate.age_s", "0.05", "--rotate.keep", "1"] if masks == "rotated" else []
        assert main([*arguments, "--masks", masks, *more]) == 0

    assert sorted(str(mask) for mask in Path("masks").rglob("*.png")) == [
        "masks/a/0001.png",
        "masks/b/0001.png",
    ]
    assert [str(mask) for mask in Path("rotated").rglob("*.png")] == ["rotated/000002/b/0001.png"]


def test_images_of_one_name_in_one_folder_are_refused_with_masks_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only_error_line: Callable[[str], str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("trip").mkdir()
    for name in ("1.jpg", "1.png"):
        cv2.imwrite(f"trip/{name}", predicted(0).frame.image_bgr)
    arguments = ["--model", "rt_s-int8", "--source", "trip", "--jsonl", "r.jsonl"]

    assert main(arguments) == 0
    assert len(frames_of(Path("r.jsonl"))) == 2
    assert main([*arguments, "--masks", "masks"]) == 2
    assert "trip/1.jpg and trip/1.png would have masks of the same name" in only_error_line("drivable-node")
    assert names(tmp_path) == ["r.jsonl", "trip"]


def test_nothing_is_lost_when_the_process_ends_between_setting_aside_and_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text("first")

    def ends(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("perception.system.set_aside.os.replace", ends)
        with pytest.raises(KeyboardInterrupt):
            make_way(file, overwrite=False)
    assert names(tmp_path) == ["r.jsonl"]
    make_way(file, overwrite=False)
    assert names(tmp_path) == ["r.1.jsonl"]
    file.write_text("second")
    make_way(file, overwrite=False)
    assert [(tmp_path / f"r.{number}.jsonl").read_text() for number in (1, 2)] == ["first", "second"]


def test_files_that_belong_together_get_one_number(tmp_path: Path) -> None:
    files = [tmp_path / "m.onnx", tmp_path / "m.md", tmp_path / "m.json"]
    for file in (*files, tmp_path / "m.3.md"):
        file.write_text("older")

    set_aside(files)

    assert names(tmp_path) == ["m.3.md", "m.4.json", "m.4.md", "m.4.onnx"]


def test_files_that_cannot_all_be_written_leave_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_text("older")
    partial_of(tmp_path / "m.md").mkdir()

    with pytest.raises(OSError, match="directory"):
        write_outputs({tmp_path / "m.onnx": b"newer", tmp_path / "m.md": b"newer"}, overwrite=True)

    assert (tmp_path / "m.onnx").read_text() == "older"
    assert names(tmp_path) == ["m.onnx"]


@pytest.mark.parametrize("name", [".", "folder"])
def test_summary_in_place_of_a_folder_is_refused_at_the_start(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SinkError, match=re.escape(f"{name}: is a folder; --summary takes a file")):
        SummaryFile(Path(name)).claim()


def test_summary_that_cannot_be_written_leaves_the_older_one_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("older")
    partial_of(tmp_path / "s.json").mkdir()
    file = SummaryFile(tmp_path / "s.json")
    file.claim()

    with pytest.raises(SinkError, match=r"s\.json: the summary cannot be written"):
        file.write({})
    file.close()

    assert (tmp_path / "s.json").read_text() == "older"


def test_streams_and_empty_files_are_left_as_they_are(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pipe, empty = tmp_path / "pipe", tmp_path / "empty"
    os.mkfifo(pipe)
    empty.touch()
    stream = Path("/dev/stdout")  # a file here, of pytest

    for file in (pipe, empty, Path(os.devnull), stream):
        assert make_way(file, overwrite=False) is False
    assert [is_stream(file) for file in (pipe, empty, Path(os.devnull), stream)] == [True, False, True, True]
    assert names(tmp_path) == ["empty", "pipe"]


def test_records_into_a_file_that_standard_output_is_added_to_go_behind_what_is_there(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("of before\n")
    code = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parents[2])!r}]
from perception.node import main
sys.exit(main([*{SMALL!r}, "--max-frames", "2", "--jsonl", "/dev/stdout", "--summary", "/dev/stdout"]))
"""
    with log.open("a") as stream:
        subprocess.run([sys.executable, "-c", code], stdout=stream, stderr=subprocess.PIPE, check=True)

    lines = log.read_text().splitlines()
    assert lines[0] == "of before"
    assert lines[1].startswith('{"schema')
    assert names(tmp_path) == ["log"]
