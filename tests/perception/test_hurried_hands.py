"""What people type from other tools and write into YAML: understood, or answered in one line that helps."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from bench.config import BenchConfig
from perception import __version__
from perception.cli.log import command_log
from perception.cli_config import SettingsError, parse
from perception.config import NodeConfig
from perception.node import main

Yaml = Callable[[str | bytes], str]


def node(*arguments: str) -> NodeConfig:
    return parse(NodeConfig, "drivable-node", "", arguments, positional=("source",))


def refusal(*arguments: str, kind: type[Any] = NodeConfig) -> str:
    """What the command says; one line, in none of a library's words."""
    with pytest.raises(SettingsError) as raised:
        parse(kind, "drivable-node", "", arguments, positional=("source",) if kind is NodeConfig else ())
    line = str(raised.value)
    assert "\n" not in line
    assert not any(word in line for word in ("Parser key", "<class", "typing.", "Union", "argument"))
    return line


@pytest.fixture
def yaml(tmp_path: Path) -> Yaml:
    def write(content: str | bytes) -> str:
        file = tmp_path / "node.yaml"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(file)

    return write


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--input", "--source"),
        ("-i", "--source"),
        ("--video", "--source"),
        ("--camera-index", "--source"),
        ("--stream-url", "--source"),
        ("--output", "--out"),
        ("-o", "--out"),
        ("--save", "--out"),
        ("--config-file", "--config"),
        ("--weights", "--model"),
        ("--ckpt", "--model"),
        ("--device", "--provider"),
        ("--gpu", "--provider"),
        ("--port", "--http"),
        ("--width", "--camera.width"),
        ("--limit", "--max_frames"),
    ],
)
def test_names_of_other_tools_are_answered_with_ours(typed: str, meant: str) -> None:
    assert f"here it is {meant}" in refusal(typed, "x")


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("--show", "there is no window: --http 8080 --open"),
        ("--view-img", "there is no window: --http 8080 --open"),
        ("--conf", "there are no thresholds"),
        ("--conf", "--config FILE"),
        ("-v", "here it is --verbose"),
        ("--debug", "here it is --verbose"),
        ("-q", "here it is --quiet"),
        ("--fps", "--camera.rate_hz"),
        ("--imgsz", "the model's own"),
        ("--half", "--model rt_m-int8"),
        ("--classes", "the model's own"),
        ("--foo", "drivable-node --help all lists them"),
    ],
)
def test_what_there_is_not_is_answered_with_what_there_is(typed: str, answer: str) -> None:
    line = refusal("--source", "a", typed)

    assert answer in line
    assert "nearest" not in line


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["best.pt"], "best.pt: no option precedes it; a model is named by --model best.pt"),
        (["a.yaml"], "a.yaml: no option precedes it; a file of settings is named by --config a.yaml"),
        (["source=a.mp4"], "source=a.mp4: settings begin with two dashes: --source=a.mp4"),
        (["-source", "a"], "-source: settings begin with two dashes: --source"),
        (
            ["\u2013source", "a"],
            "\u2013source: begins with a typographic dash; use two hyphens: --source",
        ),
        (["\u2014max-frames=3"], "typographic dash; use two hyphens: --max_frames"),
        (["--source", "\u201ca.mp4\u201d"], "the shell understands only plain quotes"),
        (["--source"], "source has no value; --source VALUE is expected"),
        (["--source="], "source has no value; --source VALUE is expected"),
        (["--http-hosts", "a", ""], "http_hosts has no value; --http-hosts VALUE is expected"),
        (["--source", "--loop"], "source has no value; --source VALUE is expected"),
        (["--source", "C:\\a.mp4"], "source is C:\\a.mp4, a Windows path"),
        (["--max-frames", "abc"], "max_frames is abc; a whole number is expected"),
        (["--max-frames=1.5"], "max_frames is 1.5; a whole number is expected"),
        (["--provider", "gpu"], "provider is gpu; it must be one of auto, cpu, cuda, tensorrt"),
        (["--threads", "four"], "threads is four; a whole number is expected"),
        (["--realtime=maybe"], "realtime is maybe; true or false is expected"),
        (["--duration", "10x"], "duration_s is 10x; a number of seconds is expected, such as 90, 90s"),
        (["--duration", "nan"], "duration_s is nan; a number of seconds is expected"),
        (["--duration", "2,5"], "with a point: 2.5"),
        (
            ["--synthetic.wh", "640"],
            "synthetic.wh is 640; a width and a height are expected, such as 1280x720",
        ),
        (["--open-retries", "never"], "open_retries is never; a whole number or forever is expected"),
        (["--config", "node/liv"], "no shipped config of that name; shipped: node/live"),
        (["--config", "nowhere.yaml"], "no shipped config of that name; shipped: node/live, node/service"),
        (["--config", "/"], "/: is a folder; --config takes a file, or a shipped config such as node/live"),
        (["--camera", "{width: x}"], "camera.width is x; a whole number is expected"),
        (["--camera", "{width: 5"], "camera cannot be read: in line 1: a group without its }"),
        (["--camera.fps", "30"], "unknown setting --camera.fps; here it is --camera.rate_hz"),
        (["--camera.exposure", "3"], "unknown setting --camera.exposure; camera has width, height, rate_hz"),
        (["--camera.size", "640x480"], "unknown setting --camera.size; camera has width, height, rate_hz"),
        (["--camera.hieght", "3"], "the nearest known one is --camera.height"),
        (["--camera.width", "99999999999999999999"], "camera.width is 1e+20; it must be at most 65535"),
        (["--camera.rate_hz", "1e-9"], "camera.rate_hz is 1e-09; it must be from 0.01 to 10000"),
        (["--realtime", "5"], "realtime is 5; true or false is expected"),
        (["--source", "a.mp4", "b.mp4"], "source is given twice: b.mp4 and --source a.mp4; leave one out"),
        (["rtsp://ann:hunter2@c/x", "--source", "b"], "twice: rtsp://ann:***@c/x and --source b; leave one"),
        (["a.mp4", "rt_m.onnx"], "a model is named by --model rt_m.onnx"),
        (["--otu", "o.mp4", "a.mp4"], "unknown setting --otu; the nearest known one is --out"),
        (["--verbos", "a.mp4"], "unknown setting --verbos; the nearest known one is --verbose"),
        (["out=o.mp4", "a.mp4"], "out=o.mp4: settings begin with two dashes: --out=o.mp4"),
        (["\u201ca.mp4\u201d"], "the shell understands only plain quotes"),
        ([""], "source is ''; it must not be empty"),
        (["a.mp4", "--health.enabled", "maybe"], "health.enabled is maybe; true or false is expected"),
        (["--health.enabled", "maybe", "a.mp4"], "health.enabled is maybe; true or false is expected"),
        (["--health", "maybe", "--source", "a.mp4"], "health.enabled is maybe; true or false is expected"),
        (
            ["--http-hosts", "a", "b", "drive.mp4"],
            "http_hosts takes all words up to the next option, drive.mp4",
        ),
        (
            ["--http-hosts", "a", "rtsp://ann:hunter2@c/x"],
            "name the source before it, or with --source",
        ),
        (["--jsonl", "x/", "a.mp4"], "jsonl is x/, a folder; name a file in it"),
        (["--summary", "x/", "a.mp4"], "summary is x/, a folder; name a file in it"),
        (["--mcap", "x.mcap/", "a.mp4"], "mcap is x.mcap/, a folder; name a file in it"),
        (["--mqtt", "broker", "a.mp4"], "mqtt is broker: it does not begin with mqtt:// or mqtts://"),
        (["--mqtt", "ann:hunter2@broker", "a.mp4"], "mqtt is ann:***@broker: it does not begin with mqtt://"),
    ],
)
def test_command_line_that_cannot_be_used_is_one_line(arguments: list[str], line: str) -> None:
    assert line in refusal(*arguments)


def test_pattern_that_the_shell_expanded_has_to_be_put_in_quotes(tmp_path: Path) -> None:
    images = [tmp_path / f"{number}.jpg" for number in range(3)]
    for image in images:
        image.touch()

    line = refusal("--source", *map(str, images), "--out", "z/")

    assert "there can be one source, and 3 files are given" in line
    assert f"put it in quotes: '{tmp_path}/*.jpg'" in line
    assert refusal(*map(str, images), "--out", "z/") == line


def test_name_with_spaces_has_to_be_put_in_quotes(tmp_path: Path) -> None:
    video = tmp_path / "a long drive.mp4"
    video.touch()

    assert refusal(*str(video).split(" ")).endswith(f"with spaces needs quotes: '{video}'")


@pytest.mark.parametrize(
    ("typed", "status", "line"),
    [
        (["a.mp4", "--source", "b.mp4"], 2, "source is given twice: a.mp4 and --source b.mp4; leave one out"),
        (["a.mp4", "a.mp4"], 2, "2 sources are called a: a.mp4 and a.mp4; name one: --source NAME=a.mp4"),
        (["a.mp4", "--quiet", "--verbose"], 2, "--verbose and --quiet contradict each other; leave one out"),
        (["rt_m.onnx"], 2, "rt_m.onnx: no option precedes it; a model is named by --model rt_m.onnx"),
        (
            ["a.mp4", "--overwrite", "--append"],
            2,
            "append continues existing outputs, and overwrite replaces",
        ),
        (["a.mp4", "--open"], 2, "open is for the live page; add --http 8080"),
        (["a.mp4", "--out", "z.png", "--quality", "9"], 2, "z.png: PNG is lossless; leave --quality out"),
        (["a.mp4", "--out", "z", "--jsonl", "z/../z.mp4"], 2, "z: unknown kind of overlay"),
        (["a.mp4", "--jsonl", "z", "--summary", "./z"], 2, "--jsonl and --summary name the same file"),
        (["a.mp4", "--http", "port"], 2, "http 'port': is not an address to listen on"),
        (["a.mp4", "--config", "none.yaml"], 2, "none.yaml: no such config file"),
        (["a.jpg", "--stream", "1"], 2, "a.jpg: has one video; leave --stream 1 out"),
        (["b.mp4"], 1, "'b.mp4': no such file or folder"),
    ],
)
def test_wrong_usage_has_a_status_of_its_own(
    typed: list[str],
    status: int,
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.mp4").touch()
    Path("a.jpg").touch()

    assert main(typed) == status

    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"drivable-node: {line}")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--duration", "10s"], NodeConfig(duration_s=10)),
        (["--duration", "1500ms"], NodeConfig(duration_s=1.5)),
        (["--duration", "2min"], NodeConfig(duration_s=120)),
        (["--duration", "1:30"], NodeConfig(duration_s=90)),
        (["--duration=0:01:30.5"], NodeConfig(duration_s=90.5)),
        (["--images-rate", "30fps"], NodeConfig(images_rate_hz=30)),
        (["--min-free", "2GB"], NodeConfig(min_free_mb=2000)),
        (["--max-frames", "1e3"], NodeConfig(max_frames=1000)),
        (["--max-frames", "1_000"], NodeConfig(max_frames=1000)),
        (["--realtime=yes", "--loop", "ON"], NodeConfig(realtime=True, loop=True)),
        (["--no-realtime"], NodeConfig()),
        (["--realtime", "1", "--loop", "0"], NodeConfig(realtime=True)),
        (["--duration", "1d"], NodeConfig(duration_s=86400)),
        (["--min-free", "1TB"], NodeConfig(min_free_mb=1e6)),
        (["--provider", "CUDA"], NodeConfig(provider="cuda")),
        (["--jsonl", "-"], NodeConfig(jsonl="-")),
        (["--http-hosts", "a,b"], NodeConfig(http_hosts=("a", "b"))),
        (["--http-hosts", "a", "b", "--loop"], NodeConfig(http_hosts=("a", "b"), loop=True)),
        (["--http-hosts", "a", "--http-hosts", "[b]"], NodeConfig(http_hosts=("a", "b"))),
        (["--source", "a", "--source", "a"], NodeConfig(source="a")),
        (["a.mp4"], NodeConfig(source="a.mp4")),
        (["-"], NodeConfig(source="-")),
        (["0"], NodeConfig(source="0")),
        (["rtsp://c/x?a=b"], NodeConfig(source="rtsp://c/x?a=b")),
        (["--realtime", "a.mp4", "--loop"], NodeConfig(source="a.mp4", realtime=True, loop=True)),
        (["--out", "o.mp4", "a.mp4"], NodeConfig(source="a.mp4", out="o.mp4")),
        (["a.mp4", "--source", "a.mp4"], NodeConfig(source="a.mp4")),
        (["--quiet", "a.mp4"], NodeConfig(source="a.mp4")),
        (["--loop", "--", "--odd name.mp4"], NodeConfig(source="--odd name.mp4", loop=True)),
    ],
)
def test_what_can_only_mean_one_thing_is_understood(arguments: list[str], expected: NodeConfig) -> None:
    assert node(*arguments) == expected


def test_of_what_is_given_twice_the_last_counts_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with command_log("drivable-node"):
        assert node("--mqtt", "mqtt://ann:hunter2@c/x", "--mqtt", "mqtt://b/x").mqtt == "mqtt://b/x"

    said = capsys.readouterr().err
    assert said == "note: --mqtt is given twice: mqtt://b/x is used, mqtt://ann:***@c/x is ignored\n"


@pytest.mark.parametrize("typed", ["rt_s", "[rt_s]", "rt_s,", "{a: b}", "[[a]]"])
def test_one_name_is_a_list_of_one(typed: str) -> None:
    if typed in ("rt_s", "[rt_s]"):
        assert parse(BenchConfig, "drivable-bench", "", ["--models", typed]).models == ["rt_s"]
    else:
        assert "models" in refusal("--models", typed, kind=BenchConfig)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("source: 0", NodeConfig(source="0")),
        ("http: 9464", NodeConfig(http="9464")),
        ("http: 127.0.0.1:9464", NodeConfig(http="127.0.0.1:9464")),
        ("source: on\nrealtime: on", NodeConfig(source="on", realtime=True)),
        ("source: 1.10", NodeConfig(source="1.10")),
        ("source: 2026-01-01", NodeConfig(source="2026-01-01")),
        ("source: 2026-02-30", NodeConfig(source="2026-02-30")),
        ("realtime: 'yes'\nloop: 0", NodeConfig(realtime=True)),
        ("max_frames: '10'", NodeConfig(max_frames=10)),
        ("max_frames: 1_000", NodeConfig(max_frames=1000)),
        ("max_frames: 0x10", NodeConfig(max_frames=16)),
        ("max_frames: 010", NodeConfig(max_frames=10)),
        ("max_frames: 1e3", NodeConfig(max_frames=1000)),
        ("duration: 1:30", NodeConfig(duration_s=90)),
        ("duration_s: 1e1", NodeConfig(duration_s=10)),
        ("max-frames: 5", NodeConfig(max_frames=5)),
        ("out: null\nmax_frames: ~", NodeConfig()),
        ("http_hosts: a, b", NodeConfig(http_hosts=("a", "b"))),
        ("http_hosts: 'a, b'", NodeConfig(http_hosts=("a, b",))),
        ("http_hosts: [a, 5]", NodeConfig(http_hosts=("a", "5"))),
        ('{"source": "a", "max_frames": 5}', NodeConfig(source="a", max_frames=5)),
        ("source: a\r\nloop: true\r\n", NodeConfig(source="a", loop=True)),
        (b"\xef\xbb\xbfsource: a", NodeConfig(source="a")),
        ("source: a\r\nloop: true".encode("utf-16"), NodeConfig(source="a", loop=True)),
    ],
)
def test_setting_says_how_its_value_in_yaml_is_read(
    yaml: Yaml, text: str | bytes, expected: NodeConfig
) -> None:
    assert node("--config", yaml(text)) == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("source: a\nmax_frames: abc", "line 2: max_frames is abc; a whole number is expected"),
        ("max_frames: 1:30", "line 1: max_frames is 1:30; a whole number is expected"),
        ("max_frames: true", "line 1: max_frames is true; a whole number is expected"),
        ("duration: 2026-01-01", "line 1: duration_s is 2026-01-01; a number of seconds is expected"),
        ("min_free_mb: .inf", "line 1: min_free_mb is .inf; a number of megabytes is expected"),
        ("source:", "line 1: source has no value; a text is expected"),
        ("source: ''", "line 1: source has no value"),
        ("source: [a, b]", "line 1: source is a list; a text is expected"),
        ("source: {a: b}", "line 1: source is a group; a text is expected"),
        ("loop: true\ncamera: {widht: 4}", "line 2: unknown setting camera.widht; the nearest known one is"),
        ("camera.width: 4", "camera.width; in a file it is written as a group: `camera: {width: …}`"),
        ('source: "C:\\Users\\x.mp4"', "in line 1: in double quotes"),
        ('source: "C:\\x.mp4"', "in line 1: in double quotes"),
        ("weights: a.onnx", "line 1: unknown setting weights; here it is model"),
        ("duration: 3\nduration_s: 4", "line 2: duration_s occurs twice"),
        ('source: "C:\\temp"', "line 1: source contains a control character"),
        ("source: !!python/object:os.system x", "line 1: source has the tag"),
        ("loop: true\n<<: 3", "line 1: merges (<<) something that is not a group"),
        ("camera: {<<: [a]}", "line 1: camera merges (<<) something that is not a group"),
        ("? [a]\n: b", "line 1: contains something that is not a name"),
        ("source: a\n\tloop: true", "not readable as YAML: in line 2: a tab where spaces are needed"),
        ('source: "C:\\q"', "in line 1: in double quotes"),
        ("source: *a", "in line 1: an alias"),
        ("source: a: b", "in line 1: an extra colon"),
        ("source: a\n---\nsource: b", "in line 2: a second document begins"),
        ("source: [a", "in line 1: a list without its ]"),
        (b"a: b\nsource: \xff", "it is not UTF-8 text: a byte 0xff in line 2"),
    ],
)
def test_yaml_that_cannot_be_used_names_its_line(yaml: Yaml, text: str | bytes, line: str) -> None:
    file = yaml(text)

    answer = refusal("--config", file)

    assert answer.startswith(f"{file}: ")
    assert line in answer


def test_no_value_of_a_list_or_group_is_shown(yaml: Yaml) -> None:
    assert "hunter2" not in refusal("--config", yaml("source: [rtsp://ann:hunter2@cam/x]"))


def test_home_is_found_where_no_shell_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")

    assert node("--out=~/a.mp4").out == "/home/ann/a.mp4"


COMMANDS = ("perception.node", "bench.cli", "train.cli", "export.cli")


def _main(command: str) -> Callable[[list[str]], int]:
    if command in ("train.cli", "export.cli"):
        pytest.importorskip("torch")
    main: Callable[[list[str]], int] = import_module(command).main
    return main


@pytest.mark.parametrize("command", COMMANDS)
def test_without_arguments_a_command_shows_what_it_can_do(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert _main(command)([]) == 2

    answer = capsys.readouterr()
    assert answer.out == ""
    assert answer.err.startswith("usage: drivable-")
    assert len(answer.err.splitlines()) == 4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("typed", [["--version"], ["-V"], ["--nothing", "--version"]])
def test_version_is_printed(command: str, typed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        _main(command)(typed)

    assert raised.value.code == 0
    assert capsys.readouterr().out.endswith(f" {__version__}\n")


@pytest.mark.parametrize("command", ["bench.cli infer", "train.cli inspect", "export.cli wrap"])
def test_version_of_a_subcommand_is_printed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, inner = command.split()

    with pytest.raises(SystemExit):
        _main(name)([inner, "--version"])

    assert capsys.readouterr().out == f"drivable-{name.removesuffix('.cli')} {__version__}\n"


@pytest.mark.parametrize(
    ("command", "typed", "answer"),
    [
        ("bench.cli", ["mine.onnx"], "a model is named by --models mine.onnx"),
        ("bench.cli", ["acuracy"], "no such command; the nearest known one is accuracy"),
        ("bench.cli", ["infer", "--models", "rt_x"], "rt_x: no such model file"),
        ("train.cli", ["frames/"], "a folder of labelled frames is named by --data frames/"),
        ("train.cli", ["inspekt"], "no such command; the nearest known one is inspect"),
        ("train.cli", ["--data", "x"], "e.g. --config train/rt_m; shipped recipes: train/"),
        ("train.cli", ["--config", "train/rt_x", "--data", "x"], "of that name; shipped: train/rt_"),
        ("train.cli", ["--config", "rt_m", "--data", "x"], "of that name; shipped: train/rt_m"),
        ("train.cli", ["--config", "train/rt_m", "--epochs", "1"], "part of the schedule: --stages '[{"),
        ("train.cli", ["--config", "train/rt_m", "--batch-size", "1"], "part of the schedule: --stages '[{"),
        ("train.cli", ["--model", "rt_m", "--resume-from", "x"], "here it is --resume --out DIR"),
        ("train.cli", ["--model", "rt_m", "--load-from", "x"], "here it is --weights"),
        ("train.cli", ["--model", "rt_m", "--work-dir", "x"], "here it is --out"),
        ("train.cli", ["--model", "rt_m", "--gpus", "2"], "torchrun --nproc-per-node"),
        ("train.cli", ["--model", "rt_m", "--class-weights", "1,2"], "--loss weighted_cross_entropy"),
        ("export.cli", ["best.pt"], "a checkpoint is named by --checkpoint best.pt"),
        ("export.cli", ["inspct", "a.onnx"], "no such command; the nearest known one is inspect"),
        ("export.cli", ["--model", "rt_s", "--size", "640"], "a width and a height are expected"),
        ("export.cli", ["--size", "640x384"], "model is missing; name it: --model MODEL"),
    ],
)
def test_other_commands_are_as_clear(
    command: str, typed: list[str], answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main(command)(typed) == (1 if "no such model file" in answer else 2)

    said = capsys.readouterr().err
    assert answer in said
    assert len(said.splitlines()) == 1


def test_built_in_road_that_nobody_named_does_not_play_for_ever(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path / "a.mp4")]) == 2

    assert "no source is named: drivable-node drive.mp4" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert node("--max-frames", "3").with_source().source == "synthetic"
