"""The rig of metres: python tests/rigs/metres/run.py [SCENARIO …]. The real roads need ../shared."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[level]) for level in (0, 1, 3)]

from lines import run_all  # noqa: E402
from scenarios import SCENARIOS  # noqa: E402

if __name__ == "__main__":
    sys.exit(run_all(SCENARIOS, sys.argv[1:]))
