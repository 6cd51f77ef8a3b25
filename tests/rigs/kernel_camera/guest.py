"""The program of the guest: every scenario on a camera as new, one JSON line each; status 0 if all hold."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import node_scenarios
import scenarios
import vivid
from watch import Line

SCENARIOS = scenarios.SCENARIOS | node_scenarios.SCENARIOS


def main(names: list[str]) -> int:
    """Run the scenarios named, or all."""
    all_hold = True
    for name in names or SCENARIOS:
        vivid.renew()
        try:
            line = SCENARIOS[name]()
        except Exception as error:  # one scenario that breaks is a line that does not hold, not the end
            line = Line(name, "to run to its end", f"{type(error).__name__}: {error}", False)
        all_hold &= line.holds
        print(json.dumps(asdict(line)), flush=True)
    return 0 if all_hold else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
