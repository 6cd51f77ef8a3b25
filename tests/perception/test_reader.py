"""A source in a process of its own: frames come as they were, and whatever it does, the node goes on."""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from perception.frame import Frame
from perception.imaging.yuv import Yuv420
from perception.sources.counts import SourceCounts
from perception.sources.isolated.freshness import FreshnessSettings, ReconnectSettings
from perception.sources.isolated.reader import IS_SUPPORTED, SLOTS, Reader, ReaderDied
from perception.sources.isolated.supervisor import IsolatedSource, Limits
from perception.sources.source import EndOfSource, NoFrame, Source, SourceError, SourceInfo

pytestmark = pytest.mark.skipif(not IS_SUPPORTED, reason="sources have processes of their own on Linux alone")

LIMIT_S = 20.0  # a process takes its time to start where the machine is busy


@dataclass
class ScriptedSource(Source):
    """Runs in the reader's process: follows a script, frame by frame."""

    frames: int = 3
    is_live: bool = False
    sizes_wh: tuple[tuple[int, int], ...] = ((64, 48),)
    planes: bool = False
    fails_at: int | None = None
    dies_at: int | None = None
    dies_by: int = signal.SIGSEGV
    hangs_at: int | None = None
    jpeg_bytes: tuple[int, ...] = (0,)
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
            os.kill(os.getpid(), self.dies_by)
        if number == self.hangs_at:
            time.sleep(3600)
        if number >= self.frames:
            raise EndOfSource
        self.decode_errors = number
        width, height = self.sizes_wh[number % len(self.sizes_wh)]
        pixels = picture(number, width, height, self.planes)
        jpeg = b"J" * self.jpeg_bytes[number % len(self.jpeg_bytes)] or None
        return Frame("scripted", number, 5, number * 40, pixels, "name", jpeg=jpeg)

    def counts(self) -> SourceCounts:
        return SourceCounts(self.decode_errors)

    def close(self) -> None:
        pass


class DamagedSource(ScriptedSource):
    """After a frame its process says to the node what no sound process would."""

    said: bytes = b""

    def __init__(self, said: bytes, **values: object) -> None:
        super().__init__(**values)  # type: ignore[arg-type]
        self.said = said

    def read(self) -> Frame:
        if self._next_id:
            for name in os.listdir("/proc/self/fd"):
                with suppress(OSError), socket.socket(fileno=os.dup(int(name))) as connection:
                    if connection.type == socket.SOCK_SEQPACKET:
                        connection.send(self.said)
            time.sleep(3600)
        return super().read()


class FailsLater(ScriptedSource):
    """Fails while the node hangs up."""

    def read(self) -> Frame:
        time.sleep(0.4)
        raise SourceError("scripted: no frame for 0.4 s")


class FailsLikeAFile(ScriptedSource):
    """Fails by an error of the system, as a library over a device may."""

    def read(self) -> Frame:
        raise OSError(5, "Input/output error")


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


def test_jpeg_of_a_frame_comes_with_it_unless_it_is_larger_than_the_pixels(new_reader: NewReader) -> None:
    sizes_bytes = (0, 900, 5, 0, 64 * 48 * 3, 64 * 48 * 3 + 1, 7)
    reader = opened(new_reader(frames=7, jpeg_bytes=sizes_bytes))

    frames = [taken(reader) for _ in range(7)]  # held at once

    for number, frame in enumerate(frames):
        assert isinstance(frame, Frame)
        assert np.array_equal(frame.pixels, picture(number, 64, 48, False))
        wanted = sizes_bytes[number] if number != 5 else 0
        assert frame.jpeg == (b"J" * wanted or None)


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


def test_error_of_a_library_is_reported_in_one_line(new_reader: NewReader) -> None:
    reader = opened(new_reader(BrokenSource))

    with pytest.raises(SourceError, match=r"^ZeroDivisionError: of some library$"):
        taken(reader)


def test_process_that_died_is_reported_with_its_signal_and_replaced(new_reader: NewReader) -> None:
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
    (pid,) = _children()

    before_s = time.monotonic()
    reader.close(0.0)

    assert time.monotonic() - before_s < 1
    assert not Path(f"/proc/{pid}").exists()


def test_process_that_is_reported_to_end_ends_by_itself(new_reader: NewReader) -> None:
    reader = opened(new_reader(frames=10**9))

    reader.close(LIMIT_S)

    assert _children() == []


@pytest.mark.slow
def test_readers_leave_no_descriptor_behind(new_reader: NewReader) -> None:
    opened(new_reader()).close()  # what the first one needs stays
    before = _descriptors()

    for _ in range(3):
        reader = opened(new_reader())
        frame = taken(reader)
        reader.close()
    del frame
    gc.collect()

    assert _descriptors() <= before


def test_counts_of_the_source_come_with_its_frames(new_reader: NewReader) -> None:
    reader = opened(new_reader(frames=3))

    for _ in range(3):
        taken(reader)

    assert reader.counts == {"decode_errors": 2}


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGRTMIN, "SIGRTMIN"), (signal.SIGRTMIN + 1, r"SIGRTMIN\+1"), (9, "SIGKILL")]
)
def test_process_that_died_by_any_signal_is_reported_with_it(
    new_reader: NewReader, number: int, name: str
) -> None:
    reader = opened(new_reader(frames=5, dies_at=0, dies_by=int(number)))

    with pytest.raises(ReaderDied, match=f"was killed by {name}$"):
        taken(reader)


def test_reader_that_fails_while_it_is_closed_says_nothing(
    new_reader: NewReader, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        reader = opened(new_reader(FailsLater))
        reader.close(LIMIT_S)

    assert capfd.readouterr().err == ""


def test_error_of_the_system_is_no_death_of_the_process(new_reader: NewReader) -> None:
    reader = opened(new_reader(FailsLikeAFile))

    with pytest.raises(SourceError, match="Input/output error"):
        taken(reader)

    opened(reader)


def test_source_that_cannot_be_made_in_its_process_is_an_error(new_reader: NewReader) -> None:
    reader = new_reader(ScriptedSource, no_such_value=1)

    reader.open()

    with pytest.raises(SourceError, match=r"TypeError: .*no_such_value"):
        taken(reader)


def test_open_source_is_opened_again_when_it_is_asked_for(new_reader: NewReader) -> None:
    reader = opened(new_reader(frames=10**9, is_live=True))
    taken(reader)

    reader.open()

    items = (taken(reader) for _ in range(100))
    assert next(it.description for it in items if isinstance(it, SourceInfo)) == "open 2"


def test_reader_imports_nothing_that_it_does_not_need_and_no_program(new_reader: NewReader) -> None:
    opened(new_reader())
    (child,) = _children()

    maps = Path(f"/proc/{child}/maps").read_text()
    command = Path(f"/proc/{child}/cmdline").read_bytes()

    assert "onnxruntime" not in maps
    assert command.split(b"\0")[-2].endswith(b"child_main.py")


def _descriptors() -> set[str]:
    """What this process has open, without the listing of it itself."""
    found = set()
    for entry in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.add(f"{entry} {os.readlink(f'/proc/self/fd/{entry}')}")
    return found


def _children() -> list[int]:
    """Readers that this process has started and that live."""
    return [
        int(entry)
        for entry in os.listdir("/proc")
        if entry.isdecimal() and _parent(int(entry)) == os.getpid() and _is_reader(int(entry))
    ]


def _is_reader(process: int) -> bool:
    with suppress(OSError):
        return b"child_main.py" in Path(f"/proc/{process}/cmdline").read_bytes()
    return False


def _parent(process: int) -> int:
    with suppress(OSError):
        state, parent, *_ = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
        return 0 if state == "Z" else int(parent)
    return 0


@pytest.fixture
def new_source() -> Iterator[Callable[..., IsolatedSource]]:
    """A live source that is watched over, open, with limits that a test can wait for."""
    sources: list[IsolatedSource] = []

    def make(kind: type[ScriptedSource] = ScriptedSource, **values: object) -> IsolatedSource:
        build = partial(kind, is_live=True, **values)
        limits = Limits(
            open_timeout_s=LIMIT_S,
            read_timeout_s=1.0,
            freshness=FreshnessSettings(),
            reconnect=ReconnectSettings(first_s=0.1, cap_s=0.2),
        )
        sources.append(IsolatedSource(lambda: Reader(build, "scripted"), "scripted", limits))
        sources[-1].open()
        return sources[-1]

    yield make
    for source in sources:
        source.close()


def _frames_come(source: IsolatedSource, frames: int = 3) -> list[str]:
    """Waits for so many frames; gives the reasons of the outages before."""
    reasons: list[str] = []
    until_s = time.monotonic() + LIMIT_S
    while frames and time.monotonic() < until_s:
        try:
            source.read()
            frames -= 1
        except NoFrame as silence:
            reasons.append(silence.record.camera_reason)
    assert not frames
    return reasons


def _reasons_for(source: IsolatedSource, seconds: float) -> list[str]:
    reasons: list[str] = []
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        try:
            source.read()
        except NoFrame as silence:
            reasons.append(silence.record.camera_reason)
    return reasons


@contextmanager
def _no_descriptors_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), hard))
    holes: list[int] = []
    try:
        with suppress(OSError):
            while True:
                holes.append(os.dup(0))
        yield
    finally:
        for hole in holes:
            os.close(hole)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_reader_that_cannot_be_started_for_want_of_descriptors_is_tried_again(
    new_source: Callable[..., IsolatedSource],
) -> None:
    source = new_source(frames=10**9)
    _frames_come(source)
    (child,) = _children()

    with _no_descriptors_left():
        os.kill(child, signal.SIGKILL)
        reasons = _reasons_for(source, 1.5)

    assert any("cannot be started: too many open files" in reason for reason in reasons)
    _frames_come(source)
    assert source.counts().deaths == 1


def test_reader_that_cannot_be_started_for_want_of_a_program_is_tried_again(
    new_source: Callable[..., IsolatedSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = new_source(frames=10**9)
    _frames_come(source)
    (child,) = _children()

    with monkeypatch.context() as patch:
        patch.setattr("sys.executable", "/no/such/python")
        os.kill(child, signal.SIGKILL)
        reasons = _reasons_for(source, 1.0)

    assert any("cannot be started: no such file" in reason for reason in reasons)
    _frames_come(source)


def test_node_with_many_descriptors_can_wait_for_a_reader(new_source: Callable[..., IsolatedSource]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1_200:
        pytest.skip("this machine allows no descriptor above 1023")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1_200), hard))
    many = [os.dup(0) for _ in range(1_100)]
    try:
        _frames_come(new_source(frames=10**9))
    finally:
        for descriptor in many:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.one_in(5)
@pytest.mark.parametrize(
    "said",
    [
        b"\0",
        b"not JSON",
        b"[]",
        b"{}",
        b'{"kind": "frame"}',
        b'{"kind": "NewFrame", "slot": 99, "layout": {}, "values": {}, "counts": {}}',
        b'{"kind": "ring", "slots": -1, "slot_bytes": NaN, "generation": 1}',
        b'{"kind": "NewRing", "slots": 24, "slot_bytes": 4096, "generation": 1}',
        b'{"kind": "opened", "info": {"frame_wh": 5}}',
        b"[" * 50_000,
        b"1" * 5_000,
        b"x" * 70_000,
    ],
)
def test_reader_that_says_what_it_should_not_is_replaced(
    new_source: Callable[..., IsolatedSource], said: bytes
) -> None:
    source = new_source(DamagedSource, said=said, frames=10**9)

    _frames_come(source, frames=2)  # one of each process

    assert source.counts().malformed == 1
    assert source.counts().deaths == source.counts().hangs == 0
