"""A source in a process of its own: frames come as they were, and whatever it does, the node goes on."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from perception.frame import Frame, Yuv420
from perception.sources.reader import IS_SUPPORTED, SLOTS, Reader, ReaderDied
from perception.sources.source import EndOfSource, SourceError, SourceInfo

pytestmark = pytest.mark.skipif(not IS_SUPPORTED, reason="sources have processes of their own on Linux alone")

LIMIT_S = 20.0  # a process takes its time to start where the machine is busy


@dataclass
class ScriptedSource:
    """Runs in the reader's process: does what it is told, frame by frame."""

    frames: int = 3
    is_live: bool = False
    sizes_wh: tuple[tuple[int, int], ...] = ((64, 48),)
    planes: bool = False
    fails_at: int | None = None
    dies_at: int | None = None
    hangs_at: int | None = None
    opens: int = field(default=0, init=False)
    decode_errors: int = field(default=0, init=False)

    def open(self) -> SourceInfo:
        self.opens += 1
        self._next_id = 0
        return SourceInfo("scripted", self.is_live, self.sizes_wh[0], 25.0, f"open {self.opens}")

    def read(self) -> Frame:
        number = self._next_id
        self._next_id += 1
        if number == self.fails_at:
            raise SourceError("scripted: failed")
        if number == self.dies_at:
            os.kill(os.getpid(), signal.SIGSEGV)
        if number == self.hangs_at:
            time.sleep(3600)
        if number >= self.frames:
            raise EndOfSource
        self.decode_errors = number
        width, height = self.sizes_wh[number % len(self.sizes_wh)]
        return Frame("scripted", number, 5, number * 40, picture(number, width, height, self.planes), "name")

    def close(self) -> None:
        pass


class BrokenSource(ScriptedSource):
    """Fails in a way that is no error of ours."""

    def read(self) -> Frame:
        raise ZeroDivisionError("of some\nlibrary")


def picture(number: int, width: int, height: int, planes: bool) -> np.ndarray | Yuv420:
    random = np.random.default_rng(number)

    def plane(*shape: int) -> np.ndarray:
        return random.integers(0, 256, shape, np.uint8)

    if not planes:
        return plane(height, width, 3)
    halves = (height + 1) // 2, (width + 1) // 2
    return Yuv420(plane(height, width), plane(*halves), plane(*halves), "bt709")


NewReader = Callable[..., Reader]


@pytest.fixture
def new_reader() -> Iterator[NewReader]:
    readers: list[Reader] = []

    def make(kind: type[ScriptedSource] = ScriptedSource, **values: object) -> Reader:
        readers.append(Reader(partial(kind, **values), "scripted"))
        return readers[-1]

    yield make
    for reader in readers:
        reader.close(0.0)


def taken(reader: Reader) -> SourceInfo | Frame:
    """What comes next; waits for it."""
    until_s = time.monotonic() + LIMIT_S
    while time.monotonic() < until_s:
        if (item := reader.take()) is not None:
            return item
        time.sleep(0.001)
    raise AssertionError("nothing came")


def opened(reader: Reader) -> Reader:
    reader.open()
    assert isinstance(taken(reader), SourceInfo)
    return reader


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("size_wh", [(64, 48), (35, 17)])
def test_frames_come_as_they_were(new_reader: NewReader, planes: bool, size_wh: tuple[int, int]) -> None:
    reader = opened(new_reader(frames=3, planes=planes, sizes_wh=(size_wh,)))

    for number in range(3):
        frame = taken(reader)
        assert isinstance(frame, Frame)
        assert (frame.frame_id, frame.captured_ns, frame.time_ns) == (number, 5, number * 40)
        expected = picture(number, *size_wh, planes)
        pairs = (
            [(frame.pixels, expected)]
            if not isinstance(expected, Yuv420) or not isinstance(frame.pixels, Yuv420)
            else [(getattr(frame.pixels, it), getattr(expected, it)) for it in "yuv"]
        )
        assert all(np.array_equal(got, wanted) for got, wanted in pairs)
    with pytest.raises(EndOfSource):
        taken(reader)


def test_frames_of_growing_size_come_as_they_were(new_reader: NewReader) -> None:
    sizes_wh = ((32, 24), (320, 240), (64, 48), (640, 480))
    reader = opened(new_reader(frames=4, sizes_wh=sizes_wh))

    frames = [taken(reader) for _ in range(4)]  # held at once: each in memory of its own

    for number, frame in enumerate(frames):
        assert isinstance(frame, Frame)
        assert np.array_equal(frame.pixels, picture(number, *sizes_wh[number], False))


def test_recording_waits_for_frames_to_be_let_go_of(new_reader: NewReader) -> None:
    reader = opened(new_reader(frames=SLOTS + 5))

    held = [taken(reader) for _ in range(SLOTS)]
    time.sleep(0.05)
    assert reader.take() is None

    held.clear()
    gc.collect()
    rest = [taken(reader) for _ in range(5)]
    assert [frame.frame_id for frame in rest if isinstance(frame, Frame)] == [*range(SLOTS, SLOTS + 5)]


def test_live_source_passes_frames_over_and_counts_them_where_none_are_let_go_of(
    new_reader: NewReader,
) -> None:
    reader = opened(new_reader(frames=10**9, is_live=True))

    held = [taken(reader) for _ in range(SLOTS)]
    time.sleep(0.05)
    held.clear()
    gc.collect()
    frame = taken(reader)

    assert isinstance(frame, Frame)
    assert frame.missed_before > 0
    assert frame.frame_id == SLOTS + frame.missed_before


def test_source_that_failed_can_be_opened_again_in_the_same_process(new_reader: NewReader) -> None:
    reader = opened(new_reader(frames=5, fails_at=2))
    frames = [taken(reader), taken(reader)]

    with pytest.raises(SourceError, match="scripted: failed"):
        taken(reader)
    reader.open()
    info = taken(reader)

    assert len(frames) == 2
    assert isinstance(info, SourceInfo)
    assert info.description == "open 2"


def test_error_of_a_library_is_told_in_one_line(new_reader: NewReader) -> None:
    reader = opened(new_reader(BrokenSource))

    with pytest.raises(SourceError, match=r"^ZeroDivisionError: of some library$"):
        taken(reader)


def test_process_that_died_is_told_with_its_signal_and_replaced(new_reader: NewReader) -> None:
    reader = opened(new_reader(frames=5, dies_at=1))
    assert isinstance(taken(reader), Frame)

    with pytest.raises(ReaderDied, match=r"scripted: the process that reads it was killed by SIGSEGV"):
        taken(reader)

    opened(reader)


def test_frame_outlives_its_process(new_reader: NewReader) -> None:
    reader = opened(new_reader(frames=5, dies_at=1))
    frame = taken(reader)
    with pytest.raises(ReaderDied):
        taken(reader)

    assert isinstance(frame, Frame)
    assert np.array_equal(frame.pixels, picture(0, 64, 48, False))


def test_process_that_hangs_is_killed(new_reader: NewReader) -> None:
    reader = opened(new_reader(frames=5, hangs_at=1))
    taken(reader)
    process = reader._process
    assert process is not None
    pid = process.pid
    assert pid

    before_s = time.monotonic()
    reader.close(0.0)

    assert time.monotonic() - before_s < 1
    assert not Path(f"/proc/{pid}").exists()


def test_process_that_is_told_to_end_ends_by_itself(new_reader: NewReader) -> None:
    reader = opened(new_reader(frames=10**9))
    process = reader._process
    assert process is not None

    reader.close(LIMIT_S)

    assert reader._process is None


def test_readers_leave_no_descriptor_behind(new_reader: NewReader) -> None:
    opened(new_reader()).close()  # the first one starts the server of forks
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(3):
        reader = opened(new_reader())
        frame = taken(reader)
        reader.close()
    del frame
    gc.collect()

    assert len(os.listdir("/proc/self/fd")) == before


def test_counts_of_the_source_come_with_its_frames(new_reader: NewReader) -> None:
    reader = opened(new_reader(frames=3))

    for _ in range(3):
        taken(reader)

    assert reader.counts == {"decode_errors": 2}
