"""What tests of archives share: small clips, the command, and what it left."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from clips import Kind, write

from perception.archive.cli import main
from perception.node import main as node

MODEL = "rt_s-int8"
FAST = ("--model", MODEL, "--workers", "1")
GOOD = {"a.mp4": 9, "b.mkv": 30, "day 2/a.mp4": 12}
"""Frames of the clips that are whole, by name."""
CUT_FRAMES = 40


def make_clips(folder: Path) -> Path:
    """Three whole clips, one cut off, one empty, one of text, and a file that is none."""
    (folder / "day 2").mkdir(parents=True)
    for name, frames in GOOD.items():
        write(folder / name, Kind("libx264"), frames=frames)
    whole = write(folder / "cut.mkv", Kind("libx264"), frames=CUT_FRAMES)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("no video")
    (folder / "notes.txt").write_text("no clip")
    return folder


def archive(*arguments: str | Path) -> int:
    """The command in this process."""
    return main([str(argument) for argument in arguments])


def start(*arguments: str | Path) -> subprocess.Popen[bytes]:
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "perception.archive", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def results(out: Path) -> dict[str, dict[str, Any]]:
    """The contents of all `clip.json`, by name."""
    found = (json.loads(file.read_text()) for file in (out / "clips").rglob("clip.json"))
    return {result["name"]: result for result in found}


def masks(out: Path, name: str) -> dict[str, bytes]:
    """Masks of one clip, by file name."""
    with zipfile.ZipFile(out / "clips" / name / "masks.zip") as packed:
        return {mask: packed.read(mask) for mask in packed.namelist()}


def masks_of_node(source: Path, folder: Path, *arguments: str) -> dict[str, bytes]:
    """Those that drivable-node alone writes."""
    node(["--source", str(source), "--masks", str(folder), "--model", MODEL, *arguments])
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix == ".png"}
