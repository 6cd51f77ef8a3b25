"""The program of the guest: every scenario on a camera as new, one JSON line each; status 0 if all hold."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(place) for place in (HERE, HERE.parent)]

import node_scenarios  # noqa: E402
import scenarios  # noqa: E402
import vivid  # noqa: E402
from lines import Line, run_all  # noqa: E402


def on_a_new_camera(scenario: Callable[[], Line]) -> Line:
    """The scenario, after reloading the driver."""
    vivid.renew()
    return scenario()


if __name__ == "__main__":
    known = scenarios.SCENARIOS | node_scenarios.SCENARIOS
    sys.exit(run_all({name: partial(on_a_new_camera, it) for name, it in known.items()}, sys.argv[1:]))
