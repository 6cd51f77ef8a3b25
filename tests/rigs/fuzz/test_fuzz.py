from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parent / "run.py"


@pytest.mark.parametrize("inputs", [40, pytest.param(300, marks=pytest.mark.slow)])
def test_mutated_inputs_are_read_or_refused_in_one_line(inputs: int) -> None:
    done = subprocess.run(
        [sys.executable, str(RUN), "--inputs", str(inputs), "--seed", "1"],
        capture_output=True,
        text=True,
        timeout=110,
    )

    line = json.loads(done.stdout)
    assert line["holds"], f"{line['seen']}\n{done.stderr}"
    assert done.returncode == 0
