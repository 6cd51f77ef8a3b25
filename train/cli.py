"""`drivable-train`: settings → training → exit status."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Final

import cv2

from perception.cli.command import INTERRUPTED, NOTHING_GIVEN
from perception.cli.log import command_log, print_line, set_verbosity, show
from perception.cli_config import SettingsError, config_files, log_level, parse, usage
from perception.cli_config.command_line import refuse_command
from perception.cli_config.names import known_settings
from perception.system.process import keep_buffers
from train import inspect_data, subset, table
from train.check import check, check_files
from train.config import TrainConfig
from train.recipe import completed
from train.torchrun import rank, rank0_reports_first

log = logging.getLogger(__name__)
DESCRIPTION = (
    "Train a network on labelled frames. `drivable-train inspect --data DIR` checks the frames first, "
    "`subset` copies some of a data set, `table` compares trained networks."
)
USAGE: Final = (
    "inspect --data DIR                                      # statistics and faults of a data set",
    "--model rt_m --data DIR --weights rt_m --name my_roads  # fine-tunes a shipped network",
    "--resume --out runs                                     # continues the run in that folder",
)
COMMANDS: Final[dict[str, Callable[[list[str], Callable[[str], None]], None]]] = {
    "inspect": inspect_data.run,
    "subset": subset.run,
    "table": table.run,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when training ended well, or `inspect` found no fault."""
    with command_log("drivable-train"):
        return _main(sys.argv[1:] if arguments is None else arguments)


def _main(given: list[str]) -> int:
    if not given:
        show(usage("drivable-train", *USAGE) + "\n")
        return NOTHING_GIVEN
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # we report what does not decode
    name = None if given[0].startswith("-") else given[0]
    try:
        set_verbosity(log_level(given))
        if name is not None and name not in COMMANDS:
            refuse_command(name, list(COMMANDS), known_settings(TrainConfig))
        _train(given) if name is None else COMMANDS[name](given[1:], print_line)
    except ModuleNotFoundError as error:
        return _fail(f"{error.name} is not installed; pip install 'drivable[train]'")
    except SettingsError as error:
        return _fail(str(error), error.status)
    except ValueError as error:  # data, checkpoints, the loop and reports raise subclasses of it
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        if not rank():
            hint = "; --resume continues after the last whole epoch, if there was one"
            _fail("interrupted" + (hint if name is None else ""))
        return INTERRUPTED
    return 0


def _train(arguments: list[str]) -> None:
    with rank0_reports_first():
        with completed(arguments) as whole:
            config = parse(TrainConfig, "drivable-train", DESCRIPTION, whole)
        check(config)  # before torch is imported, which takes seconds
        check_files(config, config_files(arguments))
        from train.loop import train

    keep_buffers(below_bytes=1 << 30)
    train(config, print_line)


def _fail(line: str, status: int = 1) -> int:
    """Report an error; the exit status."""
    log.error(line)
    return status
