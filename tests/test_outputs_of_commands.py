"""What export, training and bench write: held against what they read, and nothing that is there is lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from recording import contents

from bench.report.data import Load, Report
from bench.report.page import write_page
from perception.inference.zoo import model_file

ErrorLine = Callable[[str], str]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a clip, a data set, a checkpoint, a model and a run, and other names of them."""
    monkeypatch.chdir(tmp_path)
    for folder in ("data/images", "data/labels", "runs/rt_s"):
        Path(folder).mkdir(parents=True)
    for name in ("clip.mp4", "c.pt", "data/index.csv", "data/images/1.jpg", "data/labels/1.png"):
        Path(name).write_bytes(name.encode())
    Path("runs/rt_s/best.pt").write_bytes(b"a network")
    Path("m.onnx").write_bytes(model_file("rt_s").read_bytes())
    Path("cfg.yaml").write_text("overwrite: true\n")
    Path("cfg.json").write_text('{"overwrite": true}\n')
    Path("hard.onnx").hardlink_to("c.pt")
    Path("here").symlink_to(".")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "arguments", "reported"),
    [
        (
            "bench",
            "--source clip.mp4 --out clip.mp4",
            "clip.mp4 is the source; name another folder with --out",
        ),
        ("bench", "--source clip.mp4 --data data --out here/data", "here/data is the data"),
        ("bench", "--data data --out data/images", "data/images is part of the data, data"),
        ("bench", "--models m.onnx --out here/m.onnx", "here/m.onnx is a model"),
        ("train", "--model rt_s --data data --out here/data", "here/data is the data; name another folder"),
        ("train", "--model rt_s --data data --out . --name data", "data is the data"),
        ("train", "--model rt_s --data data --out data/images", "data/images is part of the data"),
        ("train", "--model rt_s --weights runs/rt_s/best.pt --overwrite", "runs/rt_s/best.pt is the weights"),
        (
            "train",
            "--model rt_s --weights here/runs/rt_s/best.pt --overwrite",
            "may write a file of that name",
        ),
        ("train", "--model rt_s", "best.pt: belongs to an earlier run; --resume continues it, --overwrite"),
        ("train", "inspect --data data --out data/labels", "data/labels is part of the data"),
        ("export", "--model rt_s --checkpoint c.pt --out hard.onnx", "hard.onnx is the file to export from"),
        (
            "export",
            "--model rt_s --checkpoint m.onnx --out here/m.onnx --overwrite",
            "is the file to export from",
        ),
        ("export", "--model rt_s --config cfg.json --out cfg.onnx", "cfg.json is the settings (--config)"),
        ("export", "wrap m.onnx --contract contracts/twinlitenet --out here/m.onnx", "is the file to wrap"),
        ("export", "certainty m.onnx --data data --out here/m.onnx", "is the file to add to"),
    ],
)
def test_output_that_would_destroy_an_input_is_refused_in_one_line(
    command: str, arguments: str, reported: str, place: Path, only_error_line: ErrorLine
) -> None:
    if command != "bench":
        pytest.importorskip("torch")
    before = contents(place)

    expected = 1 if "--resume continues it" in reported else 2
    assert import_module(f"{command}.cli").main(arguments.split()) == expected

    assert reported in only_error_line(f"drivable-{command}")
    assert contents(place) == before


@pytest.mark.slow
def test_exported_file_sets_the_older_one_aside_with_its_cards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("torch")
    from export.package import unpack
    from export.run import write_with_cards

    monkeypatch.chdir(tmp_path)
    packed = unpack(model_file("rt_s-int8"))
    Path("m.md").write_text("notes of the user")

    for overwrite in (False, False, True):
        write_with_cards(Path("m.onnx"), packed.graph, packed.contract, packed.card, overwrite=overwrite)

    assert sorted(os.listdir()) == ["m.1.md", "m.2.json", "m.2.md", "m.2.onnx", "m.json", "m.md", "m.onnx"]
    assert Path("m.1.md").read_text() == "notes of the user"
    assert caplog.messages == [
        "m.md exists already; it is kept as m.1.md (--overwrite replaces)",
        "m.onnx, m.md, m.json exist already; they are kept as m.2.onnx, m.2.md, m.2.json "
        "(--overwrite replaces)",
    ]


def test_page_of_a_report_sets_aside_what_was_there_and_replaces_itself(tmp_path: Path) -> None:
    report = Report(
        command="drivable-bench",
        config={},
        machine={},
        versions={},
        commit="c",
        started="2026-01-01T00:00:00+00:00",
        ended="2026-01-01T00:00:01+00:00",
        results=[],
        load=Load(0.0, []),
        is_partial=False,
        missing=[],
        models={},
        source_sha256=None,
    )
    (tmp_path / "report.md").write_text("of the user")

    write_page(report, tmp_path)
    write_page(report, tmp_path, overwrite=True)

    assert sorted(os.listdir(tmp_path)) == ["report.1.md", "report.html", "report.md"]
    assert (tmp_path / "report.1.md").read_text() == "of the user"
