"""Changes of camera and engine state, and of what is ignored, as lines for people, limited in rate."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from perception.frame import CAMERA_SEES, ENGINE_SEES, CameraState, EngineState, OutputItem, Prediction
from perception.scene.ignore_mask import IgnoreMask

BURST: Final = 6
"""Lines shown immediately; further ones come every `INTERVAL_S`, with the number of those left out."""
INTERVAL_S: Final = 2.0
_MAX_WAITING: Final = 256
_VARIABLE: Final = re.compile(r"\d+(?:\.\d+)?|no frame for|attempt .*|;|\s+")
"""The parts of a reason that differ between the records of one outage."""
_OK: Final = (CameraState.OK, EngineState.OK)


@dataclass(frozen=True)
class _Ignored:
    """Another mask of what is ignored."""

    mask: IgnoreMask | None
    time_ns: int


@dataclass(frozen=True)
class _Change:
    """A change of state of the camera or the engine."""

    what: str
    state: str
    reason: str | None
    sees: bool
    time_ns: int
    """In the source's own time."""
    withheld: int
    """Frames without a mask since the previous change, if there was no mask then."""
    lasted_ns: int


class StateChanges:
    """The publisher records every output here; the watching thread takes the lines.

    Args:
        clock_s: clock of the rate limit.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._waiting: deque[_Change | _Ignored] = deque(maxlen=_MAX_WAITING)
        self._ignored: IgnoreMask | None = None
        self._camera: CameraState | None = CameraState.OK
        self._engine: EngineState = EngineState.OK
        self._reasons: tuple[str | None, str | None] = (None, None)
        self._since_ns: dict[str, int] = {}
        self._withheld = 0
        self._tokens = float(BURST)
        self._refilled_s = clock_s()
        self._left_out = 0

    def record(self, output: OutputItem) -> None:
        """Record a published output; costs one comparison if nothing has changed."""
        reasons = (output.camera_reason, output.engine_reason)
        if output.camera_state is not self._camera or reasons[0] != self._reasons[0]:
            is_other = output.camera_state is not self._camera or _kind(reasons[0]) != _kind(self._reasons[0])
            self._camera = output.camera_state
            if is_other:
                self._note(
                    "camera", output.camera_state, reasons[0], output.camera_state in CAMERA_SEES, output
                )
        engine = EngineState.OK if output.engine_state in ENGINE_SEES else output.engine_state
        if engine is not self._engine:
            self._engine = engine
            self._note("engine", engine, reasons[1], engine in ENGINE_SEES, output)
        self._reasons = reasons
        if isinstance(output, Prediction):
            if output.ignore_mask is not self._ignored:
                self._note_ignored(output.ignore_mask, output.time_ns)
            self._withheld += output.withheld_by is not None

    def lines(self, *, flush: bool = False) -> list[str]:
        """The lines to show now.

        Args:
            flush: at the end of a run: include the last change in spite of the rate limit.
        """
        now_s = self._clock_s()
        self._tokens = min(BURST, self._tokens + (now_s - self._refilled_s) / INTERVAL_S)
        self._refilled_s = now_s
        lines = []
        while self._waiting and self._tokens >= 1:
            self._tokens -= 1
            lines.append(_line(self._waiting.popleft()))
        while len(self._waiting) > 1:  # only the newest will matter at the next line
            self._waiting.popleft()
            self._left_out += 1
        if flush and self._waiting:
            lines.append(_line(self._waiting.popleft()))
        if self._left_out and (flush or (lines and not self._waiting)):
            lines.append(f"({self._left_out} more changes of camera or engine were left out)")
            self._left_out = 0
        return lines

    def _note_ignored(self, mask: IgnoreMask | None, time_ns: int) -> None:
        """Images of a folder each have a mask of their own, of the same things."""
        before, self._ignored = self._ignored, mask
        if _contents(mask) != _contents(before):
            self._waiting.append(_Ignored(mask, time_ns))

    def _note(self, what: str, state: str, reason: str | None, sees: bool, output: OutputItem) -> None:
        since_ns = self._since_ns.get(what, output.time_ns)
        self._since_ns[what] = output.time_ns
        lasted_ns = max(0, output.time_ns - since_ns)
        self._waiting.append(_Change(what, state, reason, sees, output.time_ns, self._withheld, lasted_ns))
        self._withheld = 0


def _kind(reason: str | None) -> str:
    """The part of a reason that stays the same during one outage."""
    return _VARIABLE.sub("", reason) if reason else ""


def _contents(mask: IgnoreMask | None) -> str | None:
    return None if mask is None else mask.contents


def _line(change: _Change | _Ignored) -> str:
    if isinstance(change, _Ignored):
        what = f"{change.mask.contents}, {change.mask.share:.1%} of the picture" if change.mask else "nothing"
        return f"at {change.time_ns / 1e9:.1f} s: ignored: {what}"
    at = f"at {change.time_ns / 1e9:.1f} s: {change.what} {change.state}"
    if change.state in _OK:
        frames = "1 frame" if change.withheld == 1 else f"{change.withheld} frames"
        withheld = f", {frames} without a mask" if change.withheld else ""
        return f"{at} again, after {change.lasted_ns / 1e9:.1f} s{withheld}"
    reason = f" ({change.reason})" if change.reason else ""
    return f"{at}{reason}: {'masks are marked' if change.sees else 'no masks'}"
