"""Recordings as they come from the road, and the damage that befalls them."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from perception.synthetic import DriveRenderer

RATE_HZ: Final = 25
SIZE_WH: Final = (640, 360)
GOP_FRAMES: Final = 25
FRAMES: Final = 1000
BYTES_OF_A_HEAD: Final = 12  # of a packet: the length of its first unit, and its kind
WRONG_BYTES: Final = 6


def pictures(frames: int, size_wh: tuple[int, int] = SIZE_WH) -> list[NDArray[np.uint8]]:
    """A rendered drive, there and back again: rendering takes longer than coding."""
    renderer = DriveRenderer("day", size_wh, RATE_HZ, 0)
    there = [renderer.render(number)[0] for number in range(min(frames, 100))]
    drive = there + there[::-1]
    return [drive[number % len(drive)] for number in range(frames)]


def record(file: Path, images: list[NDArray[np.uint8]], rate_hz: int = RATE_HZ) -> Path:
    """Encode images as H.264, a key frame a second; the container by the file's name."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=rate_hz, options={"preset": "veryfast", "bf": "0"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt, stream.gop_size = "yuv420p", GOP_FRAMES
        stream.codec_context.time_base = Fraction(1, rate_hz)
        for number, image_bgr in enumerate(images):
            picture = av.VideoFrame.from_ndarray(image_bgr, format="bgr24")
            picture.pts = number
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return file


def flip_packets(clip: Path, to: Path, share: float, seed: int = 0) -> int:
    """Copy an MP4 file with flipped bits in a share of its packets; how many those are, at least one."""
    with av.open(str(clip)) as container:
        entries = [(entry.pos, entry.size) for entry in container.streams.video[0].index_entries]
    choice = random.Random(seed)
    hit = choice.sample(entries, max(1, round(share * len(entries))))
    data = bytearray(clip.read_bytes())
    for position, size in hit:
        for _ in range(WRONG_BYTES):
            data[position + choice.randrange(min(BYTES_OF_A_HEAD, size - 1), size)] ^= 1 << choice.randrange(
                8
            )
    to.write_bytes(data)
    return len(hit)


def luma_by_number(file: Path, rate_hz: int = RATE_HZ) -> dict[int, NDArray[np.int16]]:
    """Every picture's luma that can be decoded, by its number in the recording."""
    found: dict[int, NDArray[np.int16]] = {}
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            try:
                for frame in stream.codec_context.decode(packet):
                    if frame.pts is not None:
                        number = round(float(frame.pts * stream.time_base) * rate_hz)
                        found[number] = frame.to_ndarray(format="gray").astype(np.int16)
            except av.FFmpegError:
                continue  # the reference passes over what it cannot decode, as the node does
    return found


def visibly_wrong(clean: Path, damaged: Path) -> set[int]:
    """Numbers of pictures that came out of the damaged file and differ where an eye would see it."""
    right = luma_by_number(clean)
    return {
        number
        for number, luma in luma_by_number(damaged).items()
        if number in right and float((np.abs(luma - right[number]) > 24).mean()) > 0.002
    }
