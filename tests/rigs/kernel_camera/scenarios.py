"""One function a fault: it happens to `CameraSource`, and a line says what was expected and what was seen."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from typing import Final

import numpy as np
import vivid
from lines import Line
from watch import RATE_HZ, age_ms, books_of, camera, held, read

from perception.sources.camera import CameraSource
from perception.sources.source import SourceError

CYCLES: Final = 20
FRESH_MS: Final = 200.0
# vivid's 75 % colour bars: white, yellow, cyan, green, magenta, red, blue, black.
BARS_BGR: Final = np.array([191, 191, 191, 0, 191, 191, 191, 191, 0, 0, 191, 0]).reshape(4, 3)
BARS_BGR_DARK: Final = np.array([191, 0, 191, 0, 0, 191, 191, 0, 0, 0, 0, 0]).reshape(4, 3)
LUMA_BGR: Final = np.array([0.0722, 0.7152, 0.2126])  # vivid's grey is that of BT.709, full range
COLOUR_TOLERANCE: Final = 8


def steady() -> Line:
    """Nothing happens."""
    with closing(camera()) as source:
        info = source.open()
        frames, oldest_ms = read(source, 100)
    books = books_of(frames)
    times_rise = all(before.time_ns < after.time_ns for before, after in pairwise(frames))
    seen = f"{info.description}; {books}; oldest {oldest_ms:.0f} ms"
    holds = info.rate_hz == RATE_HZ and books.balance and times_rise and books.missed < 10
    return Line("none: 100 frames at 25 Hz", "got + missed = taken, < 10 missed", seen, holds)


def pictures() -> Line:
    """Every pixel format shows the same colour bars."""
    vivid.set_control("osd_text_mode", 2)
    worst = {fourcc: _colour_error(fourcc) for fourcc in ("YUYV", "UYVY", "NV12", "YU12", "YV12")}
    worst |= {fourcc: _colour_error(fourcc) for fourcc in ("RGB3", "BGR3", "GREY")}
    vivid.set_control("quantization", 1)
    worst["YUYV full range"] = _colour_error("YUYV")
    vivid.set_control("quantization", 0)
    vivid.set_control("colorspace", 1)
    worst["NV12 BT.709"] = _colour_error("NV12")
    seen = ", ".join(f"{case} {error}" for case, error in worst.items())
    asked = f"colour bars within {COLOUR_TOLERANCE} of 255"
    return Line("none: every pixel format", asked, seen, max(worst.values()) <= COLOUR_TOLERANCE)


def _colour_error(fourcc: str) -> int:
    with closing(camera(fourcc)) as source:
        description = source.open().description
        image_bgr = source.read().image_bgr
    assert f"640x360 {fourcc} at" in description, description
    bars = image_bgr[180, 40::80].astype(int)
    expected = np.concatenate([BARS_BGR, BARS_BGR_DARK])
    if fourcc == "GREY":
        expected = np.repeat(expected @ LUMA_BGR, 3).reshape(8, 3)
    return round(float(np.abs(bars - expected).max()))


def dropped() -> Line:
    """The driver has no buffer for one frame in three."""
    vivid.set_control("percentage_of_dropped_buffers", 30)
    with closing(camera()) as source:
        source.open()
        books = books_of(read(source, 120)[0])
    share = books.missed / (books.got + books.missed)
    holds = books.balance and 0.18 < share < 0.42
    asked = "counted by sequence number: got + missed = taken"
    return Line("30 % of buffers dropped", asked, f"{books}, {share:.0%} missed", holds)


def damaged() -> Line:
    """The driver says of a buffer that data is missing; another one if a newer buffer displaced that."""
    injected, frames = 0, []
    with closing(camera()) as source:
        source.open()
        read(source, 5)
        while injected < 5 and not any(frame.is_damaged for frame in frames):
            vivid.set_control("inject_v4l2_buf_flag_error")
            injected += 1
            frames += read(source, 15)[0]
        errors = source.decode_errors
    marked, missed = sum(frame.is_damaged for frame in frames), books_of(frames).missed
    seen = f"{injected} flagged, {marked} of {len(frames)} marked, decode_errors {errors}, {missed} missed"
    holds = marked == errors == 1 and injected - marked <= missed
    return Line("a buffer with the error flag", "its frame is marked, or displaced and missed", seen, holds)


def at_open(call: str) -> Callable[[], Line]:
    """A scenario in which a call fails once while the camera is opened."""

    def scenario() -> Line:
        before = held()
        vivid.set_control(f"inject_vidioc_{call}_error")
        with closing(camera()) as source:
            source.open()
            frames, _ = read(source, 5)
            errors = source.io_errors
        after = held()
        seen = (
            f"open, {len(frames)} frames, io_errors {errors}, descriptors, mappings, threads {before} {after}"
        )
        asked = "opens at the second attempt, counted, nothing leaked"
        return Line(f"{call.upper()} fails at open", asked, seen, errors == 1 and before == after)

    return scenario


def queue_once() -> Line:
    """A buffer cannot be given back once."""
    with closing(camera()) as source:
        source.open()
        read(source, 5)
        vivid.set_control("inject_vidioc_qbuf_error")
        books = books_of(read(source, 20)[0])
        errors = source.io_errors
    holds = errors == 1 and books.balance
    return Line("QBUF fails between frames", "frames go on, counted", f"{books}, io_errors {errors}", holds)


def fatal() -> Line:
    """The driver's queue is in error until the stream is stopped."""
    with closing(camera()) as source:
        source.open()
        read(source, 5)
        vivid.set_control("inject_fatal_streaming_error")
        pressed_ns = time.monotonic_ns()
        frame = source.read()
        while frame.captured_ns < pressed_ns:
            frame = source.read()
        gap_ms = (frame.captured_ns - pressed_ns) / 1e6
        frames, _ = read(source, 20)
        errors = source.io_errors
    seen = f"a frame {gap_ms:.0f} ms later, then {len(frames)} more; io_errors {errors}"
    holds = errors > 0 and gap_ms < 1000
    return Line("fatal streaming error", "restarted in place within 1 s, counted", seen, holds)


def wrapped() -> Line:
    """The sequence numbers begin shortly before their end."""
    vivid.set_control("wrap_sequence_number")
    with closing(camera(wh=(320, 180))) as source:
        source.open()
        books = books_of(read(source, 170)[0])
    holds = books.balance and books.taken > 128
    return Line("sequence numbers wrap after 128 frames", "got + missed = taken", str(books), holds)


def silent() -> Line:
    """The stream runs, and no buffer comes."""
    with closing(camera()) as source:
        source.open()
        read(source, 5)
        vivid.set_control("percentage_of_dropped_buffers", 100)
        said, waited_s = _error_of(source.read)
        vivid.set_control("percentage_of_dropped_buffers", 0)
        oldest_ms = read(source, 3)[1]
    seen = f"{said!r} after {waited_s:.2f} s; then frames of {oldest_ms:.0f} ms"
    holds = "no frame for 2 s" in said and 1.9 < waited_s < 2.3 and oldest_ms < FRESH_MS
    asked = "an error after 2 s; fresh frames as soon as there are any"
    return Line("no buffer comes any more", asked, seen, holds)


def unbound() -> Line:
    """The driver goes while a read waits for a frame."""
    with closing(camera()) as source:
        source.open()
        vivid.set_control("percentage_of_dropped_buffers", 100)
        unbinding = threading.Timer(0.5, vivid.unbind)
        unbinding.start()
        said, waited_s = _error_of(source.read)
        unbinding.join()
    vivid.bind()
    holds = "has been unplugged" in said and waited_s < 1.5
    asked = "an error at once, before the 2 s of a silent camera"
    return Line("unbound 0.5 s into a read that waits", asked, f"{said!r} after {waited_s:.2f} s", holds)


def late() -> Line:
    """All buffers are filled and old when the reader comes."""
    with closing(camera()) as source:
        source.open()
        frames, ages_ms = [source.read()], []
        for _ in range(3):
            time.sleep(1.0)
            frames.append(source.read())
            ages_ms.append(age_ms(frames[-1]))
    books = books_of(frames)
    seen = f"ages {', '.join(f'{age:.0f}' for age in ages_ms)} ms; {books}"
    holds = max(ages_ms) < FRESH_MS and books.balance
    return Line("a reader that comes every second", f"age < {FRESH_MS:g} ms every time", seen, holds)


def wall_clock() -> Line:
    """Somebody sets the clock."""
    with closing(camera()) as source:
        source.open()
        ages_ms = [read(source, 10)[1]]
        for step_s in (3600, -7200, 3600):
            time.clock_settime(time.CLOCK_REALTIME, time.time() + step_s)
            ages_ms.append(read(source, 10)[1])
    seen = f"oldest {', '.join(f'{age:.0f}' for age in ages_ms)} ms: before, and after each step"
    asked = f"ages as before: < {FRESH_MS:g} ms"
    return Line("wall clock +1 h, -2 h, +1 h", asked, seen, max(ages_ms) < FRESH_MS)


def replugged() -> Line:
    """Pulled out and put in again; every other time somebody holds the old number, so that it changes."""
    fault = f"disconnect, unbind, bind, {CYCLES} times"
    asked = "error <= 500 ms, first frame <= 2 s, nothing leaked"
    source = camera()
    before = held()
    numbers, noticed_ms, first_ms, first_age_ms = set(), [], [], []
    source.open()
    for cycle in range(CYCLES):
        read(source, 3)
        holder = os.open(vivid.node(), os.O_RDWR) if cycle % 2 else None
        noticed_ms.append(_pulled_out(source))
        source.close()
        vivid.unbind()
        try:
            source.open()
        except SourceError:
            vivid.bind()
        else:
            return Line(fault, asked, f"cycle {cycle}: opened while it was away", False)
        back_s = time.monotonic()
        source.open()
        frame = source.read()
        first_ms.append((time.monotonic() - back_s) * 1000)
        first_age_ms.append(age_ms(frame))
        numbers.add(vivid.node())
        if holder is not None:
            os.close(holder)
    source.close()
    after = held()
    seen = (
        f"error {max(noticed_ms):.0f} ms after the last frame; first frame {max(first_ms):.0f} ms after the "
        f"device file, {max(first_age_ms):.0f} ms old; as {', '.join(sorted(numbers))}; "
        f"descriptors, mappings, threads {before} {after}"
    )
    holds = max(noticed_ms) <= 500 and max(first_ms) <= 2000 and before == after and len(numbers) > 1
    return Line(fault, asked, seen, holds)


def _pulled_out(source: CameraSource) -> float:
    """Pull the plug while frames are read; how old the last one was when the error came, in milliseconds."""
    with vivid.disconnecting():
        frame = source.read()
        try:
            while True:
                frame = source.read()
        except SourceError:
            return age_ms(frame)


def _error_of(step: Callable[[], object]) -> tuple[str, float]:
    """What the first SourceError says, and how many seconds the call took that raised it."""
    for _ in range(10):  # frames that were ready before come first
        started_s = time.monotonic()
        try:
            step()
        except SourceError as error:
            return str(error), time.monotonic() - started_s
    return "nothing", 0.0


SCENARIOS: Final[dict[str, Callable[[], Line]]] = {
    "steady": steady,
    "pictures": pictures,
    "dropped": dropped,
    "damaged": damaged,
    "reqbufs": at_open("reqbufs"),
    "qbuf": at_open("qbuf"),
    "streamon": at_open("streamon"),
    "qbuf_once": queue_once,
    "fatal": fatal,
    "wrapped": wrapped,
    "silent": silent,
    "unbound": unbound,
    "late": late,
    "wall_clock": wall_clock,
    "replugged": replugged,
}
