"""--help: a first page that fits a screen, pages of groups, and everything, from the dataclasses alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest

from perception.cli_config import SettingsError, parse
from perception.node import main


@dataclass(frozen=True)
class Camera:
    """What to ask a camera for; it may give something else."""

    width: int = 640
    """Of the picture."""
    rate_hz: float = 29.5
    enabled: bool = True


@dataclass(frozen=True)
class Reading:
    """How sources are read."""

    limit_s: float | None = None
    """End after this time: of the source, not of the clock.

    A second paragraph.
    """
    loops: bool = False
    exact: bool = True
    camera: Camera = field(default_factory=lambda: Camera(width=800))


@dataclass(frozen=True)
class Part:
    """One part of a schedule."""

    epochs: int
    input_wh: tuple[int, int] = (640, 384)


@dataclass(frozen=True)
class RunSettings(Reading):
    """A run."""

    source: str = "road"
    """Where frames come from."""
    out: Annotated[str, "FILE"] | None = None
    provider: Literal["cpu", "cuda"] = "cpu"
    tries: int | Literal["forever"] = 0
    names: tuple[str, ...] = ("a", "b")
    mean_bgr: tuple[float, float, float] = (1.0, 2.5, 3.0)
    parts: list[Part] = field(default_factory=list)


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def shown(capsys: pytest.CaptureFixture[str], *arguments: str, daily: tuple[str, ...] = ()) -> str:
    """What these arguments print; the end is a good one."""
    with pytest.raises(SystemExit) as raised:
        parse(RunSettings, "run", "A run.", arguments, positional=("source",), daily=daily)
    assert raised.value.code == 0
    return capsys.readouterr().out


ENTIRE = """\
usage: run [SOURCE] [--OPTION VALUE] …
A run.

  --config FILE              Settings from YAML.
  --print-config             Print the settings as YAML, and do nothing else.
  --verbose, --quiet         More in the log, or warnings and errors alone.
  -h, --help [GROUP|all]     This page, the settings of one group, or all of them.
  -V, --version              Show the version.

run: A run.
  SOURCE                     Where frames come from. (default: road)
  --out FILE
  --provider cpu|cuda        (default: cpu)
  --tries INT|forever        (default: 0)
  --names TEXT,…             (default: a,b)
  --mean-bgr NUMBER,NUMBER,NUMBER
                             (default: 1,2.5,3)
  --parts '[{…}, …]'

parts[]: One part of a schedule.
  epochs INT                 (required)
  input_wh WIDTHxHEIGHT      (default: 640,384)

reading: How sources are read.
  --limit SECONDS            End after this time: of the source, not of the clock. A second
                             paragraph.
  --loops
  --exact                    (default: on)

camera: What to ask a camera for; it may give something else.
  --camera.width INT         Of the picture. (default: 800)
  --camera.rate HZ           (default: 29.5)
  --camera                   (default: on)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--help", "all"], ["--help=all"], ["--loops", "-h"]])
def test_everything_is_explained_with_readable_types_and_defaults(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(capsys, *arguments) == ENTIRE


def test_first_page_has_the_daily_settings_and_the_names_of_groups(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = shown(capsys, "--help", daily=("source", "limit_s"))

    assert page.splitlines()[3:6] == [
        "  SOURCE                  Where frames come from",
        "  --limit SECONDS         End after this time",
        "  --config FILE           Settings from YAML",
    ]
    assert page.splitlines()[-4:] == [
        "All settings by group: run --help GROUP, or --help all",
        "  run      A run",
        "  parts[]  One part of a schedule",
        "  reading  How sources are read",
    ]


def test_group_is_shown_with_those_inside_it(capsys: pytest.CaptureFixture[str]) -> None:
    entire = ENTIRE[ENTIRE.index("reading:") :]

    assert shown(capsys, "--help", "reading") == entire
    assert shown(capsys, "--help", "camera") == entire[entire.index("camera:") :]


@pytest.mark.parametrize("typed", ["limit_s", "limit", "--limit", "camera.width"])
def test_setting_is_shown_alone(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = shown(capsys, f"--help={typed}")

    assert page.startswith(f"  --{typed.removeprefix('--').removesuffix('_s')} ")
    assert "(required)" not in page


def test_topic_that_there_is_not_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"--help camra: .* nearest known one is camera; groups: run, "):
        parse(RunSettings, "run", "A run.", ["--help", "camra"])


@pytest.mark.parametrize("columns", ["40", "80", "100", "300"])
def test_first_page_of_the_node_fits_a_screen(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)

    with pytest.raises(SystemExit):
        main(["--help"])

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100
    assert lines[3].startswith("  SOURCE ")
    for option in ("--out", "--jsonl", "--masks", "--model", "--config", "--threads", "--duration"):
        assert any(line.startswith(f"  {option} ") for line in lines)
    for group in ("source", "camera", "health", "onnx", "recording"):
        assert any(line.startswith(f"  {group} ") for line in lines)
