"""The node as a user meets it: one line for every mistake, and nothing lost."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from perception.build import build_predictors
from perception.config import NodeConfig
from perception.inference.engines import OpenVinoEngine
from perception.inference.engines.onnx import DEVICES
from perception.inference.zoo import FOLDER
from perception.node import main
from perception.synthetic import DriveRenderer

SHIPPED = FOLDER / "rt_m.onnx"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of four small images."""
    folder = tmp_path / "images"
    folder.mkdir()
    drive = DriveRenderer("day", (160, 90))
    for number in range(4):
        cv2.imwrite(str(folder / f"{number}.png"), drive.render(number)[0])
    return folder


def test_run_of_images_publishes_every_frame(images: Path, tmp_path: Path) -> None:
    records = tmp_path / "o.jsonl"
    summary_file = tmp_path / "s.json"

    status = main(["--source", str(images), "--jsonl", str(records), "--summary", str(summary_file)])

    assert status == 0
    assert len(records.read_text().splitlines()) == 4
    frames = json.loads(summary_file.read_text())["frames"]
    assert frames == {"captured": 4, "published": 4, "withheld": 0, "dropped": {}, "in_flight": 0}


@pytest.mark.parametrize("spec", ["synthetic:day", "synthetic:night"])
def test_built_in_road_is_a_source(spec: str, tmp_path: Path) -> None:
    masks = tmp_path / "masks"

    status = main(
        ["--source", spec, "--max-frames", "3", "--synthetic.wh", "[160, 90]", "--masks", str(masks)]
    )

    assert status == 0
    assert len(list(masks.iterdir())) == 3


def test_openvino_runs_the_node_and_says_so(images: Path, tmp_path: Path) -> None:
    records = tmp_path / "o.jsonl"

    status = main(
        [
            *("--source", str(images), "--jsonl", str(records)),
            *("--engine", "openvino", "--engine_precision", "f32"),
        ]
    )

    engines = [json.loads(line)["engine"] for line in records.read_text().splitlines()]
    assert status == 0
    assert engines == 4 * [{"state": "ok", "provider": "openvino f32"}]


def test_missing_openvino_is_one_line(
    monkeypatch: pytest.MonkeyPatch, only_error_line: Callable[[str], str]
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)

    status = main(["--engine", "openvino", "--max-frames", "1"])

    assert status == 1
    assert only_error_line("drivable-node").endswith("pip install 'drivable[openvino]'")


@pytest.mark.parametrize(("is_live", "workers"), [(True, 1), (False, 2)])
def test_engine_that_runs_one_frame_at_a_time_gets_no_worker_a_core(
    is_live: bool, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DEVICES, "cpu", "cpu")  # type: ignore[arg-type]

    engine, predictors = build_predictors(SHIPPED, NodeConfig(provider="cpu", threads=4), is_live)

    assert engine.runs_one_at_a_time
    assert len(predictors) == workers


@pytest.mark.parametrize(("is_live", "workers"), [(True, 1), (False, 4)])
def test_cpu_gets_one_worker_a_core_for_a_recording(is_live: bool, workers: int) -> None:
    engine, predictors = build_predictors(SHIPPED, NodeConfig(provider="cpu", threads=4), is_live)

    assert not engine.runs_one_at_a_time
    assert len(predictors) == workers


@pytest.mark.parametrize(("is_live", "asked"), [(True, (2, "f32", 1)), (False, (1, "f32", 2))])
def test_openvino_is_asked_for_a_stream_a_worker(
    is_live: bool, asked: tuple[int, str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # OpenVINO itself tells no more streams and threads than this machine has cores.
    seen = []

    def listening(file: Path, threads: int, precision: Any, streams: int) -> OpenVinoEngine:
        seen.append((threads, precision, streams))
        return OpenVinoEngine(file, threads, precision, streams)

    monkeypatch.setattr("perception.inference.engines.openvino.OpenVinoEngine", listening)
    config = NodeConfig(engine="openvino", engine_precision="f32", threads=2)

    _, predictors = build_predictors(SHIPPED, config, is_live)

    assert seen == [asked]
    assert len(predictors) == asked[2]


def test_whole_run_through_bound_buffers_keeps_every_frame_in_order(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DEVICES, "cpu", "cpu")  # type: ignore[arg-type]
    records = tmp_path / "o.jsonl"

    status = main(["--source", str(images), "--jsonl", str(records), "--provider", "cpu"])

    assert status == 0
    assert [json.loads(line)["frame_id"] for line in records.read_text().splitlines()] == [0, 1, 2, 3]


def test_frame_that_the_graph_was_not_made_for_is_one_line(
    images: Path, make_classifier: Callable[..., Path], only_error_line: Callable[[str], str]
) -> None:
    status = main(["--source", str(images), "--model", str(make_classifier((128, 72)))])

    assert status == 1
    assert "takes only frames of 128x72, and this one is 160x90; export it with --frame 160x90" in (
        only_error_line("drivable-node")
    )


def test_realtime_run_drops_what_it_has_no_time_for_and_counts_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary_file = tmp_path / "s.json"

    status = main(
        [
            "--realtime",
            "--duration",
            "0.5",
            "--synthetic.rate_hz",
            "1000",
            "--synthetic.wh",
            "[160, 90]",
            "--summary",
            str(summary_file),
        ]
    )

    summary = json.loads(summary_file.read_text())
    frames = summary["frames"]
    assert status == 0
    assert frames["captured"] == frames["published"] + frames["withheld"] + sum(frames["dropped"].values())
    rate = {name: summary["source"][name] for name in ("rate_hz", "rate_kind", "period_ms")}
    assert rate == {"rate_hz": 1000.0, "rate_kind": "declared", "period_ms": 1.0}
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert [note.split(": ")[1] for note in notes] == ["this machine does not keep up with --realtime"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "missing.mp4"], "missing.mp4"),
        (["--source", "text.mp4"], "text.mp4"),
        (["--source", "empty"], "empty"),
        (["--source", "synthetic:moon"], "unknown scene 'moon'"),
        (["--model", "rt_x"], "rt_x: no such model file, and no shipped model of that name; shipped: rt_l, "),
        (["--model", "text.mp4"], "text.mp4: not a model that ONNX Runtime can load"),
        (["--provider", "cuda"], "provider cuda did not load"),
        (
            ["--engine", "openvino", "--provider", "cuda"],
            "provider cuda is ONNX Runtime's; use --eng",
        ),
        (["--engine_precision", "bf16"], "engine_precision bf16 is for OpenVINO; add --engine openvino"),
        (["--engine", "opencv"], "opencv"),
        (["--out", "text.mp4/o.mp4"], "text.mp4"),
        (["--jsonl", "/proc/nowhere/o.jsonl"], "/proc/nowhere"),
        (["--masks", "/proc/nowhere"], "/proc/nowhere"),
        (["--out", "o.avi"], "o.avi"),
        (["--config", "bad.yaml"], "unknown setting camera.widht; the nearest known one is camera.width"),
        (["--sorce", "synthetic"], "unknown setting --sorce; the nearest known one is --source"),
        (["--max-frames", "many"], "many"),
        (["--max-frames", "0"], "max_frames is 0; it must be above 0"),
        (["--threads", "-1"], "threads is -1; 0 uses every core"),
        (["--synthetic.wh", "[0, 90]"], "both sides of synthetic.wh must be above 0"),
    ],
)
def test_mistake_is_one_clear_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    only_error_line: Callable[[str], str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.mp4").write_text("no video at all")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.yaml").write_text("camera: {widht: 640}\n")

    status = main([*arguments, *([] if "--max-frames" in arguments else ["--max-frames", "2"])])

    assert status != 0
    assert message in only_error_line("drivable-node")


def test_run_goes_on_past_a_bad_image_and_tells_it_at_the_end(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "2.png").write_bytes(b"\x89PNG and then nothing")
    records, summary = tmp_path / "o.jsonl", tmp_path / "s.json"

    status = main(["--source", str(images), "--jsonl", str(records), "--summary", str(summary)])

    assert status == 1
    lines = capsys.readouterr().err.splitlines()
    assert (
        sum("2.png: is corrupt, or not an image that can be read; it is left out" in line for line in lines)
        == 1
    )
    assert lines[-1] == "drivable-node: 1 image could not be read and has no mask"
    lines = [json.loads(line) for line in records.read_text().splitlines()]
    assert [(record["name"], record["missed_before"]) for record in lines] == [("0", 0), ("1", 0), ("3", 1)]
    assert json.loads(summary.read_text())["source"]["unreadable"] == 1


def test_isolated_run_counts_a_bad_image_at_the_end_too(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "3.png").write_bytes(b"")

    status = main(["--source", str(images), "--isolate", "--jsonl", str(tmp_path / "o.jsonl")])

    assert status == 1
    assert (
        capsys.readouterr().err.splitlines()[-1] == "drivable-node: 1 image could not be read and has no mask"
    )


def test_rtsp_address_nobody_listens_on_is_given_up(only_error_line: Callable[[str], str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    started_s = time.monotonic()

    status = main(["--source", f"rtsp://me:secret@127.0.0.1:{port}/road", "--open_timeout_s", "2"])

    line = only_error_line("drivable-node")
    assert status != 0
    assert time.monotonic() - started_s < 10
    assert "secret" not in line
    assert f"127.0.0.1:{port}" in line


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (
            "truncated.onnx",
            lambda content: content[: len(content) // 2],
            "not a model that ONNX Runtime can load",
        ),
        ("empty.onnx", lambda content: b"", "not a model that ONNX Runtime can load"),
        (
            "changed.onnx",
            lambda content: content.replace(b'"pad_bgr": [116, 116, 116]', b'"pad_bgr": [116, 116, 117]'),
            "changed after it was exported",
        ),
        (
            "foreign.onnx",
            lambda content: content.replace(b"drivable.contract", b"drivable.kontract"),
            "contract",
        ),
    ],
)
def test_damaged_model_is_refused(
    name: str, damage: object, message: str, tmp_path: Path, only_error_line: Callable[[str], str]
) -> None:
    file = tmp_path / name
    file.write_bytes(damage(SHIPPED.read_bytes()))  # type: ignore[operator]

    status = main(["--model", str(file), "--max-frames", "1"])

    assert status != 0
    assert message in only_error_line("drivable-node")


def test_full_disk_ends_the_run_in_one_line_and_leaves_whole_lines(tmp_path: Path) -> None:
    records = tmp_path / "o.jsonl"
    command = [
        sys.executable,
        "-m",
        "perception.node",
        "--source",
        "synthetic",
        "--synthetic.wh",
        "[160, 90]",
        "--jsonl",
        str(records),
    ]
    limited = f"ulimit -f 8; exec {' '.join(repr(word) for word in command)}"  # 8 blocks of 1 KiB in bash

    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, timeout=60, check=False)

    errors = [line for line in done.stderr.splitlines() if line.startswith("drivable-node:")]
    assert done.returncode == 1
    assert len(errors) == 1
    assert str(records) in errors[0]
    assert all(json.loads(line)["schema"] for line in records.read_text().splitlines())


def _start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    """A node that runs until it is stopped and has written its first records."""
    records = tmp_path / "o.jsonl"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "perception.node",
            "--source",
            "synthetic",
            "--synthetic.wh",
            "[320, 180]",
            "--jsonl",
            str(records),
            "--out",
            str(tmp_path / "o.mp4"),
            *arguments,
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    limit_s = time.monotonic() + 100
    while not (records.exists() and records.read_bytes().count(b"\n") > 70):
        assert process.poll() is None
        assert time.monotonic() < limit_s
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_drains_and_leaves_every_file_readable(number: signal.Signals, tmp_path: Path) -> None:
    process = _start(tmp_path)
    started_s = time.monotonic()

    process.send_signal(number)
    _, err = process.communicate(timeout=30)

    records = (tmp_path / "o.jsonl").read_text().splitlines()
    with av.open(str(tmp_path / "o.mp4")) as video:
        frames = sum(1 for _ in video.decode(video=0))
    assert process.returncode == 0, err
    assert time.monotonic() - started_s < 5
    assert frames == len(records)


def test_kill_leaves_a_playable_video_and_whole_lines(tmp_path: Path) -> None:
    process = _start(tmp_path)

    process.kill()
    process.communicate(timeout=30)

    lines = (tmp_path / "o.jsonl").read_bytes()
    with av.open(str(tmp_path / "o.mp4")) as video:
        frames = sum(1 for _ in video.decode(video=0))
    assert lines.endswith(b"\n")
    # The road runs at 30 Hz: all but the last second of it, and what the sinks lag behind each other.
    assert frames >= lines.count(b"\n") - 30 - 16


def test_stop_while_the_source_waits_ends_at_once(tmp_path: Path) -> None:
    records = tmp_path / "o.jsonl"
    rarely = ["--source", "synthetic", "--realtime", "--synthetic.rate_hz", "0.05"]
    process = subprocess.Popen(
        [sys.executable, "-m", "perception.node", *rarely, "--jsonl", str(records)],
        stderr=subprocess.DEVNULL,
    )
    started_s = time.monotonic()
    while not (records.is_file() and records.stat().st_size) and time.monotonic() - started_s < 60:
        time.sleep(0.05)
    started_s = time.monotonic()

    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)

    assert process.returncode == 0
    assert time.monotonic() - started_s < 5


def test_odd_sized_portrait_and_grey_images_run(tmp_path: Path) -> None:
    for name, shape in (("odd", (359, 641, 3)), ("portrait", (320, 180, 3)), ("grey", (90, 160))):
        folder = tmp_path / name
        folder.mkdir()
        cv2.imwrite(str(folder / "0.png"), np.full(shape, 90, np.uint8))

        status = main(["--source", str(folder), "--masks", str(folder / "m"), "--out", str(folder / "o.mp4")])

        mask = cv2.imread(str(folder / "m" / "0.png"), cv2.IMREAD_UNCHANGED)
        assert status == 0
        assert mask is not None
        assert mask.shape == shape[:2]
