"""Two builds in turns: what is measured, and how a build that does not run is reported."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.baselines import two_builds

MakeClip = Callable[..., Path]
ONE_ROUND = ("--rounds", "1", "--frames", "40", "--cores", "1")


@pytest.mark.slow
def test_build_compared_with_itself_has_a_line_for_every_setting(
    make_clip: MakeClip, capsys: pytest.CaptureFixture[str]
) -> None:
    video = make_clip(frames=40)

    status = two_builds.main(
        [
            sys.executable,
            str(video),
            "--rounds",
            "1",
            "--frames",
            "40",
            "--cores",
            "1",
            "--models",
            "rt_s-int8",
        ]
    )

    table = capsys.readouterr().out.splitlines()
    assert status == 0
    assert [re.split(r" *\| *", row)[2:4] for row in table[2:]] == [["records", "1"], ["overlay", "1"]]


def test_build_that_does_not_run_is_one_line(
    make_clip: MakeClip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        two_builds.main([str(tmp_path / "python"), str(make_clip()), "--rounds", "1", "--frames", "5"]) == 1
    )

    assert re.fullmatch(r"two_builds: .*No such file or directory: .*\n", capsys.readouterr().err)
