"""A short part of the rig of damaged recordings; all of it is run by `make rigs`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RIG = Path(__file__).parent / "recordings" / "run.py"


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["cut_mkv", "size_and_rate"])
def test_damaged_recording_ends_as_asked(scenario: str) -> None:
    done = subprocess.run([sys.executable, str(RIG), scenario], capture_output=True, text=True, check=False)

    line = json.loads(done.stdout)
    assert line["holds"], line["seen"]
    assert done.returncode == 0
