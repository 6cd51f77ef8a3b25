"""Splits where the publisher gives none. Frames of one recording are alike: no split may tear one apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

SPLITS: Final = ("train", "val", "test")
SHARES: Final = {"train": 0.8, "val": 0.1, "test": 0.1}
BLOCK_FRAMES: Final = 10


def split_by_name(recording: str) -> str:
    """The split that a recording falls into by its name's hash: 8 of 10 into train, 1 into val, 1 into test.

    It stays there whatever other recordings come or go.
    """
    digest = hashlib.sha256(recording.encode()).digest()
    return _split_at(int.from_bytes(digest[:8]) / 2**64, SHARES)


def split_by_place(frames: int, shares: Mapping[str, float] = SHARES) -> dict[str, range]:
    """Contiguous frames for each split, for a list of frames whose recordings nobody noted.

    Neighbours in such a list are often of one recording, so a random choice among them would put the
    same street into train and test. Here that can happen at the two cuts only.
    """
    blocks = -(-frames // BLOCK_FRAMES)
    splits: dict[str, range] = {}
    for block in range(blocks):
        split = _split_at(block / blocks, shares)
        start = splits[split].start if split in splits else block * BLOCK_FRAMES
        splits[split] = range(start, min(frames, (block + 1) * BLOCK_FRAMES))
    return splits


def block_at(index: int) -> str:
    """What stands for the recording of such a frame: the ten frames it lies among."""
    start = index - index % BLOCK_FRAMES
    return f"frames {start} to {start + BLOCK_FRAMES - 1}"


def _split_at(place: float, shares: Mapping[str, float]) -> str:
    """The split that holds a place between 0 and 1."""
    end = 0.0
    for split, share in shares.items():
        end += share
        if place < end:
            return split
    return list(shares)[-1]
