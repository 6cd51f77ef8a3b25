"""Pauses from outside: a stopped process, a consumer of records that takes its time. Neither is a hang."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pytest

from perception.concurrency.hang_watch import HangWatch

LIMIT_S = 1.0
NODE = (
    *(
        sys.executable,
        "-m",
        "perception.node",
        "--model",
        "rt_s-int8",
        "--source",
        "synthetic",
        "--synthetic.wh",
        "160x90",
    ),
    *("--watchdog.stage_s", str(LIMIT_S), "--watchdog.restarts", "0"),
)
RECORDED = ("--max-frames", "300")
LIVE = ("--realtime", "--max-frames", "150")


SHORT = ("--max-frames", "100")  # several times as many as a pipe takes
ISOLATED = (*SHORT, "--isolate", "--read_timeout_s", "0.5")


@pytest.mark.one_in(3)
@pytest.mark.parametrize("kind", [SHORT, LIVE, ISOLATED])
def test_reader_of_the_records_that_pauses_is_no_hang(kind: tuple[str, ...], tmp_path: Path) -> None:
    summary = tmp_path / "s.json"
    node = subprocess.Popen(
        [*NODE, *kind, "--jsonl", "-", "--summary", str(summary)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # what readline read ahead, communicate would not give
    )
    assert node.stdout is not None
    first = node.stdout.readline()

    time.sleep(2.5 * LIMIT_S)
    lines, said = node.communicate(timeout=60)
    ids = [json.loads(line)["frame_id"] for line in [first, *lines.splitlines()]]
    report = json.loads(summary.read_text())
    assert node.returncode == 0, said
    assert ids == sorted(set(ids))
    assert (
        len(ids)
        == report["frames"]["published"] + report["frames"]["withheld"] - report["sinks"]["jsonl"]["dropped"]
    )
    if kind is not LIVE:
        assert ids == list(range(100))


@pytest.mark.one_in(2)
@pytest.mark.parametrize("kind", [RECORDED, LIVE])
def test_process_that_was_stopped_goes_on(kind: tuple[str, ...], tmp_path: Path) -> None:
    records, summary = tmp_path / "r.jsonl", tmp_path / "s.json"
    node = subprocess.Popen(
        [*NODE, *kind, "--jsonl", str(records), "--summary", str(summary)], stderr=subprocess.PIPE
    )
    while not (records.exists() and records.read_bytes().count(b"\n") > 20):
        time.sleep(0.01)
        assert node.poll() is None

    node.send_signal(signal.SIGSTOP)
    time.sleep(2.5 * LIMIT_S)
    node.send_signal(signal.SIGCONT)
    _, said = node.communicate(timeout=60)

    states = [json.loads(line)["camera"]["state"] for line in records.read_text().splitlines()[-60:]]
    frames = json.loads(summary.read_text())["frames"]
    assert node.returncode == 0, said
    assert "ok" in states
    if kind is RECORDED:
        assert frames["published"] == 300


def wait_until_full(pipe: IO[str]) -> None:
    """Wait until what writes to a pipe adds nothing more for half a second."""
    before, waiting = -1, 0
    while waiting == 0 or waiting > before:
        before = waiting
        time.sleep(0.5)
        waiting = int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_consumer_that_never_reads_again_does_not_keep_the_node(tmp_path: Path) -> None:
    node = subprocess.Popen(
        [*NODE, *RECORDED, "--jsonl", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert node.stdout is not None
    assert node.stderr is not None
    node.stdout.readline()
    wait_until_full(node.stdout)
    started_s = time.monotonic()

    node.send_signal(signal.SIGINT)
    node.send_signal(signal.SIGTERM)
    node.send_signal(signal.SIGINT)
    node.wait(20)

    said = node.stderr.read()
    node.stdout.close()
    node.stderr.close()
    assert time.monotonic() - started_s < 8
    assert node.returncode == 1
    assert "drivable-node: sink jsonl did not end within " in said
    assert "Traceback" not in said


def watch_at(times_s: Sequence[float]) -> HangWatch:
    """One that is made, and asked, at these times."""
    times = iter([times_s[0], *times_s])
    return HangWatch(lambda: round(next(times) * 1e9))


def test_stage_that_hangs_is_found_in_running_time() -> None:
    watch = watch_at([0.0, 0.1, 0.2, 60.2, 60.3])  # stopped for a minute

    seen_s = [watch.busy_ns({"infer": 7, "idle": None})["infer"] / 1e9 for _ in range(5)]

    assert seen_s == pytest.approx([0.0, 0.1, 0.2, 0.45, 0.55])


def test_stage_that_is_seldom_asked_about_hangs_all_the_same() -> None:
    watch = watch_at([0.0, 5.0, 10.0, 70.0])

    seen_s = [watch.busy_ns({"infer": 7}, asked_every_ns=5_000_000_000)["infer"] / 1e9 for _ in range(4)]

    assert seen_s == [0.0, 5.0, 10.0, 20.0]


def test_stage_that_goes_from_item_to_item_does_not_hang() -> None:
    watch = watch_at([0.0, 0.5, 1.0, 1.5])

    seen = [watch.busy_ns({"infer": number}) for number in range(4)]

    assert seen == 4 * [{"infer": 0}]
