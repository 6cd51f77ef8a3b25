"""What a damaged reader says costs its process and nothing else."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from perception.sources.isolated.messages import (
    Ended,
    Failed,
    MalformedMessage,
    NewFrame,
    NewRing,
    Opened,
    decoded,
    encoded,
)
from perception.sources.isolated.shared_memory import Layout
from perception.sources.source import SourceInfo

VALUES = {
    "source_id": "cam",
    "frame_id": 3,
    "captured_ns": 5,
    "time_ns": 7,
    "name": "000003",
    "is_damaged": False,
    "missed_before": 0,
    "pixel_aspect": (64, 45),
}
FRAME = NewFrame(3, Layout("bt709", 640, 360), VALUES, {"decode_errors": 2})
SOUND = (
    NewRing(24, 4096, 7),
    Opened(SourceInfo("cam", True, (640, 360), 25.0, "h264")),
    Opened(SourceInfo("cam", True, None, 25.0)),
    Opened(SourceInfo("cam", True, (720, 576), 25.0, pixel_aspect=(64, 45))),
    Opened(SourceInfo("http://cam/shot.jpg", False, (640, 360), 10.0, is_one_picture=True, are_stills=True)),
    FRAME,
    Ended(),
    Failed("cam: unplugged"),
)


@pytest.mark.parametrize("message", SOUND, ids=lambda it: type(it).__name__)
def test_messages_come_as_they_were(message: Any) -> None:
    assert decoded(encoded(message)) == message


def test_names_of_files_come_as_they_were_whatever_their_encoding() -> None:
    name = os.fsdecode(b"stra\xdfe-\xff")
    message = NewFrame(3, Layout("bgr", 640, 360), VALUES | {"name": name, "source_id": name}, {})

    assert decoded(encoded(message)) == message


@pytest.mark.parametrize(
    "changes",
    [
        {"slot": -1},
        {"slot": 1e9},
        {"slot": True},
        {"layout": {"kind": "bgr", "width": -4, "height": 8}},
        {"layout": {"kind": "jpeg", "width": 4, "height": 8}},
        {"values": VALUES | {"captured_ns": 1 << 61}},
        {"values": VALUES | {"name": "../../etc/passwd"}},
        {"values": VALUES | {"name": "\ud800"}},
        {"values": VALUES | {"source_id": "\ud800"}},
        {"values": VALUES | {"name": "a\0"}},
        {"values": VALUES | {"frame_id": float("nan")}},
        {"values": VALUES | {"missed_before": -1}},
        {"values": VALUES | {"pixels": []}},
        {"values": VALUES | {"pixel_aspect": [1, 0]}},
        {"values": VALUES | {"pixel_aspect": [1, 1000]}},
        {"values": VALUES | {"pixel_aspect": [4, 3, 2]}},
        {"counts": {"decode_errors": -1}},
        {"counts": {"passwords": 1}},
        {"extra": 1},
    ],
)
def test_frame_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    sound = json.loads(encoded(FRAME))

    with pytest.raises(MalformedMessage):
        decoded(json.dumps(sound | changes).encode())


@pytest.mark.parametrize("rate_hz", [0, -25, 1e-9, 1e300, "25", None, True])
def test_source_of_an_impossible_rate_is_refused(rate_hz: Any) -> None:
    sound = json.loads(encoded(SOUND[1]))
    sound["info"]["rate_hz"] = rate_hz

    with pytest.raises(MalformedMessage):
        decoded(json.dumps(sound).encode())


def test_nesting_without_an_end_is_refused() -> None:
    with pytest.raises(MalformedMessage):
        decoded(b"[" * 60_000)
