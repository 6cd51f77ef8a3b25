"""Two processes train as one does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from train.checkpoint import Checkpoint  # noqa: E402
from train.cli import main  # noqa: E402
from train.processes import DeviceError, Processes  # noqa: E402
from train.torchrun import RANK0_REPORTS_WITHIN_S  # noqa: E402

# Dropout draws other numbers in each process; everything else must not depend on their count. Checkpoints
# are slow to write: a process that does not wait for them would begin the next stage with an older one.
SCRIPT = """
import sys, time
import torch
from train.checkpoint import Checkpoint
from train.cli import main
torch.set_num_threads(1)
torch.nn.Dropout2d.forward = lambda self, features: features
save = Checkpoint.save
Checkpoint.save = lambda self, file: (time.sleep(1), save(self, file))
sys.exit(main(sys.argv[1:]))
"""

ARGUMENTS = [
    "--model=rt_s",
    "--loss=cross_entropy",  # a mean over pixels; Dice of half a step is not half of the step's Dice
    "--optimiser=sgd",
    "--freeze_batch_norm=true",
    "--augment=null",
    "--stages=[{input_wh: [64, 32], epochs: 1, batch_size: 4, max_learning_rate: 1.0e-2, "
    "synthetic_drives: 2, frames_per_drive: 4}, {input_wh: [64, 32], epochs: 2, batch_size: 4, "
    "max_learning_rate: 1.0e-2, synthetic_drives: 2, frames_per_drive: 4}]",
]


@pytest.mark.slow
def test_two_processes_give_the_loss_curve_of_one(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    alone = [sys.executable, str(script)]
    together = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        str(script),
    ]

    for name, command in (("alone", alone), ("together", together)):
        done = subprocess.run(
            [*command, *ARGUMENTS, "--out", str(tmp_path / name)],
            env={"PYTHONPATH": str(Path.cwd()), "PATH": "", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("epoch 2/2") == 1  # only the first process reports

    one, two = (
        Checkpoint.load(tmp_path / name / "rt_s" / "last.pt").history for name in ("alone", "together")
    )
    assert [entry["loss"] for entry in two] == pytest.approx([entry["loss"] for entry in one], rel=1e-4)
    assert [entry["val_loss"] for entry in two] == pytest.approx(
        [entry["val_loss"] for entry in one], rel=1e-4
    )
    assert one[-1]["loss"] < one[0]["loss"]


@pytest.mark.slow
def test_error_of_all_processes_is_reported_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]

    done = subprocess.run(
        [*torchrun, str(script), *ARGUMENTS, "--data=/nowhere", "--out", str(tmp_path)],
        env={"PYTHONPATH": str(Path.cwd()), "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert sum(line.startswith("drivable-train: ") for line in done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("rank", "waits_s"), [("0", []), ("1", [RANK0_REPORTS_WITHIN_S])])
def test_error_of_one_process_alone_is_reported_after_rank_0_could_report(
    rank: str,
    waits_s: list[float],
    monkeypatch: pytest.MonkeyPatch,
    only_error_line: Callable[[str], str],
) -> None:
    waited_s: list[float] = []
    monkeypatch.setattr("train.torchrun.time.sleep", waited_s.append)
    monkeypatch.setenv("RANK", rank)

    assert main(["--model=rt_s", "--stages=[]"]) == 2

    assert waited_s == waits_s
    assert "stages: at least one" in only_error_line("drivable-train")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_gpu_that_is_not_there_is_an_error() -> None:
    with pytest.raises(DeviceError, match="torch sees no GPU here; use --device cpu"):
        Processes.join("cuda")
