"""Programs of others that the slow tests talk to: as root on Debian python tests/clients.py installs them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

sys.path.append(str(Path(__file__).parent / "rigs"))

from packages import RigError, provide

PROGRAMS: Final = {
    "chromium": "chromium",
    "ffmpeg": "ffmpeg",
    "ip": "iproute2",
    "mosquitto": "mosquitto",
    "mosquitto_sub": "mosquitto-clients",
    "node": "nodejs",
    "npm": "npm",
    "unshare": "util-linux",
}
"""By name: the package that has it."""
PLACES: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
"""Also where a user's own path leaves out the programs of services."""
NPM: Final = Path(__file__).parent / "npm"
"""Packages of npm, their versions pinned."""


def missing_packages() -> list[str]:
    """Packages of programs that are not there."""
    return [package for name, package in PROGRAMS.items() if not (shutil.which(name) or _in_places(name))]


def _in_places(name: str) -> str | None:
    return shutil.which(name, path=PLACES)


def install_from_npm() -> None:
    """What `NPM` names, unless it is there; raises RigError."""
    installed, wanted = NPM / "node_modules" / ".package-lock.json", NPM / "package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= wanted.stat().st_mtime:
        return
    command = ["npm", "ci", "--no-audit", "--no-fund", "--prefix", str(NPM)]
    if subprocess.run(command, check=False, stdout=sys.stderr).returncode:
        raise RigError(f"npm could not install what is named in {wanted}")


def main() -> int:
    """Install what is missing; 1 if something stays so."""
    try:
        provide(missing_packages, may_install=True)
        install_from_npm()
    except RigError as error:
        print(f"tests: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
