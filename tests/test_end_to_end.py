"""The four commands in a row, on a small synthetic data set, as a user types them."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

import bench.cli
import export.cli
import perception.node
import train.cli
from perception.synthetic import SCENES

FRAME_WH = (160, 90)
OURS = ["--data-name", "our own roads"]
FRAMES = {"train": 12, "val": 4, "test": 4}


# The default network as it is fine-tuned here, and a large one by the recipe of the published study, for long
# enough to be surer than chance: what is not gives no masks.
SETTINGS = {
    "rt_m": """
        weights: rt_m
        stages: [{input_wh: [160, 96], epochs: 2, batch_size: 4, max_learning_rate: 1.0e-3}]
    """,
    "pspnet": """
        resize: nearest
        augment: null
        loss: dice
        optimiser: sgd
        choose_by: loss
        mean_bgr: [103.53, 116.28, 123.675]
        std_bgr: [57.375, 57.12, 58.395]
        stages: [{input_wh: [80, 45], epochs: 4, batch_size: 4, max_learning_rate: 3.0e-2}]
    """,
}


@pytest.fixture
def data(make_drives: Callable[..., Path]) -> Path:
    """A data set as one would record it: a drive per split, split by drive."""
    return make_drives(FRAMES, next(iter(SCENES)), FRAME_WH)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Path]:
    """Where checkpoints go; they and the exported file are not kept: a large network's take a gigabyte."""
    yield tmp_path / "runs"
    shutil.rmtree(tmp_path / "runs", ignore_errors=True)
    for file in tmp_path.glob("*.onnx"):
        file.unlink()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("rt_m", "160x90"), ("pspnet", "96x64")])
def test_train_export_node_and_bench_in_a_row(
    name: str,
    size: str,
    data: Path,
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = tmp_path / "small.yaml"
    settings.write_text(f"model: {name}\n{textwrap.dedent(SETTINGS[name])}")

    assert train.cli.main(["--config", str(settings), "--data", str(data), "--out", str(runs), *OURS]) == 0
    assert export.cli.main(["--model", name, "--name", name, "--size", size, "--data", str(data)]) == 0
    outputs = "--out o.mp4 --jsonl o.jsonl --masks masks --summary summary.json"
    status = perception.node.main(
        ["--source", str(data / "images"), "--model", f"{name}.onnx", *outputs.split()]
    )
    assert status == 0
    assert bench.cli.main(["accuracy", "--model", f"{name}.onnx", "--data", str(data)]) == 0

    frames = sum(FRAMES.values())
    with av.open("o.mp4") as video:
        assert sum(1 for _ in video.decode(video=0)) == frames
    records = [json.loads(line) for line in Path("o.jsonl").read_text().splitlines()]
    assert [record["frame_id"] for record in records] == list(range(frames))
    masks = sorted(Path("masks").iterdir())
    assert {mask.stem for mask in masks} == {image.stem for image in (data / "images").iterdir()}
    assert all(np.shape(cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)) == (90, 160) for mask in masks)
    summary = json.loads(Path("summary.json").read_text())
    assert summary["frames"] == {
        "captured": frames,
        "published": frames,
        "withheld": 0,
        "dropped": {},
        "in_flight": 0,
    }
    assert "mean IoU" in capsys.readouterr().out
    assert "| training data | our own roads" in Path(f"{name}.md").read_text()
