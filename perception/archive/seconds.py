"""A row a second of one clip: what was seen, and how sure the network was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from perception.frame import OutputItem, Prediction

SCHEMA: Final = {
    **{"clip": "string", "second": "int32", "frames": "int32", "masks": "int32", "missed": "int32"},
    **{"direct": "float", "alternative": "float", "background": "float", "drivable": "float"},
    **{"certainty_mean": "float", "certainty_p5": "float", "ood_score": "float"},
    **{"camera_state": "string", "camera_reason": "string", "luma": "float"},
    **{"distance_ahead_m": "float", "lane_width_m": "float", "lateral_offset_m": "float"},
}
"""Columns and their types in Arrow; all but the first four may be null.

Shares are means over the second's masks, `certainty_p5` and `distance_ahead_m` the least, `ood_score` the
largest; the camera's state is the most frequent one that is not ok, if there is one; luma is the mean
brightness of the picture, 0 to 255: below about 60 it is night.
"""


class _Second:
    """What is known of one second so far."""

    def __init__(self) -> None:
        self.frames = self.masks = self.missed = 0
        self.values: dict[str, list[float]] = {}
        self.states: Counter[tuple[str, str | None]] = Counter()

    def add(self, name: str, value: float | None) -> None:
        if value is not None:
            self.values.setdefault(name, []).append(value)

    def mean(self, name: str) -> float | None:
        values = self.values.get(name)
        return sum(values) / len(values) if values else None


class Seconds:
    """Follows the outputs of one clip, in order."""

    def __init__(self) -> None:
        self._seconds: dict[int, _Second] = {}
        self.camera_states: Counter[str] = Counter()
        """Frames by the camera's state."""
        self.last_time_s = 0.0
        """Of the last frame."""

    def record(self, output: OutputItem) -> None:
        """Take one output."""
        self.camera_states[str(output.camera_state)] += 1
        if not isinstance(output, Prediction):
            return
        self.last_time_s = output.time_ns / 1e9
        second = self._seconds.setdefault(output.time_ns // 1_000_000_000, _Second())
        second.frames += 1
        second.missed += output.frame.missed_before
        second.states[str(output.camera_state), output.camera_reason] += 1
        if output.image_stats is not None:
            second.add("luma", float(np.mean(output.image_stats.block_luma)))
        if not output.has_mask:
            return
        second.masks += 1
        for name, share in output.named_shares.items():
            second.add(name, share)
        if (certainty := output.certainty) is not None:
            second.add("certainty_mean", certainty.mean)
            second.add("certainty_p5", certainty.p5)
            second.add("ood_score", certainty.ood_score)
        if (metres := output.valid_metres) is not None:
            for name in ("distance_ahead_m", "lane_width_m", "lateral_offset_m"):
                measured = getattr(metres, name)
                second.add(name, None if measured is None else measured.value)

    def rows(self, clip: str) -> Iterator[dict[str, Any]]:
        """A row a second that has frames, ascending, as `SCHEMA` has it."""
        for number, second in sorted(self._seconds.items()):
            state, why = max(second.states, key=lambda one: (one[0] != "ok", second.states[one]))
            yield {
                **{"clip": clip, "second": number, "frames": second.frames, "masks": second.masks},
                "missed": second.missed,
                **{
                    name: second.mean(name)
                    for name in ("direct", "alternative", "background", "drivable", "certainty_mean", "luma")
                },
                "certainty_p5": min(second.values.get("certainty_p5", ()), default=None),
                "ood_score": max(second.values.get("ood_score", ()), default=None),
                **{"camera_state": state, "camera_reason": why},
                "distance_ahead_m": min(second.values.get("distance_ahead_m", ()), default=None),
                "lane_width_m": second.mean("lane_width_m"),
                "lateral_offset_m": second.mean("lateral_offset_m"),
            }

    def means(self) -> dict[str, float | None]:
        """Of the whole clip: shares, certainty, ood_score and luma, each second counting alike."""
        names = ("direct", "alternative", "drivable", "certainty_mean", "ood_score", "luma")
        means = {}
        for name in names:
            each = [mean for second in self._seconds.values() if (mean := second.mean(name)) is not None]
            means[name] = sum(each) / len(each) if each else None
        return means
