"""What the node logs: usually, with --verbose and with --quiet; and where no output is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from perception.node import main

RUN = ["synthetic", "--synthetic.wh", "160x90", "--max-frames", "3", "--model", "rt_s-int8"]
HINT = (
    "no output requested; choose from --out, --jsonl, --masks, --mcap, --mqtt, --ros, --ignore_mask, "
    "--summary and --http"
)


def logged(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The lines of a run that ends well."""
    assert main([*RUN, *arguments]) == 0
    return capsys.readouterr().err.splitlines()


def test_run_without_outputs_names_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    lines = logged(capsys)

    assert lines.count(HINT) == 1
    assert any(line.startswith("published ") for line in lines)


@pytest.mark.parametrize("option", ["--out", "--jsonl", "--masks", "--summary"])
def test_run_with_an_output_names_no_others(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert HINT not in logged(capsys, option, str(tmp_path / "o.mp4"))


def test_verbose_adds_what_was_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "node.yaml"
    file.write_text("loop: true\n")
    records = ["--jsonl", str(tmp_path / "r.jsonl"), "--config", str(file)]
    usual = logged(capsys, *records, "--overwrite")

    added = [line for line in logged(capsys, *records, "--overwrite", "--verbose") if line not in usual]

    begins = (
        f"settings: {file}",
        "source synthetic: of kind synthetic",
        "engine: onnx on cpu, ",
        "sinks: jsonl",
    )
    assert all(any(line.startswith(begin) for line in added) for begin in begins)
    assert not any(line.startswith(begins) for line in usual)


def test_quiet_run_that_ends_well_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert logged(capsys, "--quiet", "--jsonl", str(tmp_path / "r.jsonl")) == []


def test_quiet_run_still_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["missing.mp4", "--quiet"]) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("drivable-node: ")
    assert "missing.mp4" in line
