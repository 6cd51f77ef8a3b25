"""`drivable-bench`: settings → measurement → tables, report and page → exit status."""

from __future__ import annotations

import difflib
import logging
import shlex
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from bench.config import AccuracyConfig, BenchConfig, CompareConfig, InferConfig, LiveConfig
from perception.cli.command import NOTHING_GIVEN
from perception.cli.log import command_log, show
from perception.cli_config import SettingsError, config_files, parse, usage
from perception.cli_config.command_line import bare_word
from perception.cli_config.names import known_settings
from perception.inference.engines import EngineError
from perception.pipeline import RunnerError
from perception.sources.source import SourceError
from perception.system.redaction import redacted, redacted_line
from train.data.frames import DataError

log = logging.getLogger(__name__)
NAME: Final = "drivable-bench"
DESCRIPTION = (
    "Latency, throughput and accuracy of model files, through the node's own path. `drivable-bench compare "
    "A.json B.json` tells two reports apart; `accuracy`, `infer` and `live` measure one thing each. Each has "
    "a --help of its own."
)


@dataclass(frozen=True)
class Command:
    """One of the commands beside the whole run."""

    config: type[Any]
    module: str
    """Whose `run` takes the settings and gives lines to print and an exit status."""
    description: str


COMMANDS: Final = {
    "compare": Command(CompareConfig, "bench.report.compare", "What is faster or slower beyond noise."),
    "accuracy": Command(
        AccuracyConfig, "bench.accuracy", "Mean IoU through the node's own path, of peers too."
    ),
    "infer": Command(InferConfig, "bench.infer", "The network alone: files and engines side by side."),
    "live": Command(LiveConfig, "bench.live", "Age and memory of a long live run."),
}
LIBRARIES: Final = ("jinja2", "jsonschema", "matplotlib", "psutil", "pynvml", "scipy")
"""Modules of the extra `bench` that a measurement, its report or a comparison needs."""
USAGE: Final = (
    "--quick                                # every shipped model, within five minutes on two cores",
    "accuracy --model rt_m-int8 --data DIR  # mean IoU on labelled frames",
    "infer --models rt_s-int8,rt_m-int8     # the networks alone, side by side",
)
EXPECTED: Final = (
    *(DataError, EngineError, RunnerError, SettingsError, SourceError),
    ValueError,  # what reports and settings raise are such
)
INTERRUPTED: Final = 130


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when the measurement was made, and `compare` found nothing worse than allowed."""
    with command_log(NAME):
        return _main(sys.argv[1:] if arguments is None else arguments)


def _main(given: list[str]) -> int:
    if not given:
        show(usage(NAME, *USAGE) + "\n")
        return NOTHING_GIVEN
    name = given[0] if given and not given[0].startswith("-") else None
    try:
        if name is None:
            return _suite(given)
        if name not in COMMANDS:
            return _wrong(_unknown(name))
        command = COMMANDS[name]
        config = parse(command.config, f"{NAME} {name}", command.description, _spelled(name, given[1:]))
        _check_libraries()
        rows, status = import_module(command.module).run(config)
    except EXPECTED as error:
        return _wrong(str(error))
    except OSError as error:
        return _wrong(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        return _wrong("interrupted", INTERRUPTED)
    print(redacted("\n".join(rows)))
    return int(status)


def _check_libraries() -> None:
    """Raises SettingsError, which says what to install."""
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise SettingsError(f"{', '.join(missing)} not installed: pip install 'drivable[bench]'")


def _unknown(word: str) -> str:
    """What to say of a first word that is no command."""
    if nearest := difflib.get_close_matches(word, COMMANDS, n=1):
        return f"{word}: no such command; the nearest known one is {nearest[0]}"
    return f"{word}: {bare_word(word, known_settings(BenchConfig))}"


def _suite(given: list[str]) -> int:
    config = parse(BenchConfig, NAME, DESCRIPTION, given)
    _check_libraries()
    from bench import suite
    from bench.report.data import ReportError, load
    from bench.report.page import write_page
    from bench.report.text import as_text

    folder, replaces = suite.folder_of(config), config.resume or config.overwrite
    try:
        report = suite.run(
            config, folder, redacted_line(shlex.join([NAME, *given])), log.info, config_files(given)
        )
    except KeyboardInterrupt:
        with suppress(ReportError, OSError):  # there may be nothing yet
            write_page(load(folder / suite.OURS), folder, overwrite=replaces)
        again = [
            *(it for it in given if it.partition("=")[0] != "--overwrite"),
            *([] if config.resume else ["--resume"]),
            *([] if config.out else ["--out", str(folder)]),
        ]
        return _wrong(f"interrupted; go on by {shlex.join([NAME, *again])}", INTERRUPTED)
    write_page(report, folder, overwrite=replaces)
    print(redacted("\n".join(as_text(report))))
    if not report.results:
        return _wrong("nothing could be measured; the reasons stand above")
    differ = [it.task.title for it in report.results if it.values.get("same_under_load") is False]
    if differ:
        return _wrong(f"class maps differ while all cores are busy: {', '.join(differ)}")
    return 0


def _spelled(name: str, arguments: list[str]) -> list[str]:
    """As the parser spells it: `--a A --b B` for `compare A B`."""
    if name == "compare" and len(arguments) > 1 and not any(it.startswith("-") for it in arguments[:2]):
        return ["--a", arguments[0], "--b", arguments[1], *arguments[2:]]
    if name == "compare" and arguments and not arguments[0].startswith("-"):
        raise SettingsError(f"two reports are wanted: {NAME} compare {arguments[0]} OTHER.json")
    return arguments


def _wrong(line: str, status: int = 1) -> int:
    log.error(line)
    return status
