"""`drivable-train`: settings → training → exit status."""

from __future__ import annotations

import sys

from perception.process import keep_buffers
from perception.settings import parse
from train import inspect_data, table
from train.check import check
from train.config import TrainConfig

DESCRIPTION = (
    "Train a network on labelled frames. `drivable-train inspect --data DIR` looks at the frames first, "
    "`drivable-train table` sets trained networks side by side."
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when training ended well, or `inspect` found nothing wrong."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        if given[:1] == ["inspect"]:
            return inspect_data.main(given[1:])
        if given[:1] == ["table"]:
            return table.main(given[1:])
        return _train(given)
    except KeyboardInterrupt:
        print("drivable-train: interrupted; --resume continues after the last whole epoch", file=sys.stderr)
        return 130


def _train(arguments: list[str]) -> int:
    try:
        config = parse(TrainConfig, "drivable-train", DESCRIPTION, arguments)
        check(config)  # before torch is imported, which takes seconds
        from train.loop import train

        keep_buffers(below_bytes=1 << 30)
        train(config, lambda line: print(line, flush=True))
    except ModuleNotFoundError as error:
        print(
            f"drivable-train: {error.name} is not installed; pip install 'drivable[train]'", file=sys.stderr
        )
        return 1
    except ValueError as error:  # what settings, data, checkpoints, the loop and reports raise are such
        print(f"drivable-train: {error}", file=sys.stderr)
        return 1
    return 0
