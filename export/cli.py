"""`drivable-export`: settings → export → exit status."""

from __future__ import annotations

import logging
import sys
import warnings

from perception.settings import SettingsError, parse


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when the file was written and every gate held."""
    try:
        from export.config import ExportConfig
        from export.package import ExportError
        from export.run import export
        from export.verify import ParityError
        from train.checkpoint import CheckpointError
    except ModuleNotFoundError as error:
        print(
            f"drivable-export: {error.name} is not installed; pip install 'drivable[export]'", file=sys.stderr
        )
        return 1
    # The exporter's own deprecations and notes are of no use to who exports.
    warnings.filterwarnings("ignore", module=r"(torch|onnxscript|copyreg)(\..*)?")
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        config = parse(ExportConfig, "drivable-export", "Export a trained network for the node.", arguments)
        export(config, lambda line: print(line, flush=True))
    except (SettingsError, ExportError, ParityError, CheckpointError, ValueError) as error:
        print(f"drivable-export: {error}", file=sys.stderr)
        return 1
    return 0
