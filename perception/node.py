"""`drivable-node`: arguments → config → run → exit status.

Importing this takes no time: signals and standard streams are in order before anything else is imported.
"""

from __future__ import annotations

import logging
import os
import sys

from perception.cli.command import NOTHING_GIVEN, reported, run_command
from perception.cli.log import command_log, set_verbosity, show
from perception.cli.signals import Stopped, StopSignals

log = logging.getLogger("perception.node")  # also where this is the main module
NAME = "drivable-node"
LIBRARIES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Threads that libraries of numpy would start, one a core, when they are imported: the node has its own."""


USAGE = (
    "drive.mp4 --out overlay.mp4             # a recording, with the road drawn into it",
    "/dev/video0 --jsonl records.jsonl       # a camera; or rtsp://user:password@camera/road",
    "synthetic --duration 20 --masks masks/  # the built-in road, no camera needed",
)
DAILY = (
    *("source", "out", "jsonl", "masks", "summary", "overwrite", "model", "provider", "threads"),
    *("duration_s", "max_frames", "realtime", "http"),
)
"""What --help explains first."""


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
        from perception.cli_config import (
            SettingsError,
            config_files,
            help_topic,
            log_level,
            named_settings,
            parse,
            usage,
        )
        from perception.config import node_config, plugin_names, usable_plugins

        if not arguments:
            show(usage(NAME, *USAGE) + "\n")
            return NOTHING_GIVEN
        try:
            stop.check()
            set_verbosity(log_level(arguments))
            asks_for_help = help_topic(arguments) is not None
            named = usable_plugins() if asks_for_help else named_settings(arguments) if plugin_names() else ()
            config = parse(
                *(node_config(named), NAME, "Frames in, drivable area out.", arguments),
                positional=("source",),
                daily=DAILY,
            )
            return run(config.with_source(), stop, config_files(arguments))
        except Stopped as stopped:
            log.error(stopped)
            return stopped.status
        except SettingsError as error:
            log.error(error)
            return error.status
        except ERRORS as error:
            log.error(error)
            return 1


if __name__ == "__main__":
    sys.exit(main())
