"""`drivable-export`: which command → settings → export → exit status."""

from __future__ import annotations

import logging
import sys
import warnings
from dataclasses import fields
from importlib import import_module
from typing import Final

from export.config import ExportConfig
from perception.cli.command import INTERRUPTED, NOTHING_GIVEN
from perception.cli.log import command_log, print_line, set_verbosity, show
from perception.cli_config import SettingsError, config_files, log_level, parse, usage
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


COMMANDS: Final = {
    "inspect": ("export.inspect_file", "InspectConfig", "inspect", "Show what a file is, and where it runs."),
    "wrap": ("export.wrap", "WrapConfig", "wrap", "Wrap an external network as one of our files."),
    "certainty": (
        *("export.certainty", "CertaintyConfig", "add_certainty"),
        "Add the network's uncertainty to a file.",
    ),
    "renew": (
        "export.renew",
        "RenewConfig",
        "renew",
        "Rewrite files with a known answer, keeping their graphs.",
    ),
    "table": ("export.table", "TableConfig", "table", "Export every network, and compare them."),
}
"""Module, imported when it runs because that takes seconds; its settings; its function, which takes them and
`say`, and may return an exit status; description."""
TAKE_SETTINGS_FILES: Final = ("wrap", "certainty")
"""Functions that also take the files of `--config`, to check that no output overwrites one."""


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

        errors = (ExportError, GateError, EngineError, ValueError)
        # The exporter's own deprecations and notes are of no use to users of this command.
        warnings.filterwarnings("ignore", module=r"(torch|onnxscript|copyreg)(\..*)?")
        for name in ("torch.onnx", "onnxscript", "onnx_ir"):
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            return _run(given)
        except SettingsError as error:
            return _fail(str(error), error.status)
        except errors as error:
            return _fail(one_line(error))
    except ModuleNotFoundError as error:
        return _fail(f"{error.name} is not installed; pip install 'drivable[export]'")
    except KeyboardInterrupt:
        return _fail("interrupted; nothing was written", INTERRUPTED)


def _fail(why: str, status: int = 1) -> int:
    log.error(why)
    return status


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
    module, settings_class, function, description = COMMANDS[name]
    command = import_module(module)
    kind = getattr(command, settings_class)
    positional = tuple(field.name for field in fields(kind) if field.name == "file")
    settings = parse(kind, f"drivable-export {name}", description, rest, positional=positional)
    more = [files] if name in TAKE_SETTINGS_FILES else []
    status = getattr(command, function)(settings, print_line, *more)
    return status if isinstance(status, int) else 0
