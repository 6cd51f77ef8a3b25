"""`drivable-bench`: settings → measurement → tables, report and page → exit status."""

from __future__ import annotations

import logging
import shlex
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

from bench.config import (
    AccuracyConfig,
    BenchConfig,
    CompareConfig,
    InferConfig,
    LiveConfig,
    MetresConfig,
    SteadinessConfig,
)
from bench.task import EXPECTED
from perception.cli.command import INTERRUPTED, NOTHING_GIVEN
from perception.cli.log import command_log, print_line, set_verbosity, show
from perception.cli_config import SettingsError, config_files, log_level, parse, usage
from perception.cli_config.command_line import refuse_command
from perception.cli_config.names import known_settings
from perception.system.redaction import redacted_line

log = logging.getLogger(__name__)
NAME: Final = "drivable-bench"
DESCRIPTION: Final = (
    "Latency, throughput and accuracy of model files, through the node's own path. `drivable-bench compare "
    "A.json B.json` finds what differs between two reports; `accuracy`, `infer`, `metres`, `live` and "
    "`steadiness` measure one thing each. Each command has a --help of its own."
)
COMMANDS: Final[dict[str, tuple[type[Any], str, str, tuple[str, ...]]]] = {
    "compare": (CompareConfig, "bench.report.compare", "What is faster or slower beyond noise.", ("a", "b")),
    "accuracy": (AccuracyConfig, "bench.accuracy", "Mean IoU through the node's own path, of peers too.", ()),
    "infer": (InferConfig, "bench.infer", "The network alone: files and engines side by side.", ()),
    "metres": (MetresConfig, "bench.metres", "Metres against the truth of the built-in road.", ()),
    "live": (LiveConfig, "bench.live", "Age and memory of a long live run.", ()),
    "steadiness": (
        SteadinessConfig,
        "bench.steadiness",
        "What changes from frame to frame, smoothing off and on.",
        (),
    ),
}
"""Settings; the module whose `run` takes them and gives lines and an exit status; description; settings that
may be typed without their names."""
USAGE: Final = (
    "--quick                                # every shipped model, within five minutes on two cores",
    "accuracy --model rt_m-int8 --data DIR  # mean IoU on labelled frames",
    "infer --models rt_s-int8,rt_m-int8     # the networks alone, side by side",
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when the measurement was made, and `compare` found nothing worse than allowed."""
    with command_log(NAME):
        return _main(sys.argv[1:] if arguments is None else arguments)


def _main(given: list[str]) -> int:
    if not given:
        show(usage(NAME, *USAGE) + "\n")
        return NOTHING_GIVEN
    name = given[0]
    try:
        set_verbosity(log_level(given))
        if name.startswith("-"):
            return _suite(given)
        if name not in COMMANDS:
            refuse_command(name, list(COMMANDS), known_settings(BenchConfig))
        kind, module, description, positional = COMMANDS[name]
        config = parse(kind, f"{NAME} {name}", description, given[1:], positional=positional)
        rows, status = import_module(module).run(config)
    except SettingsError as error:
        return _wrong(str(error), error.status)
    except ModuleNotFoundError as error:  # found before anything is measured
        return _wrong(f"{error.name} is not installed; pip install 'drivable[bench]'")
    except OSError as error:
        return _wrong(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except EXPECTED as error:
        return _wrong(str(error))
    except KeyboardInterrupt:
        return _wrong("interrupted", INTERRUPTED)
    print_line("\n".join(rows))
    return int(status)


def _suite(given: list[str]) -> int:
    config = parse(BenchConfig, NAME, DESCRIPTION, given)
    from bench import suite
    from bench.report.data import ReportError, load
    from bench.report.page import write_page
    from bench.report.text import as_text

    folder, replaces = suite.folder_of(config), config.resume or config.overwrite
    typed = redacted_line(shlex.join([NAME, *given]))
    try:
        report = suite.run(config, folder, typed, log.info, config_files(given))
    except KeyboardInterrupt:
        with suppress(ReportError, OSError):  # there may be nothing yet
            write_page(load(folder / suite.OURS), folder, overwrite=replaces)
        again = [
            *(it for it in given if it.partition("=")[0] != "--overwrite"),
            *([] if config.resume else ["--resume"]),
            *([] if config.out else ["--out", str(folder)]),
        ]
        return _wrong(f"interrupted; continue with {shlex.join([NAME, *again])}", INTERRUPTED)
    write_page(report, folder, overwrite=replaces)
    print_line("\n".join(as_text(report)))
    if not report.results:
        return _wrong("nothing could be measured; see the reasons above")
    differ = [it.task.title for it in report.results if it.values.get("same_under_load") is False]
    if differ:
        return _wrong(f"class maps differ while all cores are busy: {', '.join(differ)}")
    return 0


def _wrong(line: str, status: int = 1) -> int:
    log.error(line)
    return status
