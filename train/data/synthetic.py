"""Labelled frames from the built-in renderer."""

from __future__ import annotations

from functools import lru_cache

from perception.synthetic import MIXED, DriveRenderer
from train.data.frames import LabelledFrame

SECONDS_BETWEEN_FRAMES = 1.7  # far enough apart for another curve, another car, another shadow


class SyntheticDrives:
    """`drives` roads with `frames_per_drive` frames each; the scenes alternate."""

    def __init__(
        self, drives: int, frames_per_drive: int, frame_wh: tuple[int, int], first_seed: int = 0
    ) -> None:
        self.drives = drives
        self.frames_per_drive = frames_per_drive
        self.frame_wh = frame_wh
        self.first_seed = first_seed
        # Built once and kept: about 8 MB and 0.1 s each.
        self._renderer = lru_cache(maxsize=None)(self._build)

    def _build(self, drive: int) -> DriveRenderer:
        seed = self.first_seed + drive
        return DriveRenderer(MIXED[drive % len(MIXED)], self.frame_wh, 1 / SECONDS_BETWEEN_FRAMES, seed)

    def __len__(self) -> int:
        return self.drives * self.frames_per_drive

    def __getitem__(self, index: int) -> LabelledFrame:
        drive, frame_id = divmod(index, self.frames_per_drive)
        return self._renderer(drive).render(frame_id)

    def name(self, index: int) -> str:
        """The drive's seed and the frame's number in it, such as `drive 12, frame 3`."""
        return f"{self.recording(index)}, frame {index % self.frames_per_drive}"

    def recording(self, index: int) -> str:
        """The drive, named by the seed of its road."""
        return f"drive {self.first_seed + index // self.frames_per_drive}"
