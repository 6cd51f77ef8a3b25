"""What cannot be done is one clear line, a status that is not 0, and nothing lost."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from archives import FAST, archive, masks
from clips import Kind, write

from perception.archive.cli import NAME
from perception.archive.manifest import locked
from perception.archive.store import Store

OnlyLine = Callable[[str], str]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return write(tmp_path / "in" / "a.mp4", Kind("libx264"), frames=3)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["in", "--to", "in/out"], "--to in/out lies in in, which holds the clips"),
        (["nowhere.mp4", "--to", "out"], "nowhere.mp4: does not exist"),
        (["in/*.mov", "--to", "out"], "in/*.mov: nothing matches this pattern"),
        (["ftps://host/x", "--to", "out"], "ftps://host/x: ftps:// is not supported"),
        (["in", "--to", "gopher://host/x"], "gopher://host/x: gopher:// is not supported"),
        (["gs://bucket/x", "--to", "out"], "gs:// needs gcsfs: pip install gcsfs"),
        (["@in/list.txt", "--to", "out"], "in/list.txt: does not exist"),
        (["in", "copy", "--to", "out"], "would both be a.mp4; name the folder that holds both"),
        (["in/**/*.mp4", "--to", "in/results"], "lies in --to"),
        (["file://{here}/in", "--to", "{here}/in/out"], "lies in"),
        (["nested", "in", "--to", "out"], "would be a.mp4, and so would the folder of"),
        (["in", "--to", "memory://out"], "memory:// is not supported"),
        (["in", "--to", "taken"], "taken: holds clips, and is no archive of ours"),
        (["in", "--to", "file"], "file: "),
        (["in", "--to", "out", "--model", "rt_x"], "rt_x: no such model file"),
        (["in", "--to", "out", "--node.jsonl", "r.jsonl"], "node.jsonl is not for drivable-archive"),
        (["in", "--to", "out", "--node.model", "rt_l"], "node.model is not for drivable-archive"),
        (["in", "--to", "out", "--node.calibration", "no.yaml"], "no.yaml: "),
        (["in", "--to", "out", "--node.ignore", "no.png"], "no.png: "),
        (["in", "--to", "out", "--workers", "-1"], "workers is -1"),
        (["in", "--to", "out", "--threads", "0"], "threads is 0"),
        (["in", "--to", "out", "--outputs", "pictures"], "outputs"),
        (["in", "--to", "out", "--ray-address", "auto"], "ray_address and gpus are Ray's"),
        (["in"], "to is missing"),
        (["--to", "out"], "clips is missing"),
    ],
)
def test_is_one_line(
    arguments: list[str], line: str, clip: Path, tmp_path: Path, only_error_line: OnlyLine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "copy").mkdir()
    write(tmp_path / "copy" / "a.mp4", Kind("libx264"), frames=3)
    (tmp_path / "taken" / "clips").mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "nested" / "a.mp4").mkdir(parents=True)
    write(tmp_path / "nested" / "a.mp4" / "b.mp4", Kind("libx264"), frames=3)
    (tmp_path / "in" / "results").mkdir()
    write(tmp_path / "in" / "results" / "c.mp4", Kind("libx264"), frames=3)

    status = archive(*(it.replace("{here}", str(tmp_path)) for it in arguments))

    assert status != 0
    assert line in only_error_line(NAME)
    assert not (tmp_path / "out").exists()


def test_list_names_the_line_that_is_wrong(clip: Path, tmp_path: Path, only_error_line: OnlyLine) -> None:
    names = tmp_path / "clips.txt"
    names.write_text("# of today\nin/a.mp4\n\nin/b.mp4\n")

    status = archive(f"@{names}", "--to", tmp_path / "out", *FAST)

    assert status == 1
    assert f"{names}, line 4: {tmp_path}/in/b.mp4: does not exist" in only_error_line(NAME)


def test_archive_that_another_run_works_on_is_left_alone(
    clip: Path, tmp_path: Path, only_error_line: OnlyLine
) -> None:
    with locked(Store(str(tmp_path / "out"))):
        status = archive(clip, "--to", tmp_path / "out", *FAST)

    assert status == 1
    assert "another drivable-archive works on it" in only_error_line(NAME)


def test_port_that_is_taken(clip: Path, tmp_path: Path, only_error_line: OnlyLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status = archive(clip, "--to", tmp_path / "out", *FAST, "--http", str(port))

    assert status == 1
    assert f"http {port}: cannot listen there" in only_error_line(NAME)


def test_model_that_cannot_be_loaded_ends_the_run(
    clip: Path, tmp_path: Path, only_error_line: OnlyLine
) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"no network")

    status = archive(clip, "--to", tmp_path / "out", "--model", model)

    assert status == 1
    assert str(model) in only_error_line(NAME)


def test_results_that_cannot_be_written_end_the_run(
    clip: Path, tmp_path: Path, only_error_line: OnlyLine
) -> None:
    out = tmp_path / "out"
    assert archive(clip, "--to", out, *FAST) == 0
    shutil.rmtree(out / "clips")
    (out / "clips").touch()

    status = archive(clip, "--to", out, *FAST)

    assert status == 1
    assert f"{out}/clips/a.mp4: cannot be written: File exists" in only_error_line(NAME)


def test_disk_without_room_ends_the_run_and_marks_no_clip_as_failed(
    clip: Path, tmp_path: Path, only_error_line: OnlyLine
) -> None:
    status = archive(clip, "--to", tmp_path / "out", *FAST, "--node.min_free_mb", "1e12")

    assert status == 1
    assert "No space left on device; make room, and run the same command again" in only_error_line(NAME)
    assert not (tmp_path / "out" / "clips").exists()
    assert not (tmp_path / "out" / ".work").exists()


def test_other_clip_of_the_same_name_does_not_replace_results(
    clip: Path, tmp_path: Path, only_error_line: OnlyLine
) -> None:
    (tmp_path / "other").mkdir()
    other = write(tmp_path / "other" / "a.mp4", Kind("libx264"), frames=5)
    assert archive(clip, "--to", tmp_path / "out", *FAST) == 0

    status = archive(other, "--to", tmp_path / "out", *FAST)

    assert status == 1
    assert f"a.mp4 is {clip} there, not {other}; name another --to" in only_error_line(NAME)
    assert len(masks(tmp_path / "out", "a.mp4")) == 3


def test_what_stands_in_the_place_of_results_is_left_alone(
    clip: Path, tmp_path: Path, only_error_line: OnlyLine
) -> None:
    out = tmp_path / "out"
    assert archive(clip, "--to", out, *FAST) == 0
    shutil.rmtree(out / "clips" / "a.mp4")
    (out / "clips" / "a.mp4").mkdir()
    (out / "clips" / "a.mp4" / "mine").touch()

    status = archive(clip, "--to", out, *FAST)

    assert status == 1
    assert "holds no results of ours; move it away" in only_error_line(NAME)
    assert (out / "clips" / "a.mp4" / "mine").exists()
