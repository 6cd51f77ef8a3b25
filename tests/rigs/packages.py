"""Debian's packages that a rig needs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence


class RigError(Exception):
    """The rig cannot run: one line that says what is missing and what to do."""


def provide(missing_packages: Callable[[], Sequence[str]], may_install: bool) -> None:
    """See that no package is missing; those that are, apt-get installs if it may and we are root.

    Raises:
        RigError: if a package is missing and stays so.
    """
    missing = missing_packages()
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if not (may_install and os.geteuid() == 0):
        raise RigError(f"not all there; install it with: sudo {' '.join(command)}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update"], check=False, stdout=sys.stderr)
    subprocess.run(command, check=False, stdout=sys.stderr, env=environment)
    missing = missing_packages()
    if missing:
        raise RigError(f"apt-get could not install {', '.join(missing)}")
