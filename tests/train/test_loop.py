"""Training runs, resumes bit for bit, and says what is wrong in one line."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from perception.confusion import ConfusionMatrix  # noqa: E402
from train import loop  # noqa: E402
from train.checkpoint import Checkpoint, CheckpointError  # noqa: E402
from train.cli import main  # noqa: E402
from train.config import Stage, Teacher, TrainConfig  # noqa: E402
from train.data import mixture  # noqa: E402
from train.evaluate import Validation  # noqa: E402
from train.optimise import OPTIMISERS, SCHEDULES  # noqa: E402
from train.report import write_report  # noqa: E402


@pytest.fixture(autouse=True)
def _few_validation_roads_and_no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixture, "VALIDATION_DRIVES", 1)
    monkeypatch.setattr(loop, "write_report", lambda *arguments: None)


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """Two short stages on rendered roads."""
    first = Stage((64, 32), 2, 4, 1e-3, synthetic_drives=2, frames_per_drive=4)
    return TrainConfig("rt_s", [first, replace(first, input_wh=(96, 64))], out=str(tmp_path / "runs"))


def quiet(line: str) -> None:
    """Say nothing."""


def curve(checkpoint: Checkpoint) -> list[dict[str, float]]:
    """The history without the clock."""
    return [
        {name: value for name, value in entry.items() if name != "seconds"} for entry in checkpoint.history
    ]


def test_loss_falls_and_best_and_last_checkpoints_are_written(config: TrainConfig) -> None:
    best_file = loop.train(replace(config, stages=[replace(config.stages[0], epochs=6)]), quiet)

    history = Checkpoint.load(best_file.with_name("last.pt")).history
    assert history[-1]["loss"] < history[0]["loss"]
    assert Checkpoint.load(best_file).best == max(entry["val_mean_iou"] for entry in history)


def test_report_and_tensorboard_curves_lie_beside_the_checkpoints(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "write_report", write_report)

    best_file = loop.train(replace(config, stages=[replace(config.stages[0], epochs=1)]), quiet)

    assert (best_file.parent / "report" / "report.json").is_file()
    assert list((best_file.parent / "tensorboard").glob("events.*"))


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
@pytest.mark.parametrize("epochs_before_break", [1, 2, 3])
def test_resumed_run_is_bit_for_bit_the_unbroken_one(
    config: TrainConfig, tmp_path: Path, epochs_before_break: int, ema_decay: float
) -> None:
    config = replace(config, ema_decay=ema_decay)
    last_file = Path(config.out) / "rt_s" / "last.pt"
    broken_file = tmp_path / "broken" / "rt_s" / "last.pt"
    broken_file.parent.mkdir(parents=True)
    epochs = []

    def keep_checkpoint(line: str) -> None:
        epochs.append(line)
        if len(epochs) == epochs_before_break + 2:  # a line with the size, and one before it is written
            shutil.copy(last_file, broken_file)
            shutil.copy(last_file.with_name("best.pt"), broken_file.with_name("best.pt"))

    loop.train(config, keep_checkpoint)
    loop.train(replace(config, out=str(tmp_path / "broken"), resume=True), quiet)

    unbroken, resumed = Checkpoint.load(last_file), Checkpoint.load(broken_file)
    assert curve(resumed) == curve(unbroken)
    assert all(torch.equal(resumed.model[name], value) for name, value in unbroken.model.items())


def test_run_killed_within_an_epoch_goes_on_as_if_it_had_not_been(
    config: TrainConfig, tmp_path: Path
) -> None:
    config = replace(config, stages=[replace(config.stages[0], epochs=3)])
    killed_file = tmp_path / "killed" / "rt_s" / "last.pt"
    script = (
        "import torch; from train import loop; from train.config import *; from train.data import mixture\n"
        "torch.set_num_threads(1); mixture.VALIDATION_DRIVES = 1\n"
        f"loop.train({replace(config, out=str(tmp_path / 'killed'))!r}, lambda line: print(line, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        while "epoch 2/3" not in (line := run.stdout.readline()):
            assert line, "the run ended before its second epoch did"
        run.send_signal(signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL
    assert len(Checkpoint.load(killed_file).history) < 3

    loop.train(replace(config, out=str(tmp_path / "killed"), resume=True), quiet)
    whole_file = loop.train(config, quiet).with_name("last.pt")

    assert curve(Checkpoint.load(killed_file)) == curve(Checkpoint.load(whole_file))


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")  # on one core
def test_workers_change_nothing_but_the_time(config: TrainConfig, tmp_path: Path) -> None:
    alone = loop.train(config, quiet)
    helped = loop.train(replace(config, workers=2, out=str(tmp_path / "helped")), quiet)

    assert curve(Checkpoint.load(helped)) == curve(Checkpoint.load(alone))


def judge_as(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    """Let validation find these losses, epoch by epoch."""
    found = iter(losses)
    monkeypatch.setattr(loop, "evaluate", lambda *arguments: Validation(ConfusionMatrix(3), next(found)))


def test_each_stage_has_a_best_of_its_own(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    judge_as(monkeypatch, [0.1, 0.2, 0.7, 0.6])

    best = Checkpoint.load(loop.train(replace(config, choose_by="loss"), quiet))

    assert (best.stage, best.best) == (1, -0.6)


def test_training_stops_when_patience_ends(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    judge_as(monkeypatch, [0.4, 0.5, 0.6])
    stages = [replace(config.stages[0], epochs=9)]

    best_file = loop.train(replace(config, patience_epochs=2, choose_by="loss", stages=stages), quiet)

    assert len(Checkpoint.load(best_file.with_name("last.pt")).history) == 3
    assert len(Checkpoint.load(best_file).history) == 1


def test_best_can_be_chosen_by_validation_loss(config: TrainConfig) -> None:
    config = replace(config, choose_by="loss", stages=[replace(config.stages[0], epochs=3)])

    best_file = loop.train(config, quiet)

    history = Checkpoint.load(best_file.with_name("last.pt")).history
    assert Checkpoint.load(best_file).best == -min(entry["val_loss"] for entry in history)


def test_frozen_encoder_does_not_move_and_the_head_does(config: TrainConfig) -> None:
    config = replace(config, model="rt_m", stages=[replace(config.stages[0], epochs=1)], freeze_encoder=True)
    torch.manual_seed(config.seed)
    before = loop.build_model("rt_m", 3).state_dict()

    after = Checkpoint.load(loop.train(config, quiet)).model

    moved = {name.partition(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == {"head"}


def test_frozen_batch_norms_keep_their_statistics(config: TrainConfig) -> None:
    config = replace(config, stages=[replace(config.stages[0], epochs=1)], freeze_batch_norm=True)

    after = Checkpoint.load(loop.train(config, quiet)).model

    assert all((value == 0).all() for name, value in after.items() if name.endswith("running_mean"))


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_optimiser_goes_with_every_schedule(config: TrainConfig, optimiser: str, schedule: str) -> None:
    stages = [replace(config.stages[0], epochs=1)]

    best_file = loop.train(replace(config, stages=stages, optimiser=optimiser, schedule=schedule), quiet)

    assert best_file.is_file()


def test_checkpoint_that_cannot_be_written_leaves_the_last_one_intact(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(config, stages=[replace(config.stages[0], epochs=1)])
    loop.train(short, quiet)
    last_file = Path(config.out) / "rt_s" / "last.pt"
    before = last_file.read_bytes()

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("perception.atomic_file.os.fsync", full_disk)
    with pytest.raises(CheckpointError, match=r"last\.pt: cannot be written: .*No space left"):
        loop.train(short, quiet)

    assert last_file.read_bytes() == before
    assert list(last_file.parent.glob("*.partial")) == []


def test_loss_that_is_not_a_number_ends_training_with_the_last_checkpoint_intact(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop.train(config, quiet)
    last_file = Path(config.out) / "rt_s" / "last.pt"
    before = last_file.read_bytes()
    monkeypatch.setitem(loop.LOSSES, "dice", lambda logits, labels: logits.sum() * float("nan"))

    with pytest.raises(loop.TrainingError, match="the loss became nan at step 1; lower max_learning_rate"):
        loop.train(config, quiet)

    assert last_file.read_bytes() == before


def test_teacher_is_asked_in_the_stages_that_are_taught(config: TrainConfig, tmp_path: Path) -> None:
    teacher_file = loop.train(config, quiet)
    taught = replace(config.stages[0], epochs=1)
    student = replace(
        config, out=str(tmp_path / "student"), teachers=[Teacher(str(teacher_file))], seed=config.seed + 1
    )

    with_lessons, without = (
        Checkpoint.load(loop.train(replace(student, stages=[replace(taught, taught=asked)]), quiet)).history
        for asked in (True, False)
    )

    assert with_lessons[0]["loss"] > without[0]["loss"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eight frames to train on and four to validate."""
    root = tmp_path / "data"
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    names = [f"{number:08x}-00000000" for number in range(12)]
    for name in names:
        cv2.imwrite(str(root / "images" / f"{name}.jpg"), np.full((36, 64, 3), 90, np.uint8))
        cv2.imwrite(str(root / "labels" / f"{name}.png"), np.full((36, 64), 2, np.uint8))
    rows = [f"{name},{'train' if number < 8 else 'val'}" for number, name in enumerate(names)]
    (root / "index.csv").write_text("\n".join(["id,split", *rows]))
    return root


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda image, label: cv2.imwrite(str(label), np.full((36, 64), 7, np.uint8)),
            "png: label 7 is none of",
        ),
        (lambda image, label: label.unlink(), "png: named in index.csv but missing"),
        (lambda image, label: image.write_bytes(b"noise"), "jpg: is corrupt"),
    ],
    ids=["label of 7", "image without a label", "image that does not decode"],
)
def test_bad_frame_is_one_line_and_the_last_checkpoint_stays(
    damage: Callable[[Path, Path], object],
    message: str,
    workers: str,
    data: Path,
    tmp_path: Path,
    only_error_line: Callable[[str], str],
) -> None:
    stages = "--stages=[{input_wh: [64, 32], epochs: 1, batch_size: 4, max_learning_rate: 1.0e-3}]"
    arguments = ["--model=rt_s", stages, "--data", str(data), "--out", str(tmp_path), "--workers", workers]
    assert main(arguments) == 0
    last_file = tmp_path / "rt_s" / "last.pt"
    before = last_file.read_bytes()
    damage(data / "images" / "00000003-00000000.jpg", data / "labels" / "00000003-00000000.png")

    status = main(arguments)

    assert status == 1
    line = only_error_line("drivable-train")
    assert "00000003-00000000" in line
    assert message in line
    assert last_file.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--modle", "rt_s"], "unknown setting --modle; the nearest known one is --model"),
        (["--config", "train/rt_s", "--data", "/nowhere"], "/nowhere"),
        (["--config", "train/rt_x"], "train/rt_x: no such config file, and no shipped config of that name"),
        (
            ["--config", "train/rt_s", "--encoder_weights", "f.pth"],
            "rt_s has no encoder to load weights into",
        ),
        (["--config", "train/rt_s", "--resume"], "no such checkpoint"),
        (["--model", "rt_s", "--stages", "[]"], "stages: at least one"),
        (
            ["--config", "train/rt_s", "--teachers", "[{file: none.onnx}]"],
            "none.onnx: no such teacher",
        ),
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
