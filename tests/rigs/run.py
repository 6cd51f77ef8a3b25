"""Every rig, one after the other, and one table of what was seen: python tests/rigs/run.py [RIG …].

Needs root and Debian for the two cameras and the small disks, and ../shared for the real clips and frames.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
RIGS: Final[dict[str, list[str]]] = {
    "health": [],
    "node": [],
    "power_off": ["--install"],
    "kernel_camera": ["--install", "--limit-s", "900"],
    "rtsp": ["--install"],
    "several": [],
    "mqtt": ["--install"],
    "page": ["--install"],
    "recordings": [],
    "ros": [],
    "bags": ["--install"],
    "fuzz": [],
    "cuda_stub": [],
    "metres": [],
    "stress": ["--runs", "60", "--install"],
}
"""Each is a folder with a `run.py`; and what that is given."""


def lines_of(rig: str) -> list[dict[str, Any]]:
    """What one rig reports, line by line as it comes; a line of its own where it ends without one."""
    lines = []
    command = [sys.executable, str(HERE / rig / "run.py"), *RIGS[rig]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for text in process.stdout:
            lines.append(json.loads(text))
            print(f"{rig}: {text}", end="", file=sys.stderr, flush=True)
    if not lines or (process.returncode and all(line["holds"] for line in lines)):
        seen = f"ended with status {process.returncode}"
        lines.append({"fault": rig, "asked": "the rig runs", "seen": seen, "holds": False})
    return lines


def table(lines: list[dict[str, Any]]) -> str:
    """The lines in Markdown."""
    rows = ["| fault | asked | seen | holds |", "|---|---|---|---|"]
    for line in lines:
        cells = [str(line[name]).replace("|", "\\|") for name in ("fault", "asked", "seen")]
        rows.append("| " + " | ".join([*cells, "yes" if line["holds"] else "**no**"]) + " |")
    return "\n".join(rows)


def main(rigs: list[str]) -> int:
    """Run these rigs, or all; 1 if a line does not hold."""
    unknown = [rig for rig in rigs if rig not in RIGS]
    if unknown:
        print(f"no rig {', '.join(unknown)}; known: {', '.join(RIGS)}", file=sys.stderr)
        return 2
    lines = [line for rig in rigs or RIGS for line in lines_of(rig)]
    print(table(lines))
    return 0 if all(line["holds"] for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
