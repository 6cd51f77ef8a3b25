from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from clips import Kind, write

from perception.sources.decoding.damage import DamageTrace
from perception.sources.source import EndOfSource
from perception.sources.video import VideoSource

PERIOD_NS = 40_000_000


def test_damage_lasts_until_the_next_clean_key_frame() -> None:
    trace = DamageTrace()

    pictures = [(False, True), (True, False), (False, False), (True, True), (False, False), (False, True)]
    damaged = [trace.is_damaged(is_corrupt, is_key, None) for is_corrupt, is_key in pictures]

    assert damaged == [False, True, True, True, True, False]


def test_a_lost_packet_damages_what_is_predicted_and_no_key_frame() -> None:
    trace = DamageTrace()
    trace.lose_packet()

    assert trace.is_damaged(is_corrupt=False, is_key=False, pts_ns=None)
    assert not trace.is_damaged(is_corrupt=False, is_key=True, pts_ns=None)


def test_a_key_frame_that_was_read_before_the_loss_heals_nothing_and_is_whole() -> None:
    trace = DamageTrace()
    losses_before = trace.losses
    trace.lose_packet()

    assert not trace.is_damaged(is_corrupt=False, is_key=True, pts_ns=None, losses_before=losses_before)
    assert trace.is_damaged(is_corrupt=False, is_key=False, pts_ns=None, losses_before=trace.losses)
    assert not trace.is_damaged(is_corrupt=False, is_key=True, pts_ns=None, losses_before=trace.losses)


def test_what_is_predicted_from_a_lost_picture_is_marked_where_key_frames_are_shown_late(
    tmp_path: Path,
) -> None:
    kind = Kind("libx264", codec_options={"preset": "medium", "bf": "3", "g": "25", "keyint_min": "25"})
    file = write(tmp_path / "reordered.mp4", kind)
    with av.open(str(file)) as container:
        places = [(entry.pos, entry.size) for entry in container.streams.video[0].index_entries]
    begin, size = places[26]  # right behind the second key frame, which is shown after it was read
    data = bytearray(file.read_bytes())
    data[begin : begin + size] = bytes(size)
    file.write_bytes(data)
    source, damaged = VideoSource(file), []
    source.open()

    with contextlib.suppress(EndOfSource):
        while True:
            frame = source.read()
            damaged += [round(frame.time_ns / PERIOD_NS)] * frame.is_damaged
    source.close()

    assert set(damaged) >= set(range(30, 50))
    assert not set(damaged) & {25, *range(50, 100)}


@pytest.mark.parametrize("loses_frames", [True, False])
def test_a_gap_in_time_is_damage_only_where_frames_can_be_lost_on_the_way(loses_frames: bool) -> None:
    trace = DamageTrace(loses_frames)
    before = [trace.is_damaged(False, False, PERIOD_NS * i) for i in range(20)]

    after = [trace.is_damaged(False, False, PERIOD_NS * i) for i in (21, 22)]

    assert not any(before)
    assert after == [loses_frames, loses_frames]


def test_a_sender_that_changes_its_rate_is_taken_for_loss_until_the_next_key_frame_only() -> None:
    trace = DamageTrace(loses_frames=True)
    for i in range(20):
        trace.is_damaged(False, False, PERIOD_NS * i)
    slow_ns = [PERIOD_NS * (20 + 2 * i) for i in range(20)]

    damaged = [trace.is_damaged(False, i == 6, pts_ns) for i, pts_ns in enumerate(slow_ns)]

    assert damaged == [False] + [True] * 5 + [False] * 14


def test_frames_of_a_damaged_recording_are_marked(make_clip: Callable[..., Path]) -> None:
    file = make_clip(frames=30, wh=(320, 240), options={"bf": "0", "g": "10", "qp": "4"})
    with av.open(str(file)) as container:
        entry = container.streams.video[0].index_entries[13]
        start, size = entry.pos, entry.size  # they go with the container
    data, choice = bytearray(file.read_bytes()), random.Random(0)
    for _ in range(8):
        data[start + choice.randrange(12, size)] ^= 0xFF
    file.write_bytes(data)
    source, frames = VideoSource(file), []
    source.open()

    with contextlib.suppress(EndOfSource):
        while True:
            frames.append(source.read())
    source.close()

    damaged = [round(frame.time_ns / 1e8) for frame in frames if frame.is_damaged]
    assert set(damaged) >= set(range(14, 20))
    assert set(damaged) <= set(range(13, 20))
    assert source.decode_errors >= 1
