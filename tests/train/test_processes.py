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
from train.torchrun import FIRST_SPEAKS_WITHIN_S  # noqa: E402

# Dropout draws other numbers in each process; everything else must not depend on their count.
SCRIPT = """
import sys
import torch
from train.cli import main
torch.set_num_threads(1)
torch.nn.Dropout2d.forward = lambda self, features: features
sys.exit(main(sys.argv[1:]))
"""

ARGUMENTS = [
    "--model=rt_s",
    "--loss=cross_entropy",  # a mean over pixels; Dice of half a step is not half of the step's Dice
    "--optimiser=sgd",
    "--freeze_batch_norm=true",
    "--augment=null",
    "--stages=[{input_wh: [64, 32], epochs: 3, batch_size: 4, max_learning_rate: 1.0e-2, "
    "synthetic_drives: 2, frames_per_drive: 4}]",
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
        assert done.stdout.count("epoch 3/3") == 1  # only the first process speaks

    one, two = (
        Checkpoint.load(tmp_path / name / "rt_s" / "last.pt").history for name in ("alone", "together")
    )
    assert [entry["loss"] for entry in two] == pytest.approx([entry["loss"] for entry in one], rel=1e-4)
    assert [entry["val_loss"] for entry in two] == pytest.approx(
        [entry["val_loss"] for entry in one], rel=1e-4
    )
    assert one[-1]["loss"] < one[0]["loss"]


@pytest.mark.slow
def test_what_all_processes_find_wrong_is_said_once(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(("rank", "waits_s"), [("0", []), ("1", [FIRST_SPEAKS_WITHIN_S])])
def test_what_a_process_alone_finds_wrong_is_said_after_the_first_could_speak(
    rank: str,
    waits_s: list[float],
    monkeypatch: pytest.MonkeyPatch,
    only_error_line: Callable[[str], str],
) -> None:
    waited_s: list[float] = []
    monkeypatch.setattr("train.torchrun.time.sleep", waited_s.append)
    monkeypatch.setenv("RANK", rank)

    assert main(["--model=rt_s", "--stages=[]"]) == 1

    assert waited_s == waits_s
    assert "stages: at least one" in only_error_line("drivable-train")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_gpu_that_is_not_there_is_an_error() -> None:
    with pytest.raises(DeviceError, match="torch sees no GPU here; use --device cpu"):
        Processes.join("cuda")
