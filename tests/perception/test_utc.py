"""UTC tied to the monotonic clock: what the tie is worth, and what it does when somebody sets the clock."""

from __future__ import annotations

import subprocess
import time
from datetime import UTC, datetime

import pytest

from perception.provenance.kernel_time import Synchronisation, kernel_synchronisation
from perception.provenance.utc import STEP_NS, UtcClock, utc_text

S = 1_000_000_000
NOON_NS = 1_800_000_000 * S


class Clocks:
    """A monotonic clock that moves on by `read_ns` with every reading, and a UTC that can be set."""

    def __init__(self, read_ns: int = 50) -> None:
        self.now_ns, self.offset_ns, self.read_ns = 7 * S, NOON_NS, read_ns
        self.synchronisation = Synchronisation(True, 2_000_000)

    def monotonic_ns(self) -> int:
        self.now_ns += self.read_ns
        return self.now_ns

    def utc_ns(self) -> int:
        self.now_ns += self.read_ns
        return self.now_ns + self.offset_ns

    def clock(self) -> UtcClock:
        return UtcClock(self.monotonic_ns, self.utc_ns, lambda: self.synchronisation)


def test_this_machine_is_tied_to_within_a_millisecond() -> None:
    clock = UtcClock()

    before_ns = time.time_ns()
    utc_ns = clock.tie().utc_ns(time.monotonic_ns())
    after_ns = time.time_ns()

    uncertainty_ns = clock.last.uncertainty_ns
    assert uncertainty_ns < 1_000_000
    assert before_ns - uncertainty_ns <= utc_ns <= after_ns + uncertainty_ns
    assert clock.last.steps == 0


def test_true_offset_lies_within_the_stated_uncertainty() -> None:
    clocks = Clocks(read_ns=333)

    tie = clocks.clock().tie()

    assert abs(tie.offset_ns - NOON_NS) <= tie.uncertainty_ns <= 2 * 333


@pytest.mark.parametrize("step_ns", [S, -3600 * S, STEP_NS, -STEP_NS])
def test_clock_that_is_set_is_followed_at_the_next_output_and_counted(step_ns: int) -> None:
    clocks = Clocks()
    clock = clocks.clock()
    clock.tie()
    clocks.offset_ns += step_ns

    tie = clock.tie()

    assert abs(tie.offset_ns - NOON_NS - step_ns) <= tie.uncertainty_ns
    assert (tie.steps, abs(tie.stepped_ns - step_ns) <= 500) == (1, True)
    assert clock.tie().steps == 1


def test_slow_reading_is_no_step_and_does_not_spoil_the_tie() -> None:
    clocks = Clocks(read_ns=50)
    clock = clocks.clock()
    good = clock.tie()
    clocks.read_ns = 20_000_000  # the thread was put aside between two readings

    assert clock.tie() == good


def test_small_corrections_are_followed_and_are_no_steps() -> None:
    clocks = Clocks()
    clock = clocks.clock()
    for _ in range(100):
        clocks.offset_ns += 20_000
        tie = clock.tie()

    assert abs(tie.offset_ns - NOON_NS - 2_000_000) <= tie.uncertainty_ns
    assert (tie.steps, tie.stepped_ns) == (0, 0)


def test_lost_synchronisation_is_seen_within_a_second() -> None:
    clocks = Clocks()
    clock = clocks.clock()
    clocks.synchronisation = Synchronisation(False)

    assert clock.tie().synchronisation.is_synchronised
    clocks.now_ns += S
    assert clock.tie().synchronisation.is_synchronised is False


def test_kernel_is_asked_as_the_c_library_lays_it_out() -> None:
    program = """
        #include <stddef.h>
        #include <stdio.h>
        #include <sys/timex.h>
        int main(void) {
            struct timex now = {0};
            int answer = adjtimex(&now);
            printf("%d %ld\\n", answer < 0 ? -1 : !(now.status & STA_UNSYNC), now.maxerror);
        }
    """
    compiled = subprocess.run(
        ["sh", "-c", "d=$(mktemp -d) && cc -xc - -o $d/t && $d/t; s=$?; rm -r $d; exit $s"],
        input=program,
        capture_output=True,
        text=True,
        check=False,
    )
    if compiled.returncode:
        pytest.skip("no C compiler")
    is_synchronised = {"-1": None, "0": False, "1": True}[compiled.stdout.split()[0]]

    state = kernel_synchronisation()

    assert state.is_synchronised is is_synchronised
    assert (state.max_error_ns is not None) == bool(is_synchronised)


def test_text_is_rfc_3339_and_reads_back() -> None:
    text = utc_text(NOON_NS + 123_456_789)

    assert text == "2027-01-15T08:00:00.123456Z"
    assert datetime.fromisoformat(text) == datetime(2027, 1, 15, 8, 0, 0, 123456, UTC)
    assert utc_text(0) == "1970-01-01T00:00:00.000000Z"
