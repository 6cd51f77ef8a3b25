"""`drivable-export certainty` adds the uncertainty on frames to a file, and keeps its graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")

from export.cli import main
from export.package import unpack
from perception.inference.ood import QUANTILES

MakeFile = Callable[..., Path]


@pytest.fixture
def data(make_drives: Callable[..., Path]) -> Path:
    return make_drives({"train": 2, "val": 3, "test": 2}, "mixed", (160, 90), every=20)


def test_file_gets_its_quantiles_and_keeps_graph_and_card(
    make_file: MakeFile, data: Path, tmp_path: Path
) -> None:
    file = make_file(card={"network": "tiny", "parameters": 7})
    out = tmp_path / "out.onnx"

    assert main(["certainty", str(file), "--data", str(data), "--out", str(out)]) == 0

    before, after = unpack(file), unpack(out)
    assert after.graph.SerializeToString() == before.graph.SerializeToString()
    assert after.card == before.card
    assert before.contract.doubt_quantiles is None
    assert after.contract.doubt_quantiles is not None
    assert len(after.contract.doubt_quantiles) == QUANTILES
    assert "| ood_score | in records; median on `val`" in out.with_suffix(".md").read_text()


def test_file_is_replaced_in_place_and_a_second_run_changes_nothing(make_file: MakeFile, data: Path) -> None:
    file = make_file()
    assert main(["certainty", str(file), "--data", str(data)]) == 0
    first = file.read_bytes()

    assert main(["certainty", str(file), "--data", str(data)]) == 0

    assert file.read_bytes() == first
    assert unpack(file).contract.doubt_quantiles is not None


@pytest.mark.parametrize(
    ("given", "expected", "message"),
    [
        (["--data", "none"], 1, "none: no such folder"),
        (["--data", "none", "--out", "card.md"], 2, "the file's name must end in .onnx"),
    ],
)
def test_bad_input_is_one_line_and_leaves_the_file(
    given: list[str], expected: int, message: str, make_file: MakeFile, only_error_line: Callable[[str], str]
) -> None:
    file = make_file()
    before = file.read_bytes()

    assert main(["certainty", str(file), *given]) == expected

    assert message in only_error_line("drivable-export")
    assert file.read_bytes() == before
