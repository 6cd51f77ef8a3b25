"""What is left on a disk whose machine lost its power."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import av
import cv2

NONE = -1


@dataclass
class Found:
    """By output the id of the last frame that is whole, and what is wrong with the files."""

    last: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def found_in(folder: Path, suffix: str) -> Found:
    """Repair the file system as at a boot, copy its files out, and read them."""
    disk, copy = folder / "disk", folder / "copy"
    copy.mkdir()
    repaired = subprocess.run(["e2fsck", "-fy", str(disk)], capture_output=True, text=True, check=False)
    if repaired.returncode > 1:
        raise RuntimeError(f"e2fsck: {repaired.stdout}{repaired.stderr}")
    subprocess.run(["debugfs", "-R", f"rdump / {copy}", str(disk)], capture_output=True, check=True)
    recording, found = copy / "recording", Found()
    _records(recording / "out.jsonl", found)
    _video(recording / f"out.{suffix}", found)
    _masks(recording / "masks", found)
    return found


def _records(file: Path, found: Found) -> None:
    """A torn last line is none, and `--append` removes it; all others must be whole, in order."""
    lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
    try:
        ids = [json.loads(line)["frame_id"] for line in lines]
    except ValueError:
        found.faults.append("a broken record")
        ids = []
    if ids != list(range(len(ids))):
        found.faults.append("records are missing in the middle")
    found.last["records"] = ids[-1] if ids else NONE


def _video(file: Path, found: Found) -> None:
    """Every picture that there is must decode."""
    frames = 0
    try:
        with av.open(str(file)) as container:
            for _ in container.decode(video=0):
                frames += 1
    except av.FFmpegError as error:
        if frames:
            found.faults.append(f"video: {error}")
    found.last["video"] = frames - 1


def _masks(folder: Path, found: Found) -> None:
    masks = sorted(folder.glob("*.png")) if folder.is_dir() else []
    torn = [mask.name for mask in masks if cv2.imread(str(mask), cv2.IMREAD_UNCHANGED) is None]
    if torn:
        found.faults.append(f"{len(torn)} of {len(masks)} masks do not decode")
    found.last["masks"] = max((int(mask.stem) for mask in masks if mask.name not in torn), default=NONE)
