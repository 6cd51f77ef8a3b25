"""Silence is detected by the clock alone, retries back off, late frames show their age."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from perception.frame import CameraState
from perception.sources.arrival import ArrivalClock
from perception.sources.isolated.freshness import (
    Backoff,
    Freshness,
    FreshnessSettings,
    ReconnectSettings,
)
from perception.sources.rate import Rate, RateKind

MS = 1_000_000


def _fed(rate_hz: float, interval_ms: float, frames: int, **settings: float) -> tuple[Freshness, int]:
    """A source that gave so many frames, and the time of the last one."""
    freshness = Freshness(Rate(rate_hz), FreshnessSettings(**settings), 0)
    now_ns = 0
    for number in range(frames):
        now_ns = round(number * interval_ms * MS)
        freshness.frame(now_ns)
    return freshness, now_ns


def test_silence_is_reported_after_three_periods_and_then_once_a_period() -> None:
    freshness, last_ns = _fed(25, 40, 20)

    assert freshness.due_ns() == last_ns + 120 * MS
    assert freshness.report(last_ns + 120 * MS) is CameraState.STALE
    assert freshness.due_ns() == last_ns + 160 * MS


def test_source_is_stale_first_and_lost_after_the_next_limit() -> None:
    freshness, last_ns = _fed(25, 40, 20, lost_after_s=1.0)

    assert freshness.report(last_ns + 1119 * MS) is CameraState.STALE
    assert freshness.report(last_ns + 1120 * MS) is CameraState.LOST


def test_source_that_never_gave_a_frame_is_reported_of_too() -> None:
    freshness = Freshness(Rate(25), FreshnessSettings(), 0)

    assert freshness.due_ns() == 120 * MS


def test_camera_slower_than_its_nominal_rate_has_the_period_that_it_keeps() -> None:
    freshness, last_ns = _fed(30, 100, 10)

    assert freshness.due_ns() == last_ns + 300 * MS


def test_nominal_rate_holds_for_one_that_comes_in_bursts() -> None:
    freshness, last_ns = _fed(25, 1, 40)

    assert freshness.due_ns() == last_ns + 120 * MS


def test_length_of_an_outage_is_no_period() -> None:
    freshness, last_ns = _fed(25, 40, 3)
    for outage in range(1, 20):
        freshness.report(last_ns + outage * 5000 * MS - 1)
        freshness.frame(last_ns + outage * 5000 * MS)

    assert freshness.period_ns == 40 * MS


def _stale_ms(rate_hz: float, arrivals_ms: list[float], kind: RateKind = "declared") -> list[float]:
    """When a source that gives frames at these times is reported as stale."""
    freshness, reported_ms = Freshness(Rate(rate_hz, kind), FreshnessSettings(), 0), []
    for arrival_ms in arrivals_ms:
        while freshness.due_ns() < arrival_ms * MS:
            reported_ms.append(freshness.due_ns() / MS)
            freshness.report(freshness.due_ns())
        freshness.frame(round(arrival_ms * MS))
    return reported_ms


@pytest.mark.parametrize("nominal_hz", [10.0, 25.0, 30.0, 60.0])
@pytest.mark.parametrize("share", [0.1, 0.25, 1 / 3, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("jitter", [0.0, 0.3])
def test_rate_that_a_camera_really_has_is_learnt_within_two_seconds(
    nominal_hz: float, share: float, jitter: float
) -> None:
    period_ms, rng = 1000 / (nominal_hz * share), random.Random(1)
    steady = [number * 1000 / nominal_hz for number in range(100)]
    changed = [
        steady[-1] + (number + 1 + rng.uniform(-jitter, jitter)) * period_ms
        for number in range(round(60_000 / period_ms))
    ]

    from_the_start_ms = _stale_ms(nominal_hz, [at_ms - steady[-1] - 0.5 * period_ms for at_ms in changed])
    changed_later_ms = _stale_ms(nominal_hz, steady + changed)

    assert [at_ms for at_ms in from_the_start_ms if at_ms > 2000 + jitter * period_ms] == []
    assert [at_ms - steady[-1] for at_ms in changed_later_ms if at_ms > steady[-1] + 2300] == []


@pytest.mark.parametrize("real_hz", [0.5, 1.0, 2.0, 5.0, 15.0, 25.0, 60.0])
@pytest.mark.parametrize("jitter", [0.0, 0.3])
@pytest.mark.parametrize("lay_ready", [0, 12])
def test_assumed_rate_is_measured_before_the_camera_is_called_stale(
    real_hz: float, jitter: float, lay_ready: int
) -> None:
    rng = random.Random(1)
    ready = [200 + 0.1 * number for number in range(lay_ready)]
    arrivals = [200 + (number + rng.uniform(0, jitter)) * 1000 / real_hz for number in range(100)]

    assert _stale_ms(25.0, [*ready, *arrivals], "assumed") == []


def test_camera_with_a_measured_rate_is_stale_after_three_periods() -> None:
    freshness = Freshness(Rate(25, "assumed"), FreshnessSettings(), 0)
    assert freshness.due_ns() == 3_000 * MS
    for number in range(26):
        freshness.frame(number * 40 * MS)
    assert freshness.due_ns() == (25 * 40 + 120) * MS

    night_ms = [number * 200.0 for number in range(50)]
    assert [at_ms for at_ms in _stale_ms(15, night_ms, "assumed") if at_ms > 2_000] == []


def test_source_that_is_gone_is_reported_immediately_whatever_its_rate() -> None:
    freshness = Freshness(Rate(25, "assumed"), FreshnessSettings(), 0)

    assert freshness.due_ns(is_open=False) == 120 * MS


@pytest.mark.parametrize("kind", ["declared", "assumed"])
def test_intervals_that_vary_are_no_silence(kind: RateKind) -> None:
    """A phone's, a camera's that leaves out pictures by chance, frames in bursts, a dashcam's."""
    rng, phone, chance, dashcam = random.Random(3), [0.0], [0.0], [0.0]
    phone_hz = 30.0
    for _ in range(600):
        phone_hz = min(60, max(5, phone_hz * rng.uniform(0.75, 1.3)))
        phone.append(phone[-1] + 1000 / phone_hz)
        dashcam.append(dashcam[-1] + 1000 / rng.choice((25, 30)))
        steps = next(count for count in range(1, 20) if rng.random() < 0.4 or count == 19)
        chance.append(chance[-1] + 40 * steps)
    bursts = [burst * 240 + 0.5 * number for burst in range(100) for number in range(6)]

    counts = [
        sum(at_ms > 2_000 for at_ms in _stale_ms(25, arrivals, kind))
        for arrivals in (phone, bursts, dashcam, chance)
    ]

    assert counts[:3] == [0, 0, 0]
    assert counts[3] < 30  # of some 60,000 ms / 40 ms


def test_camera_that_is_faster_than_its_nominal_rate_is_stale_sooner() -> None:
    freshness, last_ns = _fed(30, 1000 / 60, 130)

    assert freshness.due_ns() == pytest.approx(last_ns + 50 * MS, abs=MS)


def test_camera_that_is_fast_again_is_stale_as_soon_as_before_a_second_later() -> None:
    freshness, last_ns = _fed(30, 300, 20)
    for number in range(1, 33):
        freshness.frame(last_ns + round(number * 33.3 * MS))

    assert freshness.stale_after_ns == pytest.approx(100 * MS, abs=MS)


def test_pauses_of_seconds_are_no_period() -> None:
    freshness, last_ns = _fed(30, 33.3, 20)
    for number in range(1, 10):
        freshness.frame(last_ns + number * 1_500 * MS)

    assert freshness.stale_after_ns == pytest.approx(100 * MS, abs=MS)


def test_limit_that_is_set_counts_instead_of_periods() -> None:
    freshness, last_ns = _fed(25, 40, 10, stale_after_s=1.5)

    assert freshness.due_ns() == last_ns + 1500 * MS


def test_frame_ends_the_outage() -> None:
    freshness, last_ns = _fed(25, 40, 10)
    freshness.report(last_ns + 120 * MS)

    freshness.frame(last_ns + 130 * MS)

    assert freshness.due_ns() == last_ns + 250 * MS


def test_steps_double_up_to_the_cap() -> None:
    backoff = Backoff(ReconnectSettings(first_s=0.25, cap_s=5, jitter=0))

    steps_s = [backoff.next_step_ns() / 1e9 for _ in range(7)]

    assert steps_s == [0.25, 0.5, 1, 2, 4, 5, 5]
    assert backoff.attempts == 7


def test_jitter_stays_within_its_share_and_differs_between_nodes() -> None:
    settings = ReconnectSettings(first_s=1, cap_s=1, jitter=0.2)
    steps_s = [Backoff(settings, random.Random(seed)).next_step_ns() / 1e9 for seed in range(50)]

    assert all(0.8 <= step_s <= 1.2 for step_s in steps_s)
    assert len(set(steps_s)) == 50


def test_attempts_without_end_do_not_overflow() -> None:
    backoff = Backoff(ReconnectSettings(jitter=0), attempts=100_000)

    assert backoff.next_step_ns() == 5_000 * MS


@pytest.mark.parametrize("settings", [{"first_s": 0}, {"first_s": 9}, {"jitter": 1}])
def test_steps_that_are_none_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="reconnect"):
        ReconnectSettings(**settings)


@pytest.mark.parametrize("settings", [{"stale_after_s": -1}, {"lost_after_s": 0}, {"max_age_s": 0}])
def test_limits_that_are_none_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="freshness"):
        FreshnessSettings(**settings)


def test_frame_that_comes_with_the_least_delay_is_taken_as_fresh() -> None:
    arrivals = ArrivalClock()

    assert arrivals.captured_ns(0, 1000 * MS) == 1000 * MS
    assert arrivals.captured_ns(40 * MS, 1070 * MS) == pytest.approx(1040 * MS, abs=MS)
    assert arrivals.captured_ns(80 * MS, 1060 * MS) == 1060 * MS


def test_frames_that_piled_up_show_their_age() -> None:
    arrivals = ArrivalClock()
    for number in range(10):
        arrivals.captured_ns(number * 40 * MS, number * 40 * MS)

    ages_ms = [
        (2360 * MS - arrivals.captured_ns(number * 40 * MS, 2360 * MS)) / MS for number in range(10, 60)
    ]

    assert ages_ms[0] == pytest.approx(1960, abs=1)
    assert ages_ms[-1] == pytest.approx(0, abs=1)


def test_clocks_that_drift_apart_do_not_make_frames_old() -> None:
    arrivals = ArrivalClock()

    for second in range(3600):
        received_ns = round(second * 1e9 * 1.0001)
        age_ns = received_ns - arrivals.captured_ns(second * 1_000_000_000, received_ns)

    assert age_ns < 1 * MS


def test_sender_that_sets_its_clock_back_is_followed() -> None:
    arrivals = ArrivalClock()
    arrivals.captured_ns(100_000 * MS, 5_000 * MS)

    assert arrivals.captured_ns(0, 5_040 * MS) == 5_040 * MS


def test_frame_without_a_timestamp_was_taken_when_it_came() -> None:
    assert ArrivalClock().captured_ns(None, 7 * MS) == 7 * MS


def test_frame_without_a_timestamp_among_others_is_as_old_as_the_one_before() -> None:
    """The first of an RTSP stream has none: its arrival time would set the others' times back."""
    arrivals = ArrivalClock(waited_ns=2_000 * MS)
    stamps_ms = [None, 40, 80, None, 160, 200]

    captured_ns = [
        arrivals.captured_ns(None if stamp_ms is None else stamp_ms * MS, (10_000 + number) * MS)
        for number, stamp_ms in enumerate(stamps_ms)
    ]

    assert captured_ns[0] == 8_000 * MS
    assert all(after > before for before, after in pairwise(captured_ns))
    assert captured_ns[5] - captured_ns[1] == pytest.approx(160 * MS, abs=MS)
