"""The rig of the live page: python tests/rigs/page/run.py [--install] [SCENARIO …]."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).parent
TESTS = HERE.parents[1]
sys.path[:0] = [
    str(place)
    for place in (
        *(HERE, HERE.parent, HERE.parent / "node", HERE.parent / "ros"),
        *(TESTS, TESTS / "perception", TESTS.parent),
    )
]

from clients import missing_packages  # noqa: E402
from lines import run_all  # noqa: E402
from packages import RigError, provide  # noqa: E402
from together import SCENARIOS as TOGETHER  # noqa: E402
from viewers import SCENARIOS  # noqa: E402

CANNOT_RUN = 2


def main() -> int:
    """Run the rig; its exit status."""
    parser = argparse.ArgumentParser(description="The rig of the live page.")
    parser.add_argument("scenarios", nargs="*", help="those to run; all without")
    parser.add_argument("--install", action="store_true", help="apt-get what is missing")
    options = parser.parse_args()
    try:
        provide(missing_packages, options.install)
    except RigError as error:
        print(f"page: {error}", file=sys.stderr)
        return CANNOT_RUN
    return run_all(SCENARIOS | TOGETHER, options.scenarios)


if __name__ == "__main__":
    sys.exit(main())
