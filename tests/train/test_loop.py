"""Training runs, resumes bit for bit, and says what is wrong in one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from train import loop  # noqa: E402
from train.checkpoint import Checkpoint, CheckpointError  # noqa: E402
from train.cli import main  # noqa: E402
from train.config import Stage, TrainConfig  # noqa: E402


@pytest.fixture(autouse=True)
def _few_validation_roads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SYNTHETIC_VALIDATION_DRIVES", 1)


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """Two short stages on rendered roads."""
    first = Stage((64, 32), 2, 4, 1e-3, synthetic_drives=2, frames_per_drive=4)
    return TrainConfig("rt_s", [first, replace(first, input_wh=(96, 64))], out=str(tmp_path / "runs"))


def test_loss_falls_and_best_and_last_checkpoints_are_written(config: TrainConfig) -> None:
    best_file = loop.train(replace(config, stages=[replace(config.stages[0], epochs=6)]))

    history = Checkpoint.load(best_file.with_name("last.pt")).history
    assert history[-1]["loss"] < history[0]["loss"]
    best = Checkpoint.load(best_file)
    assert best.best_mean_iou == max(entry["val_mean_iou"] for entry in history)


@pytest.mark.parametrize("epochs_before_break", [1, 2, 3])
def test_resumed_run_is_bit_for_bit_the_unbroken_one(
    config: TrainConfig, tmp_path: Path, epochs_before_break: int
) -> None:
    last_file = Path(config.out) / "rt_s" / "last.pt"
    broken_file = tmp_path / "broken" / "rt_s" / "last.pt"
    broken_file.parent.mkdir(parents=True)
    epochs = []

    def keep_checkpoint(line: str) -> None:
        epochs.append(line)
        if len(epochs) == epochs_before_break:
            shutil.copy(last_file, broken_file)

    loop.train(config, keep_checkpoint)
    loop.train(replace(config, out=str(tmp_path / "broken"), resume=True), lambda line: None)

    unbroken, resumed = Checkpoint.load(last_file), Checkpoint.load(broken_file)
    assert resumed.history == unbroken.history
    assert all(torch.equal(resumed.model[name], value) for name, value in unbroken.model.items())


def test_checkpoint_that_cannot_be_written_leaves_the_last_one_intact(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(config, stages=[replace(config.stages[0], epochs=1)])
    loop.train(short, lambda line: None)
    last_file = Path(config.out) / "rt_s" / "last.pt"
    before = last_file.read_bytes()

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("perception.atomic_file.os.fsync", full_disk)
    with pytest.raises(CheckpointError, match=r"last\.pt: cannot be written: .*No space left"):
        loop.train(short, lambda line: None)

    assert last_file.read_bytes() == before
    assert list(last_file.parent.glob("*.partial")) == []


def test_loss_that_is_not_a_number_ends_training(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(loop.LOSSES, "dice", lambda logits, labels: logits.sum() * float("nan"))

    with pytest.raises(loop.TrainingError, match="the loss became nan at step 1; lower max_learning_rate"):
        loop.train(config)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--modle", "rt_s"], "unknown setting --modle; the nearest known one is --model"),
        (["--config", "train/rt_s", "--data", "/nowhere"], "/nowhere/index.csv: no such file"),
        (["--config", "train/rt_x"], "train/rt_x: no such config file, and no shipped config of that name"),
        (
            ["--config", "train/rt_s", "--encoder_weights", "f.pth"],
            "rt_s has no encoder to load weights into",
        ),
        (["--config", "train/rt_s", "--resume"], "no such checkpoint"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    only_error_line: Callable[[str], str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.pth").touch()

    status = main(arguments + ([] if "--data" in arguments else ["--out", str(tmp_path)]))

    assert status == 1
    assert message in only_error_line("drivable-train")
