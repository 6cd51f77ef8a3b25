"""What a user gets who installs the wheel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent

BLOCK = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
from {module} import main
sys.exit(main({arguments!r}))
"""


@pytest.mark.parametrize(
    ("command", "arguments", "blocked"),
    [
        ("train", ["--config", "train/rt_m"], "torch"),
        ("export", ["--model", "rt_m"], "torch"),
        ("export", ["--model", "rt_m"], "onnx"),
    ],
)
def test_command_without_its_extra_says_what_to_install(
    command: str, arguments: list[str], blocked: str
) -> None:
    code = BLOCK.format(blocked={blocked}, module=f"{command}.cli", arguments=arguments)

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, timeout=60, check=False
    )

    assert done.returncode == 1
    wanted = f"drivable-{command}: {blocked} is not installed; pip install 'drivable[{command}]'"
    assert done.stderr.splitlines() == [wanted]


@pytest.mark.slow
def test_wheel_runs_the_node_from_any_folder(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist")]
    subprocess.run([*build, str(REPOSITORY)], check=True, capture_output=True, timeout=100)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(tmp_path / "site")]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True, timeout=100)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    arguments = ["--config", "node/live", "--source", "synthetic", "--max-frames", "3", "--masks", "masks"]
    done = subprocess.run(
        [sys.executable, "-m", "perception.node", *arguments],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert len(list((elsewhere / "masks").iterdir())) == 3
