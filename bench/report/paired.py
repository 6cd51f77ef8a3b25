"""What two builds measured side by side tell of each other: a mean of paired log ratios, and its interval.

Timings of one round share what the machine was doing then, so B over A of the same round is steadier than
either; their logarithms make twice as slow and twice as fast equally far from no change. Frames within a
round are not independent, so a round is one sample, however many frames it has (Kalibera and Jones,
"Rigorous benchmarking in reasonable time", ISMM 2013). Of five to ten rounds a percentile bootstrap is too
narrow (Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69, 2015), so
the interval is Student's t, of a trimmed mean (Tukey and McLaughlin, Sankhya A 25, 1963; paired: Wilcox,
"Introduction to Robust Estimation and Hypothesis Testing"): one disturbed round does not decide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

TRIMMED_FROM_ROUNDS: Final = 7
"""From so many rounds up a fifth of them is left out at either end; fewer cannot spare any."""
ROUNDS_PER_TRIMMED: Final = 5
LEAST_NOISE: Final = 0.004
"""Standard deviation of a log ratio, at least: few rounds that happen to agree prove no steadier machine."""


@dataclass(frozen=True)
class Change:
    """Of B over A: 0.1 is ten percent more."""

    relative: float
    low: float
    high: float
    rounds: int

    @property
    def nearest(self) -> float:
        """The end of the interval that is nearer to no change; 0 where no change lies inside."""
        if self.low <= 0 <= self.high:
            return 0.0
        return self.low if self.low > 0 else self.high


def paired_change(a: Sequence[float], b: Sequence[float], confidence: float) -> Change:
    """Trimmed mean of B over A by round, and its interval.

    Args:
        a, b: one positive figure a round, two rounds at least, in the same order of rounds.
    """
    ratios = sorted(math.log(after / before) for before, after in zip(a, b, strict=True))
    rounds = len(ratios)
    trimmed = max(1, rounds // ROUNDS_PER_TRIMMED) if rounds >= TRIMMED_FROM_ROUNDS else 0
    kept = ratios[trimmed : rounds - trimmed]
    mean = math.fsum(kept) / len(kept)
    # Winsorised: what is trimmed counts as the nearest that is kept, or the spread would be too small.
    spread = [kept[0]] * trimmed + kept + [kept[-1]] * trimmed
    middle = math.fsum(spread) / rounds
    deviation = math.sqrt(math.fsum((it - middle) ** 2 for it in spread) / (rounds - 1))
    error = max(deviation, LEAST_NOISE) / (len(kept) / rounds * math.sqrt(rounds))
    reach = t_quantile(confidence, len(kept) - 1) * error
    relative, low, high = (math.expm1(end) for end in (mean, mean - reach, mean + reach))
    return Change(relative, low, high, rounds)


def t_quantile(confidence: float, degrees: int) -> float:
    """The t for which Student's distribution has `confidence` of its mass between -t and t."""
    low, high = 0.0, 1.0
    while t_mass(high, degrees) < confidence:
        low, high = high, 2 * high
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if t_mass(middle, degrees) < confidence else (low, middle)
    return high


def t_mass(t: float, degrees: int) -> float:
    """Mass of Student's distribution between -t and t.

    The finite series for whole degrees of freedom, Abramowitz and Stegun, "Handbook of Mathematical
    Functions", 26.7.3 and 26.7.4.
    """
    angle = math.atan(t / math.sqrt(degrees))
    cosine, sine = math.cos(angle), math.sin(angle)
    is_odd = degrees % 2 == 1
    term = cosine if is_odd else 1.0
    total = term if degrees > 1 else 0.0
    for power in range(3 if is_odd else 2, degrees - 1, 2):
        term *= cosine**2 * (power - 1) / power
        total += term
    return 2 / math.pi * (angle + sine * total) if is_odd else sine * total
