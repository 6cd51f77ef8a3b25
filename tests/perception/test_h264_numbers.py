"""Pictures that are missing from H.264 are found by their numbers, whatever their times are."""

from __future__ import annotations

import random
from fractions import Fraction

import av
import numpy as np
import pytest

from perception.sources.decoding.h264_numbers import PictureNumbers

PROFILES = {
    "zero latency": {"tune": "zerolatency", "preset": "ultrafast"},
    "main, two of B": {"profile": "main", "bf": "2"},
    "high, pyramid of B": {"profile": "high", "bf": "3", "b-pyramid": "normal"},
    "4:4:4": {"profile": "high444"},
    "scaling lists": {"x264-params": "cqm=jvt"},
    "slices": {"x264-params": "slices=4"},
    "interlaced": {"x264-params": "tff=1"},
    "open groups": {"x264-params": "open-gop=1:bframes=3"},
    "own order": {"x264-params": "bframes=0:ref=4"},
}


def packets_of(options: dict[str, str]) -> tuple[bytes, list[tuple[bytes, bool]]]:
    """The parameters, and 120 pictures in the order of decoding, each with whether it is a key frame."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.time_base = 64, 48, Fraction(1, 25)
    encoder.pix_fmt = "yuv444p" if "444" in options.get("profile", "") else "yuv420p"
    encoder.gop_size, encoder.options = 30, options
    rng, packets = np.random.default_rng(1), []
    for number in range(120):
        picture = av.VideoFrame.from_ndarray(rng.integers(0, 255, (48, 64, 3), np.uint8), format="bgr24")
        picture.pts = number
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    return encoder.extradata or b"", [(bytes(it), it.is_keyframe) for it in packets]


@pytest.mark.parametrize("is_announced", [True, False])
@pytest.mark.parametrize("name", PROFILES)
def test_a_missing_picture_is_found_and_a_whole_stream_misses_none(name: str, is_announced: bool) -> None:
    parameters, packets = packets_of(PROFILES[name])
    whole = PictureNumbers(parameters if is_announced else None)

    assert [number for number, (data, _) in enumerate(packets) if whole.misses_before(data)] == []
    assert whole.are_known

    for lost in random.Random(1).sample(range(2, 110), 8):
        numbers = PictureNumbers(parameters if is_announced else None)
        left = [(number, data) for number, (data, _) in enumerate(packets) if number != lost]
        found = [number for number, data in left if numbers.misses_before(data)]

        is_needed = is_reference(packets[lost][0]) and not packets[lost][1] and not packets[lost + 1][1]
        assert bool(found) >= is_needed
        assert all(lost < number <= lost + 4 for number in found)


def is_reference(data: bytes) -> bool:
    """Whether others are predicted from this picture."""
    return any(unit[0] >> 5 & 3 for unit in data.split(b"\0\0\1")[1:] if unit and unit[0] & 31 in (1, 5))


def test_bytes_that_are_no_pictures_say_nothing() -> None:
    _, packets = packets_of(PROFILES["zero latency"])
    rng = random.Random(2)
    numbers = PictureNumbers(rng.randbytes(50))
    assert not numbers.are_known
    for _ in range(2_000):
        data = bytearray(rng.choice([data for data, _ in packets[:3]])[: rng.randrange(1, 90)])
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        numbers.misses_before(bytes(data))
