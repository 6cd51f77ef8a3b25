"""The stream rig: python tests/rigs/rtsp/run.py [SCENARIO …]. Needs root, GStreamer's rtsp-server, TUN."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(place) for place in (HERE, HERE.parent, HERE.parent / "node", HERE.parents[2])]

from camera import RigError, check_prerequisites  # noqa: E402
from faults import SCENARIOS  # noqa: E402
from lines import run_all  # noqa: E402

CANNOT_RUN = 2

if __name__ == "__main__":
    try:
        check_prerequisites()
    except RigError as error:
        print(f"rtsp: {error}", file=sys.stderr)
        sys.exit(CANNOT_RUN)
    sys.exit(run_all(SCENARIOS, sys.argv[1:]))
