"""The change between two builds measured side by side: a mean of paired log ratios, and its interval.

Timings of one round share what the machine was doing then, so B over A of the same round is steadier than
either; their logarithms make twice as slow and twice as fast equally far from no change. Frames within a
round are not independent, so a round is one sample, however many frames it has (Kalibera and Jones,
"Rigorous benchmarking in reasonable time", ISMM 2013). Of five to ten rounds a percentile bootstrap is too
narrow (Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69, 2015), so
the interval is Student's t, of a trimmed mean (Tukey and McLaughlin, Sankhya A 25, 1963; paired: Wilcox,
"Introduction to Robust Estimation and Hypothesis Testing"): one disturbed round does not decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

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
    ratios = np.sort(np.log(np.divide(b, a)))
    rounds = len(ratios)
    trimmed = rounds // ROUNDS_PER_TRIMMED if rounds >= TRIMMED_FROM_ROUNDS else 0
    kept = ratios[trimmed : rounds - trimmed]
    # Winsorised: what is trimmed counts as the nearest that is kept, or the spread would be too small.
    deviation = max(np.clip(ratios, kept[0], kept[-1]).std(ddof=1), LEAST_NOISE)
    error = deviation / (len(kept) / rounds * np.sqrt(rounds))
    ends = stats.t.interval(confidence, len(kept) - 1, kept.mean(), error)
    relative, low, high = (float(np.expm1(it)) for it in (kept.mean(), *ends))
    return Change(relative, low, high, rounds)
