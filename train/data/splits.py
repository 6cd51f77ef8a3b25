"""Splits for data sets published without any. All frames of a recording go to one split: they look alike."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

SPLITS: Final = ("train", "val", "test")
SHARES: Final = {"train": 0.8, "val": 0.1, "test": 0.1}
BLOCK_FRAMES: Final = 10


def split_by_name(recording: str) -> str:
    """The split of a recording by a hash of its name: 80 % train, 10 % val, 10 % test.

    It does not depend on which other recordings there are.
    """
    digest = hashlib.sha256(recording.encode()).digest()
    return _split_at(int.from_bytes(digest[:8]) / 2**64, SHARES)


def split_by_place(frames: int, shares: Mapping[str, float] = SHARES) -> dict[str, range]:
    """A contiguous range of frames for each split, for frames of unknown recordings.

    Neighbours in such a list are often of one recording, so a random choice would put the same street
    into train and test. Here that can happen only at the two boundaries.
    """
    blocks = -(-frames // BLOCK_FRAMES)
    splits: dict[str, range] = {}
    for block in range(blocks):
        split = _split_at(block / blocks, shares)
        start = splits[split].start if split in splits else block * BLOCK_FRAMES
        splits[split] = range(start, min(frames, (block + 1) * BLOCK_FRAMES))
    return splits


def block_at(index: int) -> str:
    """A substitute for the recording of such a frame: its block of ten frames."""
    start = index - index % BLOCK_FRAMES
    return f"frames {start} to {start + BLOCK_FRAMES - 1}"


def _split_at(place: float, shares: Mapping[str, float]) -> str:
    """The split that a position between 0 and 1 falls into."""
    end = 0.0
    for split, share in shares.items():
        end += share
        if place < end:
            return split
    return list(shares)[-1]
