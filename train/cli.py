"""`drivable-train`: settings → training → exit status."""

from __future__ import annotations

import sys

from perception.process import keep_buffers
from perception.settings import SettingsError, parse
from train import inspect_data, table

DESCRIPTION = (
    "Train a network on labelled frames. `drivable-train inspect --data DIR` looks at the frames first, "
    "`drivable-train table` sets trained networks side by side."
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when training ended well, or `inspect` found nothing wrong."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["inspect"]:
        return inspect_data.main(given[1:])  # needs no torch
    if given[:1] == ["table"]:
        return table.main(given[1:])
    try:
        from train.checkpoint import CheckpointError
        from train.config import TrainConfig
        from train.data.frames import DataError
        from train.loop import TrainingError, train
    except ModuleNotFoundError as error:
        print(
            f"drivable-train: {error.name} is not installed; pip install 'drivable[train]'", file=sys.stderr
        )
        return 1
    try:
        config = parse(TrainConfig, "drivable-train", DESCRIPTION, given)
        keep_buffers(below_bytes=1 << 30)
        best = train(config, lambda line: print(line, flush=True))
    except (SettingsError, DataError, CheckpointError, TrainingError, ValueError) as error:
        print(f"drivable-train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("drivable-train: interrupted; --resume continues after the last whole epoch", file=sys.stderr)
        return 130
    print(f"best checkpoint: {best}")
    return 0
