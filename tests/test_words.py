"""The words of the house: standard terms of the field, and no name that was given up for one."""

from __future__ import annotations

import json
import re
import subprocess
import tokenize
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GIVEN_UP = {
    "perception": """
        crew Crew Post manned worth burst Burst Relay Flow _Turns SinkLine pulse Pulse Gauges ledger Ledger
        Seen Output outage Outage look CameraLook camera_look judge CameraJudge Supervision Supervised trouble
        told unlikeness doubt prepare interpret classify Keeping MadeSegments Disk LinesFile Opening masking
    """,
    "bench": "bare stages rivals told",
    "export": "half facts plain linear foreign held Told told",
    "train": "the_first_speaks_first hub_if_it_answers told",
    "tests": "crew Crew Relay SinkLine Pulse Gauges Ledger CameraLook CameraJudge Supervision told",
}
"""By package. What has another, usual meaning too is not among them: `file.tell`, `numpy.sign`, a monitor."""
DIALECT = re.compile(r"\b(told|anew|crew|manned)\b", re.IGNORECASE)
DOCUMENTS = ("*.md", "*.yaml", "*.toml", "*.jinja", "*.service", "*.conf", "Makefile", ".ci/run")
HERE = Path(__file__)


def tracked(*patterns: str) -> list[Path]:
    """Files of the repository that match."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def identifiers(file: Path, names: set[str]) -> Iterator[tuple[str, int]]:
    """Where one of the names is an identifier of a file of code, with its line."""
    if names.isdisjoint(re.findall(r"\w+", file.read_text())):
        return  # most files: a tokenizer takes a hundred times as long
    with file.open("rb") as lines:
        for token in tokenize.tokenize(lines.readline):
            if token.type == tokenize.NAME and token.string in names:
                yield token.string, token.start[0]


@pytest.mark.parametrize("package", GIVEN_UP)
def test_no_identifier_is_a_name_that_was_given_up(package: str) -> None:
    names = set(GIVEN_UP[package].split())

    found = [
        f"{file.relative_to(ROOT)}:{line}: {name}"
        for file in tracked(f"{package}/*.py")
        for name, line in identifiers(file, names)
    ]

    assert not found


def test_modules_have_the_names_of_today() -> None:
    names = set(GIVEN_UP["perception"].split())

    assert not [str(file) for file in tracked("perception/*.py") if file.stem in names]


def test_no_field_of_a_record_has_a_name_that_was_given_up() -> None:
    schema = json.loads((files("perception.sinks") / "record.schema.json").read_text())

    def keys(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            yield from node.get("properties", {})
            for child in node.values():
                yield from keys(child)
        elif isinstance(node, list):
            for child in node:
                yield from keys(child)

    assert {"camera", "certainty", "p5", "ood_score"} <= set(keys(schema))
    assert not set(keys(schema)) & {*GIVEN_UP["perception"].split(), "low"}


def test_no_metric_has_a_name_that_was_given_up() -> None:
    metrics = re.findall(r"\bdrivable_\w+", (ROOT / "perception" / "telemetry" / "prometheus.py").read_text())

    assert metrics
    assert not {word for name in metrics for word in name.split("_")} & set(GIVEN_UP["perception"].split())


def test_code_and_documents_are_in_plain_english() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in tracked("*.py", *DOCUMENTS)
        if file.name != "CHANGELOG.md" and file != HERE  # which name what is gone
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if DIALECT.search(line)
    ]

    assert not found
