"""Names and texts of others: they make no lines, colours or letters of their own, wherever they show."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from perception.inference.contract import ContractError, ModelContract
from perception.labels import LABELS

HOSTILE = b"\x1b[2J\ndrivable-node: all is well\x07\xe2\x80\xae\xc2\x9b.mp4"
UNDECODABLE = b"road \xff\xfe.mp4"
NAMES = {"hostile": HOSTILE, "undecodable": UNDECODABLE}
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\udc80-\udcff]")


def run(folder: Path, *arguments: str | bytes, lang: str = "C.UTF-8") -> tuple[int, str]:
    """The command's exit status, and all that it wrote to both streams."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LC_")}
    done = subprocess.run(
        [sys.executable, "-m", "perception.node", "--model", "rt_s-int8", *arguments],
        cwd=folder,
        env=environment | {"LANG": lang, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        timeout=120,
    )
    return done.returncode, (done.stdout + done.stderr).decode(errors="surrogateescape")


@pytest.mark.parametrize("lang", ["C", "C.UTF-8"])
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_an_error_about_such_a_file_is_one_harmless_line(name: bytes, lang: str, tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(name)).write_text("no video")

    status, said = run(tmp_path, "--source", name, lang=lang)

    assert status == 1
    assert said.count("\n") == 1, said
    assert not CONTROL.search(said), said
    assert "is not a readable video file" in said


@pytest.mark.parametrize("lang", ["C", "C.UTF-8"])
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_run_on_such_a_file_reports_it_harmlessly(
    name: bytes, lang: str, tmp_path: Path, make_clip: Callable[..., Path]
) -> None:
    make_clip(frames=3).rename(tmp_path / os.fsdecode(name))

    status, said = run(
        *(tmp_path, "--source", name, "--jsonl", "r.jsonl", "--summary", "s.json", "--masks", "masks"),
        lang=lang,
    )

    assert status == 0, said
    assert not CONTROL.search(said), said
    assert not any(line.startswith("drivable-node:") for line in said.splitlines())
    records = [json.loads(line) for line in (tmp_path / "r.jsonl").read_bytes().decode().splitlines()]
    assert len(records) == 3
    json.dumps([records, json.loads((tmp_path / "s.json").read_bytes())], ensure_ascii=False).encode()


@pytest.mark.parametrize("field", ["model_id", "licence", "training_data"])
@pytest.mark.parametrize("text", ["a\nb", "a\x1b[2J", "a\u202eb", "a\udcffb"])
def test_a_model_with_such_texts_is_refused(field: str, text: str) -> None:
    contract = ModelContract(
        model_id="m-1",
        labels=LABELS,
        input_wh=(64, 48),
        pad_bgr=(0, 0, 0),
        output_stride=1,
        training_data="none",
        licence="Apache-2.0",
    )

    with pytest.raises(ContractError, match=f"m.onnx: {field} has control characters") as caught:
        ModelContract.from_json(replace(contract, **{field: text}).to_json(), "m.onnx")

    assert str(caught.value).isprintable()
