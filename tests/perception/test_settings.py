"""Settings: defaults, then YAML, then the command line; whatever cannot be used is reported in one line."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from perception.cli_config import SettingsError, parse, shipped_config


@dataclass(frozen=True)
class Camera:
    """A camera."""

    width: int = 640
    rate_hz: float = 30.0
    mirror: bool = False


@dataclass(frozen=True)
class Radio:
    """What is sent; nothing unless it is turned on."""

    enabled: bool = False
    channel: int = 1


@dataclass(frozen=True)
class Part:
    """One part of a schedule."""

    epochs: int
    rate: float = 0.1
    input_wh: tuple[int, int] | None = None


@dataclass(frozen=True)
class RunSettings:
    """A run."""

    source: str = "synthetic"
    provider: Literal["cpu", "cuda"] = "cpu"
    frame_wh: tuple[int, int] = (1280, 720)
    max_frames: int | None = None
    duration_s: float | None = None
    realtime: bool = False
    loop: bool = False
    camera: Camera = field(default_factory=Camera)
    radio: Radio = field(default_factory=Radio)
    parts: list[Part] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.max_frames == 0:
            raise ValueError("max_frames must be at least 1")


def parsed(*arguments: str) -> RunSettings:
    return parse(RunSettings, "run", "A run.", arguments)


def refusal(*arguments: str) -> str:
    """What the command says to these arguments; one line, whatever was wrong."""
    with pytest.raises(SettingsError) as raised:
        parsed(*arguments)
    line = str(raised.value)
    assert line
    assert "\n" not in line
    return line


@pytest.fixture
def yaml(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        file = tmp_path / "run.yaml"
        file.write_text(text, encoding="utf-8")
        return str(file)

    return write


Yaml = Callable[[str], str]


def test_nothing_given_is_the_defaults() -> None:
    assert parsed() == RunSettings()


def test_yaml_overrides_the_defaults(yaml: Yaml) -> None:
    settings = parsed("--config", yaml("source: a.mp4\ncamera: {width: 1280}"))

    assert settings == RunSettings(source="a.mp4", camera=Camera(width=1280))


@pytest.mark.parametrize("comes_first", [True, False], ids=["config first", "config last"])
def test_command_line_overrides_the_yaml(yaml: Yaml, comes_first: bool) -> None:
    config = ["--config", yaml("source: a.mp4\nmax_frames: 5")]
    others = ["--source", "b.mp4"]

    settings = parsed(*(config + others if comes_first else others + config))

    assert settings == RunSettings(source="b.mp4", max_frames=5)


def test_config_may_be_given_with_an_equals_sign(yaml: Yaml) -> None:
    assert parsed("--source", "b.mp4", "--config=" + yaml("max_frames: 5")).max_frames == 5


def test_later_config_overrides_the_earlier(yaml: Yaml, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("max_frames: 7")

    settings = parsed("--config", yaml("max_frames: 5\nsource: a.mp4"), "--config", str(other))

    assert settings == RunSettings(source="a.mp4", max_frames=7)


def test_nested_setting_is_reached_by_its_dotted_name(yaml: Yaml) -> None:
    settings = parsed("--config", yaml("camera: {width: 1280, rate_hz: 60}"), "--camera.width", "800")

    assert settings.camera == Camera(width=800, rate_hz=60)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--radio", "--radio.channel", "3"],
        ["--radio", "on", "--radio.channel=3"],
        ["--radio=true", "--radio.channel", "3"],
        ["--radio.enabled", "true", "--radio.channel", "3"],
        ["--radio", "{enabled: true, channel: 3}"],
    ],
)
def test_group_with_a_switch_is_turned_on_by_its_own_name(arguments: list[str]) -> None:
    assert parsed(*arguments) == RunSettings(radio=Radio(enabled=True, channel=3))


@pytest.mark.parametrize("arguments", [["--radio", "off"], ["--no-radio"]])
def test_group_with_a_switch_is_turned_off_by_its_own_name(yaml: Yaml, arguments: list[str]) -> None:
    file = yaml("radio: true")

    assert parsed("--config", file) == RunSettings(radio=Radio(enabled=True))
    assert parsed("--config", file, *arguments) == RunSettings()


def test_anything_but_a_switch_in_place_of_a_group_is_refused(yaml: Yaml) -> None:
    assert refusal("--radio=3").startswith("radio.enabled is 3; true or false is expected")
    assert refusal("--config", yaml("radio: 3")).endswith("radio is 3; true or false is expected")


def test_list_of_settings_is_read_from_yaml(yaml: Yaml) -> None:
    settings = parsed("--config", yaml("parts:\n- {epochs: 3}\n- {epochs: 5, rate: 0.5}"))

    assert settings.parts == [Part(3), Part(5, 0.5)]


def test_list_of_settings_is_read_from_the_command_line() -> None:
    assert parsed("--parts", "[{epochs: 3, rate: 0.5}]").parts == [Part(3, 0.5)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["--max-frames", "5"], RunSettings(max_frames=5), id="dashes"),
        pytest.param(["--max-frames=5"], RunSettings(max_frames=5), id="dashes and equals"),
        pytest.param(["--duration", "2.5"], RunSettings(duration_s=2.5), id="no unit"),
        pytest.param(["--duration=2.5"], RunSettings(duration_s=2.5), id="no unit and equals"),
        pytest.param(["--frame", "[64, 48]"], RunSettings(frame_wh=(64, 48)), id="no order"),
        pytest.param(["--frame", "64x48"], RunSettings(frame_wh=(64, 48)), id="sides"),
        pytest.param(["--frame-wh=64x48"], RunSettings(frame_wh=(64, 48)), id="sides and equals"),
        pytest.param(["--frame", "any"], RunSettings(frame_wh=(0, 0)), id="any size"),
        pytest.param(["--source", "64x48"], RunSettings(source="64x48"), id="a name that looks like sides"),
        pytest.param(["--source", "any"], RunSettings(source="any"), id="a name that looks like no size"),
        pytest.param(
            ["--parts", "[{epochs: 1, input_wh: 64x48}, {input_wh: 8x6, epochs: 2}]"],
            RunSettings(parts=[Part(1, input_wh=(64, 48)), Part(2, input_wh=(8, 6))]),
            id="sides in a list",
        ),
        pytest.param(["--camera.rate", "5"], RunSettings(camera=Camera(rate_hz=5)), id="nested, no unit"),
        pytest.param(["--realtime"], RunSettings(realtime=True), id="switch"),
        pytest.param(["--realtime", "false"], RunSettings(), id="switch off"),
        pytest.param(["--realtime=true"], RunSettings(realtime=True), id="switch and equals"),
        pytest.param(["--realtime", "--loop"], RunSettings(realtime=True, loop=True), id="two switches"),
        pytest.param(
            ["--loop", "--max_frames", "5"], RunSettings(loop=True, max_frames=5), id="switch, other"
        ),
        pytest.param(["--camera.mirror"], RunSettings(camera=Camera(mirror=True)), id="nested switch"),
        pytest.param(["--source", "a-b.mp4"], RunSettings(source="a-b.mp4"), id="dashes in a value"),
        pytest.param(["--source", "0"], RunSettings(source="0"), id="text that looks like a number"),
        pytest.param(["--source=a=b"], RunSettings(source="a=b"), id="equals in a value"),
    ],
)
def test_what_people_type_is_understood(arguments: list[str], expected: RunSettings) -> None:
    assert parsed(*arguments) == expected


def test_sides_are_read_from_yaml_in_lists_of_groups_too(yaml: Yaml) -> None:
    settings = parsed("--config", yaml("frame_wh: 64x48\nsource: 64x48\nparts: [{epochs: 1, input_wh: 8x6}]"))

    assert settings == RunSettings(frame_wh=(64, 48), source="64x48", parts=[Part(1, input_wh=(8, 6))])


@pytest.mark.parametrize(
    ("text", "unknown", "nearest"),
    [
        ("sorce: a.mp4", "sorce", "source"),
        ("max_frame: 5", "max_frame", "max_frames"),
        ("camera: {widht: 5}", "camera.widht", "camera.width"),
        ("parts:\n- {epochs: 3}\n- {epochs: 3, rat: 1}", "parts.rat", "parts.rate"),
        ("parts: [{epoch: 3}]", "parts.epoch", "parts.epochs"),
    ],
)
def test_unknown_setting_in_yaml_names_the_file_and_the_nearest(
    yaml: Yaml, text: str, unknown: str, nearest: str
) -> None:
    file = yaml(text)

    line = refusal("--config", file)

    where = f"{file}: line {1 + text.count(chr(10))}: "
    assert line == f"{where}unknown setting {unknown}; the nearest known one is {nearest}"


@pytest.mark.parametrize("name", ["5", "show", "weights", "x" * 300])
def test_unknown_setting_in_yaml_without_a_near_one_is_refused_without_a_hint(yaml: Yaml, name: str) -> None:
    assert "nearest" not in refusal("--config", yaml(f"{name}: 6"))


@pytest.mark.parametrize(
    ("argument", "nearest"),
    [
        ("--sorce", "--source"),
        ("--max-frame", "--max_frames"),
        ("--dur", "--duration_s"),
        ("--camera.widht", "--camera.width"),
        ("--camera.mir", "--camera.mirror"),
        ("--sorce=a.mp4", "--source"),
    ],
)
def test_unknown_setting_on_the_command_line_names_the_nearest(argument: str, nearest: str) -> None:
    line = refusal(argument, "1")

    assert line.startswith("the command line: unknown setting --")
    assert line.endswith(f"; the nearest known one is {nearest}")


def test_missing_config_is_named() -> None:
    assert refusal("--config", "none.yaml").startswith("none.yaml: no such config file")


def test_config_that_may_not_be_looked_at_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(file: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(Path, "is_file", denied)  # root, who may run the tests, may look at everything

    assert refusal("--config", "kept/node.yaml") == "kept/node.yaml: cannot be read: Permission denied"


@pytest.mark.parametrize("text", ["a: [", "a: b: c", "\tsource: x", "{", "seed: \x07"])
def test_malformed_yaml_is_named_with_the_file(yaml: Yaml, text: str) -> None:
    file = yaml(text)

    assert refusal("--config", file).startswith(f"{file}: not readable as YAML: ")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_bytes(b"source: \xff\xfe")

    assert refusal("--config", str(file)).startswith(f"{file}: not readable as YAML: ")


@pytest.mark.parametrize(
    ("text", "instead"),
    [("", ", and it is empty"), ("# a", ", and it is empty"), ("- source", ", and it is a list"), ("3", "")],
)
def test_yaml_that_is_no_mapping_is_refused(yaml: Yaml, text: str, instead: str) -> None:
    file = yaml(text)

    assert refusal("--config", file) == f"{file}: expected settings as `name: value`{instead}"


@pytest.mark.parametrize("text", ["camera: 5", "camera:", "camera: [1, 2]"])
def test_value_where_a_group_is_needed_is_refused(yaml: Yaml, text: str) -> None:
    file = yaml(text)

    assert refusal("--config", file) == f"{file}: line 1: camera needs settings of its own as `name: value`"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("max_frames: many", "max_frames"),
        ("max_frames: 1.5", "max_frames"),
        ("realtime: 3", "realtime"),
        ("provider: tpu", "provider"),
        ("frame_wh: [1, 2, 3]", "frame_wh"),
        ("camera: {width: wide}", "camera.width"),
        ("parts: [{epochs: few}]", "parts"),
        ("parts: [{rate: 1}]", "parts"),
    ],
)
def test_value_of_a_wrong_type_in_yaml_names_its_setting(yaml: Yaml, text: str, name: str) -> None:
    assert name in refusal("--config", yaml(text))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["--max-frames", "many"], "max_frames"),
        (["--max-frames"], "max_frames"),
        (["--provider", "tpu"], "provider"),
        (["--frame", "64"], "frame_wh"),
        (["--frame", "64x"], "frame_wh"),
        (["--frame", "64x48x3"], "frame_wh"),
        (["--frame", "-64x48"], "frame_wh"),
        (["--camera.width", "wide"], "camera.width"),
        (["--config"], "config"),
        (["a.mp4"], "a.mp4"),
        (["-x"], "-x"),
    ],
)
def test_value_that_cannot_be_used_on_the_command_line_names_its_setting(
    arguments: list[str], name: str
) -> None:
    assert name in refusal(*arguments)


def test_values_that_the_settings_themselves_refuse_are_named() -> None:
    assert refusal("--max-frames", "0") == "max_frames must be at least 1"


def test_arguments_are_the_processes_own_where_none_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["run", "--max-frames", "5"])

    assert parse(RunSettings, "run", "A run.") == RunSettings(max_frames=5)


def test_help_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        parsed("--help")

    assert raised.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"--{name}" in shown for name in ("source", "duration", "camera.width", "parts"))


def test_shipped_config_is_found_by_name() -> None:
    file = shipped_config("train/rt_m")

    assert file is not None
    assert file.name == "rt_m.yaml"


def test_config_that_is_not_shipped_is_none() -> None:
    assert shipped_config("train/none") is None


def test_list_on_the_command_line_replaces_the_list_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("source: a.mp4\nparts: [{epochs: 1, rate: 0.5}, {epochs: 2, rate: 0.7}]\n")

    settings = parsed("--config", str(file), "--parts", "[{epochs: 3}, {epochs: 4}]")

    assert settings.parts == [Part(3), Part(4)]
    assert settings.source == "a.mp4"


NESTED_ALIASES = "\n".join(
    ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    + [f"a{n}: &a{n} [{', '.join(10 * [f'*a{n - 1}'])}]" for n in range(1, 10)]
    + ["source: *a9"]
)
MERGED = "\n".join(
    ["a0: &a0 {source: x, loop: true}"]
    + [f"a{n}: &a{n} {{<<: [{', '.join(10 * [f'*a{n - 1}'])}]}}" for n in range(1, 10)]
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("source: &a [*a]", "it contains itself in line 1"),
        (NESTED_ALIASES, "it expands to more than 10000 values in line 4"),
        (MERGED, "it expands to more than 10000 values in line 5"),
        (f"source: {900 * '['}", "it is nested too deep in line 1"),
        (f"source: {900 * '{a: '}", "it is nested too deep in line 1"),
        ("\n".join(f"{' ' * n}a:" for n in range(1000)), "it is nested too deep in line 51"),
        (f"source: {'x' * 1_000_000}", "it is larger than 1 MB"),
        ("source: a\nloop: true\nsource: b", "a setting occurs twice, in lines 1 and 3"),
        ("camera: {width: 1, width: 2}", "a setting occurs twice, in lines 1 and 1"),
    ],
    ids=["itself", "laughs", "merged", "lists", "groups", "indented", "large", "twice", "twice inside"],
)
def test_yaml_beyond_bounds_is_refused_at_once(yaml: Yaml, text: str, why: str) -> None:
    file = yaml(text)
    started_s = time.process_time()

    assert refusal("--config", file) == f"{file}: not readable as YAML: {why}"

    assert time.process_time() - started_s < 2.0


def test_aliases_and_merged_groups_are_understood(yaml: Yaml) -> None:
    file = yaml("parts:\n- &a {epochs: 1, rate: 0.5}\n- *a\n- {<<: *a, epochs: 3}\n")

    assert parsed("--config", file).parts == [Part(1, 0.5), Part(1, 0.5), Part(3, 0.5)]
