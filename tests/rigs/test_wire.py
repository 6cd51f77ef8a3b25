"""The wire of the RTSP rig loses and delays what it is asked to; the rig itself is run by `make rigs`."""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

THERE, BACK = 3, 4


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module, imported as the rig's script imports it, and forgotten afterwards."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "rtsp"))
    yield importlib.import_module("wire")
    sys.modules.pop("wire", None)


def test_a_wire_without_fault_gives_every_packet_at_once_and_in_order(wire: ModuleType) -> None:
    line = wire.Wire()
    for number in range(5):
        line.take(bytes([number]), THERE, now_s=1.0)

    assert line.due(1.0) == [(THERE, bytes([number])) for number in range(5)]


def test_packets_of_one_direction_are_late_and_keep_their_order(wire: ModuleType) -> None:
    line = wire.Wire(jitter_ms=200, choice=random.Random(0))
    for number in range(50):
        line.take(bytes([number]), THERE, now_s=number / 100)

    early = line.due(0.5)
    late = line.due(0.7)

    assert late
    assert early + late == [(THERE, bytes([number])) for number in range(50)]


def test_delay_of_one_direction_does_not_hold_back_the_other(wire: ModuleType) -> None:
    line = wire.Wire(jitter_ms=1000, choice=random.Random(0))
    line.take(b"slow", THERE, now_s=0.0)
    line.jitter_ms = 0.0
    line.take(b"fast", BACK, now_s=0.0)

    assert line.due(0.0) == [(BACK, b"fast")]


@pytest.mark.slow
def test_the_share_that_is_lost_is_the_share_asked_for(wire: ModuleType) -> None:
    line = wire.Wire(loss=0.05, choice=random.Random(0))
    for _ in range(10_000):
        line.take(b"packet", THERE, now_s=0.0)

    assert len(line.due(0.0)) == pytest.approx(9500, abs=100)
