"""The rig of several cameras in one node: python tests/rigs/several/run.py [SCENARIO …]."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(place) for place in (HERE, HERE.parent, HERE.parent / "node", HERE.parents[2])]

from lines import run_all  # noqa: E402
from scenarios import SCENARIOS  # noqa: E402

if __name__ == "__main__":
    sys.exit(run_all(SCENARIOS, sys.argv[1:]))
