"""The stream rig: python tests/rigs/rtsp/run.py [--install] [SCENARIO …]. Needs root and TUN devices."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(place) for place in (HERE, HERE.parent, HERE.parent / "node", HERE.parents[2])]

from camera import check_machine, missing_packages  # noqa: E402
from faults import SCENARIOS  # noqa: E402
from lines import run_all  # noqa: E402
from packages import RigError, provide  # noqa: E402

CANNOT_RUN = 2


def main() -> int:
    """Run the rig; its exit status."""
    parser = argparse.ArgumentParser(description="The stream rig.")
    parser.add_argument("scenarios", nargs="*", help="those to run; all without")
    parser.add_argument("--install", action="store_true", help="apt-get what is missing")
    options = parser.parse_args()
    try:
        check_machine()
        provide(missing_packages, options.install)
    except RigError as error:
        print(f"rtsp: {error}", file=sys.stderr)
        return CANNOT_RUN
    return run_all(SCENARIOS, options.scenarios)


if __name__ == "__main__":
    sys.exit(main())
