"""What a stressed run must have left: no traceback, whole files, books that balance, no silent loss."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

import av
import cv2
import jsonschema
from command import ROOT, do_books_balance
from setting import Case

CRASHES: Final = (
    "Traceback (most recent",
    "terminate called",
    "Exception ignored",
    "Fatal Python error",
)
KILLED: Final = -9
FEW: Final = 30
"""Records: a video of fewer frames may hold none yet when it is killed."""


def complaints_of(case: Case, has_ended: bool) -> list[str]:
    """One line for everything that is wrong; none where all is well."""
    assert case.process is not None
    status = case.process.returncode
    said = case.log.read_text(errors="replace")
    wrong = [note.removeprefix("COMPLAINT: ") for note in case.notes if note.startswith("COMPLAINT: ")]
    if not has_ended:
        wrong.append("hung")
    wrong += [f"said {message!r}" for message in CRASHES if message in said]
    if "unexpected " in said and "bug in drivable" in said:
        wrong.append(next(line for line in said.splitlines() if "bug in drivable" in line)[:300])
    if status < 0 and not (case.is_killed and status == KILLED) and has_ended:
        wrong.append(f"was killed by signal {-status}")
    if status > 0 and "2>" not in case.redirections and "drivable-node: " not in said:
        wrong.append(f"status {status} without a word")
    folders = [case.out, case.folder / "moved"]
    records = [line for folder in folders for line in _records(folder, case, wrong)]
    for folder in folders:
        _check_masks(folder, wrong)
    frames = _frames(case, len(records), status, wrong)
    if not (case.is_killed and status == KILLED) and has_ended:
        _check_books(case, status, said, records, frames, wrong)
    return wrong


def _records(folder: Path, case: Case, wrong: list[str]) -> list[dict[str, Any]]:
    found = []
    for file in sorted(folder.glob("r*.jsonl*")):
        content = file.read_bytes()
        lines = content.split(b"\n")
        if lines[-1] and not case.loses_outputs:
            wrong.append(f"{file.name} ends with a torn line of {len(lines[-1])} bytes")
        ids = []
        for number, line in enumerate(lines[:-1]):
            try:
                record = json.loads(line)
            except ValueError:
                wrong.append(f"{file.name}: line {number + 1} is no JSON")
                break
            if number % 20 == 0 and (error := next(_schema().iter_errors(record), None)):
                wrong.append(f"{file.name}: line {number + 1}: {error.message[:100]}")
            found.append(record)
            ids.append(record["frame_id"])
        known = [it for it in ids if it is not None]
        if known != sorted(set(known)):
            wrong.append(f"{file.name}: frame ids do not rise")
    return found


@cache
def _schema() -> Any:
    schema = json.loads((ROOT / "perception" / "sinks" / "record.schema.json").read_text())
    return jsonschema.Draft202012Validator(schema)


def _check_masks(folder: Path, wrong: list[str]) -> None:
    for file in sorted((folder / "masks").glob("*.png")):
        if cv2.imread(str(file), cv2.IMREAD_UNCHANGED) is None:
            wrong.append(f"{file.name} does not decode")
            return


def _frames(case: Case, records: int, status: int, wrong: list[str]) -> int | None:
    """Frames of the video; None where there is none."""
    if not case.video.exists() or not case.video.stat().st_size:
        return None
    try:
        with av.open(str(case.video)) as container:
            return sum(1 for _ in container.decode(video=0))
    except av.FFmpegError as error:
        if records > FEW or status == 0:
            wrong.append(f"the video does not decode: {error}")
        return None


def _check_books(
    case: Case, status: int, said: str, records: list[dict[str, Any]], frames: int | None, wrong: list[str]
) -> None:
    has_begun = "frames captured" in said
    try:
        summary = json.loads(case.summary.read_text())
    except OSError:
        if status == 0 or (has_begun and "the summary cannot be written" not in said):
            wrong.append("there is no summary")
        return
    except ValueError:
        wrong.append("the summary is no JSON")
        return
    if not do_books_balance(summary):
        wrong.append(f"the books do not balance: {summary['frames']}")
    if status != 0:
        return
    _check_lost(summary, records, wrong)
    if case.loses_outputs:  # a video may have been taken away as a whole, which is no loss of ours
        return
    counts = summary["frames"]
    dropped_by_video = summary["sinks"].get("overlay", {}).get("dropped", 0)
    if frames is not None and frames + dropped_by_video < counts["published"] + counts["withheld"]:
        wrong.append(f"silent loss: {frames} frames of video of {counts['published']} published")
    if case.mode in ("recorded", "isolate") and not case.is_stopped and counts["captured"] != case.frames:
        wrong.append(f"silent loss: {counts['captured']} frames captured of {case.frames}")


def _check_lost(summary: dict[str, Any], records: list[dict[str, Any]], wrong: list[str]) -> None:
    counts, dropped = summary["frames"], summary["sinks"]["jsonl"]["dropped"]
    found = sum(1 for line in records if line["frame_id"] is not None)
    if found + dropped < counts["published"] + counts["withheld"]:
        wrong.append(f"silent loss: {found} records of {counts['published']} published, {dropped} dropped")
