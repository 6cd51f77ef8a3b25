"""What holds for any input: letterbox, segments, shared memory, redaction and messages of readers.

Hypothesis draws the inputs, the same ones each time (profile in tests/conftest.py); to search further:

    python -m pytest tests/perception/test_properties.py --hypothesis-profile default
"""

from __future__ import annotations

import itertools
import json
import os
import tempfile
import unicodedata
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from recording import LIVE, frames_of, names, predicted, sink_at

from perception.imaging.letterbox import Letterbox
from perception.imaging.yuv import Plane, Yuv420
from perception.inference.predictor import postprocess
from perception.labels import DRIVABLE
from perception.sinks.rotation import RecordingPolicy, Rotate
from perception.sources.isolated.messages import (
    COUNTS,
    Ended,
    Failed,
    MalformedMessage,
    Message,
    NewFrame,
    NewRing,
    Opened,
    decoded,
    encoded,
)
from perception.sources.isolated.shared_memory import Layout, Ring, RingView
from perception.sources.source import SourceInfo
from perception.system.redaction import redacted

# --- letterbox ---------------------------------------------------------------------------------------------


def sides(least: int, most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


@given(sides(1, 8000), sides(1, 2000), st.sampled_from([(1, 1), (64, 45), (8, 9), (2, 1)]))
def test_letterbox_keeps_the_shape_inside_the_input(
    frame_wh: tuple[int, int], input_wh: tuple[int, int], pixel_aspect: tuple[int, int]
) -> None:
    box = Letterbox.fit(frame_wh, input_wh, pixel_aspect)

    content_w, content_h = box.content_wh
    right_px = input_wh[0] - content_w - box.left_px
    bottom_px = input_wh[1] - content_h - box.top_px
    assert 0 <= box.left_px <= right_px <= box.left_px + 1
    assert 0 <= box.top_px <= bottom_px <= box.top_px + 1
    assert min(right_px, bottom_px) == 0
    shape = frame_wh[0] * pixel_aspect[0] / pixel_aspect[1] / frame_wh[1]
    assert min(content_w, content_h) == 1 or (content_w - 0.5) / (content_h + 0.5) <= shape
    assert min(content_w, content_h) == 1 or (content_w + 0.5) / (content_h - 0.5) >= shape


@given(sides(8, 200), sides(8, 96), st.floats(0.2, 0.8), st.floats(0.2, 0.8))
def test_edge_in_a_frame_comes_back_where_it_was(
    frame_wh: tuple[int, int], input_wh: tuple[int, int], across: float, down: float
) -> None:
    """Through the letterbox, logits and the way back, to within a pixel of the coarser of both."""
    box = Letterbox.fit(frame_wh, input_wh)
    edge_x, edge_y = round(frame_wh[0] * across), round(frame_wh[1] * down)
    frame_bgr = np.zeros((frame_wh[1], frame_wh[0], 3), np.uint8)
    frame_bgr[:, edge_x:, 0] = 255
    frame_bgr[edge_y:, :, 1] = 255
    input_bgr = box.blank((0, 0, 0))

    box.place(frame_bgr, input_bgr)

    for channel, edge, axis in ((0, edge_x, 0), (1, edge_y, 1)):
        level = input_bgr[..., channel].astype(np.float32) - 127.5
        drivable = postprocess(np.stack([level, -level]), box) == DRIVABLE
        seen = cv2.resize(drivable.astype(np.uint8), frame_wh, interpolation=cv2.INTER_NEAREST_EXACT)
        away = np.abs(np.arange(frame_wh[axis]) + 0.5 - edge)
        limit_px = max(1.0, frame_wh[axis] / box.content_wh[axis]) + 1.0
        wrong = (seen != (frame_bgr[..., channel] > 0)).any(axis=axis)
        assert not (wrong & (away > limit_px)).any()


# --- recordings in segments --------------------------------------------------------------------------------

STEPS_MS = st.sampled_from([0, 1, 40, 40, 40, 400, 2_500, -1_000])
"""From one frame to the next: a camera's period most often, and sources that pause or begin again."""


@given(
    steps_ms=st.lists(STEPS_MS, min_size=1, max_size=40),
    rotate=st.builds(Rotate, st.sampled_from([0.0, 0.002]), st.sampled_from([0.5, 2.0]), st.integers(0, 3)),
    runs=st.integers(1, 3),
)
@settings(max_examples=40)
def test_segments_that_are_kept_hold_the_last_frames_and_lose_none(
    steps_ms: list[int], rotate: Rotate, runs: int
) -> None:
    times_ns = [int(time_ms) * 1_000_000 for time_ms in np.maximum(np.cumsum(steps_ms), 0)]
    with tempfile.TemporaryDirectory() as folder:
        for run in range(runs):
            sink = sink_at(Path(folder), "jsonl", RecordingPolicy(rotate))
            sink.open(LIVE)
            for number, time_ns in enumerate(times_ns, run * len(times_ns)):
                prediction = predicted(number)
                sink.write(replace(prediction, frame=replace(prediction.frame, time_ns=time_ns)))
            sink.close()
            assert sink.issue is None
        segments = [frames_of(Path(folder) / name) for name in names(Path(folder))]

    written = [*range(runs * len(times_ns))]
    kept = [frame_id for segment in segments for frame_id in segment]
    assert kept == written[len(written) - len(kept) :]
    assert all(segments)
    if rotate.keep:
        assert len(segments) <= rotate.keep
    else:
        assert kept == written
    for segment in segments:
        of_segment = [times_ns[frame_id % len(times_ns)] for frame_id in segment]
        began_ns = of_segment[0]
        for before_ns, time_ns in itertools.pairwise(of_segment):
            began_ns = began_ns if time_ns >= before_ns else time_ns  # a source that began again
            assert time_ns - began_ns < rotate.age_s * 1e9


# --- shared memory -----------------------------------------------------------------------------------------

SLOTS, SLOT_BYTES = 3, 20_000


@st.composite
def pictures(draw: st.DrawFn) -> Plane | Yuv420:
    """BGR or planes of any size, whether a slot holds them or not."""
    (width, height), rng = draw(sides(1, 130)), np.random.default_rng(draw(st.integers(0, 99)))

    def plane(*shape: int) -> Plane:
        return rng.integers(0, 256, shape, np.uint8)

    kind = draw(st.sampled_from(["bgr", "bt601", "bt709"]))
    if kind == "bgr":
        return plane(height, width, 3)
    chroma = ((height + 1) // 2, (width + 1) // 2)
    return Yuv420(
        plane(height, width), plane(*chroma), plane(*chroma), "bt601" if kind == "bt601" else "bt709"
    )


def planes_of(pixels: Plane | Yuv420) -> list[Plane]:
    return [pixels.y, pixels.u, pixels.v] if isinstance(pixels, Yuv420) else [pixels]


def check_same(held: dict[int, tuple[Plane | Yuv420, Plane | Yuv420]]) -> None:
    """What is found in the slots is what was put there, and cannot be written; keeps none of it."""
    for wanted, found in held.values():
        for one, other in zip(planes_of(wanted), planes_of(found), strict=True):
            assert not other.flags.writeable
            np.testing.assert_array_equal(one, other)


@given(st.lists(st.tuples(st.integers(-1, SLOTS), pictures(), st.booleans()), max_size=12))
def test_pictures_in_shared_memory_stay_while_they_are_held_and_are_given_back_once(
    steps: list[tuple[int, Plane | Yuv420, bool]],
) -> None:
    """Each step: a slot, a picture for it, and whether what the slot held is let go of."""
    ring = Ring(SLOTS, SLOT_BYTES)
    view = RingView(os.dup(ring.descriptor), SLOTS, ring.slot_bytes)
    released: list[int] = []
    held: dict[int, tuple[Plane | Yuv420, Plane | Yuv420]] = {}
    let_go = []
    for slot, pixels, lets_go in steps:
        if lets_go and held.pop(slot, None) is not None:
            let_go.append(slot)
        layout = Layout.of(pixels)
        fits = layout.size_bytes <= ring.slot_bytes
        assert view.holds(slot, layout) == (fits and 0 <= slot < SLOTS)
        if view.holds(slot, layout) and slot not in held:
            held[slot] = pixels, view.pixels(slot, ring.fill(slot, pixels), released.append)
        assert released == let_go
        check_same(held)
    ring.close()
    let_go += held
    held.clear()
    assert sorted(released) == sorted(let_go)


# --- redaction ---------------------------------------------------------------------------------------------

LEGAL = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
IN_QUERY = LEGAL + "/?@:!$'()*+,;="
IN_USERINFO = LEGAL + "!$'()*+,;=@/?#&:%"
PLACES = {
    "rtsp://ann:SECRET@10.0.0.7:554/road": IN_USERINFO,
    "http://:SECRET@camera/road?a=1": IN_USERINFO,
    "https://SECRET@10.0.0.7/road": LEGAL,
    "http://camera/road?password=SECRET": IN_QUERY,
    "http://10.0.0.7:8080/road?a=1&token=SECRET&b=2": IN_QUERY,
    "https://[fe80::1]:8443/road?X-Amz-Signature=SECRET": IN_QUERY,
    "http://ann@10.0.0.7:80/road?api_key=SECRET": IN_QUERY,
    "rtsp://10.0.0.7/user=ann_password=SECRET_channel=1.sdp": LEGAL,
    "http://10.0.0.7/road#access_token=SECRET": IN_QUERY,
    "http://10.0.0.7/road?SECRET": LEGAL,
}
AROUND = (
    " or ",
    "cannot open ",
    ": refused",
    "{'source': '",
    "'}",
    "\n",
    "\t",
    ", ",
    "rtsp://b/c",
    "a@b",
    "(",
)


@st.composite
def secret_addresses(draw: st.DrawFn) -> tuple[str, str]:
    """An address with a secret in it, and the secret: 16 to 40 characters."""
    place = draw(st.sampled_from(list(PLACES)))
    secret = draw(st.text(PLACES[place], min_size=16, max_size=40))
    return place.replace("SECRET", secret), secret


@given(
    st.lists(secret_addresses(), min_size=1, max_size=3),
    st.lists(st.sampled_from(AROUND), min_size=4, max_size=4),
    st.text(max_size=20),
)
@settings(max_examples=400)
def test_no_part_of_a_secret_is_left_in_a_text(
    addresses: list[tuple[str, str]], around: list[str], ends: str
) -> None:
    """Four characters would be a part, unless the text has them elsewhere too."""
    texts = [
        text for pair in zip(around, [address for address, _ in addresses], strict=False) for text in pair
    ]
    shown = redacted("".join([ends, *texts, around[-1], ends]))
    known = "".join([ends, *around, *PLACES, "***"])

    for _, secret in addresses:
        for start in range(len(secret) - 3):
            part = secret[start : start + 4]
            assert part not in shown or part in known or part in known.replace("SECRET", "")


@given(st.text())
def test_redacted_text_has_no_control_characters_but_line_ends_and_tabs(text: str) -> None:
    assert {c for c in redacted(text) if unicodedata.category(c) == "Cc"} <= {"\n", "\t"}


# --- messages of readers -----------------------------------------------------------------------------------

WHOLE = st.integers(0, 1 << 62)
COUNTED = st.dictionaries(st.sampled_from(COUNTS), WHOLE)
NAMES = st.text("abc/._-é\udcff", min_size=1).filter(lambda name: all(p.strip(".") for p in name.split("/")))
SIDES = sides(1, 1 << 20)
ASPECTS = st.sampled_from([(1, 1), (64, 45), (8, 9)])
SOUND: st.SearchStrategy[Message] = st.one_of(
    st.builds(NewRing, st.integers(1, 255), st.integers(1, 1 << 40), st.integers(0, 254)),
    st.builds(
        Opened,
        st.builds(
            SourceInfo,
            source_id=NAMES,
            is_live=st.booleans(),
            frame_wh=st.none() | SIDES,
            rate_hz=st.floats(1e-6, 1e6),
            description=NAMES,
            is_replayed=st.booleans(),
            pixel_aspect=ASPECTS,
            burst_s=st.floats(0, 1e6),
            is_one_picture=st.booleans(),
            are_stills=st.booleans(),
        ),
    ),
    st.builds(
        NewFrame,
        st.integers(0, 254),
        st.builds(
            Layout, st.sampled_from(["bgr", "bt601", "bt709"]), st.integers(1, 9999), st.integers(1, 9999)
        ),
        st.fixed_dictionaries(
            {
                "source_id": NAMES,
                "frame_id": WHOLE,
                "captured_ns": st.integers(-(1 << 62), 0),
                "time_ns": WHOLE,
                "name": NAMES,
                "is_damaged": st.booleans(),
                "missed_before": WHOLE,
                "pixel_aspect": ASPECTS,
            }
        ),
        COUNTED,
    ),
    st.builds(Ended, COUNTED),
    st.builds(Failed, NAMES),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


@given(SOUND)
def test_message_comes_as_it_was_sent(message: Message) -> None:
    assert decoded(encoded(message)) == message


@st.composite
def damaged_messages(draw: st.DrawFn) -> bytes:
    """A sound message with one value exchanged, or with a piece of its bytes."""
    data = encoded(draw(SOUND))
    if draw(st.booleans()):
        message: Any = json.loads(data)
        inner = message
        while True:
            key = draw(st.sampled_from(sorted(inner)))
            if not isinstance(inner[key], dict) or not inner[key] or draw(st.booleans()):
                inner[key] = draw(JSON)
                return json.dumps(message).encode()
            inner = inner[key]
    start, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
    return data[:start] + draw(st.binary(max_size=9)) + data[end:]


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()) | damaged_messages())
@settings(max_examples=500)
def test_any_bytes_are_a_message_or_the_one_error(data: bytes) -> None:
    with suppress(MalformedMessage):
        message = decoded(data)
        assert decoded(encoded(message)) == message
