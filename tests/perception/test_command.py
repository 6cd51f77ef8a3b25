"""The edges of a process: standard streams that are closed or full, signals at any moment, errors of ours."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import pytest

from perception.cli.signals import StopSignals
from perception.node import main

ROAD = ("--source", "synthetic", "--synthetic.wh", "160x90")
NODE = (sys.executable, "-m", "perception.node", "--model", "rt_s-int8", *ROAD)
ENDLESS = ("--realtime", "--duration", "60")
SEED = 15


def in_shell(redirections: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The node as a shell starts it, with these redirections."""
    command = ["bash", "-c", f'exec "$@" {redirections}', "bash", *NODE, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


def lines_of(file: Path) -> int:
    """Whole records in a file; fails on a torn or mixed one."""
    content = file.read_bytes()
    assert content.endswith(b"\n")
    return sum(json.loads(line)["schema"] == 5 for line in content.splitlines())


def frames_of(video: Path) -> int:
    with av.open(str(video)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.one_in(4)
@pytest.mark.parametrize(
    "redirections", ["2>/dev/full", "2>&-", "<&-", "<&- 2>&-", "<&- >&- 2>&-", "2> >(exec true)"]
)
def test_standard_streams_that_are_closed_or_full_cost_no_frame(redirections: str, tmp_path: Path) -> None:
    records, video, summary = tmp_path / "r.jsonl", tmp_path / "o.mp4", tmp_path / "s.json"

    done = in_shell(
        redirections,
        *("--max-frames", "20", "--jsonl", str(records), "--out", str(video), "--summary", str(summary)),
    )

    assert done.returncode == 0
    assert lines_of(records) == frames_of(video) == 20
    assert json.loads(summary.read_text())["frames"]["published"] == 20
    assert done.stdout == ""


def test_closed_standard_error_puts_nothing_between_the_records() -> None:
    done = in_shell("2>&-", "--max-frames", "20", "--jsonl", "-")

    assert done.returncode == 0
    assert [json.loads(line)["frame_id"] for line in done.stdout.splitlines()] == list(range(20))


@pytest.mark.parametrize("redirections", [">&-", ">/dev/full"])
def test_records_to_a_standard_output_that_takes_none_are_refused(redirections: str) -> None:
    done = in_shell(redirections, "--max-frames", "20", "--jsonl", "-")

    errors = [line for line in done.stderr.splitlines() if line.startswith("drivable-node: ")]
    assert done.returncode == 1
    assert len(errors) == 1
    assert "stdout: cannot write records: " in errors[0]
    assert "Traceback" not in done.stderr


HOMELESS = """
import pwd, sys
def unknown(uid):
    raise KeyError(uid)
pwd.getpwuid = unknown
from perception.node import main
sys.exit(main())
"""


def test_user_without_name_and_home_runs_the_node(tmp_path: Path) -> None:
    records = tmp_path / "r.jsonl"
    environment = {
        name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")
    }

    done = subprocess.run(
        [sys.executable, "-c", HOMELESS, *NODE[3:], "--max-frames", "3", "--jsonl", str(records)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert lines_of(records) == 3


def test_log_that_nobody_reads_holds_nothing_up(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    filled = 0
    while True:
        try:
            filled += os.write(writing, bytes(4096))
        except BlockingIOError:
            break
    os.set_blocking(writing, True)

    records = tmp_path / "r.jsonl"
    done = subprocess.run(
        [*NODE, "--max-frames", "20", "--jsonl", str(records)], stderr=writing, timeout=30, check=False
    )

    os.close(reading)
    os.close(writing)
    assert filled
    assert done.returncode == 0
    assert lines_of(records) == 20


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Where a server takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def signalled(
    tmp_path: Path, numbers: Sequence[int], pauses_s: Sequence[float], *arguments: str
) -> tuple[subprocess.Popen[str], str]:
    """A node that gets these signals once it has written a record, each after its pause; and what it said."""
    records = tmp_path / "r.jsonl"
    process = subprocess.Popen(
        [*NODE, "--jsonl", str(records), "--out", str(tmp_path / "o.mp4"), *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (records.exists() and records.stat().st_size) and process.poll() is None:
        time.sleep(0.02)
    for number, pause_s in zip(numbers, pauses_s, strict=True):
        time.sleep(pause_s)
        if process.poll() is None:
            process.send_signal(number)
    _, said = process.communicate(timeout=30)
    return process, said


AS_INSTALLED = """
import contextlib, sys
import perception.cli.signals
from perception.node import main
installed = perception.cli.signals.StopSignals.installed
@contextlib.contextmanager
def announced(*arguments, **options):
    with installed(*arguments, **options) as stop:
        print("started", flush=True)
        yield stop
perception.cli.signals.StopSignals.installed = announced
sys.exit(main())
"""
"""The command, which says when it hears signals: a busy machine may take long to come so far."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("seed", range(4))
def test_signal_while_the_node_starts_is_one_line(number: signal.Signals, seed: int, tmp_path: Path) -> None:
    pause_s = random.Random(SEED * seed + number).uniform(0.0, 0.6)
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", AS_INSTALLED, *NODE[3:], *ENDLESS),
            *("--jsonl", str(tmp_path / "r.jsonl"), "--out", str(tmp_path / "o.mp4")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(pause_s)

    process.send_signal(number)
    _, said = process.communicate(timeout=30)

    assert "Traceback" not in said, pause_s
    if process.returncode == 0:  # it had begun
        assert lines_of(tmp_path / "r.jsonl") == frames_of(tmp_path / "o.mp4")
    else:
        assert process.returncode == 128 + number
        assert said.splitlines()[-1] == f"drivable-node: stopped by {number.name} before the run began"


def test_signal_while_a_stream_opens_ends_the_start(tmp_path: Path, silent_port: int) -> None:
    source = f"rtsp://127.0.0.1:{silent_port}/road"
    process = subprocess.Popen(
        [*NODE[:3], "--source", source, "--loop", "--quality", "5", "--quality", "4"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("note: --quality is given twice")  # all is imported
    time.sleep(1.0)
    stopped_s = time.monotonic()

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)

    assert time.monotonic() - stopped_s < 4
    assert process.returncode == 130
    assert said.splitlines() == ["drivable-node: stopped by SIGINT before the run began"]


@pytest.mark.parametrize("seed", range(4))
def test_signals_in_any_number_leave_whole_files_and_the_summary(seed: int, tmp_path: Path) -> None:
    chance = random.Random(SEED + seed)
    numbers = [chance.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP]) for _ in range(6)]
    pauses_s = [chance.uniform(0.0, 0.1) for _ in numbers]
    summary = tmp_path / "s.json"

    process, said = signalled(tmp_path, numbers, pauses_s, *ENDLESS, "--summary", str(summary))

    assert process.returncode == 0, said
    published = json.loads(summary.read_text())["frames"]["published"]
    assert lines_of(tmp_path / "r.jsonl") == frames_of(tmp_path / "o.mp4") == published


def test_hangup_is_left_to_nohup(tmp_path: Path) -> None:
    records = tmp_path / "r.jsonl"
    process = subprocess.Popen(
        ["nohup", *NODE, "--realtime", "--duration", "2", "--jsonl", str(records)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (records.exists() and records.stat().st_size):
        time.sleep(0.05)
        assert process.poll() is None

    process.send_signal(signal.SIGHUP)

    assert process.wait(30) == 0
    assert json.loads(records.read_text().splitlines()[-1])["time_ns"] > 1.8e9


def test_node_runs_in_a_thread_of_another_program(tmp_path: Path) -> None:
    records = tmp_path / "r.jsonl"
    statuses: list[int] = []
    arguments = ["--max-frames", "3", "--synthetic.wh", "160x90", "--jsonl", str(records)]

    thread = threading.Thread(target=lambda: statuses.append(main(arguments)))
    thread.start()
    thread.join(60)

    assert statuses == [0]
    assert lines_of(records) == 3


def test_program_that_runs_the_node_gets_its_signals_back(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    wakeup = signal.set_wakeup_fd(-1)
    threads = threading.active_count()

    with StopSignals.installed(is_own_process=False):
        assert signal.getsignal(signal.SIGTERM) is not before[1]

    limit_s = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < limit_s:
        time.sleep(0.01)
    assert threading.active_count() == threads
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    assert signal.set_wakeup_fd(wakeup) == -1


FAILING = """
import sys, threading
from perception.cli.command import run_command

def fail():
    raise RuntimeError("no route to " + "rtsp://ann:" + "sec" + "ret@10.0.0.7/road")

def in_thread():
    thread = threading.Thread(target=fail, name="helper")
    thread.start()
    thread.join()
    return 0

sys.exit(run_command("drivable-node", {"main": fail, "helper": in_thread}[sys.argv[1]]))
"""


@pytest.mark.parametrize(("where", "status"), [("main", 1), ("helper", 0)])
@pytest.mark.parametrize("shows_traceback", [False, True])
def test_unexpected_error_is_one_line_without_passwords(
    where: str, status: int, shows_traceback: bool
) -> None:
    environment = {**os.environ, "DRIVABLE_TRACEBACK": "1" if shows_traceback else ""}

    done = subprocess.run(
        [sys.executable, "-c", FAILING, where],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )

    lines = done.stderr.splitlines()
    assert done.returncode == status
    assert "unexpected RuntimeError: no route to rtsp://ann:***@10.0.0.7/road; this is a bug in" in lines[0]
    assert lines[0].startswith("drivable-node: " if where == "main" else "drivable-node: helper: ")
    assert "secret" not in done.stderr
    assert ("Traceback" in done.stderr) is shows_traceback
    assert (len(lines) == 1) is not shows_traceback


def test_error_while_stages_run_leaves_whole_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only_error_line: Callable[[str], str]
) -> None:
    def fails(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("perception.pipeline.Runner.watch", fails)
    records, video = tmp_path / "r.jsonl", tmp_path / "o.mp4"

    status = main([*ROAD, "--realtime", "--jsonl", str(records), "--out", str(video)])

    assert status == 1
    assert only_error_line("drivable-node") == "drivable-node: not enough memory"
    assert lines_of(records) == frames_of(video) > 0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("sink", "capture"))]


@pytest.mark.parametrize("kind", [["--max-frames", "20"], ["--max-frames", "20", "--realtime"]])
@pytest.mark.parametrize("started", [1, 2, 3, 4])
def test_limit_of_threads_is_one_line_and_leaves_nothing_running(
    kind: list[str],
    started: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    only_error_line: Callable[[str], str],
) -> None:
    before = set(threading.enumerate())
    start = threading.Thread.start

    def limited(thread: threading.Thread) -> None:
        if len(set(threading.enumerate()) - before) >= started:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    records, video = tmp_path / "r.jsonl", tmp_path / "o.mp4"

    status = main([*ROAD, *kind, "--jsonl", str(records), "--out", str(video)])

    line = only_error_line("drivable-node")
    assert status == 1
    assert "no thread can be started" in line or "can't start new thread" in line
    assert not records.exists() or records.read_bytes() == b""
    limit_s = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < limit_s:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before


SWALLOWS = """
import signal
try:
    signal.raise_signal(signal.SIGINT)
except BaseException:
    pass

def main():
    print("goes on")
    return 0
"""
"""A library that ignores whatever happens while it is imported, and a command that imports it."""


def test_interrupt_that_an_import_ignores_ends_the_command(tmp_path: Path) -> None:
    (tmp_path / "swallows.py").write_text(SWALLOWS)
    command = "import sys; from perception.cli.command import main_of, run_command; "
    command += "sys.exit(run_command('drivable-train', main_of('swallows')))"

    done = subprocess.run(
        [sys.executable, "-c", command],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 130
    assert done.stderr == "drivable-train: interrupted\n"
    assert done.stdout == ""


NOISY = """
import ctypes, logging, sys, warnings
from perception.cli.command import run_command

def body():
    ctypes.CDLL(None).perror(b"Corrupt JPEG data: premature end of data segment")
    warnings.warn("invalid value encountered in divide", RuntimeWarning)
    logging.getLogger("matplotlib").warning("Matplotlib is building the font cache")
    logging.getLogger("perception.test").info("ours")
    return 0

sys.exit(run_command("drivable-node", body))
"""


@pytest.mark.parametrize("is_asked_for", [False, True])
def test_libraries_own_words_are_shown_where_tracebacks_are_asked_for(is_asked_for: bool) -> None:
    environment = {**os.environ, "DRIVABLE_TRACEBACK": "1"} if is_asked_for else dict(os.environ)

    done = subprocess.run(
        [sys.executable, "-c", NOISY],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 0
    assert "ours\n" in done.stderr
    for word in ("Corrupt JPEG", "RuntimeWarning", "font cache"):
        assert (word in done.stderr) == is_asked_for
    assert is_asked_for or done.stderr == "ours\n"
