"""When a machine was too busy to judge, and where that is said."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from bench import meter

CORES = os.cpu_count() or 1


def of_share(share: float, steal_share: float = 0.0) -> dict[str, Any]:
    """What a meter reads of ten seconds in which others had this share of all cores."""
    return {"wall_s": 10.0, "other_cpu_s": 10 * CORES * share, "steal_s": 10 * CORES * steal_share}


@pytest.fixture
def spinning() -> Iterator[None]:
    """Every core is taken by other programs."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(CORES)]
    yield
    for other in others:
        other.kill()
        other.wait()


def test_quiet_machine_says_nothing() -> None:
    assert meter.busy_verdict([of_share(0.0), of_share(0.09)]) is None


def test_busy_measurements_are_counted_and_the_worst_is_named() -> None:
    said = meter.busy_verdict([of_share(0.02), of_share(0.43), of_share(0.2)])

    assert said is not None
    assert "up to 43% of the cores during 2 of 3 measurements" in said


def test_time_given_to_other_machines_counts_too() -> None:
    assert meter.share_of(of_share(0.05, steal_share=0.1), CORES) == pytest.approx(0.15)


@pytest.mark.parametrize(
    "values", [{}, {"wall_s": 0.0, "other_cpu_s": 1.0}, {"wall_s": 1.0, "other_cpu_s": None}]
)
def test_where_nothing_was_read_nothing_is_said(values: dict[str, Any]) -> None:
    assert meter.busy_verdict([values]) is None


@pytest.mark.usefixtures("spinning")
def test_other_programs_are_seen_before_anything_is_measured() -> None:
    said = meter.warning_now()

    assert said is not None
    assert "other programs take" in said
