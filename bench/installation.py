"""What the drivable of an interpreter is: its versions, its commit and its models."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bench.interpreter import run_python
from bench.report.data import SCHEMA_NUMBER, describe_model
from bench.report.machine import commit, versions
from perception.inference.engines.engine import EngineError, one_line


def of_installation(python: str, models: Sequence[str] = ()) -> dict[str, Any]:
    """Versions, commit and Python of the drivable that an interpreter has, and what its models are.

    Raises:
        ValueError: if it has none, its bench writes other reports, or a model does not load there; in one
            line.
    """
    try:
        found: dict[str, Any] = json.loads(run_python(python, "-m", "bench.installation", *models))
        schema = found["schema"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{python}: is no Python with drivable and a bench like ours; install 'drivable[bench]' there"
        ) from error
    if schema != SCHEMA_NUMBER:
        raise ValueError(
            f"{python}: its bench writes reports of schema {schema}, this one {SCHEMA_NUMBER}; measure with "
            "each on its own, and compare the reports"
        )
    if "error" in found:
        raise ValueError(f"{python}: {found['error']}")
    return found


def main(models: Sequence[str]) -> None:
    """Print what `of_installation` reads."""
    facts: dict[str, Any] = {
        "schema": SCHEMA_NUMBER,
        "versions": versions(),
        "commit": commit(),
        "python": platform.python_version(),
    }
    try:
        facts["models"] = {name: asdict(describe_model(name)) for name in models}
    except (OSError, EngineError) as error:
        facts["error"] = one_line(error)
    print(json.dumps(facts))


if __name__ == "__main__":
    main(sys.argv[1:])
