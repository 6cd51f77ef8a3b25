"""What a camera of the kernel's does to `CameraSource`; runs inside the guest, one JSON line a fault.

python guest.py [FAULT ...]
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import vivid

from perception.frame import Frame
from perception.sources.camera import CameraSettings, CameraSource
from perception.sources.source import SourceError

RATE_HZ: Final = 25.0
CYCLES: Final = 20
# vivid's 75 % colour bars from left to right: white, yellow, cyan, green, magenta, red, blue, black.
BARS_BGR: Final = [(191 * (bar // 1 % 2 == 0), 191 * (bar < 4), 191 * (bar // 2 % 2 == 0)) for bar in range(8)]
COLOUR_TOLERANCE: Final = 8


@dataclass(frozen=True)
class Line:
    """What was asked of one fault, and what was seen."""

    fault: str
    asked: str
    seen: str
    holds: bool


def camera(fourcc: str = "MJPG", wh: tuple[int, int] = (640, 360), rate_hz: float = RATE_HZ) -> CameraSource:
    """A source of the camera that is there now; small, for the guest is slow."""
    return CameraSource(vivid.node(), CameraSettings(wh[0], wh[1], rate_hz, fourcc))


def read(source: CameraSource, frames: int) -> tuple[list[Frame], float]:
    """Frames, and the largest age of one when it was read, in milliseconds."""
    got: list[Frame] = []
    oldest_ms = 0.0
    for _ in range(frames):
        got.append(source.read())
        oldest_ms = max(oldest_ms, age_ms(got[-1]))
    return got, oldest_ms


def age_ms(frame: Frame) -> float:
    """How long ago a frame was taken."""
    return (time.monotonic_ns() - frame.captured_ns) / 1e6


def books(frames: list[Frame], rate_hz: float = RATE_HZ) -> tuple[int, int, int]:
    """Frames got, frames missed, and how many the camera must have taken by its stamps, the first not counted."""
    taken = round((frames[-1].captured_ns - frames[0].captured_ns) / 1e9 * rate_hz)
    return len(frames) - 1, sum(frame.missed_before for frame in frames[1:]), taken


def held() -> tuple[int, int, int]:
    """Descriptors, mappings and threads of this process."""
    descriptors = len(os.listdir("/proc/self/fd"))
    mappings = Path("/proc/self/maps").read_text().count("/dev/video")
    return descriptors, mappings, threading.active_count()


def steady() -> Line:
    with closing(camera()) as source:
        info = source.open()
        frames, oldest_ms = read(source, 100)
    got, missed, taken = books(frames)
    times_rise = all(a.time_ns < b.time_ns for a, b in zip(frames, frames[1:], strict=False))
    seen = f"{info.description}; {got} got + {missed} missed of {taken}; oldest {oldest_ms:.0f} ms"
    holds = info.rate_hz == RATE_HZ and abs(got + missed - taken) <= 1 and times_rise and missed < 10
    return Line("none: 100 frames at 25 Hz", "got + missed = taken by the stamps, < 10 missed", seen, holds)


def pictures() -> Line:
    worst: dict[str, int] = {}
    vivid.set_control("osd_text_mode", 2)
    cases = [(fourcc, {}) for fourcc in ("YUYV", "UYVY", "NV12", "YU12", "YV12", "RGB3", "BGR3")]
    cases += [("NV12", {"colorspace": 1}), ("YUYV", {"quantization": 1}), ("GREY", {"quantization": 1})]
    for fourcc, controls in cases:
        for name, value in controls.items():
            vivid.set_control(name, value)
        with closing(camera(fourcc)) as source:
            got = source.open().description.split("got ")[1].split()[1]
            image_bgr = source.read().image_bgr
        height, width = image_bgr.shape[:2]
        bars = [image_bgr[height // 2, round((bar + 0.5) * width / 8)].astype(int) for bar in range(8)]
        expected = np.array(BARS_BGR)
        if fourcc == "GREY":
            expected = cv2.cvtColor(cv2.cvtColor(np.uint8([BARS_BGR]), cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)[0]
        error = int(np.abs(np.array(bars) - expected).max()) if got == fourcc else 255
        worst[" ".join([fourcc, *controls])] = error
        for name in controls:
            vivid.set_control(name, {"colorspace": 2}.get(name, 0))
    seen = ", ".join(f"{case} {error}" for case, error in worst.items())
    asked = f"colour bars in every format within {COLOUR_TOLERANCE} of 255"
    return Line("none: every pixel format", asked, seen, max(worst.values()) <= COLOUR_TOLERANCE)


def dropped() -> Line:
    vivid.set_control("percentage_of_dropped_buffers", 30)
    with closing(camera()) as source:
        source.open()
        frames, _ = read(source, 120)
    got, missed, taken = books(frames)
    share = missed / (got + missed)
    seen = f"{got} got + {missed} missed ({share:.0%}) of {taken} taken by the stamps"
    holds = abs(got + missed - taken) <= 1 and 0.18 < share < 0.42
    return Line("30 % of buffers dropped", "counted by sequence; got + missed = taken", seen, holds)


def damaged() -> Line:
    with closing(camera()) as source:
        source.open()
        read(source, 5)
        vivid.set_control("inject_v4l2_buf_flag_error")
        source.read()  # has waited since before the button was pressed
        marked = [frame.is_damaged for frame in read(source, 15)[0]]
        errors = source.decode_errors
    seen = f"{sum(marked)} of {len(marked)} marked, decode_errors {errors}"
    return Line("a buffer with the error flag", "1 frame marked as damaged", seen, sum(marked) == errors == 1)


def at_open(control: str) -> Callable[[], Line]:
    def scenario() -> Line:
        before = held()
        vivid.set_control(control)
        with closing(camera()) as source:
            source.open()
            frames, _ = read(source, 5)
            errors = source.io_errors
        after = held()
        seen = f"opened, {len(frames)} frames, io_errors {errors}, held {before} then {after}"
        asked = "opened by a second attempt, counted, nothing leaked"
        return Line(f"{control} at open", asked, seen, errors == 1 and before == after)

    return scenario


def queue_once() -> Line:
    with closing(camera()) as source:
        source.open()
        read(source, 5)
        vivid.set_control("inject_vidioc_qbuf_error")
        frames, _ = read(source, 20)
        errors = source.io_errors
    got, missed, taken = books(frames)
    seen = f"{got} got + {missed} missed of {taken}, io_errors {errors}"
    holds = errors == 1 and abs(got + missed - taken) <= 1
    return Line("inject_vidioc_qbuf_error between frames", "frames go on, counted", seen, holds)


def fatal() -> Line:
    with closing(camera()) as source:
        source.open()
        read(source, 5)
        before_ns = time.monotonic_ns()
        vivid.set_control("inject_fatal_streaming_error")
        first = read(source, 2)[0][-1]  # one may have been ready before the error
        gap_ms = (first.captured_ns - before_ns) / 1e6
        frames, oldest_ms = read(source, 20)
        errors = source.io_errors
    seen = f"frames again {gap_ms:.0f} ms after the button, then {len(frames)} more; io_errors {errors}"
    return Line("fatal streaming error", "started anew in place within 1 s", seen, errors > 0 and gap_ms < 1000)


def wrapped() -> Line:
    vivid.set_control("wrap_sequence_number")
    with closing(camera(wh=(320, 180))) as source:
        source.open()
        frames, _ = read(source, 170)
    got, missed, taken = books(frames)
    seen = f"{got} got + {missed} missed of {taken}"
    holds = abs(got + missed - taken) <= 1 and taken > 128
    return Line("sequence numbers wrap after 128 frames", "got + missed = taken by the stamps", seen, holds)


def silent() -> Line:
    with closing(camera()) as source:
        source.open()
        read(source, 5)
        vivid.set_control("percentage_of_dropped_buffers", 100)
        said, waited_s = "nothing", 0.0
        for _ in range(6):  # the buffers that were ready before
            before_s = time.monotonic()
            try:
                source.read()
            except SourceError as error:
                said, waited_s = str(error), time.monotonic() - before_s
                break
        vivid.set_control("percentage_of_dropped_buffers", 0)
        fresh_ms = read(source, 2)[1]
    seen = f"{said!r} after {waited_s:.2f} s; afterwards frames of {fresh_ms:.0f} ms"
    holds = "no frame for 2 s" in said and 1.9 < waited_s < 2.3 and fresh_ms < 500
    return Line("no buffer comes any more", "an error after 2 s, and frames again when they come", seen, holds)


def late() -> Line:
    with closing(camera()) as source:
        source.open()
        first = source.read()
        ages_ms, frames = [], [first]
        for _ in range(3):
            time.sleep(1.0)
            frames.append(source.read())
            ages_ms.append(age_ms(frames[-1]))
    got, missed, taken = books(frames)
    seen = f"ages {', '.join(f'{age:.0f}' for age in ages_ms)} ms; {got} got + {missed} missed of {taken}"
    holds = max(ages_ms) < 200 and abs(got + missed - taken) <= 1
    return Line("a reader that comes every second", "never a frame that waited: age < 200 ms", seen, holds)


def wall_clock() -> Line:
    with closing(camera()) as source:
        source.open()
        ages_ms = [read(source, 10)[1]]
        for step_s in (3600, -7200, 3600):
            time.clock_settime(time.CLOCK_REALTIME, time.time() + step_s)
            ages_ms.append(read(source, 10)[1])
    seen = f"oldest {', '.join(f'{age:.0f}' for age in ages_ms)} ms, before and after each step"
    return Line("wall clock +1 h, -2 h, +1 h", "ages unchanged: all < 200 ms", seen, max(ages_ms) < 200)


def replugged() -> Line:
    """Disconnect, unbind, bind; in every other cycle somebody holds the old device open, so that the number changes."""
    source = camera()
    source.open()
    read(source, 3)
    source.close()
    before = held()
    numbers, noticed_s, first_s, first_age_ms = set(), [], [], []
    source.open()
    for cycle in range(CYCLES):
        read(source, 3)
        holder = os.open(vivid.node(), os.O_RDWR) if cycle % 2 else -1
        vivid.disconnect()
        pulled_s = time.monotonic()
        try:
            while True:
                source.read()
        except SourceError:
            noticed_s.append(time.monotonic() - pulled_s)
        source.close()
        vivid.unbind()
        refused = False
        try:
            source.open()
        except SourceError:
            refused = True
        vivid.bind()
        back_s = time.monotonic()
        source.open()
        frame = source.read()
        first_s.append(time.monotonic() - back_s)
        first_age_ms.append(age_ms(frame))
        numbers.add(vivid.node())
        if holder >= 0:
            os.close(holder)
        if not refused or frame.frame_id != 0:
            return Line("disconnect, unbind, bind", "away is an error", f"cycle {cycle}: opened while away", False)
    source.close()
    after = held()
    seen = (
        f"noticed within {max(noticed_s) * 1000:.0f} ms; first frame {max(first_s):.2f} s after bind, "
        f"{max(first_age_ms):.0f} ms after the driver's stamp; numbers {', '.join(sorted(numbers))}; "
        f"descriptors, mappings, threads {before} then {after}"
    )
    holds = max(first_s) <= 2 and max(first_age_ms) <= 2000 and before == after and len(numbers) > 1
    asked = "first frame <= 2 s every time, found under another number, nothing leaked"
    return Line(f"disconnect, unbind, bind, {CYCLES} times", asked, seen, holds)


SCENARIOS: Final[dict[str, Callable[[], Line]]] = {
    "steady": steady,
    "pictures": pictures,
    "dropped": dropped,
    "damaged": damaged,
    "reqbufs": at_open("inject_vidioc_reqbufs_error"),
    "qbuf": at_open("inject_vidioc_qbuf_error"),
    "streamon": at_open("inject_vidioc_streamon_error"),
    "qbuf_once": queue_once,
    "fatal": fatal,
    "wrapped": wrapped,
    "silent": silent,
    "late": late,
    "wall_clock": wall_clock,
    "replugged": replugged,
}


def main(names: list[str]) -> int:
    """Every scenario on a camera as new; 0 if all hold."""
    all_hold = True
    for name in names or SCENARIOS:
        vivid.renew()
        try:
            line = SCENARIOS[name]()
        except Exception as error:
            traceback.print_exc()
            line = Line(name, "no error", f"{type(error).__name__}: {error}", False)
        all_hold &= line.holds
        print(json.dumps(asdict(line)), flush=True)
    return 0 if all_hold else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
