"""The rig of the CUDA provider without a GPU: python tests/rigs/cuda_stub/run.py [SCENARIO …]. Needs gcc."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

sys.path[:0] = [str(Path(__file__).parents[level]) for level in (0, 1, 3)]

from lines import run_all  # noqa: E402
from packages import RigError  # noqa: E402
from scenarios import SCENARIOS  # noqa: E402
from stub import environment  # noqa: E402

CANNOT_RUN: Final = 2

if __name__ == "__main__":
    try:
        environment()
    except RigError as error:
        print(f"cuda_stub: {error}", file=sys.stderr)
        sys.exit(CANNOT_RUN)
    sys.exit(run_all(SCENARIOS, sys.argv[1:]))
