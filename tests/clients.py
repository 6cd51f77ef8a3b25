"""Programs of others that the slow tests talk to: as root on Debian python tests/clients.py installs them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

sys.path.append(str(Path(__file__).parent / "rigs"))

from packages import RigError, provide

PROGRAMS: Final = {"mosquitto": "mosquitto", "mosquitto_sub": "mosquitto-clients"}
"""By name: the package that has it."""
PLACES: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
"""Also where a user's own path leaves out the programs of services."""


def missing_packages() -> list[str]:
    """Packages of programs that are not there."""
    return [package for name, package in PROGRAMS.items() if shutil.which(name, path=PLACES) is None]


def main() -> int:
    """Install what is missing; 1 if something stays so."""
    try:
        provide(missing_packages, may_install=True)
    except RigError as error:
        print(f"tests: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
