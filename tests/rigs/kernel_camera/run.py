"""A real camera driver that fails, under emulation: `python tests/rigs/kernel_camera/run.py [SCENARIO ...]`.

Boots Debian's kernel with vivid, a virtual V4L2 camera with error injection, and runs the scenarios of
`scenarios.py` beside it with this very Python and this checkout. Prints one JSON line a fault: fault,
asked, seen, holds. Ends with 0 if all hold, 1 if one does not, 2 if the rig itself cannot run.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from guest_kernel import guest_kernel, missing_packages  # noqa: E402
from machine import run_in_guest  # noqa: E402
from packages import RigError, provide  # noqa: E402

CHECKOUT: Final = HERE.parents[2]
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "drivable-rigs/kernel_camera"
LIMIT_S: Final = 300.0
CANNOT_RUN: Final = 2


def main() -> int:
    """Run the rig; its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", nargs="*", help="those to run; all without")
    parser.add_argument("--install", action="store_true", help="apt-get what is missing, if root")
    parser.add_argument("--limit-s", type=float, default=LIMIT_S, help="for the whole run")
    options = parser.parse_args()
    try:
        provide(missing_packages, options.install)
        command = ["/usr/bin/env", f"PYTHONPATH={CHECKOUT}", sys.executable, str(HERE / "guest.py")]
        return run_in_guest(
            guest_kernel(CACHE),
            [*command, *options.scenarios],
            CHECKOUT,
            options.limit_s,
            on_line=lambda line: print(line, flush=True),
        )
    except RigError as error:
        print(f"kernel_camera: {error}", file=sys.stderr)
        return CANNOT_RUN


if __name__ == "__main__":
    sys.exit(main())
