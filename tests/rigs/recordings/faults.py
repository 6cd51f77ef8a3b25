"""Damaged recordings through the command: how it ends, what it wrote, and which frames it marked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import clips
import command
from lines import Line

RUN_LIMIT_S: Final = 120.0
ASKED: Final = "status 0 or one line that says why, outputs readable, books balance"
ENDINGS: Final = {
    "mp4": "refused, for its index stood at the end",
    "mkv": "all frames before the cut, and status 1",
    "ts": "all frames before the cut, the torn one counted, and status 1",
}


@dataclass(frozen=True)
class Run:
    """What a run of the node came to."""

    status: int
    said: str
    records: list[dict[str, Any]]
    video_frames: int
    summary: dict[str, Any] | None
    """None where the node refused the file."""

    @property
    def checks(self) -> dict[str, bool]:
        """What must hold of every run."""
        last = self.said.strip().splitlines()[-1:]
        complaint = [line for line in self.said.splitlines() if line.startswith("drivable-node: ")]
        checks = {
            "no traceback": "Traceback" not in self.said,
            "one line": self.status == 0 or (self.status == 1 and last == complaint),
        }
        if self.summary is not None:
            is_each_recorded = self.summary["frames"]["captured"] == len(self.records)
            checks["books"] = is_each_recorded and command.do_books_balance(self.summary)
            checks["video"] = self.video_frames == len(self.records)
        return checks

    @property
    def text(self) -> str:
        """In short."""
        if self.summary is None:
            return f"refused: {self.said.strip()}"
        errors = self.summary["source"]["decode_errors"]
        ending = f"; {self.said.strip().splitlines()[-1]}" if self.status else ""
        return f"status {self.status}, {len(self.records)} frames, {errors} decode errors{ending}"


def run(file: Path, folder: Path) -> Run:
    """Run the node over a file, with every output."""
    out, records, summary = folder / "out.mkv", folder / "records.jsonl", folder / "summary.json"
    done = command.run(
        [
            *("--source", str(file), "--model", "rt_s-int8", "--out", str(out)),
            *("--jsonl", str(records), "--summary", str(summary)),
        ],
        RUN_LIMIT_S,
    )
    return Run(
        status=done.returncode,
        said=done.stderr.replace(str(folder), "…"),
        records=command.records(records),
        video_frames=command.playable_frames(out) if out.exists() else 0,
        summary=command.json.loads(summary.read_text()) if summary.exists() else None,
    )


def flipped(share: float) -> Line:
    """Bits are flipped in a share of the packets."""
    asked = f"{ASKED}, decode errors counted, every visibly wrong frame marked, not all frames"
    with TemporaryDirectory(prefix="recordings-") as place:
        folder = Path(place)
        clean = clips.record(folder / "clean.mp4", clips.pictures(clips.FRAMES))
        hit = clips.flip_packets(clean, folder / "damaged.mp4", share)
        seen = run(folder / "damaged.mp4", folder)
        wrong = clips.visibly_wrong(clean, folder / "damaged.mp4")
    marked = {
        round(record["time_ns"] * clips.RATE_HZ / 1e9)
        for record in seen.records
        if record["camera"]["reason"] == "damaged"
    }
    checks = {
        **seen.checks,
        "decode errors": seen.summary is not None and seen.summary["source"]["decode_errors"] > 0,
        "marked": not wrong - marked,
        # from the hit to the next key frame, and the second for which a fault is reported on
        "not all marked": len(marked) <= min(hit * (clips.GOP_FRAMES + clips.RATE_HZ + 1), clips.FRAMES - 1),
    }
    summary = (
        f"{hit} packets hit, {seen.text}; {len(wrong)} visibly wrong, {len(wrong & marked)} of them marked, "
        f"{len(marked - wrong)} marked beyond"
    )
    return Line.of_checks(f"bits flipped in {share:.1%} of packets", asked, summary, checks)


def cut_off(name: str) -> Line:
    """The recording ends in the middle: of a container that is readable up to there, or of none."""
    kind = Path(name).suffix[1:]
    asked = f"{ASKED}; {ENDINGS[kind]}"
    with TemporaryDirectory(prefix="recordings-") as place:
        folder = Path(place)
        whole = clips.record(folder / f"clip{Path(name).suffix}", clips.pictures(200))
        data = whole.read_bytes()
        cut = folder / name
        cut.write_bytes(data[: len(data) * 6 // 10])
        seen = run(cut, folder)
    frames = len(seen.records)
    checks = {
        **seen.checks,
        "status": seen.status == 1,
        "counted": kind != "ts" or (seen.summary is not None and seen.summary["source"]["decode_errors"] > 0),
        "frames": frames == 0 if kind == "mp4" else 80 <= frames <= 160,
    }
    return Line.of_checks(f"{kind} cut off at 60 %", asked, seen.text, checks)


def joined(
    fault: str, suffix: str, second_wh: tuple[int, int], second_rate_hz: int, frames: int, status: int = 0
) -> Line:
    """Two recordings, one behind the other in one file."""
    with TemporaryDirectory(prefix="recordings-") as place:
        folder = Path(place)
        first = clips.record(folder / f"first{suffix}", clips.pictures(100))
        second = clips.record(folder / f"second{suffix}", clips.pictures(100, second_wh), second_rate_hz)
        both = folder / f"both{suffix}"
        with both.open("wb") as to:
            for part in (first, second):
                with part.open("rb") as data:
                    shutil.copyfileobj(data, to)
        seen = run(both, folder)
    times_ns = [record["time_ns"] for record in seen.records]
    checks = {
        **seen.checks,
        "status": seen.status == status,
        "frames": len(seen.records) == frames,
        "times rise": times_ns == sorted(set(times_ns)),
    }
    sizes = {tuple(record["frame_wh"]) for record in seen.records}
    return Line.of_checks(
        *(fault, f"{ASKED}; status {status}, {frames} frames, times that rise"),
        *(f"{seen.text}; sizes {sizes}", checks),
    )


SCENARIOS: Final[dict[str, Callable[[], Line]]] = {
    "flip_0.1": partial(flipped, 0.001),
    "flip_1": partial(flipped, 0.01),
    "flip_5": partial(flipped, 0.05),
    "cut_mp4": partial(cut_off, "cut.mp4"),
    "cut_mkv": partial(cut_off, "cut.mkv"),
    "cut_ts": partial(cut_off, "cut.ts"),
    "joined_ts": partial(joined, "two ts files joined", ".ts", clips.SIZE_WH, clips.RATE_HZ, 200),
    "joined_mp4": partial(
        joined,
        "two mp4 files joined: the second is reported and not read",
        ".mp4",
        clips.SIZE_WH,
        clips.RATE_HZ,
        frames=100,
        status=1,
    ),
    "size_and_rate": partial(joined, "size and rate change in mid-stream (ts)", ".ts", (320, 180), 15, 200),
    "size_h264": partial(
        joined, "size changes in a raw stream (h264)", ".h264", (320, 180), clips.RATE_HZ, 200
    ),
}
