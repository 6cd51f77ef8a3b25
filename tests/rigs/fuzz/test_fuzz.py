from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).parent / "run.py"


def test_a_few_hundred_mutated_inputs_are_read_or_refused_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, str(RUN), "--inputs", "300", "--seed", "1"],
        capture_output=True,
        text=True,
        timeout=110,
    )

    line = json.loads(done.stdout)
    assert line["holds"], f"{line['seen']}\n{done.stderr}"
    assert done.returncode == 0
