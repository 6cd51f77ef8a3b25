"""`drivable-archive` as a process: its edges are in order before anything else is imported."""

from __future__ import annotations

import sys

from perception.cli.command import main_of, run_command


def main() -> int:
    """Run the command with the arguments of the process; its exit status."""
    return run_command("drivable-archive", main_of("perception.archive.cli"))


if __name__ == "__main__":
    sys.exit(main())
