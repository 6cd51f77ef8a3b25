"""`drivable-bench`: which measurement → settings → table → exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from bench import accuracy, infer, live, throughput
from perception.engines import EngineError
from perception.pipeline import PipelineError
from perception.settings import SettingsError, parse
from perception.sources.source import SourceError
from train.data.frames import DataError

MEASUREMENTS: dict[str, tuple[type[Any], Callable[[Any], list[str]], str]] = {
    "accuracy": (accuracy.AccuracyConfig, accuracy.run, "Mean IoU through the node's own path, and peers'."),
    "infer": (infer.InferConfig, infer.run, "The network alone: files and engines side by side."),
    "live": (live.LiveConfig, live.run, "Age and memory of a live run."),
    "throughput": (throughput.ThroughputConfig, throughput.run, "Offline speed beside the plain loop."),
}
REPEATABLE = ("--peer",)
"""Settings that may be given more than once; the parser alone would keep the last."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when the measurement was made."""
    given = sys.argv[1:] if arguments is None else arguments
    if not given or given[0] not in MEASUREMENTS:
        wanted = given[0] if given else "none"
        known = ", ".join(MEASUREMENTS)
        is_help = wanted in ("-h", "--help")
        print(
            f"usage: drivable-bench MEASUREMENT [--help]; measurements: {known}"
            if is_help
            else f"drivable-bench: {wanted}: no such measurement; known: {known}",
            file=sys.stdout if is_help else sys.stderr,
        )
        return 0 if is_help else 1
    kind, run, description = MEASUREMENTS[given[0]]
    try:
        rows = run(parse(kind, f"drivable-bench {given[0]}", description, _appending(given[1:])))
    except OSError as error:
        where = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"drivable-bench: {where}", file=sys.stderr)
        return 1
    except (SettingsError, DataError, EngineError, SourceError, PipelineError) as error:
        print(f"drivable-bench: {error}", file=sys.stderr)
        return 1
    print("\n".join(rows))
    return 0


def _appending(arguments: list[str]) -> list[str]:
    """`--peer A --peer B` in the parser's spelling: `--peer+ A --peer+ B`."""
    spelled = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        spelled.append(f"{name}+{equals}{value}" if name in REPEATABLE else argument)
    return spelled
