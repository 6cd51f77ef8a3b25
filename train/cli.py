"""`drivable-train`: settings → training → exit status."""

from __future__ import annotations

import sys

from perception.process import keep_buffers
from perception.settings import SettingsError, parse


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when training ended well."""
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
        config = parse(TrainConfig, "drivable-train", "Train a network on labelled frames.", arguments)
        keep_buffers(below_bytes=1 << 30)
        best = train(config, lambda line: print(line, flush=True))
    except (SettingsError, DataError, CheckpointError, TrainingError, ValueError) as error:
        print(f"drivable-train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "drivable-train: interrupted; --resume true continues after the last whole epoch", file=sys.stderr
        )
        return 130
    print(f"best checkpoint: {best}")
    return 0
