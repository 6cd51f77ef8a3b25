"""Two builds in turns: what is measured, and how a build that does not run is reported."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.baselines import two_builds

MakeClip = Callable[..., Path]
SHORT = ("--rounds", "4", "--turn-s", "0.2", "--cores", "1", "--models", "rt_s-int8")


@pytest.mark.slow
def test_build_compared_with_itself_has_a_line_for_every_setting(
    make_clip: MakeClip, capsys: pytest.CaptureFixture[str]
) -> None:
    status = two_builds.main([sys.executable, str(make_clip(frames=1000)), *SHORT])

    _, _, *rows = (re.split(r" *\| *", line) for line in capsys.readouterr().out.splitlines())
    assert status == 0
    assert [row[2:4] for row in rows] == [["records", "1"], ["overlay", "1"]]
    for row in rows:
        assert 0.3 < float(row[7]) < 3


@pytest.mark.slow
def test_video_that_ends_too_soon_is_one_line(
    make_clip: MakeClip, capsys: pytest.CaptureFixture[str]
) -> None:
    assert two_builds.main([sys.executable, str(make_clip(frames=40)), *SHORT]) == 1

    assert re.match(r"two_builds: a node ended before its last turn; [^\n]*\n$", capsys.readouterr().err)


@pytest.mark.slow
def test_one_build_is_compared_with_other_settings(
    make_clip: MakeClip, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = str(make_clip(frames=1000))

    assert two_builds.main([sys.executable, clip, *SHORT, "--other-settings=--no-steady"]) == 0
    assert two_builds.main([sys.executable, clip, *SHORT, "--settings=--no-such-setting"]) == 1

    assert "no-such-setting" in capsys.readouterr().err


def test_build_that_does_not_run_is_one_line(
    make_clip: MakeClip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert two_builds.main([str(tmp_path / "python"), str(make_clip()), *SHORT]) == 1

    assert re.fullmatch(r"two_builds: .*No such file or directory: .*\n", capsys.readouterr().err)
