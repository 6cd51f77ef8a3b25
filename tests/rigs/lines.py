"""What a rig reports: one line of JSON per fault."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Line:
    """What was asked of one fault, and what was seen."""

    fault: str
    asked: str
    seen: str
    holds: bool

    @classmethod
    def of_checks(cls, fault: str, asked: str, seen: str, checks: Mapping[str, bool]) -> Line:
        """A line that holds if every check does, and names those that do not."""
        failed = [name for name, holds in checks.items() if not holds]
        return cls(fault, asked, seen + (f"; FAILED: {', '.join(failed)}" if failed else ""), not failed)


def run_all(scenarios: Mapping[str, Callable[[], Line]], names: Sequence[str]) -> int:
    """Run the scenarios of these names, or all; print a line each; 1 if one of them does not hold."""
    unknown = [name for name in names if name not in scenarios]
    if unknown:
        print(f"no scenario {', '.join(unknown)}; known: {', '.join(scenarios)}", file=sys.stderr)
        return 2
    lines = []
    for name in names or scenarios:
        try:
            line = scenarios[name]()
        except Exception as error:  # a rig that breaks has not held, and the others go on
            line = Line(name, "the rig runs", f"{type(error).__name__}: {error}", False)
        print(json.dumps(asdict(line)), flush=True)
        lines.append(line)
    return 0 if all(line.holds for line in lines) else 1
