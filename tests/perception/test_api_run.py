"""The library's runs: sources of all kinds in a loop, and what is left behind when it ends."""

from __future__ import annotations

import doctest
import gc
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

import perception
from perception.frame import CameraState, EngineState
from perception.node import main

ROOT = Path(__file__).parents[2]
MODEL = "rt_s-int8"
LIMIT_S = 20.0
SNIPPET = """
import perception

model = perception.Model("rt_s-int8")
result = model("frame.jpg")
result.class_map; result.direct; result.polygons("direct"); result.shares; result.confidence
result.plot(); result.save("out.jpg"); result.to_dict()
result.to_supervision()
with perception.open("drive.mp4", model=model) as run:
    for result in run:
        if not result.has_mask:
            print(result.camera_state, result.camera_reason)
print(run.books)
"""


@pytest.fixture(scope="module")
def model() -> perception.Model:
    return perception.Model(MODEL, provider="cpu")


@pytest.fixture
def clip(make_clip: Callable[..., Path]) -> Path:
    return make_clip(frames=12, wh=(160, 96), rate_hz=30)


def held() -> tuple[set[str], set[int], set[str]]:
    """Threads, children and shared memory of this process."""
    threads = {thread.name for thread in threading.enumerate()}
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    mapped = Path("/proc/self/maps").read_text().splitlines()
    opened = [os.readlink(file) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
    shared = {it for it in (*mapped, *opened) if "/dev/shm/" in it or "/memfd:" in it}
    return threads, children, shared


@contextmanager
def nothing_left() -> Iterator[None]:
    before = held()
    yield
    until_s = time.monotonic() + LIMIT_S
    while held() != before and time.monotonic() < until_s:
        gc.collect()
        time.sleep(0.01)
    assert held() == before


def wait_for(condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.005)


def test_every_frame_of_a_recording_comes_in_order_however_slow_the_loop(
    model: perception.Model, clip: Path
) -> None:
    ids = []
    with nothing_left(), perception.open(clip, model) as run:
        for result in run:
            time.sleep(0.02)
            assert result.class_map is not None
            assert result.class_map.shape == (96, 160)
            ids.append(result.frame_id)

    assert ids == list(range(12))
    assert (run.books.captured, run.books.published, run.books.in_flight, run.skipped) == (12, 12, 0, 0)
    assert not run.info.is_live


def test_source_waits_for_a_loop_that_takes_nothing(model: perception.Model, clip: Path) -> None:
    with perception.open(clip, model, loop=True) as run:
        captured, since_s = 0, time.monotonic()
        while time.monotonic() - since_s < 0.5:
            if run.books.captured != captured:
                captured, since_s = run.books.captured, time.monotonic()
                assert captured < 200
            time.sleep(0.005)

        assert next(run).frame_id == 0


def test_masks_and_records_are_the_nodes(model: perception.Model, clip: Path, tmp_path: Path) -> None:
    asked = ["--source", str(clip), "--model", MODEL, "--provider", "cpu"]
    assert main([*asked, "--masks", str(tmp_path / "masks"), "--jsonl", str(tmp_path / "node.jsonl")]) == 0
    by_node = [json.loads(line) for line in (tmp_path / "node.jsonl").read_text().splitlines()]

    with perception.open(clip, model, jsonl=tmp_path / "library.jsonl") as run:
        results = list(run)

    for result, node in zip(results, by_node, strict=True):
        mask = cv2.imread(str(tmp_path / "masks" / f"{result.name}.png"), cv2.IMREAD_GRAYSCALE)
        assert np.array_equal(result.class_map, mask)
        record = result.to_dict()
        assert {name: record[name] for name in ("mask", "certainty", "time_ns", "camera", "engine")} == {
            name: node[name] for name in ("mask", "certainty", "time_ns", "camera", "engine")
        }
    written = [json.loads(line) for line in (tmp_path / "library.jsonl").read_text().splitlines()]
    assert written == [result.to_dict() for result in results]


def test_folder_and_single_image_are_sources_too(model: perception.Model, tmp_path: Path) -> None:
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((48, 64, 3), 90, np.uint8))

    with perception.open(tmp_path, model) as run:
        assert [result.name for result in run] == ["a", "b"]
    with perception.open(tmp_path / "b.png", model) as run:
        assert [result.name for result in run] == ["b"]


def test_loop_and_limits_are_the_nodes_settings(model: perception.Model, clip: Path) -> None:
    with perception.open(clip, model, loop=True, max_frames=30) as run:
        assert [result.frame_id for result in run] == list(range(30))
    with perception.open(clip, model, duration="0.2s") as run:
        assert len(list(run)) == 6


@pytest.mark.parametrize("isolate", [False, True])
def test_leaving_a_realtime_loop_early_leaves_nothing(
    model: perception.Model, clip: Path, isolate: bool
) -> None:
    with nothing_left():
        with perception.open(clip, model, realtime=True, loop=True, isolate=isolate) as run:
            for result in run:
                assert result.age_ms is not None
                if result.frame_id is not None and result.frame_id >= 5:
                    break
        del result

    assert run.info.is_live
    assert run.books.in_flight == 0
    assert run.books.captured >= 6


@pytest.mark.parametrize("isolate", [False, True])
def test_leaving_a_recording_early_leaves_nothing(model: perception.Model, clip: Path, isolate: bool) -> None:
    with nothing_left(), perception.open(clip, model, loop=True, isolate=isolate) as run:
        assert next(run).frame_id == 0


@pytest.mark.parametrize("realtime", [False, True])
def test_error_in_the_loop_goes_on_and_leaves_nothing(
    model: perception.Model, clip: Path, realtime: bool
) -> None:
    def fail_in_the_loop() -> None:
        with perception.open(clip, model, realtime=realtime, loop=True, isolate=True) as run:
            for _ in run:
                raise KeyError("of the user")

    with nothing_left(), pytest.raises(KeyError, match="of the user"):
        fail_in_the_loop()


@pytest.mark.parametrize("realtime", [False, True])
def test_run_without_a_loop_leaves_nothing(model: perception.Model, clip: Path, realtime: bool) -> None:
    with nothing_left(), perception.open(clip, model, realtime=realtime, loop=True, isolate=True):
        pass


def test_run_that_nobody_closes_ends_with_its_last_user(model: perception.Model, clip: Path) -> None:
    with nothing_left():
        run = perception.open(clip, model, realtime=True, loop=True, isolate=True)
        next(run)
        del run


def test_run_that_is_closed_has_no_more_results(model: perception.Model, clip: Path) -> None:
    run = perception.open(clip, model)
    next(run)

    run.close()
    run.close()

    assert list(run) == []


def test_process_that_ends_in_the_middle_of_a_run_ends_its_children(clip: Path) -> None:
    code = (
        "import perception, psutil\n"
        f"run = perception.open({str(clip)!r}, {MODEL!r}, realtime=True, loop=True, isolate=True)\n"
        "next(run)\n"
        "print(*(child.pid for child in psutil.Process().children()))"
    )

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    (reader,) = map(int, done.stdout.split())
    wait_for(lambda: not psutil.pid_exists(reader))


def test_live_loop_gets_the_newest_result_and_counts_the_others(model: perception.Model, clip: Path) -> None:
    with perception.open(clip, model, realtime=True, loop=True) as run:
        first = next(run)
        wait_for(lambda: run.books.published >= 8)
        published = run.books.published
        next_one = next(run)

    assert first.frame_id is not None
    assert next_one.frame_id is not None
    assert next_one.frame_id >= published - 2
    assert run.skipped >= 4


@pytest.mark.parametrize("realtime", [False, True])
def test_results_may_be_kept_for_as_long_as_one_likes(
    model: perception.Model, clip: Path, realtime: bool
) -> None:
    frames = 40  # more than a reader's process has memory for
    with perception.open(clip, model, loop=True, isolate=True, realtime=realtime) as run:
        seen = (result for result in run if result.frame is not None)
        results = list(itertools.islice(seen, frames))

    images = [result.image for result in results]
    assert all(image is not None and image.flags.writeable for image in images)
    shown = {int(image[-1, 80].mean()) for image in images if image is not None}
    assert len(shown) > 6


def test_outage_is_a_result_without_a_mask(model: perception.Model) -> None:
    with (
        nothing_left(),
        perception.open("rtsp://user:secret@127.0.0.1:9/road", model, open_retries="forever") as run,
    ):
        for number, result in enumerate(run):
            assert not result.has_mask
            assert (result.frame, result.class_map, result.frame_id) == (None, None, None)
            assert result.camera_state is CameraState.LOST
            assert result.camera_reason is not None
            assert "secret" not in repr(result) + result.camera_reason
            assert result.plot().any()
            if number == 2:
                break

    assert run.books.captured == 0


def test_source_that_does_not_open_is_the_nodes_error(model: perception.Model) -> None:
    with (
        nothing_left(),
        pytest.raises(perception.SourceError, match=r"rtsp://user:\*+@127.0.0.1:9/road") as refused,
    ):
        perception.open("rtsp://user:secret@127.0.0.1:9/road", model)

    assert "secret" not in str(refused.value)


def test_source_that_breaks_off_raises_its_error_behind_its_frames(
    model: perception.Model, make_clip: Callable[..., Path]
) -> None:
    whole = make_clip("whole.mkv", frames=60, wh=(160, 96), rate_hz=30, options={"g": "5"})
    cut = whole.with_name("cut.mkv")
    cut.write_bytes(whole.read_bytes()[:-2000])
    results = []

    with (
        nothing_left(),
        perception.open(cut, model) as run,
        pytest.raises(perception.SourceError, match=r"cut\.mkv"),
    ):
        results.extend(run)

    assert 0 < len(results) < 60
    assert run.books.published == len(results)
    (problem,) = run.problems
    assert "cut.mkv" in problem


def test_problems_of_a_run_are_those_that_the_node_ends_with(
    model: perception.Model, clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.full((48, 64, 3), 90, np.uint8))
    (folder / "b.png").write_text("notes")

    with perception.open(clip, model) as run:
        next(run)
        assert run.problems == []  # it is at work
    with perception.open(folder, model) as read:
        assert [result.name for result in read] == ["a"]
    status = main(["--source", str(folder), "--model", MODEL, "--provider", "cpu"])

    assert run.problems == []
    assert read.problems == ["1 image could not be read and has no mask"]
    assert status == 1
    assert [it.getMessage() for it in caplog.records if it.levelname == "ERROR"] == read.problems


def test_several_runs_share_a_model(model: perception.Model, clip: Path) -> None:
    with perception.open(clip, model) as first, perception.open(clip, model) as second:
        pairs = list(zip(first, second, strict=True))

    assert len(pairs) == 12
    assert all(np.array_equal(one.class_map, other.class_map) for one, other in pairs)


def test_run_that_ends_takes_no_other_runs_reader_with_it(model: perception.Model, clip: Path) -> None:
    with nothing_left(), perception.open(clip, model, isolate=True, loop=True) as first:
        with perception.open(clip, model, isolate=True) as second:
            next(second)
        ids = [next(first).frame_id for _ in range(60)]

    assert ids == list(range(60))


@pytest.mark.parametrize("realtime", [False, True])
def test_network_that_hangs_ends_the_loop_with_an_error_that_names_it(
    model: perception.Model, clip: Path, monkeypatch: pytest.MonkeyPatch, realtime: bool
) -> None:
    engine, goes_on, calls = model.network.engine_for(is_live=realtime), threading.Event(), iter(range(1000))
    infer = engine.infer

    def infer_or_hang(input_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        if next(calls) >= 3:
            goes_on.wait(LIMIT_S)
        return infer(input_bgr)

    monkeypatch.setattr(engine, "infer", infer_or_hang)
    watchdog = {"stage_s": 1.0, "stalled_after_s": 0.2}
    results = []
    with nothing_left():
        run = perception.open(clip, model, realtime=realtime, loop=True, watchdog=watchdog)
        with pytest.raises(
            perception.RunError, match=r"^predict.*: hung: working on one frame for more than 1 s$"
        ):
            results.extend(run)
        goes_on.set()

    seen = [result for result in results if result.frame is not None]
    assert all(result.has_mask for result in seen)
    assert 0 < len(seen) <= 3
    if realtime:
        assert results[-1].engine_state is EngineState.STALLED
        assert not results[-1].has_mask


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"realtme": True}, "the nearest known one is realtime"),
        ({"engine": "openvino"}, r"perception.Model\(name, engine=…\)"),
        ({"http": "8080"}, "a setting of the command drivable-node alone"),
        ({"max_frames": 0}, "max_frames is 0; it must be above 0"),
        ({"health": {"alarm_frame": 1}}, "the nearest known one is health.alarm_frames"),
        ({"out": "out.jpg"}, "an image holds a single overlay"),
    ],
)
def test_setting_that_cannot_be_used_is_one_line(
    model: perception.Model, clip: Path, settings: dict[str, object], message: str
) -> None:
    with (
        nothing_left(),
        pytest.raises((perception.SettingsError, perception.SinkError), match=message) as refused,
    ):
        perception.open(clip, model, **settings)

    assert "\n" not in str(refused.value)


def test_output_on_the_source_is_refused_as_by_the_node(model: perception.Model, clip: Path) -> None:
    content = clip.read_bytes()

    with pytest.raises(perception.SettingsError, match="the source"):
        perception.open(clip, model, out=clip, overwrite=True)

    assert clip.read_bytes() == content


def test_example_of_open_runs() -> None:
    import perception.api.run

    assert doctest.testmod(perception.api.run) == (0, 3)


def examples() -> list[str]:
    """The library's examples: the issue's, and those of the documents."""
    documents = [(ROOT / name).read_text() for name in ("README.md", "perception/README.md")]
    found = [
        code
        for text in documents
        for code in re.findall(r"```python\n(import perception\n.*?)```", text, re.S)
    ]
    assert len(found) == 2
    return [SNIPPET, *found]


@pytest.mark.parametrize("code", examples(), ids=["issue", "README", "perception/README"])
def test_example_runs_as_it_stands(
    code: str, clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(clip.parent)
    cv2.imwrite("frame.jpg", np.full((96, 160, 3), 90, np.uint8))
    clip.rename("drive.mp4")

    with nothing_left():
        exec(compile(code.replace("rtsp://camera/road", "drive.mp4"), "example", "exec"), {})

    assert "captured=12" in capsys.readouterr().out


@pytest.mark.slow
def test_snippet_is_well_typed(tmp_path: Path) -> None:
    file = tmp_path / "snippet.py"
    file.write_text(SNIPPET + "reveal_type(result.direct)\nperception.Modle\n")

    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert 'Module has no attribute "Modle"' in checked.stdout
    assert "Found 1 error" in checked.stdout
    assert "ndarray" in checked.stdout


MEMORY = """
import sys
import psutil
import perception

process = psutil.Process()
model = perception.Model("rt_s-int8")
with perception.open(sys.argv[1], model, loop=True, isolate=True, max_frames=10_000) as run:
    for result in run:
        assert result.polygons("direct") is not None
        assert result.plot().shape == (96, 160, 3)
        assert result.to_dict()["mask"]
        if result.frame_id in (2000, 9_999):
            print(process.memory_info().rss)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_memory_stays_flat_however_many_results_are_read(clip: Path) -> None:
    printed = subprocess.run(
        [sys.executable, "-c", MEMORY, str(clip)], check=True, capture_output=True, text=True
    ).stdout

    before, after = map(int, printed.split())
    assert after - before < 2_000_000
