"""A few bytes that ask for gigabytes are refused before anything is decoded."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from perception.node import main
from perception.sources.decoding.image_size import image_wh
from perception.sources.source import SourceError
from perception.sources.video import VideoSource

FORMATS = {
    ".jpg": [],
    ".png": [],
    ".tif": [],
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 80],
    ".bmp": [],
    ".lossless.webp": [cv2.IMWRITE_WEBP_QUALITY, 101],
    ".progressive.jpg": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
}


@cache
def encoded(name: str, wh: tuple[int, int] = (61, 47), channels: int = 3) -> bytes:
    image = np.random.default_rng(0).integers(0, 255, (wh[1], wh[0], channels), np.uint8)
    return cv2.imencode(name[name.rindex(".") :], image, FORMATS.get(name, []))[1].tobytes()


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", FORMATS)
def test_the_size_is_known_from_the_header(name: str, channels: int) -> None:
    if channels == 4 and name.endswith("jpg"):
        channels = 3
    assert image_wh(encoded(name, channels=channels)) == (61, 47)


def test_a_thumbnail_before_the_picture_does_not_count() -> None:
    thumbnail = encoded(".jpg", (9, 9))
    jpeg = encoded(".jpg")

    assert image_wh(
        jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + jpeg[2:]
    ) == (61, 47)


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    lines = zlib.compressobj(9)
    black = b"".join(lines.compress(bytes(1 + width // 8)) for _ in range(height)) + lines.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", black) + chunk(b"IEND", b"")


def lying(name: str, width: int, height: int) -> bytes:
    """A small picture whose header says that it is large."""
    data = bytearray(encoded(name))
    match name:
        case ".jpg" | ".progressive.jpg":
            at = next(data.index(bytes([0xFF, kind])) for kind in (0xC0, 0xC2) if bytes([0xFF, kind]) in data)
            struct.pack_into(">HH", data, at + 5, height, width)
        case ".bmp":
            struct.pack_into("<ii", data, 18, width, -height)
        case ".tif":
            order = "<" if data.startswith(b"II") else ">"
            first = struct.unpack_from(order + "I", data, 4)[0]
            for entry in range(struct.unpack_from(order + "H", data, first)[0]):
                tag = struct.unpack_from(order + "H", data, first + 2 + 12 * entry)[0]
                if tag in (256, 257):
                    side = width if tag == 256 else height
                    struct.pack_into(order + "HII", data, first + 4 + 12 * entry, 4, 1, side)
        case ".webp":
            struct.pack_into("<HH", data, 26, width, height)
        case ".lossless.webp":
            struct.pack_into("<I", data, 21, (width - 1) | (height - 1) << 14)
    return bytes(data)


BOMBS: dict[str, Callable[[], bytes]] = {
    ".png": lambda: png(12_000, 12_000),
    **{name: lambda name=name: lying(name, 16_000, 16_000) for name in FORMATS if name != ".png"},  # type: ignore[misc]
}


@pytest.mark.parametrize("name", BOMBS)
def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"bomb{name}"
    file.write_bytes(BOMBS[name]())
    script = (
        "import sys\n"
        "from perception.telemetry.health import own_memory\n"
        "from perception.sources.images import ImagesSource\n"
        "from perception.sources.source import SourceError\n"
        "try: ImagesSource(sys.argv[1]).open()\n"
        "except SourceError as error: print(error)\n"
        "print(own_memory().peak_bytes)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, str(file)], capture_output=True, text=True, timeout=60, check=True
    )

    said, peak_bytes = done.stdout.splitlines()
    assert "pixels are more than 100 megapixels" in said
    assert int(peak_bytes) < 300_000_000


def test_the_limit_is_a_setting(tmp_path: Path, only_error_line: Callable[[str], str]) -> None:
    (tmp_path / "a.png").write_bytes(encoded(".png", (200, 100)))
    arguments = ["--model", "rt_s-int8", "--source", str(tmp_path)]

    assert main([*arguments, "--max-megapixels", "0.02"]) == 0
    assert main([*arguments, "--max-megapixels", "0.019"]) == 1
    assert "200x100 pixels are more than 0.019 megapixels" in only_error_line("drivable-node")


def test_a_video_of_too_many_pixels_is_refused(make_clip: Callable[..., Path]) -> None:
    source = VideoSource(make_clip(), max_pixels=64 * 48 - 1)

    with pytest.raises(SourceError, match="64x48 pixels are more than"):
        source.open()


def test_a_video_that_becomes_too_large_gives_no_larger_frames(make_clip: Callable[..., Path]) -> None:
    parts = [
        make_clip(f"{width}.h264", frames=10, wh=(width, 96), options={"bf": "0"}).read_bytes()
        for width in (128, 1024)
    ]
    file = make_clip("both.h264")
    file.write_bytes(b"".join(parts))
    source = VideoSource(file, max_pixels=128 * 128)
    source.open()
    frames = [source.read() for _ in range(10)]

    with pytest.raises(SourceError, match="packets cannot be decoded"):
        source.read()
    assert {frame.frame_wh for frame in frames} == {(128, 96)}


def test_any_bytes_behind_a_signature_give_a_size_or_none() -> None:
    rng = random.Random(12)
    for _ in range(3000):
        data = bytearray(encoded(rng.choice([*FORMATS])))
        for _ in range(rng.randint(1, 20)):
            data[rng.randrange(len(data)) if rng.random() < 0.3 else rng.randrange(2, 60)] = rng.randrange(
                256
            )
        wh = image_wh(bytes(data[: rng.randrange(2, len(data))]))
        assert wh is None or (len(wh) == 2 and min(wh) >= 0)


def test_what_opencv_reads_is_never_larger_than_its_header_says(tmp_path: Path) -> None:
    rng = random.Random(5)
    read = 0
    for _ in range(1500):
        name = rng.choice([*FORMATS])
        data = bytearray(encoded(name))
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(2, 200)] = rng.randrange(256)
        wh = image_wh(bytes(data))
        if wh is None or not 0 < wh[0] * wh[1] < 1_000_000:
            continue
        try:
            image = cv2.imdecode(np.frombuffer(bytes(data), np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:
            image = None
        if image is not None:
            read += 1
            assert image.shape[0] * image.shape[1] <= wh[0] * wh[1]
            if read == 300:
                break
    assert read == 300
