"""Outputs that lie on an input or on each other, by whatever name: one line, and nothing is touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from recording import contents

from perception.cli.collisions import CollisionError, Input, Target, check_apart
from perception.inference.zoo import model_file
from perception.node import main

ErrorLine = Callable[[str], str]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a recording and pictures, a model, settings, and other names of all of them."""
    monkeypatch.chdir(tmp_path)
    for name in ("drive.mp4", "o-000001.mp4", "part.ts", "inner.ts"):
        Path(name).write_bytes(name.encode())  # refused before it is decoded
    Path("list.m3u8").write_text("#EXTM3U\n#EXTINF:2,\npart.ts\n#EXTINF:2,\nsub.m3u8\n")
    Path("sub.m3u8").write_text('#EXTM3U\n#EXT-X-MAP:URI="inner.ts"\n')
    Path("list.ffconcat").write_text("ffconcat version 1.0\nfile 'part.ts'\n")
    for folder in ("trip", "trips/a", "trips/b"):
        Path(folder).mkdir(parents=True)
        for name in ("0001.png", "0002.jpg"):
            cv2.imwrite(f"{folder}/{name}", np.full((24, 32, 3), 90, np.uint8))
    shutil.copy(model_file("rt_s-int8"), "model.onnx")
    Path("model.json").write_text("{}")
    Path("cfg.yaml").write_text("max_frames: 2\n")
    Path("link.mp4").symlink_to("drive.mp4")
    Path("hard.jsonl").hardlink_to("drive.mp4")
    Path("elsewhere").symlink_to(".")
    return tmp_path


@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        ("drive.mp4", "--out drive.mp4", "drive.mp4 is the source; name another file with --out"),
        ("drive.mp4", "--out ./trip/../drive.mp4", "is the source; name another file with --out"),
        ("drive.mp4", "--out elsewhere/drive.mp4", "is the source"),
        ("drive.mp4", "--out link.mp4", "link.mp4 is the source"),
        ("link.mp4", "--jsonl drive.mp4 --append", "drive.mp4 is the source; name another file with --jsonl"),
        ("drive.mp4", "--jsonl hard.jsonl --overwrite", "hard.jsonl is the source"),
        ("drive.mp4", "--summary drive.mp4", "is the source; name another file with --summary"),
        ("drive.mp4", "--masks drive.mp4", "is the source; name another folder with --masks"),
        ("o-000001.mp4", "--out o.mp4", "o-000001.mp4 is the source, and --out o.mp4 may write"),
        ("o-000001.mp4", "--out elsewhere/o.mp4 --rotate.age_s 1", "may write a file of that name"),
        ("list.m3u8", "--jsonl part.ts", "part.ts is a part of the source"),
        ("list.m3u8", "--jsonl inner.ts", "inner.ts is a part of the source"),
        ("list.ffconcat", "--summary part.ts", "part.ts is a part of the source"),
        ("drive.mp4", "--jsonl model.onnx", "model.onnx is the model; name another file with --jsonl"),
        ("drive.mp4", "--summary model.json", "model.json is the model's card"),
        ("drive.mp4", "--config cfg.yaml --summary cfg.yaml", "cfg.yaml is the settings (--config)"),
        ("drive.mp4", "--config=cfg.yaml --jsonl elsewhere/cfg.yaml", "is the settings (--config)"),
        ("trip", "--masks trip", "trip is the source; name another folder with --masks"),
        ("trip/*.png", "--masks elsewhere/trip", "is a picture of the source, and --masks"),
        (
            "synthetic",
            "--masks trip",
            "0001.png exists and is no mask; name another folder with --masks",
        ),
        ("trip/0001.png", "--masks trip", "may write a file of that name"),
        ("trip/*", "--jsonl trip/0002.jpg", "is a picture of the source; name another file with --jsonl"),
        ("trips/*/*.png", "--masks trips/a", "may write a file of that name"),
        ("*/*.png", "--masks masks", "masks: what is written there would be read as a picture of the source"),
        (
            "**/*.png",
            "--masks elsewhere/new/masks",
            "would be read as a picture of the source **/*.png the next time",
        ),
        ("trip", "--jsonl trip/records.png", "would be read as a picture of the source trip the next time"),
        ("synthetic", "--out o.mp4 --jsonl o.mp4", "--out and --jsonl name the same file"),
        ("synthetic", "--out o.mp4 --jsonl elsewhere/o.mp4", "--out and --jsonl name the same file"),
        ("synthetic", "--out o.mp4 --summary ./o.mp4", "--out and --summary name the same file"),
        ("synthetic", "--jsonl r --masks r", "--jsonl and --masks name the same folder"),
        ("synthetic", "--jsonl r --masks r/masks", "lies in r, which --jsonl names as a file"),
        ("synthetic", "--out o.mp4 --jsonl o-000007.mp4", "has a name that --out o.mp4 may give a file"),
        ("synthetic", "--jsonl .o.mp4.segments --out o.mp4", "may give a file"),
        ("synthetic", "--jsonl .s.json.drivable-partial --summary s.json", "reserved for partial files"),
        ("synthetic", "--jsonl masks/0001.png --masks masks", "may give a file"),
    ],
)
def test_output_that_would_destroy_something_is_refused_in_one_line(
    source: str, arguments: str, message: str, place: Path, only_error_line: ErrorLine
) -> None:
    before = contents(place)

    status = main(["--model", "model.onnx", "--source", source, *arguments.split()])

    assert status == (1 if "is no mask" in message else 2)

    assert message in only_error_line("drivable-node")
    assert contents(place) == before


def test_two_outputs_into_one_named_pipe_are_refused(place: Path, only_error_line: ErrorLine) -> None:
    os.mkfifo("pipe")

    assert main(["--source", "synthetic", "--jsonl", "pipe", "--summary", "./elsewhere/pipe"]) == 2

    assert "--jsonl and --summary name the same file" in only_error_line("drivable-node")


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("arguments", "file", "message"),
    [
        ("--jsonl -", "drive.mp4", "/dev/stdout is the source; name another file with --jsonl"),
        ("--jsonl -", "model.onnx", "/dev/stdout is the model; name another file with --jsonl"),
        ("--jsonl - --out z.mp4", "z.mp4", "z.mp4 is where standard output or standard error goes"),
        ("--out z.jpg", "z.jpg", "z.jpg is where standard output or standard error goes"),
        ("--out elsewhere/z.mp4", "z.mp4", "elsewhere/z.mp4 is where standard output or standard error goes"),
    ],
)
def test_standard_output_that_goes_to_a_file_is_held_against_it_too(
    arguments: str, file: str, message: str, place: Path
) -> None:
    Path("z.mp4").write_text("a log of the user\n")
    Path("z.jpg").write_text("a log of the user\n")
    before = contents(place)
    code = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parents[2])!r}]
from perception.node import main
sys.exit(main(["--model", "model.onnx", "--source", "drive.mp4", *{arguments.split()!r}]))
"""
    with Path(file).open("ab") as stream:
        ended = subprocess.run([sys.executable, "-c", code], stdout=stream, stderr=subprocess.PIPE, text=True)

    assert ended.returncode == 2
    assert message in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert contents(place) == before


def test_video_is_not_written_over_the_log_that_standard_error_goes_to(place: Path) -> None:
    Path("z.mp4").write_text("a log of the user\n")
    code = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parents[2])!r}]
from perception.node import main
sys.argv[1:] = "--model model.onnx --source synthetic --max-frames 1 --out z.mp4".split()
sys.exit(main())
"""
    with Path("z.mp4").open("ab") as stream:
        assert subprocess.run([sys.executable, "-c", code], stderr=stream).returncode == 2

    before, message = Path("z.mp4").read_text().splitlines()
    assert before == "a log of the user"
    assert "z.mp4 is where standard output or standard error goes" in message


def test_outputs_beside_an_input_are_fine(place: Path) -> None:
    check_apart(
        [Input("the source", Path("trip")), Input("a picture of the source", Path("trip/0002.jpg"))],
        [
            Target("--out", Path("trip/o.mp4"), names=r"o-(\d{6,})\.mp4"),
            Target("--masks", Path("trip/masks"), is_folder=True, names=r"[^/]+\.png"),
            Target("--jsonl", Path("trip/masks/r.jsonl")),
        ],
    )


def test_null_device_may_be_named_twice(place: Path) -> None:
    check_apart([], [Target(option, Path(os.devnull)) for option in ("--jsonl", "--summary")])


def test_folder_with_other_things_in_a_data_set_is_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.jpg").touch()
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.json").touch()
    data = Input("the data", tmp_path, is_data_set=True)

    for folder in (tmp_path, tmp_path / "images"):
        with pytest.raises(CollisionError, match="name another folder with --out"):
            check_apart([data], [Target("--out", folder, is_folder=True, names=r"report\.json")])
    for folder in (tmp_path / "report", tmp_path / "new"):
        check_apart([data], [Target("--out", folder, is_folder=True, names=r"report\.json")])
