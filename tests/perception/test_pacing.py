from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from clips import frames_of

from perception.frame import Frame
from perception.sources import SourceSettings, build_source
from perception.sources.counts import SourceCounts
from perception.sources.pacing import Limited, Looped, Paced, Sampled
from perception.sources.source import EndOfSource, Source, SourceError, SourceInfo
from perception.system.clock import Clock

MS = 1_000_000


class Scripted(Source):
    """A source with frames at the given times; `on_read` stands for the work of decoding."""

    def __init__(
        self,
        times_ns: list[int],
        is_live: bool = False,
        on_read: Callable[[], None] = lambda: None,
        rate_hz: float = 10.0,
    ) -> None:
        self._rate_hz = rate_hz
        self._times_ns, self._is_live, self._on_read = times_ns, is_live, on_read
        self.closed = self.gaps = 0
        self._next = 0

    def open(self) -> SourceInfo:
        self._next = 0
        return SourceInfo("scripted", self._is_live, (8, 8), self._rate_hz)

    def read(self) -> Frame:
        if self._next >= len(self._times_ns):
            raise EndOfSource
        self._on_read()
        frame_id = self._next
        self._next += 1
        pixels = np.zeros((8, 8, 3), np.uint8)
        return Frame("scripted", frame_id, 7, self._times_ns[frame_id], pixels, f"{frame_id:06d}")

    def close(self) -> None:
        self.closed += 1

    def counts(self) -> SourceCounts:
        return SourceCounts(gaps=self.gaps)


class FakeTime:
    """A clock that moves only when somebody waits, or by hand."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * MS
        self.clock = Clock(lambda: self.now_ns, self._wait)

    def _wait(self, event: threading.Event, timeout_s: float) -> bool:
        self.now_ns += round(timeout_s * 1e9)
        return event.is_set()


def read_all(source: Looped | Limited | Paced | Sampled) -> list[Frame]:
    frames = []
    with contextlib.suppress(EndOfSource):
        while True:
            frames.append(source.read())
    return frames


def test_a_loop_goes_on_with_ids_and_times_and_gives_new_names() -> None:
    looped = Looped(Scripted([0, 100 * MS, 250 * MS]))
    looped.open()

    frames = [looped.read() for _ in range(7)]

    assert [frame.frame_id for frame in frames] == [0, 1, 2, 3, 4, 5, 6]
    assert [frame.time_ns // MS for frame in frames] == [0, 100, 250, 350, 450, 600, 700]
    assert [frame.name for frame in frames[2:5]] == ["000002", "000000_1", "000001_1"]


def test_the_average_over_a_long_pause_is_no_period() -> None:
    """An mp4 of some seconds, an hour of nothing, and some seconds more."""
    times_ns = [
        *(number * 40 * MS for number in range(9)),
        *(number * 40 * MS + 3_600_000 * MS for number in range(9)),
    ]
    fake = FakeTime()
    looped = Looped(Scripted(times_ns, rate_hz=0.005))
    paced = Paced(looped, fake.clock)
    paced.open()
    start_ns = fake.now_ns

    frames = [paced.read() for _ in range(20)]

    assert [frame.captured_ns for frame in frames] == [start_ns + frame.time_ns for frame in frames]
    assert frames[18].time_ns - frames[17].time_ns == 40 * MS
    assert max(fake.now_ns - frames[-1].captured_ns, paced.slowed_ns) == 0


def test_a_loop_closes_every_round_before_the_next() -> None:
    source = Scripted([0])
    looped = Looped(source)
    looped.open()
    for _ in range(3):
        looped.read()

    assert source.closed == 2


def test_what_a_loop_counted_is_known_once_it_is_closed() -> None:
    source = Scripted([0])
    source.gaps = 3
    looped = Looped(source)
    looped.open()
    looped.close()

    assert looped.counts().gaps == 3


def test_a_loop_over_nothing_ends() -> None:
    looped = Looped(Scripted([]))
    looped.open()

    with pytest.raises(EndOfSource):
        looped.read()


def test_a_loop_whose_later_rounds_are_empty_ends() -> None:
    times_ns = [0]
    looped = Looped(Scripted(times_ns))
    looped.open()
    looped.read()
    times_ns.clear()

    for _ in range(2):
        with pytest.raises(EndOfSource):
            looped.read()


def test_a_live_source_cannot_be_looped() -> None:
    with pytest.raises(SourceError, match="is live and cannot be looped"):
        Looped(Scripted([0], is_live=True)).open()


@pytest.mark.parametrize(
    ("max_frames", "duration_s", "frames"),
    [(2, None, 2), (0, None, 0), (None, 0.3, 3), (9, 0.1, 1), (None, None, 5)],
)
def test_a_limit_ends_the_source(max_frames: int | None, duration_s: float | None, frames: int) -> None:
    limited = Limited(Scripted([0, 100 * MS, 200 * MS, 300 * MS, 400 * MS]), max_frames, duration_s)
    limited.open()

    assert len(read_all(limited)) == frames


def test_every_nth_frame_keeps_its_id_and_time() -> None:
    sampled = Sampled(Scripted([number * 100 * MS for number in range(8)]), 3)

    frames = read_all(sampled)

    assert [frame.frame_id for frame in frames] == [0, 3, 6]
    assert [frame.time_ns for frame in frames] == [0, 300 * MS, 600 * MS]
    assert sampled.open().rate_hz == pytest.approx(10 / 3)
    assert sampled.read().frame_id == 0


def test_of_a_live_source_no_frames_are_left_out_by_number() -> None:
    source = Scripted([0], is_live=True)

    with pytest.raises(SourceError, match="is live, and every is for recordings"):
        Sampled(source, 2).open()

    assert source.closed


@pytest.mark.parametrize(("every", "frames"), [(1, 10), (3, 4), (20, 1)])
def test_a_video_is_sampled_as_the_settings_ask(
    every: int, frames: int, make_clip: Callable[..., Path]
) -> None:
    source = build_source(str(make_clip(frames=10)), SourceSettings(every=every))

    info = source.open()
    names = [frame.name for frame in frames_of(source, is_open=True)]

    assert names == [f"{every * number:06d}" for number in range(frames)]
    assert info.frames_expected == frames


def test_every_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="every is 0; 1 takes every frame"):
        SourceSettings(every=0)


def test_a_paced_recording_is_live_and_every_frame_comes_at_its_time() -> None:
    fake = FakeTime()
    paced = Paced(Scripted([0, 100 * MS, 200 * MS]), fake.clock)

    assert paced.open().is_live
    start_ns = fake.now_ns
    for expected_ms in (0, 100, 200):
        frame = paced.read()
        assert frame.captured_ns == start_ns + expected_ms * MS == fake.now_ns


def test_decoding_begins_when_the_frame_is_due_and_counts_as_age() -> None:
    fake = FakeTime()
    begun_ms = []

    def decode() -> None:
        begun_ms.append(fake.now_ns // MS - 1_000)
        fake.now_ns += 30 * MS

    paced = Paced(Scripted([0, 100 * MS, 200 * MS], on_read=decode), fake.clock)
    paced.open()
    ages_ms = [(-paced.read().captured_ns + fake.now_ns) / MS for _ in range(3)]

    assert begun_ms == [0, 100, 200]
    assert ages_ms == [30, 30, 30]


def test_a_frame_that_is_later_than_the_nominal_rate_is_waited_for() -> None:
    fake = FakeTime()
    paced = Paced(Scripted([0, 700 * MS]), fake.clock)
    paced.open()
    paced.read()

    frame = paced.read()

    assert frame.captured_ns == fake.now_ns == (1_000 + 700) * MS


def paced_run(
    frames: int, decode_ms: int, pauses_ms: dict[int, int]
) -> tuple[Paced, list[Frame], list[float]]:
    """A recording of 10 Hz that takes so long to read, its frames and their ages in ms.

    Before some reads the process is paused.
    """
    fake = FakeTime()
    reads = iter(range(frames + 1))

    def decode() -> None:
        fake.now_ns += (decode_ms + pauses_ms.get(next(reads), 0)) * MS

    paced = Paced(Scripted([100 * MS * number for number in range(frames)], on_read=decode), fake.clock)
    paced.open()
    given, ages_ms = [], []
    with contextlib.suppress(EndOfSource):
        while True:
            given.append(paced.read())
            ages_ms.append((fake.now_ns - given[-1].captured_ns) / MS)
    return paced, given, ages_ms


def test_a_recording_that_is_read_slower_than_it_plays_is_slowed_down_and_stays_fresh() -> None:
    paced, given, ages_ms = paced_run(100, decode_ms=150, pauses_ms={})

    assert max(ages_ms) <= 250
    assert paced.skipped == 4  # it was tried once
    assert len(given) == 96
    assert paced.slowed_ns / MS == pytest.approx(100 * 50, abs=300)
    assert all(after.captured_ns > before.captured_ns for before, after in itertools.pairwise(given))


def test_a_pause_is_made_up_by_skipping_frames_which_are_counted() -> None:
    paced, given, ages_ms = paced_run(200, decode_ms=5, pauses_ms={50: 6_000})

    ids = [frame.frame_id for frame in given]
    assert ids[:50] == list(range(50))
    assert ids[50] == given[50].missed_before + 50 == pytest.approx(50 + 60 + 3, abs=2)
    assert ids[51:] == list(range(ids[50] + 1, 200))
    assert max(ages_ms) <= 100
    assert paced.skipped == given[50].missed_before
    assert sum(1 + frame.missed_before for frame in given) == 200
    assert paced.slowed_ns == 0


def test_a_pause_that_is_too_long_to_be_made_up_slows_the_recording_down() -> None:
    paced, given, ages_ms = paced_run(200, decode_ms=50, pauses_ms={50: 60_000})

    assert max(ages_ms) <= 250
    assert 0 < paced.skipped <= 20
    assert sum(1 + frame.missed_before for frame in given) == 200
    assert paced.slowed_ns / MS == pytest.approx(60_000 - 1_000, abs=300)


def test_a_recording_that_ends_while_frames_are_skipped_gives_its_last_one() -> None:
    _, given, _ = paced_run(60, decode_ms=5, pauses_ms={50: 60_000})

    assert given[-1].frame_id == 59
    assert sum(1 + frame.missed_before for frame in given) == 60


def test_a_live_source_is_not_paced() -> None:
    fake = FakeTime()
    paced = Paced(Scripted([0, 100 * MS], is_live=True), fake.clock)
    paced.open()

    assert [frame.captured_ns for frame in read_all(paced)] == [7, 7]
    assert fake.now_ns == 1_000 * MS


def test_stop_ends_a_wait_at_once_through_every_wrapper() -> None:
    source = Limited(Paced(Looped(Scripted([0, 60_000 * MS]))), max_frames=9)
    source.open()
    source.read()
    ended = threading.Event()

    def read_on() -> None:
        with pytest.raises(EndOfSource):
            source.read()
        ended.set()

    reader = threading.Thread(target=read_on)
    reader.start()
    time.sleep(0.02)
    stopped_s = time.monotonic()
    source.stop()
    reader.join(timeout=2)

    assert ended.is_set()
    assert time.monotonic() - stopped_s < 0.5
    with pytest.raises(EndOfSource):
        source.read()


@pytest.mark.parametrize(
    ("max_frames", "duration_s", "expected"), [(None, None, 90), (30, None, 30), (300, 2.0, 20), (5, 2.0, 5)]
)
def test_a_limit_says_how_many_frames_to_expect(
    max_frames: int | None, duration_s: float | None, expected: int
) -> None:
    class Declaring(Scripted):
        def open(self) -> SourceInfo:
            return SourceInfo("declaring", False, (4, 2), 10.0, frames_expected=90)

    assert Limited(Declaring([]), max_frames, duration_s).open().frames_expected == expected
    assert Looped(Declaring([])).open().frames_expected == 0
    assert Limited(Looped(Declaring([])), max_frames, duration_s).open().frames_expected == (
        expected if max_frames or duration_s else 0
    )
