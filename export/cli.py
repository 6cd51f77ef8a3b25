"""`drivable-export`: which command → settings → export → exit status."""

from __future__ import annotations

import logging
import sys
import warnings
from dataclasses import dataclass
from importlib import import_module
from typing import Final

from export.config import ExportConfig
from perception.cli.command import NOTHING_GIVEN
from perception.cli.log import command_log, print_line, set_verbosity, show
from perception.cli_config import config_files, log_level, parse, usage
from perception.cli_config.command_line import refuse_command
from perception.cli_config.names import known_settings
from perception.inference.engines import EngineError
from perception.inference.engines.engine import one_line

log = logging.getLogger(__name__)
DESCRIPTION = (
    "Export a trained network for the node. "
    "`drivable-export inspect FILE` shows what a file is and where it runs, "
    "`drivable-export wrap FILE.onnx --contract FILE` wraps an external network as one of our files, "
    "`drivable-export certainty FILE --data DIR` adds the network's uncertainty on frames like DIR's, "
    "`drivable-export renew` adds a known answer to FILE, or to every shipped file, and keeps its graph, "
    "`drivable-export table` exports every network and compares them."
)
USAGE = (
    "--model my_roads --data DIR               # runs/my_roads/best.pt becomes my_roads.onnx",
    "--model rt_s --precision int8 --data DIR  # rt_s-int8.onnx, calibrated on DIR",
    "inspect FILE.onnx                         # what a file is, and where it runs",
)


@dataclass(frozen=True)
class Command:
    """A subcommand: its module, imported when it runs because that takes seconds, and two names in it."""

    module: str
    settings: str
    """Name of its dataclass of settings."""
    function: str
    """Called with the settings and `say`; may return an exit status."""
    description: str
    takes_file: bool = True
    """Whether the file may be named without `--file`."""
    takes_settings_files: bool = False
    """Whether it also takes the files of `--config`, to check that no output overwrites one."""


COMMANDS: Final = {
    "inspect": Command(
        "export.inspect_file", "InspectConfig", "inspect", "Show what a file is, and where it runs."
    ),
    "wrap": Command(
        "export.wrap",
        "WrapConfig",
        "wrap",
        "Wrap an external network as one of our files.",
        takes_settings_files=True,
    ),
    "certainty": Command(
        "export.certainty",
        "CertaintyConfig",
        "add_certainty",
        "Add the network's uncertainty to a file.",
        takes_settings_files=True,
    ),
    "renew": Command(
        "export.renew", "RenewConfig", "renew", "Rewrite files with a known answer, keeping their graphs."
    ),
    "table": Command(
        "export.table", "TableConfig", "table", "Export every network, and compare them.", takes_file=False
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when the file was written and every gate passed."""
    with command_log("drivable-export"):
        return _main(sys.argv[1:] if arguments is None else list(arguments))


def _main(given: list[str]) -> int:
    if not given:
        show(usage("drivable-export", *USAGE) + "\n")
        return NOTHING_GIVEN
    try:
        from export.package import ExportError
        from export.verify import GateError

        errors = (ExportError, GateError, EngineError, ValueError)  # SettingsError and others are ValueErrors
        # The exporter's own deprecations and notes are of no use to users of this command.
        warnings.filterwarnings("ignore", module=r"(torch|onnxscript|copyreg)(\..*)?")
        for name in ("torch.onnx", "onnxscript", "onnx_ir"):
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            return _run(given)
        except errors as error:
            return _fail(one_line(error))
    except ModuleNotFoundError as error:
        return _fail(f"{error.name} is not installed; pip install 'drivable[export]'")
    except KeyboardInterrupt:
        _fail("interrupted; nothing was written")
        return 130


def _fail(why: str) -> int:
    log.error(why)
    return 1


def _run(given: list[str]) -> int:
    set_verbosity(log_level(given))
    name, *rest = given
    files = config_files(given)
    if name not in COMMANDS:
        if not name.startswith("-"):
            refuse_command(name, list(COMMANDS), known_settings(ExportConfig))
        config = parse(ExportConfig, "drivable-export", DESCRIPTION, given)
        from export.run import export  # after the settings were read: it imports torch, which takes seconds

        export(config, print_line, files)
        return 0
    command = COMMANDS[name]
    module = import_module(command.module)
    settings = parse(
        *(getattr(module, command.settings), f"drivable-export {name}", command.description, rest),
        positional=("file",) if command.takes_file else (),
    )
    more = [files] if command.takes_settings_files else []
    status = getattr(module, command.function)(settings, print_line, *more)
    return status if isinstance(status, int) else 0
