"""`drivable-node`: arguments → config → run → exit status.

Importing this takes no time: signals and standard streams are in order before anything else is imported.
"""

from __future__ import annotations

import logging
import os
import sys

from perception.cli.command import NOTHING_GIVEN, reported, run_command
from perception.cli.log import command_log, show
from perception.cli.signals import Stopped, StopSignals

log = logging.getLogger("perception.node")  # also where this is the main module
NAME = "drivable-node"
LIBRARIES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Threads that libraries of numpy would start, one a core, when they are imported: the node has its own."""


USAGE = (
    "--source drive.mp4 --out overlay.mp4            # a recording, with the road drawn into it",
    "--source /dev/video0 --jsonl records.jsonl      # a camera; or rtsp://user:password@camera/road",
    "--source synthetic --duration 20 --masks masks  # the built-in road, no camera needed",
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 only if nothing went wrong.

    Without arguments it takes those of the process, which then is its own to end.
    """
    if arguments is None:
        for name in LIBRARIES:
            os.environ.setdefault(name, "1")
        return run_command(NAME, lambda: _main(sys.argv[1:], is_own_process=True))
    with command_log(NAME):
        return reported(lambda: _main(arguments, is_own_process=False))


def _main(arguments: list[str], *, is_own_process: bool) -> int:
    with StopSignals.installed(is_own_process=is_own_process) as stop:
        from perception.cli.run import ERRORS, run
        from perception.cli_config import config_files, named_settings, parse, usage
        from perception.config import node_config, plugin_names

        if not arguments:
            show(usage(NAME, *USAGE) + "\n")
            return NOTHING_GIVEN
        try:
            stop.check()
            named = named_settings(arguments) if plugin_names() else ()
            config = parse(node_config(named), NAME, "Frames in, drivable area out.", arguments)
            return run(config.with_source(), stop, config_files(arguments))
        except Stopped as stopped:
            log.error(stopped)
            return stopped.status
        except ERRORS as error:
            log.error(error)
            return 1


if __name__ == "__main__":
    sys.exit(main())
