"""A live source that fails, hangs or dies is reported, reopened and replaced, by the test's own clock."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pytest

from perception.frame import CameraState, Frame
from perception.sources.isolated.freshness import FreshnessSettings, ReconnectSettings
from perception.sources.isolated.reader import ReaderDied, ReaderLost, ReaderMalformed
from perception.sources.isolated.supervisor import (
    IsolatedSource,
    Limits,
    Waiting,
)
from perception.sources.pacing import Limited
from perception.sources.source import EndOfSource, NoFrame, SourceError, SourceInfo
from perception.system.time_limits import READER_MARGIN_S, READER_START_S

MS = 1_000_000
LIMITS = Limits(
    open_timeout_s=3,
    read_timeout_s=2,
    freshness=FreshnessSettings(lost_after_s=1),
    reconnect=ReconnectSettings(first_s=0.25, cap_s=1, jitter=0),
)

INFO = SourceInfo("cam", True, (8, 6), 25.0)
Event = tuple[float, SourceInfo | Frame | Exception]
"""Milliseconds after `open`, and what comes then."""


@dataclass
class FakeClock:
    """Time that goes on only where somebody waits."""

    now_ns: int = 1_000 * MS
    next_event_ns: Callable[[], int | None] = lambda: None

    def wait(self, descriptors: list[int], timeout_s: float) -> bool:
        until_ns = self.now_ns + round(timeout_s * 1e9)
        event_ns = self.next_event_ns()
        if event_ns is not None and event_ns <= until_ns:
            self.now_ns = max(self.now_ns, event_ns)
            return True
        self.now_ns = until_ns
        return False


@dataclass
class FakeReader:
    """Each `open` plays the next script."""

    clock: FakeClock
    scripts: list[list[Event]]
    counts: dict[str, int] = field(default_factory=dict)
    opened_ns: list[int] = field(default_factory=list)
    events: list[tuple[int, SourceInfo | Frame | Exception]] = field(default_factory=list)
    closed_with_s: float | None = None
    waits_for_slot: bool = False

    def open(self) -> None:
        self.opened_ns.append(self.clock.now_ns)
        script = self.scripts.pop(0) if self.scripts else []
        self.events = [(self.clock.now_ns + round(after_ms * MS), what) for after_ms, what in script]
        self.clock.next_event_ns = lambda: self.events[0][0] if self.events else None

    def take(self) -> SourceInfo | Frame | None:
        if not self.events or self.events[0][0] > self.clock.now_ns:
            return None
        _, what = self.events.pop(0)
        if isinstance(what, Exception):
            raise what
        if isinstance(what, Frame):
            self.counts = {"decode_errors": self.counts.get("decode_errors", 0) + 1}
        return what

    def close(self, grace_s: float) -> None:
        self.closed_with_s = grace_s
        self.events = []

    def fileno(self) -> int:
        return -1


def _frame(number: int, captured_ms: float) -> Frame:
    return Frame(
        "cam",
        number,
        round(captured_ms * MS),
        number * 40 * MS,
        np.zeros((6, 8, 3), np.uint8),
        f"{number:06d}",
    )


def _steady(frames: int, from_ms: float = 1_000) -> list[Event]:
    """Opens at once and gives frames at 25 Hz; `from_ms` is the clock at `open`."""
    return [(0, INFO), *((40.0 * it, _frame(it, from_ms + 40.0 * it)) for it in range(frames))]


class Rig:
    """A supervised source and the readers that it had, each with its scripts."""

    def __init__(
        self, *scripts: list[list[Event]], limits: Limits = LIMITS, awaited: SourceInfo | None = None
    ) -> None:
        self.clock = FakeClock()
        self.readers: list[FakeReader] = []
        left = list(scripts)

        def new_reader() -> FakeReader:
            self.readers.append(FakeReader(self.clock, left.pop(0) if left else []))
            return self.readers[-1]

        waiting = Waiting(lambda: self.clock.now_ns, lambda *arguments: self.clock.wait(*arguments))
        self.source = IsolatedSource(new_reader, "cam", limits, waiting, awaited)

    def read_until(self, ms: float) -> list[tuple[float, Frame | NoFrame]]:
        """What comes up to a time, with the milliseconds of the clock."""
        seen: list[tuple[float, Frame | NoFrame]] = []
        while self.clock.now_ns < ms * MS:
            item: Frame | NoFrame
            try:
                item = self.source.read()
            except NoFrame as silence:
                item = silence
            seen.append((self.clock.now_ns / MS, item))
        return seen


@pytest.fixture
def rig_of() -> Callable[..., Rig]:
    rigs: list[Rig] = []

    def make(*scripts: list[list[Event]], limits: Limits = LIMITS, awaited: SourceInfo | None = None) -> Rig:
        rigs.append(Rig(*scripts, limits=limits, awaited=awaited))
        return rigs[-1]

    yield make  # type: ignore[misc]
    for rig in rigs:
        rig.source.close()


RigOf = Callable[..., Rig]


def test_frames_go_through_as_they_come(rig_of: RigOf) -> None:
    rig = rig_of([_steady(5)])

    assert rig.source.open() == INFO
    seen = rig.read_until(1_160)

    assert [item.frame_id for _, item in seen if isinstance(item, Frame)] == [0, 1, 2, 3, 4]


def test_silence_is_reported_within_three_periods_and_at_the_nominal_rate(rig_of: RigOf) -> None:
    rig = rig_of([_steady(10)])
    rig.source.open()

    seen = rig.read_until(3_000)
    outages = [(at_ms, item.record) for at_ms, item in seen if isinstance(item, NoFrame)]

    assert outages[0][0] == 1_360 + 120
    assert {round(later - before) for (before, _), (later, _) in pairwise(outages)} == {40}
    assert [outage.camera_state for at_ms, outage in outages if at_ms < 1_360 + 1_120] == [
        CameraState.STALE
    ] * 25
    lost = [outage.camera_state for at_ms, outage in outages if at_ms >= 1_360 + 1_120]
    assert set(lost) == {CameraState.LOST}


def test_outage_has_the_time_and_the_capture_of_the_last_frame(rig_of: RigOf) -> None:
    rig = rig_of([_steady(3)])
    rig.source.open()

    outage = next(item.record for _, item in rig.read_until(1_300) if isinstance(item, NoFrame))

    assert outage.captured_ns == 1_080 * MS
    assert outage.time_ns == (80 + 120) * MS
    assert (outage.source_id, outage.frame_wh) == ("cam", (8, 6))


def test_source_that_failed_is_opened_again_by_the_same_reader_in_growing_steps(rig_of: RigOf) -> None:
    gone = SourceError("cam: unplugged")
    rig = rig_of([[*_steady(2), (41, gone)], [(0, gone)], [(0, gone)], [(0, gone)], _steady(3, 3_000)])
    rig.source.open()

    seen = rig.read_until(3_100)

    (reader,) = rig.readers
    steps_ms = [(b - a) / MS for a, b in pairwise(reader.opened_ns[1:])]
    assert steps_ms == [250, 500, 1000]
    assert rig.source.counts().reconnect_attempts == 4
    assert rig.source.counts().reconnects == 1
    states = [it.record.camera_state for at_ms, it in seen if isinstance(it, NoFrame) and at_ms < 3_000]
    assert set(states) == {CameraState.LOST}
    assert [at_ms for at_ms, item in seen if isinstance(item, Frame)] == [1_000, 1_040, 3_000, 3_040, 3_080]


def test_attempt_that_was_waited_for_is_followed_by_the_next_at_once(rig_of: RigOf) -> None:
    silent = SourceError("cam: no video within 0.6 s")
    rig = rig_of([[*_steady(2), (41, SourceError("cam: gone"))], *([[(600, silent)]] * 5), _steady(3, 4_250)])
    rig.source.open()

    seen = rig.read_until(4_300)

    (reader,) = rig.readers
    steps_ms = [(b - a) / MS for a, b in pairwise(reader.opened_ns[1:])]
    assert steps_ms == [600] * 5, "0.6 s are half of every step, up to the cap of 1 s"
    assert [at_ms for at_ms, item in seen if isinstance(item, Frame)][2:] == [4_250, 4_290, 4_330]


def test_reason_of_a_lost_source_states_its_problem_and_the_attempts(rig_of: RigOf) -> None:
    rig = rig_of([[(0, INFO), (0, SourceError("cam: unplugged"))], [(0, SourceError("cam: unplugged"))]])
    rig.source.open()

    reasons = [item.record.camera_reason for _, item in rig.read_until(1_200) if isinstance(item, NoFrame)]

    assert reasons[0] == "no frame for 0.1 s; cam: unplugged; attempt 1 to reconnect in 0.1 s"


def test_ids_and_times_go_on_over_a_source_that_was_opened_again(rig_of: RigOf) -> None:
    rig = rig_of([[*_steady(3), (81, SourceError("cam: gone"))], _steady(3, 1_250)])
    rig.source.open()

    frames = [item for _, item in rig.read_until(1_335) if isinstance(item, Frame)]

    assert [frame.frame_id for frame in frames] == [0, 1, 2, 3, 4, 5]
    assert [frame.time_ns / MS for frame in frames] == [0, 40, 80, 250, 290, 330]
    assert [frame.name for frame in frames] == [f"{number:06d}" for number in range(6)]


def test_reader_that_gives_nothing_beyond_its_limit_is_killed_and_replaced(rig_of: RigOf) -> None:
    rig = rig_of([_steady(2)], [_steady(5, 4_040)])
    rig.source.open()

    seen = rig.read_until(4_200)

    assert rig.readers[0].closed_with_s == 0
    assert rig.source.counts().hangs == 1
    assert rig.readers[1].opened_ns == [round((1_040 + 1000 * (2 + READER_MARGIN_S)) * MS)]
    assert isinstance(seen[-1][1], Frame)


def test_open_that_hangs_again_is_killed_at_its_limit_too(rig_of: RigOf) -> None:
    rig = rig_of([[*_steady(2), (41, SourceError("cam: gone"))], []], [[(100, INFO)]])
    rig.source.open()

    outages = [item.record for _, item in rig.read_until(5_300) if isinstance(item, NoFrame)]

    assert rig.readers[1].opened_ns == [round((1_250 + 1000 * (3 + READER_MARGIN_S)) * MS)]
    assert "hung for 4.0 s while it was opened" in outages[-1].camera_reason


def test_process_that_died_is_replaced_and_counted(rig_of: RigOf) -> None:
    rig = rig_of([[*_steady(2), (41, ReaderDied("cam: was killed by SIGSEGV"))]], [_steady(5, 1_250)])
    rig.source.open()

    seen = rig.read_until(1_400)

    assert rig.source.counts().deaths == 1
    assert len([item for _, item in seen if isinstance(item, Frame)]) == 7


def test_counts_go_on_over_a_source_that_was_opened_again(rig_of: RigOf) -> None:
    rig = rig_of([[*_steady(3), (81, SourceError("cam: gone"))], _steady(3, 1_250)])
    rig.source.open()

    rig.read_until(1_335)

    assert rig.source.counts().decode_errors == 6


def test_source_that_does_not_open_at_first_is_an_error(rig_of: RigOf) -> None:
    rig = rig_of([[(10, SourceError("cam: no such camera"))]])

    with pytest.raises(SourceError, match="no such camera"):
        rig.source.open()

    assert rig.readers[0].closed_with_s is not None


def test_source_that_hangs_when_it_is_opened_at_first_is_an_error_in_time(rig_of: RigOf) -> None:
    rig = rig_of([[]])

    with pytest.raises(SourceError, match="did not open within 6"):
        rig.source.open()

    assert rig.clock.now_ns == round((1_000 + 1000 * (3 + READER_START_S + READER_MARGIN_S)) * MS)


def test_stop_ends_reading(rig_of: RigOf) -> None:
    rig = rig_of([_steady(3)])
    rig.source.open()

    rig.source.stop()

    with pytest.raises(EndOfSource):
        rig.source.read()


def test_live_source_that_says_that_it_has_ended_is_not_opened_again(rig_of: RigOf) -> None:
    rig = rig_of([[*_steady(2), (80, EndOfSource())]])
    rig.source.open()

    assert [rig.source.read().frame_id for _ in range(2)] == [0, 1]
    for _ in range(2):
        with pytest.raises(EndOfSource):
            rig.source.read()
    assert len(rig.readers[0].opened_ns) == 1


def test_source_whose_frames_come_in_pieces_may_be_silent_for_one_more(rig_of: RigOf) -> None:
    in_pieces = replace(INFO, burst_s=8.0)
    rig = rig_of([[(0, in_pieces), (1, _frame(0, 1_001))]], [_steady(5, 12_100)])
    rig.source.open()

    rig.read_until(1_000 + 1 + 1000 * (2 + 8 + READER_MARGIN_S) - 100)
    assert rig.source.counts().hangs == 0
    rig.read_until(12_500)
    assert rig.source.counts().hangs == 1


def test_recording_ends_and_fails_as_one(rig_of: RigOf) -> None:
    recorded = SourceInfo("clip", False, (8, 6), 25.0)
    rig = rig_of([[(0, recorded), (1, _frame(0, 1_001)), (500, SourceError("clip: incomplete"))]])
    rig.source.open()

    assert rig.source.read().frame_id == 0
    with pytest.raises(SourceError, match="incomplete"):
        rig.source.read()


def _recorded_round(frames: int) -> list[Event]:
    """Opens after 5 ms and gives all at once; the reader's frames count as decoding errors here."""
    opened = SourceInfo("clip", False, (8, 6), 25.0)
    return [(5, opened), *((6.0, _frame(it, 1_006.0)) for it in range(frames)), (7, EndOfSource())]


def test_recording_that_is_opened_again_starts_over(rig_of: RigOf) -> None:
    rig = rig_of([_recorded_round(2)], [_recorded_round(2)])
    rounds = []
    for _ in range(2):
        rig.source.open()
        rounds.append([rig.source.read() for _ in range(2)])
        with pytest.raises(EndOfSource):
            rig.source.read()
        rig.source.close()

    first, again = ([(it.frame_id, it.time_ns) for it in frames] for frames in rounds)
    assert first == again
    assert len(rig.readers) == 2


def test_step_of_no_other_clock_matters(rig_of: RigOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: pytest.fail("the wall clock was asked"))
    rig = rig_of([_steady(3)])
    rig.source.open()

    assert rig.read_until(1_500)


# A source that is not there at first.

AWAITED = SourceInfo("cam", True, None, 25.0, "not open yet")
NO_CAMERA = SourceError("cam: no such camera")


def _retrying(retries: int | None) -> Limits:
    return replace(LIMITS, open_retries=retries)


def test_live_source_that_does_not_open_at_first_is_lost_until_it_does(rig_of: RigOf) -> None:
    absent: list[Event] = [(10, NO_CAMERA)]
    rig = rig_of([absent], [absent, absent, _steady(3, 2_750)], limits=_retrying(None), awaited=AWAITED)

    assert rig.source.open() == AWAITED
    seen = rig.read_until(2_830)

    outages = [item.record for _, item in seen if isinstance(item, NoFrame)]
    frames = [item for _, item in seen if isinstance(item, Frame)]
    assert {outage.camera_state for outage in outages} == {CameraState.LOST}
    assert {outage.frame_wh for outage in outages} == {None}
    assert (
        outages[0].camera_reason == "no frame for 0.1 s; cam: no such camera; attempt 2 to open it in 0.1 s"
    )
    record_times_ms = [at_ms for at_ms, item in seen if isinstance(item, NoFrame)]
    assert {round(later - before) for before, later in pairwise(record_times_ms)} == {40}
    times_ns = [outage.time_ns for outage in outages] + [frame.time_ns for frame in frames]
    assert times_ns == sorted(set(times_ns))
    assert [frame.frame_id for frame in frames] == [0, 1, 2]
    assert rig.source.counts().reconnects == 1


@pytest.mark.parametrize("retries", [1, 3])
def test_live_source_is_tried_so_often_and_then_given_up(rig_of: RigOf, retries: int) -> None:
    rig = rig_of([[(10, NO_CAMERA)]], [[(10, NO_CAMERA)]] * 9, limits=_retrying(retries), awaited=AWAITED)
    rig.source.open()

    with pytest.raises(SourceError, match="no such camera"):
        rig.read_until(20_000)

    assert sum(len(reader.opened_ns) for reader in rig.readers) == 1 + retries


def test_open_that_hangs_at_first_is_tried_again_too(rig_of: RigOf) -> None:
    rig = rig_of([[]], [[]], [_steady(3, 13_500)], limits=_retrying(None), awaited=AWAITED)
    rig.source.open()

    frames = [item for _, item in rig.read_until(13_300) if isinstance(item, Frame)]

    assert frames
    assert rig.source.counts().hangs == 1


def test_time_of_a_source_that_never_gives_a_frame_goes_on(rig_of: RigOf) -> None:
    rig = rig_of([[(0, INFO)]])
    limited = Limited(rig.source, duration_s=3)
    limited.open()

    with suppress(EndOfSource):
        while rig.clock.now_ns < 60_000 * MS:
            with suppress(NoFrame):
                limited.read()

    assert rig.clock.now_ns == pytest.approx(4_000 * MS, abs=100 * MS)


def test_size_that_is_not_known_at_first_is_that_of_the_first_frame(rig_of: RigOf) -> None:
    unknown = replace(INFO, frame_wh=None)
    rig = rig_of([[(0, unknown), (500, _frame(0, 1_500))]])

    assert rig.source.open() == unknown
    seen = rig.read_until(2_000)

    sizes = [(at_ms < 1_500, item.record.frame_wh) for at_ms, item in seen if isinstance(item, NoFrame)]
    assert set(sizes) == {(True, None), (False, (8, 6))}


def test_recording_that_was_taken_for_a_live_source_ends_the_run(rig_of: RigOf) -> None:
    recorded = replace(INFO, is_live=False)
    rig = rig_of([[(10, NO_CAMERA)]], [[(0, recorded)]], limits=_retrying(None), awaited=AWAITED)
    rig.source.open()

    with pytest.raises(SourceError, match="is a recording"):
        rig.read_until(5_000)


def test_stopped_source_is_not_waited_for(rig_of: RigOf) -> None:
    rig = rig_of([[(10, NO_CAMERA)]], limits=_retrying(None), awaited=AWAITED)
    rig.source.open()

    rig.source.stop()

    with pytest.raises(EndOfSource):
        rig.source.read()


# A recording in a process of its own.


def test_recording_whose_reader_hangs_ends_and_repeats_no_frame(rig_of: RigOf) -> None:
    recorded = SourceInfo("clip", False, (8, 6), 25.0)
    rig = rig_of(
        [[(0, recorded), *((1, _frame(it, 1_001)) for it in range(3))]],
        [[(0, recorded), *((1, _frame(it, 1_001)) for it in range(5)), (2, EndOfSource())]],
    )
    rig.source.open()
    ids = [rig.source.read().frame_id for _ in range(3)]

    with pytest.raises(SourceError, match=r"hung for 3\.0 s while it was read"):
        rig.source.read()

    with pytest.raises(SourceError, match="hung"):
        rig.source.read()
    assert ids == [0, 1, 2]
    assert len(rig.readers) == 1
    assert rig.source.counts().hangs == 1


def test_recording_that_has_ended_is_not_begun_again_by_reading_on(rig_of: RigOf) -> None:
    rig = rig_of([_recorded_round(2), _recorded_round(2)])
    rig.source.open()
    for _ in range(2):
        rig.source.read()

    for _ in range(3):
        rig.clock.now_ns += 10_000 * MS
        with pytest.raises(EndOfSource):
            rig.source.read()

    assert len(rig.readers[0].opened_ns) == 1


def test_recording_whose_reader_dies_ends_and_repeats_no_frame(rig_of: RigOf) -> None:
    recorded = SourceInfo("clip", False, (8, 6), 25.0)
    rig = rig_of(
        [[(0, recorded), (1, _frame(0, 1_001)), (2, ReaderDied("clip: was killed by SIGSEGV"))]], [[]]
    )
    rig.source.open()
    rig.source.read()

    with pytest.raises(SourceError, match="SIGSEGV"):
        rig.source.read()

    assert rig.source.counts().deaths == 1
    assert len(rig.readers) == 1


def test_time_in_which_this_process_was_stopped_does_not_count_as_a_hang(rig_of: RigOf) -> None:
    recorded = SourceInfo("clip", False, (8, 6), 25.0)
    rig = rig_of([[(0, recorded), (1, _frame(0, 1_001)), (20_001, _frame(1, 21_000))]])
    rig.source.open()
    rig.source.read()
    wait = rig.clock.wait

    def stopped_meanwhile(descriptors: list[int], timeout_s: float) -> bool:
        rig.clock.wait = wait  # type: ignore[method-assign]
        rig.clock.now_ns += 19_000 * MS
        return False

    rig.clock.wait = stopped_meanwhile  # type: ignore[method-assign]

    assert rig.source.read().frame_id == 1


# Readers that cannot be gone on with.


@pytest.mark.parametrize(
    ("error", "malformed"),
    [
        (ReaderLost("cam: the process that reads it cannot be started"), 0),
        (ReaderMalformed("cam: damaged"), 1),
    ],
)
def test_reader_that_cannot_be_gone_on_with_is_replaced(
    rig_of: RigOf, error: ReaderLost, malformed: int
) -> None:
    rig = rig_of([[*_steady(2), (41, error)]], [[(0, error)]], [_steady(5, 1_800)])
    rig.source.open()

    seen = rig.read_until(1_900)

    assert len(rig.readers) == 3
    assert len([item for _, item in seen if isinstance(item, Frame)]) > 2
    assert rig.source.counts().malformed == 2 * malformed
    assert rig.source.counts().deaths == 0


def test_outages_have_the_shape_of_the_last_frames(rig_of: RigOf) -> None:
    of_another_size = replace(_frame(1, 1_040), pixels=np.zeros((9, 16, 3), np.uint8), pixel_aspect=(4, 3))
    rig = rig_of([[(0, INFO), (0, _frame(0, 1_000)), (40, of_another_size)]])
    rig.source.open()

    seen = rig.read_until(1_500)

    outages = [item.record for _, item in seen if isinstance(item, NoFrame)]
    assert {(outage.frame_wh, outage.pixel_aspect) for outage in outages} == {((16, 9), (4, 3))}


# Frames that stay too old.


def _late(frames: int, late_ms: float, opens_at_ms: float) -> list[Event]:
    return [
        (0, INFO),
        *((40.0 * it, _frame(it, opens_at_ms + 40.0 * it - late_ms)) for it in range(frames)),
    ]


def test_stream_whose_frames_stay_too_old_is_opened_again_by_the_same_reader(rig_of: RigOf) -> None:
    rig = rig_of([_late(100, 900, 1_000), _steady(20, 2_000)])
    rig.source.open()

    seen = rig.read_until(2_600)

    (reader,) = rig.readers
    assert [at_ns / MS for at_ns in reader.opened_ns] == [1_000, 2_000]
    assert rig.source.counts().late == 1
    after_ms = [(at_ms, item.captured_ns / MS) for at_ms, item in seen[-5:] if isinstance(item, Frame)]
    assert len(after_ms) == 5
    assert all(at_ms == captured_ms for at_ms, captured_ms in after_ms)


def test_stream_that_catches_up_is_left_alone(rig_of: RigOf) -> None:
    script: list[Event] = [(0, INFO), *((20.0 * it, _frame(it, 40.0 * it - 3_000)) for it in range(250))]
    rig = rig_of([script])
    rig.source.open()

    rig.read_until(5_000)

    assert rig.source.counts().late == 0


def test_stream_that_is_always_late_is_opened_again_more_and_more_rarely(rig_of: RigOf) -> None:
    rig = rig_of([_steady(2)])
    rig.source.open()
    (reader,) = rig.readers

    def open_late() -> None:
        now_ns = rig.clock.now_ns
        reader.opened_ns.append(now_ns)
        reader.events = [
            (now_ns + round(after_ms * MS), what) for after_ms, what in _late(5_000, 900, now_ns / MS)
        ]
        rig.clock.next_event_ns = lambda: reader.events[0][0] if reader.events else None

    reader.open = open_late  # type: ignore[method-assign]
    open_late()
    reader.events.pop(0)

    rig.read_until(61_000)

    assert 3 <= rig.source.counts().late <= 6
