"""`drivable-export inspect` shows what a file is and where it runs, and refuses changed files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")

from export.cli import main
from export.inspect_file import tried
from perception.inference.engines import Engine, EngineError

MakeFile = Callable[..., Path]


def test_card_and_providers_are_shown(make_file: MakeFile, capsys: pytest.CaptureFixture[str]) -> None:
    file = make_file(card={"network": "tiny", "parameters": 576, "training": {"weights": "random"}})

    assert main(["inspect", str(file)]) == 0

    said = capsys.readouterr().out
    for line in (
        "# tiny",
        "| network | tiny, 576 parameters |",
        "| output | logits, stride 8: direct, alternative, background |",
        "None: the weights are random. For speed tests only.",
        "Checksum and contract: unchanged since the export.",
        f"In records and logs (`model_sha256`): {hashlib.sha256(file.read_bytes()).hexdigest()}",
    ):
        assert line in said.splitlines()
    assert "Runs here on: cpu: yes; cuda: " in said


def test_reason_of_a_provider_is_shown_without_the_advice() -> None:
    def load() -> Engine:
        raise EngineError("x did not load (took cpu: y is missing; it comes with z); use --provider cpu")

    assert tried(load, 5.0) == "no, x did not load (took cpu: y is missing; it comes with z)"


def test_json_holds_card_contract_and_providers(
    make_file: MakeFile, capsys: pytest.CaptureFixture[str]
) -> None:
    file = make_file(card={"network": "tiny"})

    assert main(["inspect", str(file), "--json"]) == 0

    printed = json.loads(capsys.readouterr().out)
    assert (printed["network"], printed["contract"]["model_id"]) == ("tiny", "tiny")
    assert printed["file_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert printed["size_bytes"] == file.stat().st_size
    assert printed["runs_here_on"]["cpu"] == "yes"


def test_shipped_model_is_inspected_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "rt_s-int8"]) == 0
    assert capsys.readouterr().out.startswith("# rt_s-int8\n")


def test_file_that_was_changed_is_refused(make_file: MakeFile, only_error_line: Callable[[str], str]) -> None:
    file = make_file()
    file.write_bytes(file.read_bytes().replace(b"our own roads", b"her own roads"))

    assert main(["inspect", str(file)]) == 1
    assert f"{file}: the file was changed after it was exported" in only_error_line("drivable-export")


def test_graph_that_breaks_its_contract_runs_nowhere(
    make_file: MakeFile, capsys: pytest.CaptureFixture[str]
) -> None:
    file = make_file(input_wh=(64, 32))

    assert main(["inspect", str(file)]) == 0
    assert "cpu: no, " in capsys.readouterr().out


def test_external_onnx_file_gets_the_advice_to_wrap_it(
    tmp_path: Path, make_file: MakeFile, only_error_line: Callable[[str], str]
) -> None:
    import onnx

    theirs = onnx.load(make_file())
    del theirs.metadata_props[:]
    file = tmp_path / "theirs.onnx"
    onnx.save(theirs, file)

    assert main(["inspect", str(file)]) == 1
    line = only_error_line("drivable-export")
    assert "without a drivable contract" in line
    assert f"drivable-export wrap {file} --contract" in line
