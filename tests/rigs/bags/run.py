"""The rig of bags: python tests/rigs/bags/run.py [--install] [SCENARIO …].

Programs of others judge them. Rerun and rclpy have environments of their own, as `make rigs` makes them;
Foxglove's packages are npm's.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(place) for place in (HERE, HERE.parent, HERE.parent / "ros", HERE.parents[2])]

from lines import run_all  # noqa: E402
from packages import RigError, provide  # noqa: E402
from readers import provide_npm  # noqa: E402
from scenarios import SCENARIOS  # noqa: E402

CANNOT_RUN = 2


def _missing_packages() -> list[str]:
    return [
        package for program, package in {"node": "nodejs", "npm": "npm"}.items() if not shutil.which(program)
    ]


def main() -> int:
    """Run the rig; its exit status."""
    parser = argparse.ArgumentParser(description="The rig of bags.")
    parser.add_argument("scenarios", nargs="*", help="those to run; all without")
    parser.add_argument("--install", action="store_true", help="apt-get and npm install what is missing")
    options = parser.parse_args()
    try:
        provide(_missing_packages, options.install)
        provide_npm(options.install)
    except RigError as error:
        print(f"bags: {error}", file=sys.stderr)
        return CANNOT_RUN
    return run_all(SCENARIOS, options.scenarios)


if __name__ == "__main__":
    sys.exit(main())
