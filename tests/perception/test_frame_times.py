"""A recording's times always rise and stay true, whatever its timestamps do."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path

import av
import numpy as np
import pytest
from clips import FRAMES, Kind, write

from perception.sources.counts import SourceCounts
from perception.sources.decoding.frame_times import CaptureTimes, FrameTimes
from perception.sources.source import EndOfSource
from perception.sources.video import VideoSource

MS = 1_000_000
S = 1_000 * MS
HOUR = 3_600 * S
WRAP = 2**33 * S // 90_000


def times_of(stamps_ns: Sequence[int | None], times: FrameTimes) -> list[int]:
    """Times of frames with these timestamps."""
    later = [*stamps_ns[1:], None]
    given = [times.time_ns(pts, lambda it=after: it) for pts, after in zip(stamps_ns, later, strict=True)]  # type: ignore[misc]
    assert all(after > before for before, after in pairwise(given))
    return given


def steady(frames: int, first_ns: int = 0, period_ns: int = 40 * MS) -> list[int]:
    return [first_ns + number * period_ns for number in range(frames)]


def test_frame_times_follow_the_pts_and_keep_a_variable_rate() -> None:
    assert times_of([500 * MS, 600 * MS, 950 * MS], FrameTimes(10.0)) == [0, 100 * MS, 450 * MS]


@pytest.mark.parametrize("bad", [None, 100 * MS, 0, 200 * MS])
def test_missing_and_backward_pts_go_on_by_the_nominal_rate(bad: int | None) -> None:
    given = times_of([0, 200 * MS, bad, 400 * MS], FrameTimes(10.0))

    assert given == [0, 200 * MS, 300 * MS, 400 * MS]


@pytest.mark.parametrize(
    "second_ns",
    [-2 * S, -20 * S, -26 * HOUR, 15 * S, HOUR, WRAP - 20 * S, WRAP + HOUR, -WRAP],
    ids=[
        "2 s back",
        "20 s back",
        "a day back",
        "15 s on",
        "an hour on",
        "wrapped",
        "wrapped on",
        "unwrapped",
    ],
)
def test_another_clock_goes_on_one_period_after_the_last_frame(second_ns: int) -> None:
    times, first = FrameTimes(25.0), steady(100, 50 * S)

    given = times_of([*first, *steady(100, first[-1] + second_ns), *steady(100, 7 * S)], times)

    assert given == steady(300)
    assert (times.clock_steps, times.strays, times.gaps) == (2, 0, 0)


@pytest.mark.parametrize(
    ("by_ns", "in_a_row"),
    [
        *((by_ns, 1) for by_ns in (5 * S, 2 * S, 500 * MS, 90 * MS, -20 * MS)),
        *(
            (by_ns, in_a_row)
            for by_ns in (37_600 * S, -9_800 * S, -5 * S, -500 * MS)
            for in_a_row in (1, 2, 5)
        ),
    ],
)
def test_a_frame_that_is_stamped_wrong_costs_the_others_nothing(by_ns: int, in_a_row: int) -> None:
    times, stamps = FrameTimes(25.0), steady(300)
    wrong = [number for number in range(40, 300, 50)]
    for number in wrong:
        for more in range(in_a_row):
            stamps[number + more] += by_ns

    given = times_of(stamps, times)

    near = {number + more for number in wrong for more in range(in_a_row + 1)}
    assert [given[it] for it in range(300) if it not in near] == [
        it * 40 * MS for it in range(300) if it not in near
    ]
    assert max(abs(given[it] - it * 40 * MS) for it in near) <= 40 * MS
    assert (times.clock_steps, times.gaps) == (0, 0)


def test_a_pause_is_kept_and_reported() -> None:
    times = FrameTimes(25.0)

    given = times_of([*steady(50), *steady(50, 5 * S), *steady(50, 10 * S)], times)

    assert given == [*steady(50), *steady(50, 5 * S), *steady(50, 10 * S)]
    assert (times.clock_steps, times.strays, times.gaps) == (0, 0, 2)


def test_a_recording_that_begins_again_counts_on() -> None:
    times = FrameTimes(25.0)
    times_of([*steady(50), *steady(50, 5 * S), *steady(50)], times)

    again = FrameTimes(25.0)
    again.count_on(times)

    assert times_of([*steady(50), *steady(50, 5 * S)], again) == [*steady(50), *steady(50, 5 * S)]
    assert (again.clock_steps, again.gaps) == (1, 2)


@pytest.mark.parametrize("first", [None, 0, -1_400 * MS, 95_000 * S])
def test_first_frame_without_a_timestamp_does_not_set_the_clock(first: int | None) -> None:
    given = times_of([first, *steady(50, 95_000 * S + 40 * MS)], FrameTimes(25.0))

    assert given == steady(51)


@pytest.mark.parametrize("stamp_ns", [None, 0, 95_443 * S])
def test_frames_that_all_have_one_timestamp_are_counted(stamp_ns: int | None) -> None:
    times = FrameTimes(25.0)

    assert times_of([stamp_ns] * 200, times) == steady(200)
    assert times.clock_steps == 0


def test_timestamps_in_another_unit_are_counted() -> None:
    """Numbers of frames on a clock of 90 kHz."""
    assert times_of([round(number * S / 90_000) for number in range(200)], FrameTimes(25.0)) == steady(200)


@pytest.mark.parametrize("order", [(0, 2, 1, 3), (0, 4, 2, 1, 3, 5), (0, 1, 1, 2), (0, 1, 3, 3, 4, 5)])
def test_frames_out_of_order_and_twice_are_set_right_soon(order: tuple[int, ...]) -> None:
    stamps = [number * 40 * MS for number in (*order, *range(order[-1] + 1, 60))]

    given = times_of(stamps, FrameTimes(25.0))

    assert given[20:] == stamps[20:]


@pytest.mark.parametrize("declared_hz", [25.0, 50.0, 1000.0])
def test_a_clock_that_is_set_back_a_little_is_followed_at_the_measured_rate(declared_hz: float) -> None:
    stamps = [*steady(100), *steady(200, 3_460 * MS)]

    given = times_of(stamps, FrameTimes(declared_hz))

    assert given == steady(300)


def test_times_of_a_slow_recording_are_believed() -> None:
    """One picture per minute, as stated by the container."""
    assert times_of(steady(20, 0, 60 * S), FrameTimes(1 / 60)) == steady(20, 0, 60 * S)


@pytest.mark.parametrize("step_s", [12, 60, 600])
def test_a_picture_a_minute_is_one_a_minute_whatever_rate_is_reported(step_s: int) -> None:
    rng = random.Random(2)
    steady = [number * step_s * S for number in range(30)]
    uneven = [stamp + rng.randrange(3 * S) for stamp in steady]
    begins_fast = [number * 40 * MS for number in range(20)]
    begins_fast += [begins_fast[-1] + stamp for stamp in steady[1:]]

    for stamps, form in product((steady, uneven, begins_fast), ("mpegts", "matroska")):
        times = FrameTimes(25.0, form)
        assert times_of(stamps, times) == [stamp - stamps[0] for stamp in stamps]
        assert (times.clock_steps, times.strays, times.gaps) == (0, 0, 0)


def test_varying_intervals_are_kept_as_they_are() -> None:
    rng, stamps = random.Random(1), [0]
    for _ in range(500):
        stamps.append(stamps[-1] + round(1e9 / rng.uniform(5, 60)))
    times = FrameTimes(30.0)

    assert times_of(stamps, times) == stamps
    assert (times.clock_steps, times.strays, times.gaps) == (0, 0, 0)


def test_times_rise_and_stay_bounded_whatever_the_timestamps_are() -> None:
    for seed in range(200):
        rng = random.Random(seed)
        stamps: list[int | None] = []
        at_ns = 0
        for _ in range(400):
            at_ns += rng.choice((40 * MS, 40 * MS, 33 * MS, 0, -40 * MS, 80 * MS, 3 * S, -7 * HOUR, 9 * HOUR))
            stamps.append(rng.choice((at_ns, at_ns, at_ns, at_ns + HOUR, None)))

        given = times_of(stamps, FrameTimes(25.0))

        assert given[-1] < 400 * 10 * S


def test_times_of_a_live_source_are_those_of_capture_and_always_rise() -> None:
    times = CaptureTimes()

    assert [times.time_ns(captured_ns) for captured_ns in (500, 540, 530, 580)] == [0, 40, 41, 80]


def written(file: Path, stamps_s: Sequence[float]) -> Path:
    """A recording of small pictures with these timestamps."""
    with av.open(str(file), "w") as container:
        codec = "flv" if file.suffix == ".flv" else "mpeg4"
        stream = container.add_stream(codec, rate=25, options={"g": "1", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        noise = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
        picture = av.VideoFrame.from_ndarray(noise, format="bgr24")
        packets = [packet for _ in stamps_s for packet in stream.encode(picture)] + stream.encode()
        for packet, stamp_s in zip(packets, stamps_s, strict=True):
            packet.time_base = Fraction(1, 90_000)
            packet.pts = packet.dts = round(stamp_s * 90_000)
            container.mux(packet)
    return file


def read(file: Path) -> tuple[list[int], VideoSource]:
    """Times of a recording's frames in ms, from the first one, and the source."""
    source, times_ms = VideoSource(file), []
    source.open()
    with contextlib.suppress(EndOfSource):
        while True:
            times_ms.append(round(source.read().time_ns / MS))
    source.close()
    return times_ms, source


EVERY_40_MS = [number / 25 for number in range(50)]


@pytest.mark.parametrize(
    ("first_s", "second_s"), [(9_000, 20), (20, 9_000), (95_442, 300), (300, 95_442), (500, 497)]
)
def test_recordings_that_were_joined_go_on_one_period_later(
    tmp_path: Path, first_s: float, second_s: float
) -> None:
    parts = [
        written(tmp_path / f"{number}.ts", [first_s + it for it in EVERY_40_MS])
        for number, first_s in enumerate((first_s, second_s))
    ]
    file = tmp_path / "trip.ts"
    file.write_bytes(b"".join(part.read_bytes() for part in parts))

    times_ms, source = read(file)

    assert times_ms == [40 * number for number in range(100)]
    steps = source.counts().clock_steps
    assert steps > 0 == source.counts().gaps
    source.open()
    source.rewind()
    with contextlib.suppress(EndOfSource):
        while True:
            source.read()
    source.close()
    assert source.counts().clock_steps == steps


@pytest.mark.parametrize("suffix", ["ts", "mkv", "mp4", "mov", "flv", "avi"])
def test_a_pause_of_a_recording_is_kept_in_every_container(tmp_path: Path, suffix: str) -> None:
    times_ms, source = read(
        written(tmp_path / f"dashcam.{suffix}", [*EVERY_40_MS, *(5 + it for it in EVERY_40_MS)])
    )

    assert times_ms[:50] == pytest.approx([40 * number for number in range(50)], abs=1)
    assert times_ms[50:] == pytest.approx([5_000 + 40 * number for number in range(50)], abs=40)
    assert (source.counts().clock_steps, source.counts().gaps) == (0, 1)


def test_pictures_of_an_avi_that_are_shown_in_another_order_come_at_their_rate(tmp_path: Path) -> None:
    kind = Kind("libx264", codec_options={"preset": "medium", "bf": "3"})
    times_ms, source = read(write(tmp_path / "reordered.avi", kind))

    assert times_ms == [40 * number for number in range(FRAMES)]
    assert source.counts().strays == 0


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov", "avi"])
@pytest.mark.parametrize("pause_s", [16, 900])
def test_a_long_pause_is_kept_where_one_recorder_wrote_the_file(
    tmp_path: Path, suffix: str, pause_s: int
) -> None:
    after_s = pause_s + EVERY_40_MS[-1]
    stamps_s = [*EVERY_40_MS, *(after_s + it for it in EVERY_40_MS)]
    times_ms, source = read(written(tmp_path / f"outage.{suffix}", stamps_s))

    assert times_ms[49:] == pytest.approx([1_960, *(round(it * 1000) for it in stamps_s[50:])], abs=40)
    assert (source.counts().clock_steps, source.counts().gaps) == (0, 1)


def test_the_clock_of_a_recording_that_wraps_goes_on(tmp_path: Path) -> None:
    file = written(tmp_path / "wraps.ts", [2**33 / 90_000 - 1 + it for it in EVERY_40_MS])

    times_ms, source = read(file)

    assert times_ms == [40 * number for number in range(50)]
    assert source.counts().clock_steps == 0


@pytest.mark.parametrize(
    ("counts", "displaced", "notes"),
    [
        (SourceCounts(), 0, []),
        (SourceCounts(slowed_ms=20), 0, []),
        (
            SourceCounts(skipped=1, slowed_ms=2_300),
            12,
            [
                "this machine does not keep up with --realtime: 12 frames were dropped for newer ones, "
                "1 frame was read too late and skipped, the recording was slowed down by 2.3 s"
            ],
        ),
        (
            SourceCounts(gaps=1, clock_steps=2),
            0,
            [
                "timestamps of the recording: 1 pause of more than a second, kept, "
                "2 jumps to another clock, where time continues one period later"
            ],
        ),
        (
            SourceCounts(strays=3),
            0,
            ["timestamps of the recording: 3 frames with a wrong timestamp, corrected from the others"],
        ),
    ],
)
def test_what_is_wrong_with_times_is_reported_in_one_line(
    counts: SourceCounts, displaced: int, notes: list[str]
) -> None:
    assert counts.notes(displaced) == notes
