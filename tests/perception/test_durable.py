"""`--durable`: what is written comes to the disk within a second, and no frame waits for it."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from recording import LIVE, TARGETS, frames_of, names, predicted, sink_at, write

from perception.sinks.rotation import RecordingPolicy, Rotate
from perception.sinks.sink import SinkError


class FakeDisk:
    """What was synced, by name: of a file its size then, of a folder its entries; it may hang or fail."""

    def __init__(self) -> None:
        self.synced: dict[str, int | list[str]] = {}
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.error: OSError | None = None

    def sync(self, descriptor: int) -> None:
        self.may_go_on.wait(30)
        if self.error:
            raise self.error
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        status = os.fstat(descriptor)
        self.synced[name] = os.listdir(name) if stat.S_ISDIR(status.st_mode) else status.st_size


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDisk]:
    disk = FakeDisk()
    monkeypatch.setattr(os, "fdatasync", disk.sync)
    monkeypatch.setattr(os, "fsync", disk.sync)
    yield disk
    disk.error = None
    disk.may_go_on.set()


def until(holds: Callable[[], bool], limit_s: float = 10.0) -> None:
    limit_s += time.monotonic()
    while not holds():
        assert time.monotonic() < limit_s
        time.sleep(0.01)


@pytest.mark.parametrize("name", ["overlay", "jsonl"])
def test_open_file_and_its_name_are_synced_once_a_second(tmp_path: Path, name: str, disk: FakeDisk) -> None:
    target = tmp_path / TARGETS[name]
    sink = sink_at(tmp_path, name, RecordingPolicy(durable=True))
    sink.open(LIVE)
    for number in (0, 1):
        before_s = time.monotonic()
        write(sink, range(number * 20, number * 20 + 20))
        written = target.stat().st_size
        until(lambda size=written: disk.synced.get(str(target), -1) >= size)  # type: ignore[misc, operator]
        assert time.monotonic() - before_s < 1.5

    assert target.name in disk.synced[str(tmp_path)]  # type: ignore[operator]
    sink.close()
    assert disk.synced[str(target)] == target.stat().st_size


def test_mask_gets_its_name_once_it_is_on_the_disk(tmp_path: Path, disk: FakeDisk) -> None:
    sink = sink_at(tmp_path, "masks", RecordingPolicy(durable=True))
    sink.open(LIVE)
    disk.may_go_on.clear()
    write(sink, range(5))
    time.sleep(1.2)
    assert frames_of(tmp_path / "out") == []

    disk.may_go_on.set()
    until(lambda: frames_of(tmp_path / "out") == [*range(5)])
    until(lambda: "000004.png" in disk.synced.get(str(tmp_path / "out"), []))  # type: ignore[operator]
    write(sink, range(5, 8))
    sink.close()
    assert frames_of(tmp_path / "out") == [*range(8)]
    assert [path for path in (tmp_path / "out").iterdir() if path.suffix != ".png"] == []


@pytest.mark.parametrize("name", ["overlay", "jsonl", "masks"])
def test_disk_that_hangs_holds_up_no_frame(tmp_path: Path, name: str, disk: FakeDisk) -> None:
    sink = sink_at(tmp_path, name, RecordingPolicy(Rotate(age_s=1.0), durable=True))
    sink.open(LIVE)
    write(sink, range(2))
    disk.may_go_on.clear()
    time.sleep(1.2)  # a round has begun

    before_s = time.monotonic()
    write(sink, range(2, 80))
    assert time.monotonic() - before_s < 3

    disk.may_go_on.set()
    sink.close()
    folder = tmp_path / "out" if name == "masks" else tmp_path
    assert sum(len(frames_of(folder / segment)) for segment in names(folder)) == 80


@pytest.mark.parametrize("name", ["overlay", "jsonl", "masks"])
def test_disk_that_fails_is_the_sinks_error(tmp_path: Path, name: str, disk: FakeDisk) -> None:
    sink = sink_at(tmp_path, name, RecordingPolicy(durable=True))
    sink.open(LIVE)
    disk.error = OSError(5, "Input/output error")

    def write_on() -> None:
        for frame_id in range(400):
            sink.write(predicted(frame_id))
            time.sleep(0.01)

    with pytest.raises(SinkError, match=r"^.*: cannot write (records|a video|masks): Input/output error$"):
        write_on()
    disk.error = None
    sink.close()
    assert not any(thread.name == "sync" for thread in threading.enumerate())


def test_nothing_is_synced_without_it(tmp_path: Path, disk: FakeDisk) -> None:
    for name in TARGETS:
        sink = sink_at(tmp_path, name)
        sink.open(LIVE)
        write(sink, range(3))
        sink.close()

    assert disk.synced == {}
