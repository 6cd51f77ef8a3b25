"""Training runs, resumes bit for bit, and says what is wrong in one line."""

from __future__ import annotations

import re
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

from perception.metrics.confusion_matrix import ConfusionMatrix  # noqa: E402
from perception.sinks.claim import Claim  # noqa: E402
from perception.system.atomic_file import PARTIAL_SUFFIX  # noqa: E402
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
    return TrainConfig(
        "rt_s", [first, replace(first, input_wh=(96, 64))], out=str(tmp_path / "runs"), overwrite=True
    )


def stage_of(setting: str = "") -> list[str]:
    """Arguments of a run of one stage, with one of its settings changed."""
    settings = {"input_wh": "[64, 32]", "epochs": "1", "batch_size": "4", "max_learning_rate": "1.0e-3"}
    name, _, value = setting.partition(": ")
    settings |= {name: value} if name else {}
    stage = ", ".join(f"{name}: {value}" for name, value in settings.items())
    return ["--model=rt_s", f"--stages=[{{{stage}}}]"]


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


@pytest.mark.slow
def test_report_and_tensorboard_curves_lie_beside_the_checkpoints(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "write_report", write_report)

    best_file = loop.train(replace(config, stages=[replace(config.stages[0], epochs=1)]), quiet)

    assert (best_file.parent / "report" / "report.json").is_file()
    assert list((best_file.parent / "tensorboard").glob("events.*"))


def test_dry_run_reports_time_and_memory_of_each_stage_and_writes_nothing(config: TrainConfig) -> None:
    earlier = Path(config.out) / "rt_s" / "last.pt"
    earlier.parent.mkdir(parents=True)
    earlier.write_bytes(b"of another run")
    said: list[str] = []

    loop.train(replace(config, overwrite=False, dry_run=True), said.append)

    first, second, whole = said[1:]
    time_and_memory = (
        r"[\d.e-]+ s a step, \d+\.\d\d GB; 2 epochs of 2 steps and [\d.e-]+ s of validation take [\d:]+"
    )
    assert re.fullmatch(rf"stage 1/2 64x32: {time_and_memory}", first)
    assert re.fullmatch(rf"stage 2/2 96x64: {time_and_memory}", second)
    assert re.fullmatch(r"dry run: training would take [\d:]+; nothing was written", whole)
    assert [file for file in Path(config.out).rglob("*") if file.is_file()] == [earlier]
    assert earlier.read_bytes() == b"of another run"


@pytest.mark.one_in(4)
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")  # on one core
def test_workers_change_nothing_but_the_time(config: TrainConfig, tmp_path: Path) -> None:
    alone = loop.train(config, quiet)
    helped = loop.train(replace(config, workers=2, out=str(tmp_path / "helped")), quiet)

    assert curve(Checkpoint.load(helped)) == curve(Checkpoint.load(alone))


def judge_as(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    """Let validation find these losses, epoch by epoch."""
    found = iter(losses)
    monkeypatch.setattr(loop, "evaluate", lambda *arguments: Validation(ConfusionMatrix(3), next(found)))


@pytest.mark.slow
def test_each_stage_has_a_best_of_its_own(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    judge_as(monkeypatch, [0.1, 0.2, 0.7, 0.6])

    best = Checkpoint.load(loop.train(replace(config, choose_by="loss"), quiet))

    assert (best.stage, best.best) == (1, -0.6)


@pytest.mark.slow
def test_next_stage_starts_from_the_best_weights_of_the_one_before(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_as(monkeypatch, [0.1, 0.2, 0.3])
    first, second = config.stages[0], replace(config.stages[1], epochs=1, max_learning_rate=1e-12)

    best_of_first = loop.train(replace(config, choose_by="loss", stages=[replace(first, epochs=2)]), quiet)
    wanted = Checkpoint.load(best_of_first).model
    judge_as(monkeypatch, [0.1, 0.2, 0.3])
    last = loop.train(replace(config, choose_by="loss", stages=[first, second]), quiet).with_name("last.pt")

    found = Checkpoint.load(last).model
    assert Checkpoint.load(last).history[-1]["stage"] == 1
    assert all(torch.equal(found[name], wanted[name]) for name in wanted if name.endswith("conv.weight"))
    assert torch.equal(found["head.classify.weight"], wanted["head.classify.weight"])


def test_run_killed_between_its_two_checkpoints_goes_on_from_the_later_one(config: TrainConfig) -> None:
    last_file = Path(config.out) / "rt_s" / "last.pt"
    earlier: list[bytes] = []

    def keep(line: str) -> None:
        if "epoch 2/2" in line and not earlier:
            earlier.append(last_file.read_bytes())

    best_file = loop.train(replace(config, stages=config.stages[:1]), keep)
    Checkpoint.load(last_file).save(best_file)  # as if its second epoch had been the best,
    last_file.write_bytes(earlier[0])  # and last.pt had not been written any more

    said: list[str] = []
    loop.train(replace(config, stages=config.stages[:1], resume=True), said.append)

    assert not any("epoch" in line for line in said)


@pytest.mark.slow
def test_stage_that_was_begun_cannot_go_on_as_another(config: TrainConfig) -> None:
    loop.train(config, quiet)
    longer = [config.stages[0], replace(config.stages[1], epochs=9)]

    with pytest.raises(CheckpointError, match=r"stage 2 was started with other settings \(epochs\)"):
        loop.train(replace(config, stages=longer, resume=True), quiet)


def test_finished_run_goes_on_with_one_more_stage(config: TrainConfig) -> None:
    loop.train(replace(config, stages=config.stages[:1]), quiet)

    best_file = loop.train(replace(config, resume=True), quiet)

    stages = [entry["stage"] for entry in Checkpoint.load(best_file.with_name("last.pt")).history]
    assert stages == [0, 0, 1, 1]


def test_two_runs_at_once_in_one_folder_are_refused(config: TrainConfig) -> None:
    folder = Path(config.out) / config.run_name
    folder.mkdir(parents=True)
    other = Claim()
    other.take(folder)
    short = replace(config, stages=config.stages[:1])

    with pytest.raises(CheckpointError, match=f"{folder}: another run is writing there"):
        loop.train(short, quiet)
    assert not list(folder.iterdir())
    other.release()
    assert loop.train(short, quiet).is_file()


def test_folder_of_a_run_is_refused_with_its_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "best.pt").touch()

    with pytest.raises(CheckpointError, match=r"not a checkpoint; its checkpoint is .*best\.pt"):
        Checkpoint.load(tmp_path)


def test_finished_run_is_reported_as_finished(config: TrainConfig) -> None:
    said: list[str] = []
    loop.train(replace(config, stages=config.stages[:1]), said.append)
    assert not any("complete already" in line for line in said)

    loop.train(replace(config, stages=config.stages[:1], resume=True), said.append)

    assert "the run was complete already; add a stage to train longer" in said


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_size": 9}, "8 training frames are fewer than one"),
        ({"synthetic_drives": 0}, "no training frames"),
    ],
)
def test_later_stage_without_frames_enough_is_refused_before_the_first_is_trained(
    config: TrainConfig, changed: dict[str, int], message: str
) -> None:
    said: list[str] = []

    with pytest.raises(ValueError, match=message):
        loop.train(
            replace(config, stages=[config.stages[0], replace(config.stages[0], **changed)]), said.append
        )

    assert not any("epoch" in line for line in said)


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


def test_frozen_encoder_does_not_move_and_the_head_does(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "check", lambda config: None)  # its first weights are random here
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


@pytest.mark.one_in(5)
@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_optimiser_goes_with_every_schedule(config: TrainConfig, optimiser: str, schedule: str) -> None:
    stages = [replace(config.stages[0], epochs=1)]

    best_file = loop.train(replace(config, stages=stages, optimiser=optimiser, schedule=schedule), quiet)

    assert best_file.is_file()


def test_run_that_lies_there_is_not_overwritten_unasked(config: TrainConfig) -> None:
    config = replace(config, stages=config.stages[:1])
    last_file = loop.train(config, quiet).with_name("last.pt")
    before = last_file.read_bytes()

    with pytest.raises(CheckpointError, match="belongs to an earlier run; --resume continues it"):
        loop.train(replace(config, overwrite=False), quiet)

    assert last_file.read_bytes() == before


@pytest.mark.one_in(4)
@pytest.mark.parametrize(
    ("name", "value"), [("optimiser", "sgd"), ("seed", 3), ("ema_decay", 0.9), ("loss", "focal")]
)
def test_run_cannot_go_on_with_other_settings(config: TrainConfig, name: str, value: object) -> None:
    loop.train(replace(config, stages=config.stages[:1]), quiet)

    with pytest.raises(CheckpointError, match=f"was started with another {name}"):
        loop.train(replace(config, resume=True, **{name: value}), quiet)


def test_folder_that_cannot_be_made_is_one_line(config: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(CheckpointError, match="file/rt_s: cannot be written: Not a directory"):
        loop.train(replace(config, out=str(tmp_path / "file")), quiet)


def test_checkpoint_that_cannot_be_written_leaves_the_last_one_intact(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(config, stages=[replace(config.stages[0], epochs=1)])
    loop.train(short, quiet)
    last_file = Path(config.out) / "rt_s" / "last.pt"
    before = last_file.read_bytes()

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("perception.system.atomic_file.os.fsync", full_disk)
    with pytest.raises(CheckpointError, match=r"best\.pt: cannot be written: .*No space left"):
        loop.train(short, quiet)

    assert last_file.read_bytes() == before
    assert list(last_file.parent.glob(f".*{PARTIAL_SUFFIX}")) == []


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


@pytest.mark.slow
def test_teacher_is_asked_in_the_stages_that_are_taught(config: TrainConfig, tmp_path: Path) -> None:
    teacher_file = loop.train(config, quiet)
    taught = replace(config.stages[0], epochs=1)
    student = replace(
        config, out=str(tmp_path / "student"), teachers=[Teacher(str(teacher_file))], seed=config.seed + 1
    )

    with_teacher, without = (
        Checkpoint.load(loop.train(replace(student, stages=[replace(taught, taught=asked)]), quiet)).history
        for asked in (True, False)
    )

    assert with_teacher[0]["loss"] > without[0]["loss"]


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
            "png: label 7 is not one of",
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
    arguments = [
        "--model=rt_s",
        stages,
        "--data",
        str(data),
        "--out",
        str(tmp_path),
        "--workers",
        workers,
        "--overwrite",
    ]
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
    ("split_of_last", "recordings", "message"),
    [
        ("val", "abcdefghijka", "recording a is in train and val; its frames look alike"),
        ("test", "abcdefghijka", None),
        ("val", "abcdefghijkl", None),
    ],
)
def test_recording_is_not_trained_on_and_validated_with(
    split_of_last: str,
    recordings: str,
    message: str | None,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, *rows = (data / "index.csv").read_text().splitlines()
    rows = [f"{row},{recording}" for row, recording in zip(rows, recordings, strict=True)]
    rows[-1] = rows[-1].replace("val", split_of_last)
    (data / "index.csv").write_text("\n".join(["id,split,recording", *rows]))

    status = main([*stage_of(), "--data", str(data), "--out", str(tmp_path)])

    said = capsys.readouterr().err
    assert status == (1 if message else 0)
    if message:
        (line,) = (line for line in said.splitlines() if line.startswith("drivable-train"))
        assert line.startswith(f"drivable-train: {data}/index.csv: {message}")


def test_index_of_other_splits_is_not_trained_on(
    data: Path, tmp_path: Path, only_error_line: Callable[[str], str]
) -> None:
    index = data / "index.csv"
    index.write_text(index.read_text().replace(",train", ",training"))

    assert main([*stage_of(), "--data", str(data), "--out", str(tmp_path)]) == 1
    assert only_error_line("drivable-train").endswith(
        "index.csv: no frames in split 'train'; it has: val, training"
    )


def test_folder_that_the_curves_cannot_be_written_to_is_named(
    tmp_path: Path, only_error_line: Callable[[str], str]
) -> None:
    (tmp_path / "rt_s").mkdir()
    (tmp_path / "rt_s" / "tensorboard").touch()
    stage = stage_of("synthetic_drives: 2")

    assert main([*stage, "--out", str(tmp_path)]) == 1
    line = only_error_line("drivable-train")
    assert f"{tmp_path}/rt_s/tensorboard" in line
    assert "[Errno" not in line


def test_checkpoint_that_cannot_be_read_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_disk(*arguments: object, **settings: object) -> None:
        raise OSError(5, "Input/output error")

    (tmp_path / "last.pt").touch()
    monkeypatch.setattr(torch, "load", broken_disk)

    with pytest.raises(CheckpointError, match=r"last\.pt: cannot be read: Input/output error"):
        Checkpoint.load(tmp_path / "last.pt")


@pytest.mark.parametrize(
    ("arguments", "expected", "message"),
    [
        (["--modle", "rt_s"], 2, "unknown setting --modle; the nearest known one is --model"),
        (["--config", "train/rt_s", "--data", "/nowhere"], 1, "/nowhere"),
        (
            ["--config", "train/rt_x"],
            2,
            "train/rt_x: no such config file, and no shipped config of that name",
        ),
        (
            ["--config", "train/rt_s", "--encoder_weights", "f.pth"],
            1,
            "rt_s has no encoder to load weights into",
        ),
        (["--config", "train/rt_s", "--resume"], 1, "no such checkpoint"),
        (["--model", "rt_s", "--stages", "[]"], 2, "stages: at least one"),
        (stage_of("epochs: 0"), 2, "stage 1: epochs must be at least 1, not 0"),
        (stage_of("batch_size: 0"), 2, "stage 1: batch_size must be at least 1, not 0"),
        (stage_of("max_learning_rate: -1.0"), 2, "stage 1: max_learning_rate must be greater than 0"),
        (stage_of("input_wh: [0, 0]"), 2, "stage 1: input_wh must be at least 32 pixels per side"),
        (stage_of("synthetic_drives: -1"), 2, "stage 1: synthetic_drives must be at least 0, not -1"),
        ([*stage_of(), "--clip-norm", "-5"], 2, "clip_norm must be at least 0, not -5"),
        ([*stage_of(), "--ema-decay", "1.0"], 2, "ema_decay must be at least 0 and less than 1, not 1"),
        ([*stage_of(), "--augment", "{rain: 5}"], 2, "augment: rain must be from 0 to 1, not 5"),
        ([*stage_of(), "--augment", "{scale_min: 2, scale_max: 1}"], 2, "augment: scale_min 2 must be"),
        ([*stage_of(), "--freeze-encoder"], 2, "would freeze random weights"),
        ([*stage_of(), "--std-bgr", "[0, 0, 0]"], 2, "std_bgr must be greater than 0"),
        (
            [*stage_of(), "--teachers", "[{file: t.pt, weight: -1}]"],
            2,
            "teacher t.pt: weight must be at least 0",
        ),
        (
            ["--config", "train/rt_s", "--teachers", "[{file: none.onnx}]"],
            1,
            "none.onnx: no such teacher",
        ),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    expected: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    only_error_line: Callable[[str], str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.pth").touch()

    status = main(arguments + ([] if "--data" in arguments else ["--out", str(tmp_path)]))

    assert status == expected
    assert message in only_error_line("drivable-train")
