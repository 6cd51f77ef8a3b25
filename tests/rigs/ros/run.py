"""The rig of ROS 2 with real rclpy and Fast DDS: python tests/rigs/ros/run.py [SCENARIO …]."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[level]) for level in (0, 1, 3)]
sys.path.append(str(Path(__file__).parents[2] / "perception"))

from lines import run_all  # noqa: E402
from scenarios import SCENARIOS  # noqa: E402

if __name__ == "__main__":
    sys.exit(run_all(SCENARIOS, sys.argv[1:]))
