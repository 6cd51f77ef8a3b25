"""What becomes of camera and engine while the node runs, for people: a line a change, and never a flood."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from perception.frame import CAMERA_SEES, ENGINE_SEES, CameraState, EngineState, OutputItem, Prediction

AT_ONCE: Final = 6
"""Lines that come as they happen; then one every `PAUSE_S`, with the count of what is left out."""
PAUSE_S: Final = 2.0
_MOST_WAITING: Final = 256
_CHANGING: Final = re.compile(r"\d+(?:\.\d+)?|no frame for|attempt .*|;|\s+")
"""In a reason, what is another at each record of one outage."""
_NO_TROUBLE: Final = (CameraState.OK, EngineState.OK)


@dataclass(frozen=True)
class _Change:
    """Of the camera, or of the engine."""

    what: str
    state: str
    reason: str | None
    sees: bool
    time_ns: int
    """In the source's own time."""
    withheld: int
    """Frames without a mask since the change before, if there was no mask then."""
    lasted_ns: int


class StateChanges:
    """Told by the publish stage of every output, asked by who watches the run.

    Args:
        clock_s: for how often lines come.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._waiting: deque[_Change] = deque(maxlen=_MOST_WAITING)
        self._camera: CameraState | None = CameraState.OK
        self._engine: EngineState = EngineState.OK
        self._reasons: tuple[str | None, str | None] = (None, None)
        self._since_ns: dict[str, int] = {}
        self._withheld = 0
        self._room = float(AT_ONCE)
        self._asked_s = clock_s()
        self._left_out = 0

    def tell(self, output: OutputItem) -> None:
        """What is published; costs a comparison where nothing changes."""
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
        if isinstance(output, Prediction) and output.withheld_by is not None:
            self._withheld += 1

    def lines(self, *, all_of_them: bool = False) -> list[str]:
        """What is to be said now.

        Args:
            all_of_them: at the end of a run nothing comes later.
        """
        now_s = self._clock_s()
        self._room = min(AT_ONCE, self._room + (now_s - self._asked_s) / PAUSE_S)
        self._asked_s = now_s
        told = []
        while self._waiting and self._room >= 1:
            change = self._waiting.popleft()
            self._room -= 1
            told.append(_line(change))
        while len(self._waiting) > 1:  # the newest is what counts by the time that there is room again
            self._waiting.popleft()
            self._left_out += 1
        if all_of_them and self._waiting:
            told.append(_line(self._waiting.popleft()))
        if self._left_out and (all_of_them or (told and not self._waiting)):
            told.append(f"({self._left_out} more changes of camera or engine were left out)")
            self._left_out = 0
        return told

    def _note(self, what: str, state: str, reason: str | None, sees: bool, output: OutputItem) -> None:
        since_ns = self._since_ns.get(what, output.time_ns)
        self._since_ns[what] = output.time_ns
        lasted_ns = max(0, output.time_ns - since_ns)
        self._waiting.append(_Change(what, state, reason, sees, output.time_ns, self._withheld, lasted_ns))
        self._withheld = 0


def _kind(reason: str | None) -> str:
    """What stays the same in it while one issue lasts."""
    return _CHANGING.sub("", reason) if reason else ""


def _line(change: _Change) -> str:
    at = f"at {change.time_ns / 1e9:.1f} s: {change.what} {change.state}"
    if change.state in _NO_TROUBLE:
        frames = "1 frame" if change.withheld == 1 else f"{change.withheld} frames"
        withheld = f", {frames} without a mask" if change.withheld else ""
        return f"{at} again, after {change.lasted_ns / 1e9:.1f} s{withheld}"
    reason = f" ({change.reason})" if change.reason else ""
    return f"{at}{reason}: {'masks are marked' if change.sees else 'no masks'}"
