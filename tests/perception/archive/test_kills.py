"""Whatever is killed, at whatever moment: the last run completes, and every clip was done once."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas
import psutil
import pytest
from archives import MODEL, archive, masks, masks_of_node, results, start
from clips import Kind, write

SEED = int(os.environ.get("DRIVABLE_SEED", "1"))
CLIPS, FRAMES = 21, 60
BAD = {"cut.mkv": "incomplete", "empty.mp4": "failed", "text.mp4": "failed"}


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(CLIPS):
        write(folder / f"{number:02}.mp4", Kind("libx264"), frames=FRAMES - number)
    whole = write(folder / "cut.mkv", Kind("libx264"))
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("no video")
    return folder


def times_of(out: Path) -> dict[str, int]:
    return {name: (out / "clips" / name / "clip.json").stat().st_mtime_ns for name in results(out)}


def until(holds: Callable[[], object], limit_s: float = 60.0) -> None:
    end_s = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def workers_of(driver: psutil.Process) -> list[psutil.Process]:
    """Workers' processes, of either engine; those that are ending are none."""
    found = []
    for process in driver.children(recursive=True):
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if "child_main.py" in line or "ray::_Actor" in line:
            found.append(process)
    return found


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(600)
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_killed_workers_and_drivers_lose_clips_in_hand_alone(
    engine: str, clips: Path, tmp_path: Path
) -> None:
    chance, out = random.Random(SEED), tmp_path / "out"
    asked = (clips, "--to", out, "--model", MODEL, "--workers", "2", "--engine", engine)
    kept: dict[str, int] = {}

    for _ in range(3):
        driver = start(*asked)
        process = psutil.Process(driver.pid)
        before = len(results(out)) if out.exists() else 0
        until(lambda before=before: len(results(out)) > before)  # type: ignore[misc]
        chance.choice(workers_of(process)).kill()
        time.sleep(chance.uniform(0.0, 1.0))
        workers = workers_of(process)
        driver.kill()
        driver.wait()
        assert psutil.wait_procs(workers, timeout=20)[1] == []
        now = times_of(out)
        assert {name: now[name] for name in kept} == kept
        kept = now

    status = archive(*asked)

    found = results(out)
    now = times_of(out)
    assert status == 1
    assert {name: now[name] for name in kept} == kept
    assert len(found) == CLIPS + len(BAD)
    assert {name: found[name]["outcome"] for name in BAD} == BAD
    assert all(len(masks(out, f"{number:02}.mp4")) == FRAMES - number for number in range(CLIPS))
    for name in ("00.mp4", "cut.mkv"):
        assert masks(out, name) == masks_of_node(clips / name, tmp_path / f"alone {name}")
    table = pandas.read_parquet(out / "summary" / "clips.parquet")
    frames = sum(result["row"].get("frames", 0) for result in found.values())
    in_seconds = duckdb.sql(f"select sum(frames) from '{out}/summary/seconds.parquet'").fetchall()
    assert sorted(table["clip"]) == sorted(found)
    assert int(table["frames"].sum()) == frames
    assert in_seconds == [(frames,)]
    assert not (out / ".work").exists()


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_interrupted_run_ends_its_workers_and_keeps_what_is_done(
    number: str, clips: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    asked = (clips, "--to", out, "--model", MODEL, "--workers", "1")
    driver = start(*asked)
    until(lambda: out.exists() and results(out))
    family = psutil.Process(driver.pid).children(recursive=True)

    driver.send_signal(getattr(signal, number))

    assert driver.wait(10) == 130
    assert psutil.wait_procs(family, timeout=5)[1] == []
    assert 0 < len(results(out)) < CLIPS


def test_worker_that_is_stopped_is_replaced(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perception.archive.local_pool.SILENT_S", 3.0)
    out = tmp_path / "out"
    stopped: list[int] = []

    def stop_one() -> None:
        until(lambda: out.exists() and results(out))
        worker = workers_of(psutil.Process())[0]
        stopped.append(worker.pid)
        worker.suspend()

    stopper = threading.Thread(target=stop_one)
    stopper.start()
    status = archive(clips, "--to", out, "--model", MODEL, "--workers", "1")
    stopper.join()

    assert status == 1
    assert len(results(out)) == CLIPS + len(BAD)
    assert not psutil.pid_exists(stopped[0])
