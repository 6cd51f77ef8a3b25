"""ClipWorker: one process that holds a whole node, and takes one clip after the other through it."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final
from uuid import uuid4

import pyarrow as pa

from perception.archive.clip import Clip
from perception.archive.error import ArchiveError
from perception.archive.fetch import FetchError, fetched
from perception.archive.job import CLIP_FILE, CLIPS_FOLDER, WORK_FOLDER, ClipResult, Job, Outcome
from perception.archive.seconds import Seconds
from perception.archive.store import Store
from perception.archive.tables import SECONDS_FILE, seconds_bytes
from perception.build import load_engine
from perception.cli.run import ERRORS
from perception.cli.source_run import SourceRun
from perception.config import NodeConfig
from perception.inference.engines import Engine
from perception.sources.source import SourceError
from perception.system.json_text import json_text
from perception.system.process import tune_process
from perception.system.redaction import redacted_line
from perception.system.time_limits import DRAIN_LIMIT_S

TICK_S: Final = 0.1
RECORDS, MASKS, OVERLAY, BAG = "records.jsonl", "masks", "overlay.mp4", "bag.mcap"
RECORDS_FILE, MASKS_FILE = f"{RECORDS}.zst", f"{MASKS}.zip"
FILES: Final = (
    *(RECORDS_FILE, MASKS_FILE, OVERLAY, BAG, SECONDS_FILE, CLIP_FILE),
    *(f"{name.partition('.')[0]}.ignored.png" for name in (RECORDS, MASKS, OVERLAY, BAG)),
)
"""That a clip's folder may hold."""
FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
LEAST_FREE_BYTES: Final = 16 << 20
_COPY_BYTES: Final = 1 << 20


class ClipWorker:
    """The engine is loaded once; every clip has a source, sinks and a runner of its own."""

    def __init__(self, job: Job) -> None:
        """Load the network.

        Raises:
            EngineError: if that fails.
            ArchiveError: if there is no place for results.
        """
        tune_process()
        self._job = job
        self._store = Store(job.to)
        self._engine: Engine = load_engine(Path(job.model_file), job.node, is_live=False)
        self.is_usable = True
        """False once threads of a clip hang in this process: it has to be replaced."""

    def process(self, clip: Clip, attempt: int = 1) -> ClipResult:
        """Process one clip, and put its results where they belong, all at once.

        Raises:
            ArchiveError: if they cannot be written there.
        """
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        work = self._new_folder()
        seconds = Seconds()
        facts: dict[str, Any] = {}
        try:
            try:
                facts = self._facts_of(clip, work, seconds)
                outcome, reason = facts.pop("outcome"), facts.pop("reason")
            except (FetchError, *ERRORS) as error:
                outcome, reason = Outcome.FAILED, _plain(str(error), clip)
            except OSError as error:
                outcome, reason = Outcome.FAILED, f"{error.filename or work}: {error.strerror}"
            if outcome is not Outcome.DONE:
                self._check_room(work, str(reason))
            folder = work / "results"
            folder.mkdir(exist_ok=True)
            if outcome is Outcome.FAILED:  # nothing of it counts
                shutil.rmtree(folder)
                folder.mkdir()
                facts, seconds = {}, Seconds()
            else:
                (folder / SECONDS_FILE).write_bytes(seconds_bytes(seconds.rows(clip.name)))
            row = {
                **{"clip": clip.name, "outcome": str(outcome), "reason": reason},
                **{"address": clip.source["address"], "size": clip.size, "attempts": attempt},
                **facts,
                **seconds.means(),
                "camera_not_ok": seconds.camera_states.total() - seconds.camera_states["ok"],
                "wall_s": round(time.monotonic() - began_s, 3),
                "cpu_s": round(time.process_time() - began_cpu_s, 3),
                "finished_utc": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            files = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
            result = ClipResult(clip.name, outcome, reason, clip.source, self._job.key, files, row)
            (folder / CLIP_FILE).write_text(json_text(result.as_dict(), indent=2) + "\n")
            self._store.put_folder(folder, f"{CLIPS_FOLDER}/{clip.name}", CLIP_FILE, FILES)
            return result
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _new_folder(self) -> Path:
        """For what is on its way: on the disk of the results, so that it can be renamed to its place."""
        name = f"{os.getpid()}-{uuid4().hex[:12]}"
        if self._store.is_local:
            folder = self._store.folder(WORK_FOLDER, name)
            folder.mkdir(parents=True)
            return folder
        return Path(tempfile.mkdtemp(prefix=f"drivable-archive-{name}-", dir=self._job.scratch))

    def _check_room(self, work: Path, reason: str) -> None:
        """Raise ArchiveError where a clip is not to blame: its results found no room."""
        full = next((why for why in map(os.strerror, FULL) if why in reason), None)
        least = LEAST_FREE_BYTES
        if self._job.outputs:  # which end before a disk is full
            least = max(least, round(self._job.node.min_free_mb * 1.05e6))
        if full is None and shutil.disk_usage(work).free < least:
            full = os.strerror(errno.ENOSPC)
        if full is not None:
            raise ArchiveError(f"{work.parent}: {full}; make room, and run the same command again")

    def _facts_of(self, clip: Clip, work: Path, seconds: Seconds) -> dict[str, Any]:
        """Run the node over the clip, and pack what it wrote into `work / "results"`."""
        scratch = work if self._job.scratch is None else Path(self._job.scratch, work.name)
        try:
            file = fetched(clip, scratch / "clip", self._job.scratch_bytes)
            made, results = work / "made", work / "results"
            made.mkdir()
            results.mkdir()
            facts = self._run(clip, _with_outputs(self._job, str(file), made), seconds)
        finally:
            if scratch != work:
                shutil.rmtree(scratch, ignore_errors=True)
        if facts["outcome"] is not Outcome.FAILED:
            _pack(made, results)
        return facts

    def _run(self, clip: Clip, config: NodeConfig, seconds: Seconds) -> dict[str, Any]:
        source = SourceRun(config)
        try:
            source.open()
            if source.info.is_live:
                raise SourceError(f"{source.info.source_id}: is no recording")
            source.connect(self._engine, [seconds.record])
            source.start()
        except BaseException:
            source.close()
            raise
        runner = source.runner
        while not runner.wait(TICK_S) and not runner.waits_for_hung_stages_alone:
            if runner.stopping_for_s > DRAIN_LIMIT_S:
                break
            runner.watch()
        if runner.stuck_stages():
            self.is_usable = False
        health, problems = source.report(), source.conclude(DRAIN_LIMIT_S)
        if not problems:
            outcome = Outcome.DONE
        elif health.frames.published and _is_of_source(runner.errors, health.source.unreadable, problems):
            outcome = Outcome.INCOMPLETE
        else:
            outcome = Outcome.FAILED
        frames, run, info = health.frames, source.summary["run"], source.info
        return {
            "outcome": outcome,
            "reason": "; ".join(_plain(it, clip).removeprefix("incomplete: ") for it in problems) or None,
            "frames": frames.captured,
            "masks": frames.published,
            "withheld": frames.withheld,
            "dropped": frames.dropped_in_all,
            "decode_errors": health.source.decode_errors,
            "rate_hz": info.rate_hz,
            "width": info.frame_wh[0] if info.frame_wh else None,
            "height": info.frame_wh[1] if info.frame_wh else None,
            "duration_s": round(seconds.last_time_s, 3),
            "model_id": health.model_id,
            **{name: run[name] for name in ("run_id", "settings_sha256", "model_sha256")},
        }


def _with_outputs(job: Job, source: str, made: Path) -> NodeConfig:
    """The settings of one clip's node."""
    wanted = job.outputs
    return replace(
        job.node,
        source=source,
        jsonl=str(made / RECORDS) if "records" in wanted else None,
        masks=str(made / MASKS) if "masks" in wanted else None,
        out=str(made / OVERLAY) if "overlay" in wanted else None,
        mcap=str(made / BAG) if "mcap" in wanted else None,
    )


def _is_of_source(errors: Sequence[tuple[str, Exception]], unreadable: int, problems: list[str]) -> bool:
    """Whether what is missing is missing in the clip itself, and all else went well."""
    if errors:
        return errors[0][0] == "capture" and isinstance(errors[0][1], SourceError)
    return bool(unreadable) and len(problems) == 1


def _plain(problem: str, clip: Clip) -> str:
    """A problem of the clip's node without the clip's name, which whoever reads it has."""
    name = re.escape(PurePosixPath(clip.name).name)
    return re.sub(rf"^(capture: )?(\S*/)?{name}(#\S*)?: ", "", redacted_line(problem))


def _pack(made: Path, results: Path) -> None:
    """Records compressed, masks in one file, all else as it is."""
    for entry in sorted(made.iterdir()):
        if entry.name == RECORDS:
            with (
                entry.open("rb") as records,
                pa.CompressedOutputStream(results / RECORDS_FILE, "zstd") as out,
            ):
                while piece := records.read(_COPY_BYTES):
                    out.write(piece)
        elif entry.name == MASKS:
            with zipfile.ZipFile(results / MASKS_FILE, "w", zipfile.ZIP_STORED) as packed:
                for mask in sorted(entry.iterdir()):
                    if not mask.name.startswith("."):
                        packed.write(mask, mask.name)
        elif entry.is_file() and not entry.name.startswith("."):
            entry.replace(results / entry.name)
    shutil.rmtree(made)
