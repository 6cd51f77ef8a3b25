"""The pipeline of the scenarios ends by itself, whatever a stage does."""

from __future__ import annotations

import threading

import pytest

from bench.scenarios.node import run_pipeline
from perception.frame import Frame, Prediction
from perception.pipeline import RunError
from perception.sources import SourceSettings, build_source


def test_network_that_fails_ends_the_scenario_with_its_name() -> None:
    source = build_source("synthetic", SourceSettings(max_frames=3))

    def fail(frame: Frame) -> Prediction:
        raise ValueError("no such layer")

    with pytest.raises(RunError, match="predict-0: no such layer"):
        run_pipeline(source, source.open(), [fail], [])


@pytest.mark.slow  # it hangs for as long as a stage may
def test_network_that_hangs_ends_the_scenario_with_its_name() -> None:
    source = build_source("synthetic", SourceSettings(max_frames=3))
    is_over = threading.Event()

    def hang(frame: Frame) -> Prediction:
        is_over.wait(60)
        raise AssertionError("nobody waits for it any more")

    try:
        with pytest.raises(RunError, match="predict-0: hung"):
            run_pipeline(source, source.open(), [hang], [])
    finally:
        is_over.set()
