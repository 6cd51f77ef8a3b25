"""Several sources in one node: each has its own name, settings and outputs, and its own troubles alone."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from archives import masks_of_node
from clips import Kind, all_frames, write

from perception.cli_config import SettingsError, parse
from perception.config import NodeConfig
from perception.node import main
from perception.several import OwnSettings
from perception.sources.pacing import Capped, Named
from perception.sources.registry import build_source

MODEL = ("--model", "rt_s-int8")


def node(*arguments: str) -> NodeConfig:
    return parse(NodeConfig, "drivable-node", "", arguments, positional=("source",))


def sources(*arguments: str) -> list[tuple[str | None, str]]:
    return [(one.source_name, one.source) for one in node(*arguments).one_each()]


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    return [
        write(tmp_path / f"{name}.mp4", Kind("libx264"), frames=20) for name in ("front", "left", "right")
    ]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["a.mp4"], [(None, "a.mp4")]),
        (["front=a.mp4"], [("front", "a.mp4")]),
        (["a.mp4", "b.mp4"], [("a", "a.mp4"), ("b", "b.mp4")]),
        (["--source", "a.mp4", "--source", "x/b.mp4"], [("a", "a.mp4"), ("b", "x/b.mp4")]),
        (["--source", "a", "--source", "b", "--source", "c"], [("a", "a"), ("b", "b"), ("c", "c")]),
        (["front=/dev/video0", "rtsp://u:p@cam-2/road"], [("front", "/dev/video0"), ("cam-2", "rtsp://u:p@cam-2/road")]),
        (["/dev/video0", "0"], [("video0", "/dev/video0"), ("source-0", "0")]),
        (["http://host/?a=b", "-"], [("host", "http://host/?a=b"), ("source-", "-")]),
        (["--sources", "[{source: a, name: left}, {source: b}]"], [("left", "a"), ("b", "b")]),
    ],
)  # fmt: skip
def test_sources_have_names(typed: list[str], meant: list[tuple[str | None, str]]) -> None:
    assert sources(*typed) == meant


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["x/a.mp4", "y/a.mp4"], "x/a.mp4 and y/a.mp4; name one: --source NAME=y/a.mp4"),
        (["a.mp4", "b.mp4", "--out", "o/o.mp4"], "put {source} into it: --out 'o/o-{source}.mp4'"),
        (["a.mp4", "b.mp4", "--masks", "m/"], "put {source} into it: --masks 'm-{source}'"),
        (["a.mp4", "b.mp4", "--jsonl", "-"], "jsonl is -, for several sources; put {source} into it"),
        (["a.mp4", "b.mp4", "--mqtt", "mqtt://b/t"], "mqtt is mqtt://b/t, for several sources"),
        (["a.mp4", "--sources", "[{source: b}]"], "source a.mp4 and sources are both given; leave one"),
        (["--sources", "[{source: a, name: a/b}]"], "the name 'a/b' of a source; up to 64 letters, digits"),
        (["--sources", "[{name: a}]"], "source"),
        (["metrics.mp4", "b.mp4"], "a source is called metrics, as an address of the node; name it"),
        (["a-b=1.mp4", "a_b=2.mp4"], "sources a-b and a_b would have the same topics; rename one"),
        (["a.mp4", "--rate_limit", "0"], "rate_limit_hz is 0.0; it must be above 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(typed: list[str], line: str) -> None:
    with pytest.raises(SettingsError) as raised:
        node(*typed).one_each()

    assert line in str(raised.value)
    assert "\n" not in str(raised.value)


def test_each_source_has_its_own_settings_and_places() -> None:
    own = [
        OwnSettings("a.mp4", calibration="a.yaml", rate_limit_hz=5.0),
        OwnSettings("b.mp4", ignore="b.png"),
    ]

    first, second = NodeConfig(sources=own, jsonl="{source}/r.jsonl", calibration="c.yaml").one_each()

    assert (first.jsonl, first.calibration, first.rate_limit_hz) == ("a/r.jsonl", "a.yaml", 5.0)
    assert (first.ros.prefix, second.ros.prefix) == ("/drivable/a", "/drivable/b")
    assert (second.jsonl, second.calibration, second.ignore) == ("b/r.jsonl", "c.yaml", "b.png")


def test_masks_and_records_are_those_of_each_source_alone(clips: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"

    status = main(
        [*map(str, clips), *MODEL, "--jsonl", f"{out}/{{source}}.jsonl", "--masks", f"{out}/{{source}}"]
    )

    assert status == 0
    for clip in clips:
        lines = [json.loads(line) for line in (out / f"{clip.stem}.jsonl").read_text().splitlines()]
        assert [(line["frame_id"], line["source_id"]) for line in lines] == [
            (at, clip.stem) for at in range(20)
        ]
        made = {mask.name: mask.read_bytes() for mask in (out / clip.stem).glob("*.png")}
        assert made == masks_of_node(clip, tmp_path / f"alone-{clip.stem}")


def test_source_that_ends_early_is_reported_and_changes_nothing_for_the_others(
    clips: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = write(tmp_path / "cut.mkv", Kind("libx264"))
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 6 // 10])

    status = main([str(clips[0]), str(cut), *MODEL, "--jsonl", f"{tmp_path}/{{source}}.jsonl"])

    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("drivable-node: ")]
    assert status == 1
    assert len(errors) == 1
    assert re.match(r"drivable-node: cut: capture: .*cut\.mkv: incomplete: ", errors[0])
    assert len((tmp_path / "front.jsonl").read_text().splitlines()) == 20


def test_source_that_does_not_open_ends_the_start_and_leaves_nothing_open(
    clips: list[Path], tmp_path: Path, only_error_line: Callable[[str], str]
) -> None:
    before = set(threading.enumerate())

    status = main([str(clips[0]), "/dev/nowhere", *MODEL, "--masks", f"{tmp_path}/{{source}}"])

    assert status == 1
    assert "/dev/nowhere" in only_error_line("drivable-node")
    assert not (tmp_path / "front").exists()
    assert [it for it in set(threading.enumerate()) - before if it.name != "signals"] == []


def test_output_on_the_input_of_another_source_is_refused(
    clips: list[Path], only_error_line: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clips[0].parent)
    before = clips[1].read_bytes()

    status = main(["left=front.mp4", "other=left.mp4", *MODEL, "--out", "{source}.mp4"])

    assert status == 2
    assert "left.mp4 is the source; name another file with --out of left" in only_error_line("drivable-node")
    assert clips[1].read_bytes() == before


@pytest.fixture
def site(clips: list[Path]) -> Iterator[Callable[[str], tuple[int, str]]]:
    """Asks a node with two sources that plays for some seconds; status and text."""
    port = 18000 + hash(str(clips[0])) % 2000
    arguments = ["--realtime", "--loop", "--duration", "6", "--http", str(port)]
    running = threading.Thread(target=main, args=([*map(str, clips[:2]), *MODEL, *arguments],))
    running.start()

    def ask(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    end_s = time.monotonic() + 10
    while True:
        try:
            if ask("/readyz")[0] == 200:
                break
        except OSError:
            pass
        assert time.monotonic() < end_s
        time.sleep(0.1)
    yield ask
    running.join()


def test_page_metrics_and_health_are_of_every_source(site: Callable[[str], tuple[int, str]]) -> None:
    grid, listed, healthy = site("/"), site("/sources"), site("/healthz")
    pages = {
        path: site(path)[0] for path in ("/front/", "/left/frame.jpg", "/right/", "/frame.jpg", "/nowhere")
    }
    metrics = site("/metrics")[1]

    assert grid[0] == 200
    assert [one["name"] for one in json.loads(listed[1])["sources"]] == ["front", "left"]
    assert healthy == (200, "ok\n")
    assert pages == {
        "/front/": 200,
        "/left/frame.jpg": 200,
        "/right/": 404,
        "/frame.jpg": 404,
        "/nowhere": 404,
    }
    published = re.findall(r'drivable_frames_published_total\{source="(\w+)"\}', metrics)
    assert set(published) == {"front", "left"}
    assert metrics.count("# TYPE drivable_frame_age_seconds histogram") == 1
    assert re.findall(r"^drivable_memory_resident_bytes(.*?) ", metrics, re.MULTILINE) == [""]


@pytest.mark.parametrize(("limit_hz", "taken"), [(5.0, [0, 5, 10, 15]), (10.0, [0, 3, 5, 8, 10, 13, 15, 18])])
def test_frames_above_a_ceiling_are_left_out(limit_hz: float, taken: list[int], clips: list[Path]) -> None:
    frames = all_frames(Capped(build_source(str(clips[0])), limit_hz))

    assert [frame.frame_id for frame in frames] == taken
    assert {frame.missed_before for frame in frames} == {0}


def test_ceiling_above_the_rate_leaves_every_frame(clips: list[Path]) -> None:
    source = Capped(build_source(str(clips[0])), 60.0)

    assert source.open().rate_hz == 25
    assert len(all_frames(source)) == 20


def test_name_is_that_of_info_and_frames(clips: list[Path]) -> None:
    source = build_source(str(clips[0]), NodeConfig(source_name="roof"))

    assert isinstance(source, Named)
    assert source.open().source_id == "roof"
    assert source.read().source_id == "roof"
    source.close()
