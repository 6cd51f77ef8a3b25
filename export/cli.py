"""`drivable-export`: which command → settings → export → exit status."""

from __future__ import annotations

import difflib
import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

from export.config import ExportConfig
from perception.cli.command import NOTHING_GIVEN, say, say_lines
from perception.cli_config import SettingsError, config_files, parse, usage
from perception.inference.engines import EngineError
from perception.inference.engines.engine import one_line
from perception.system.redaction import redacted

DESCRIPTION = (
    "Export a trained network for the node. "
    "`drivable-export inspect FILE` tells what a file is and where it runs, "
    "`drivable-export wrap FILE.onnx --contract FILE` makes one of ours of another's network, "
    "`drivable-export certainty FILE --data DIR` adds how unsure its network is of frames like DIR's, "
    "`drivable-export renew` writes FILE, or every shipped file, with a known answer, its graph as it was, "
    "`drivable-export table` exports every network and sets them side by side."
)
USAGE = (
    "--model my_roads --data DIR               # runs/my_roads/best.pt becomes my_roads.onnx",
    "--model rt_s --precision int8 --data DIR  # rt_s-int8.onnx, calibrated on DIR",
    "inspect FILE.onnx                         # what a file is, and where it runs",
)
COMMANDS = ("inspect", "wrap", "certainty", "renew", "table")
TAKES_A_FILE = ("inspect", "wrap", "certainty", "renew")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when the file was written and every gate held."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if not given:
        say_lines(usage("drivable-export", *USAGE))
        return NOTHING_GIVEN
    try:
        from export.package import ExportError
        from export.verify import GateError

        errors = (SettingsError, ExportError, GateError, EngineError, ValueError)
    except ModuleNotFoundError as error:
        return _refused(f"{error.name} is not installed; pip install 'drivable[export]'")
    # The exporter's own deprecations and notes are of no use to who exports.
    warnings.filterwarnings("ignore", module=r"(torch|onnxscript|copyreg)(\..*)?")
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        return _run(given, lambda line: print(redacted(line), flush=True))
    except ModuleNotFoundError as error:
        return _refused(f"{error.name} is not installed; pip install 'drivable[export]'")
    except errors as error:
        return _refused(one_line(error))
    except KeyboardInterrupt:
        _refused("interrupted; nothing was written")
        return 130


def _refused(why: str) -> int:
    say(f"drivable-export: {why}")
    return 1


def _run(given: list[str], say: Callable[[str], None]) -> int:
    """The command's work; what it imports takes seconds, so settings are read first."""
    command = given[0] if given else ""
    files = config_files(given)
    if command == "inspect":
        from export.inspect_file import InspectConfig, inspect

        inspect(_parsed(InspectConfig, given, "Tell what a file is, and where it runs."), say)
    elif command == "wrap":
        from export.wrap import WrapConfig, wrap

        wrap(_parsed(WrapConfig, given, "Make one of our files of another's network."), say, files)
    elif command == "certainty":
        from export.certainty import CertaintyConfig, add_certainty

        add_certainty(_parsed(CertaintyConfig, given, "Tell a file how unsure its network is."), say, files)
    elif command == "renew":
        from export.renew import RenewConfig, renew

        renew(
            _parsed(RenewConfig, given, "Write files anew with a known answer, their graphs as they were."),
            say,
        )
    elif command == "table":
        from export.table import TableConfig, table

        return table(_parsed(TableConfig, given, "Export every network, and set them side by side."), say)
    elif nearest := difflib.get_close_matches(command, COMMANDS, n=1):
        raise SettingsError(f"{command}: no such command; the nearest known one is {nearest[0]}")
    else:
        config = parse(ExportConfig, "drivable-export", DESCRIPTION, given)
        from export.run import export

        export(config, say, files)
    return 0


def _parsed(kind: type[Any], given: list[str], description: str) -> Any:
    command, rest = given[0], given[1:]
    if command in TAKES_A_FILE and rest and not rest[0].startswith("-"):
        rest = ["--file", *rest]
    return parse(kind, f"drivable-export {command}", description, rest)
