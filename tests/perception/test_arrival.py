"""Ages of frames stay honest whatever network and clocks do: a sender and a network whose truth is known."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import pytest

from perception.sources.arrival import ArrivalClock

MS = 1_000_000
MAX_AGE_NS = 500 * MS
COSTS_NS = 1_000 * MS
"""How long a clock that was set may cost masks."""
HOUR_MS = 3_600_000.0


@dataclass(frozen=True)
class Arrived:
    """A frame as the node gets it, and the truth about it."""

    pts_ns: int
    received_ns: int
    delay_ns: int
    """On its way, beyond the least that any frame takes."""


@dataclass
class Link:
    """A sender with a clock that may be set, and a network that may stand still. Times in milliseconds."""

    rate_hz: float = 25.0
    seconds: float = 20.0
    jitter_ms: float = 0.0
    pts_jitter_ms: float = 0.0
    drift: float = 0.0
    loss: float = 0.0
    steps: tuple[tuple[float, float], ...] = ()
    """(when, by how much) the sender's clock is set."""
    stalls: tuple[tuple[float, float], ...] = ()
    """(when, for how long) the network stands still."""
    drain: float = 50.0
    """How much faster than they were taken frames come that waited."""
    seed: int = 0

    def arrivals(self) -> list[Arrived]:
        rng = random.Random(self.seed)
        period_ms, arrived, free_ms = 1000 / self.rate_hz, [], 0.0
        for number in range(round(self.seconds * self.rate_hz)):
            taken_ms = number * period_ms
            due_ms = taken_ms + rng.uniform(0, self.jitter_ms)
            lost = number > 3 and rng.random() < self.loss
            for from_ms, for_ms in self.stalls:
                if from_ms <= due_ms < from_ms + for_ms:
                    due_ms = from_ms + for_ms
            due_ms = max(due_ms, free_ms)
            if lost:
                continue
            free_ms = due_ms + period_ms / self.drain
            pts_ms = taken_ms * (1 + self.drift) + rng.uniform(-self.pts_jitter_ms, self.pts_jitter_ms)
            pts_ms += sum(by_ms for when_ms, by_ms in self.steps if taken_ms >= when_ms)
            arrived.append(
                Arrived(round(pts_ms * MS), round((10_000 + due_ms) * MS), round((due_ms - taken_ms) * MS))
            )
        return arrived


def _checked(link: Link, tolerance_ms: float, clock: ArrivalClock | None = None) -> None:
    """No frame is taken for fresher than it is, and none for too old but for a second after a step."""
    clock = clock or ArrivalClock()
    costly_ns = [(10_000 + when_ms) * MS for when_ms, _ in link.steps]
    too_fresh, too_old = [], []
    for it in link.arrivals():
        age_ns = it.received_ns - clock.captured_ns(it.pts_ns, it.received_ns)
        off_ms = (age_ns - it.delay_ns) / MS
        at_s = it.received_ns / 1e9 - 10
        assert age_ns >= 0
        if off_ms < -tolerance_ms:
            too_fresh.append((round(at_s, 2), round(off_ms, 1)))
        sent_ns = it.received_ns - it.delay_ns
        is_costly = any(when_ns <= it.received_ns and sent_ns - when_ns <= COSTS_NS for when_ns in costly_ns)
        is_costly |= any(when_ns <= it.received_ns <= when_ns + COSTS_NS for when_ns in costly_ns)
        if off_ms > tolerance_ms and not is_costly:
            too_old.append((round(at_s, 2), round(off_ms, 1)))
    assert not too_fresh[:3], f"taken for too fresh: {len(too_fresh)}, {link}"
    assert not too_old[:3], f"taken for too old: {len(too_old)}, {link}"


STEPS_MS = (1, 15, 30, 200, 1_000, 3_000, 60_000, HOUR_MS, 5 * HOUR_MS)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("step_ms", STEPS_MS)
@pytest.mark.parametrize("rate_hz", [10.0, 25.0, 60.0])
def test_clock_that_is_set_costs_no_age(rate_hz: float, step_ms: float, sign: int) -> None:
    steps = tuple((3_000.0 + 2_500 * number, sign * step_ms) for number in range(6))

    _checked(Link(rate_hz, steps=steps, jitter_ms=20), 20 + 2_000 / rate_hz)


def test_small_steps_do_not_add_up() -> None:
    steps = tuple((2_000.0 + 1_000 * number, -15.0) for number in range(100))

    _checked(Link(seconds=110, steps=steps, jitter_ms=10), 60)


@pytest.mark.parametrize("drain", [1.12, 1.5, 50])
@pytest.mark.parametrize("stall_s", [1.0, 3.0, 30.0])
def test_frames_that_piled_up_show_their_age(stall_s: float, drain: float) -> None:
    _checked(Link(seconds=stall_s + 60, stalls=((5_000, stall_s * 1000),), drain=drain, jitter_ms=20), 80)


def test_delay_that_stays_as_it_is_is_not_forgotten() -> None:
    _checked(Link(seconds=120, stalls=((5_000, 3_000),), drain=1.0), 60)


@pytest.mark.parametrize("by_ms", [-3_000, 700, 10_000, -HOUR_MS])
@pytest.mark.parametrize("at_ms", [5_000, 5_600, 6_990])
def test_clock_that_is_set_while_the_network_stands_still_hides_no_age(at_ms: float, by_ms: float) -> None:
    _checked(Link(stalls=((5_000, 2_000),), steps=((at_ms, by_ms),), jitter_ms=10), 90)


@pytest.mark.parametrize("by_ms", [-HOUR_MS, -500, 90_000])
def test_sender_that_begins_again_with_another_clock_is_fresh_within_a_second(by_ms: float) -> None:
    clock, period_ms = ArrivalClock(), 40
    for number in range(100):
        clock.captured_ns(number * period_ms * MS, number * period_ms * MS)
    pause_ms = 4_000 + 2_000

    ages_ms = []
    for number in range(100):
        received_ns = (pause_ms + number * period_ms) * MS
        pts_ns = received_ns + round(by_ms * MS) - 2_000 * MS
        ages_ms.append((received_ns - clock.captured_ns(pts_ns, received_ns)) / MS)

    assert max(ages_ms[25:]) < 60


def test_ages_are_honest_whatever_network_and_clocks_do() -> None:
    for seed in range(300):
        rng = random.Random(seed)
        steps = tuple(
            (
                rng.uniform(2_000, 27_000),
                rng.choice((-1, 1)) * rng.choice((50.0, 400.0, 2_000.0, 70_000.0, HOUR_MS)),
            )
            for _ in range(rng.choice((0, 1, 3)))
        )
        stalls = tuple(
            (rng.uniform(2_000, 27_000), rng.choice((300.0, 1_500.0, 4_000.0)))
            for _ in range(rng.choice((0, 1, 2)))
        )
        link = Link(
            rate_hz=rng.choice((5.0, 15.0, 25.0, 30.0, 60.0)),
            seconds=30,
            jitter_ms=rng.choice((0.0, 5.0, 40.0)),
            pts_jitter_ms=rng.choice((0.0, 0.5, 3.0)),
            drift=rng.uniform(-100e-6, 100e-6),
            loss=rng.choice((0.0, 0.0, 0.05)),
            steps=steps,
            stalls=stalls,
            drain=rng.choice((1.3, 5.0, 50.0)),
            seed=seed,
        )
        lost_ms = 2_500 / link.rate_hz if link.loss else 0  # a gap in the numbers may be a set clock
        _checked(link, 3 * link.jitter_ms + 30 + 2_500 / link.rate_hz + lost_ms)


def test_stamps_of_our_own_clock_are_believed_as_they_are() -> None:
    clock, rng = ArrivalClock(offset_ns=0), random.Random(1)
    for number in range(2_000):
        stamp_ns = number * 33 * MS
        delay_ns = rng.randrange(20 * MS, 90 * MS)

        assert clock.captured_ns(stamp_ns, stamp_ns + delay_ns) == stamp_ns


@pytest.mark.parametrize("by_ms", [-HOUR_MS, -3_000, -450, 3_000, HOUR_MS])
def test_stamps_of_our_own_clock_that_step_cost_no_more_than_a_second(by_ms: float) -> None:
    clock, ages_ms = ArrivalClock(offset_ns=0), []
    for number in range(300):
        received_ns = (10_000 + number * 33) * MS
        stamp_ns = received_ns - 40 * MS + (round(by_ms * MS) if number >= 100 else 0)
        ages_ms.append((received_ns - clock.captured_ns(stamp_ns, received_ns)) / MS)

    assert set(ages_ms[:100]) == {40}
    assert max(ages_ms[130:]) < 110
    assert min(ages_ms) >= 0


@pytest.mark.parametrize("by_ms", [-HOUR_MS, HOUR_MS])
def test_stamps_of_another_clock_are_found_out_within_a_second(by_ms: float) -> None:
    clock, ages_ms = ArrivalClock(offset_ns=0), []
    for number in range(100):
        received_ns = (10_000 + number * 33) * MS
        ages_ms.append((received_ns - clock.captured_ns(received_ns + round(by_ms * MS), received_ns)) / MS)

    assert max(ages_ms[31:]) < 100


@pytest.mark.parametrize("held_ms", [0, 700, 2_000])
def test_frames_that_lay_ready_when_a_stream_was_opened_are_as_old_as_that_took(held_ms: int) -> None:
    opened_ms, period_ms = 10_000 + 2_000, 40
    clock, ages_ms = ArrivalClock(waited_ns=2_000 * MS), []
    for number in range(100):
        taken_ms = opened_ms - held_ms + number * period_ms
        received_ms = max(taken_ms, opened_ms)
        age_ns = received_ms * MS - clock.captured_ns(taken_ms * MS, received_ms * MS)
        ages_ms.append((age_ns / MS, received_ms - taken_ms, received_ms - opened_ms))

    assert all(stated_ms >= true_ms - 1 for stated_ms, true_ms, _ in ages_ms)
    assert all(stated_ms < true_ms + 60 for stated_ms, true_ms, after_ms in ages_ms if after_ms > 600)


def _taken_ms(camera: str, seed: int) -> list[float]:
    """When a camera that does not keep a rate takes its pictures."""
    rng, at_ms, rate_hz = random.Random(seed), [0.0], 30.0
    for number in range(600):
        rate_hz = min(60, max(5, rate_hz * rng.uniform(0.75, 1.3)))
        step_ms = {
            "leaves out pictures by chance": 40.0 * next(n for n in range(1, 99) if rng.random() < 0.4),
            "phone": 1000 / rate_hz,
            "dashcam": 1000 / rng.choice((25, 30)),
            "slow at night": 66.7 if number < 200 else 200,
            "sends pieces": 40,
        }[camera]
        at_ms.append(at_ms[-1] + step_ms)
    return at_ms


@pytest.mark.parametrize("waited_ms", [0, 1_500])
@pytest.mark.parametrize("held", [0, 1, 2])
@pytest.mark.parametrize(
    "camera", ["leaves out pictures by chance", "phone", "dashcam", "slow at night", "sends pieces"]
)
def test_intervals_that_vary_are_no_clock_that_was_set(camera: str, held: int, waited_ms: int) -> None:
    """Pictures may be held until the next begins, or the one after that: they are so old when they come."""
    for seed in range(20):
        taken_ms = _taken_ms(camera, seed)
        jitter = random.Random(seed)
        piece_ms = 240 if camera == "sends pieces" else 1
        came_ms = [
            math.ceil(until / piece_ms) * piece_ms + jitter.uniform(5, 15) for until in taken_ms[held:]
        ]
        least_ms = min(came - at for at, came in zip(taken_ms, came_ms, strict=False))
        clock = ArrivalClock(waited_ns=waited_ms * MS)
        off_ms = []
        for at, came in zip(taken_ms, came_ms, strict=False):
            received_ns = round((10_000 + came) * MS)
            age_ms = (received_ns - clock.captured_ns(round(at * MS), received_ns)) / MS
            off_ms.append((at, age_ms - (came - at - least_ms)))

        assert [it for it in off_ms if it[0] > 2_000 and it[1] < -60] == []
        assert sum(at > 3_000 and off > 60 for at, off in off_ms) < 0.06 * len(off_ms)
