"""`drivable-bench metres`: the built-in road's truth against what the node says."""

from __future__ import annotations

import pytest

from bench.cli import main


def test_exact_class_maps_of_a_short_drive_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["metres", "--exact", "--scenes", "[day]", "--drives", "1", "--duration", "2"])

    lines = capsys.readouterr().out.splitlines()
    assert status == 0
    assert lines[0].startswith("exact class maps, 1 roads a scene, 2 s each")
    assert lines[-1].startswith("unmarked roads  ")  # that of this seed has no line at its side
    assert lines[-1].split()[2] == "60"


def test_unknown_scene_is_refused_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    assert main(["metres", "--exact", "--scenes", "[moon]"]) == 2
    assert "moon is no scene of the built-in road" in caplog.text


@pytest.mark.parametrize("wrong", [["--drives", "0"], ["--duration", "0"], ["--mount-error", "9"]])
def test_settings_that_measure_nothing_are_refused(wrong: list[str]) -> None:
    assert main(["metres", "--exact", *wrong]) != 0
