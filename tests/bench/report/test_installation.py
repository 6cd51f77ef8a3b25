"""What the drivable of an interpreter is, and interpreters that have none like ours."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.report.machine import of_installation, versions


def test_installation_gives_its_versions_and_another_python_is_refused() -> None:
    assert of_installation(sys.executable)["versions"] == versions()
    with pytest.raises(ValueError, match="/bin/false: is not a Python with drivable and a bench like"):
        of_installation("/bin/false")
    with pytest.raises(ValueError, match="/bin/true: is not a Python with drivable"):
        of_installation("/bin/true")


def test_installation_gives_what_its_models_are() -> None:
    facts = of_installation(sys.executable, ["rt_s-int8"])["models"]["rt_s-int8"]

    assert (facts["precision"], facts["input_wh"]) == ("int8", [640, 384])
    with pytest.raises(ValueError, match="no such model file"):
        of_installation(sys.executable, ["nothing"])


def test_bench_that_writes_other_reports_is_refused(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho \'{"schema": 99, "versions": {}}\'\n')
    python.chmod(0o755)

    with pytest.raises(ValueError, match="writes reports of schema 99, this one 2"):
        of_installation(str(python))
