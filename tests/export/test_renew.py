"""Files get a known answer, and nothing else of them changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from export.cli import main
from export.package import unpack
from perception.inference.contract import METADATA_KEY
from perception.inference.engines import OnnxEngine

MakeFile = Callable[..., Path]


def test_file_gets_an_answer_and_keeps_graph_contract_card_and_logits(
    make_file: MakeFile, capsys: pytest.CaptureFixture[str]
) -> None:
    file = make_file(card={"network": "tiny", "parameters": 7})
    before, engine = unpack(file), OnnxEngine(file, "cpu")
    noise_bgr = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)

    assert main(["renew", str(file)]) == 0

    after, renewed = unpack(file), OnnxEngine(file, "cpu")
    assert (before.known, engine.is_proven) == (None, False)
    assert after.known is not None
    assert renewed.is_proven
    assert after.graph.SerializeToString(deterministic=True) == before.graph.SerializeToString(
        deterministic=True
    )
    assert (after.card, after.contract.doubt_quantiles) == (before.card, before.contract.doubt_quantiles)
    np.testing.assert_array_equal(renewed.infer(noise_bgr), engine.infer(noise_bgr))
    assert after.contract.sha256 in file.with_suffix(".md").read_text()
    assert METADATA_KEY not in capsys.readouterr().out


def test_renewed_twice_is_the_same_file(make_file: MakeFile) -> None:
    file = make_file()
    main(["renew", str(file)])
    once = file.read_bytes()

    main(["renew", str(file)])

    assert file.read_bytes() == once


def test_text_of_the_user_where_the_card_goes_is_kept(
    make_file: MakeFile, capsys: pytest.CaptureFixture[str]
) -> None:
    file = make_file()
    file.with_suffix(".md").write_text("# my notes")
    file.with_suffix(".json").write_text('{"mine": 1}')

    for _ in range(2):
        assert main(["renew", str(file)]) == 0

    assert sorted(it.name for it in file.parent.glob(f"{file.stem}*")) == sorted(
        f"{file.stem}{end}" for end in (".onnx", ".md", ".json", ".1.md", ".1.json")
    )
    assert file.with_suffix(".1.md").read_text() == "# my notes"
    said = capsys.readouterr().err
    assert said.count("exist already; they are kept as") == 1
    assert "overwrite" not in said


def test_inspect_says_whether_there_is_an_answer(
    make_file: MakeFile, capsys: pytest.CaptureFixture[str]
) -> None:
    file = make_file()

    main(["inspect", str(file)])
    without = capsys.readouterr().out
    main(["renew", str(file)])
    main(["inspect", str(file)])
    with_one = capsys.readouterr().out

    assert f"so no engine was checked; `drivable-export renew {file}` adds one." in without
    assert "Known answer: in the file; each engine was checked with it." in with_one
    assert "| known answer | rendered: " in with_one


def test_file_that_cannot_be_renewed_is_as_it_was(
    tmp_path: Path, only_error_line: Callable[[str], str]
) -> None:
    file = tmp_path / "torn.onnx"
    file.write_bytes(b"no model")

    assert main(["renew", str(file)]) == 1

    assert str(file) in only_error_line("drivable-export")
    assert file.read_bytes() == b"no model"
