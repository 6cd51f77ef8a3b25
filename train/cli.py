"""`drivable-train`: settings → training → exit status."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable
from typing import Final

import cv2

from perception.cli.command import NOTHING_GIVEN, say, say_lines
from perception.cli_config import config_files, parse, usage
from perception.cli_config.command_line import bare_word
from perception.cli_config.names import known_settings
from perception.system.process import keep_buffers
from perception.system.redaction import redacted
from train import inspect_data, subset, table
from train.check import check, check_files
from train.config import TrainConfig
from train.recipe import completed
from train.torchrun import rank, the_first_speaks_first

DESCRIPTION = (
    "Train a network on labelled frames. `drivable-train inspect --data DIR` looks at the frames first, "
    "`subset` takes some of a data set, `table` sets trained networks side by side."
)
USAGE: Final = (
    "inspect --data DIR                                      # what a data set is made of",
    "--model rt_m --data DIR --weights rt_m --name my_roads  # fine-tunes a shipped network",
    "--resume --out runs                                     # goes on with the run in that folder",
)
COMMANDS: Final[dict[str, Callable[[list[str]], int]]] = {
    "inspect": inspect_data.main,
    "subset": subset.main,
    "table": table.main,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when training ended well, or `inspect` found nothing wrong."""
    given = sys.argv[1:] if arguments is None else arguments
    if not given:
        say_lines(usage("drivable-train", *USAGE))
        return NOTHING_GIVEN
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what does not decode, we tell
    name = given[0] if given and not given[0].startswith("-") else None
    try:
        if name is None:
            return _train(given)
        if name in COMMANDS:
            return COMMANDS[name](given[1:])
    except OSError as error:
        return _wrong(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        if not rank():
            _wrong("interrupted; --resume continues after the last whole epoch, if there was one")
        return 130
    return _wrong(_unknown(name))


def _unknown(word: str) -> str:
    """What to say of a first word that is no command."""
    if nearest := difflib.get_close_matches(word, COMMANDS, n=1):
        return f"{word}: no such command; the nearest known one is {nearest[0]}"
    return f"{word}: {bare_word(word, known_settings(TrainConfig))}"


def _train(arguments: list[str]) -> int:
    try:
        with the_first_speaks_first():
            with completed(arguments) as whole:
                config = parse(TrainConfig, "drivable-train", DESCRIPTION, whole)
            check(config)  # before torch is imported, which takes seconds
            check_files(config, config_files(arguments))
            from train.loop import train

        keep_buffers(below_bytes=1 << 30)
        train(config, lambda line: print(redacted(line), flush=True))
    except ModuleNotFoundError as error:
        return _wrong(f"{error.name} is not installed; pip install 'drivable[train]'")
    except ValueError as error:  # what settings, data, checkpoints, the loop and reports raise are such
        return _wrong(str(error))
    return 0


def _wrong(line: str) -> int:
    """Say it; the exit status."""
    say(f"drivable-train: {line}")
    return 1
