"""`drivable-archive`: settings → clips → what is missing → workers → tables → exit status."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from perception.cli.command import INTERRUPTED, NOTHING_GIVEN
from perception.cli.log import command_log, print_line, set_verbosity, show, show_status
from perception.cli_config import SettingsError, log_level, parse, usage

if TYPE_CHECKING:
    from perception.archive.config import ArchiveConfig
    from perception.archive.job import ClipResult, Job
    from perception.archive.manifest import Made, Plan
    from perception.archive.pool import Pool
    from perception.archive.store import Store
    from perception.config import NodeConfig

log = logging.getLogger(__name__)
NAME: Final = "drivable-archive"
DESCRIPTION: Final = (
    "Recordings in, records, masks and tables out: each clip exactly once, whatever is killed meanwhile. "
    "Run again with the same --to, it completes what is missing or has changed."
)
USAGE: Final = (
    "dashcam/ --to results/                          # all recordings of a folder, on all cores",
    "s3://fleet/2026/ --to s3://fleet-masks/ --every 5 --dry-run   # what it would take",
    "@clips.txt --to results/ --engine ray --ray-address auto      # on a Ray cluster",
)
DAILY: Final = (
    *("clips", "to", "model", "outputs", "every", "engine", "workers", "threads", "retry_failed", "redo"),
    *("dry_run", "ray_address", "scratch", "scratch_gb", "http"),
)
MOST_NAMED: Final = 20
"""Of the clips that went wrong, in the end; all stand in summary/clips.parquet."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when every clip is done."""
    with command_log(NAME):
        return _main(sys.argv[1:] if arguments is None else list(arguments))


def _main(given: list[str]) -> int:
    if not given:
        show(usage(NAME, *USAGE) + "\n")
        return NOTHING_GIVEN
    try:
        set_verbosity(log_level(given))
        from perception.archive.config import ArchiveConfig

        config = parse(ArchiveConfig, NAME, DESCRIPTION, given, positional=("clips",), daily=DAILY)
        from perception.archive.error import ArchiveError
        from perception.inference.engines import EngineError
        from perception.scene.calibration import CalibrationError

        try:
            _check_packages()
            with _terminable():
                return _run(config)
        except (ArchiveError, CalibrationError, EngineError, FileNotFoundError) as error:
            show_status("")
            log.error(error)
            return 1
    except SettingsError as error:
        log.error(error)
        return error.status
    except KeyboardInterrupt:
        show_status("")
        log.error("interrupted; what is done stays, and the same command goes on from there")
        return INTERRUPTED


def _check_packages() -> None:
    from perception.archive.error import ArchiveError

    try:
        import fsspec  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ArchiveError(f"{error.name} is missing: pip install 'drivable[archive]'") from None


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the run as SIGINT does."""

    def interrupt(number: int, where: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(config: ArchiveConfig) -> int:
    from perception.archive.find import find_clips
    from perception.archive.manifest import (
        apart,
        check_same,
        locked,
        others_of,
        outside,
        plan,
        write_archive_file,
    )
    from perception.archive.store import Store

    made, job = _made(config)
    store = Store(config.to)
    places = [Path(clip.removeprefix("file://")) for clip in config.clips]
    outside(store, [place for place in places if place.is_dir()])
    found = find_clips(config.clips)
    if found.left_out:
        named = ", ".join(found.left_out[:5]) + (" …" if len(found.left_out) > 5 else "")
        log.info(f"{len(found.left_out)} other files in the folders are no recordings: {named}")
    apart(store, found.clips)
    check_same(store, made, redo=config.redo)
    what_to_do = partial(plan, store, found.clips, made, redo=config.redo, retry_failed=config.retry_failed)
    if config.dry_run:
        return _estimate(what_to_do(), job, config)
    with locked(store):
        planned = what_to_do()
        write_archive_file(store, made)
        before = len(planned.done) + len(planned.failed_before)
        log.info(f"{len(found.clips)} clips: {before} processed before, {len(planned.todo)} to do")
        results = [*planned.done, *planned.failed_before, *_worked_off(planned, job, config)]
        others = others_of(store, {clip.name for clip in found.clips}, made)
        return _conclude(store, sorted(results, key=lambda result: result.name), others)


def _made(config: ArchiveConfig) -> tuple[Made, Job]:
    """What results are made with, and what workers are to know."""
    from perception.archive.job import Job
    from perception.archive.manifest import Made
    from perception.archive.store import opened, scheme_of
    from perception.build import settings_of_run
    from perception.inference.zoo import model_file
    from perception.provenance.identity import checksum_of

    node = config.node_of_clips()
    file = model_file(config.model)
    model_sha256 = _sha256(file)
    _check_node(node, config.outputs)
    # how many threads work changes no result
    settings = settings_of_run(dataclasses.replace(node, threads=0))
    if node.calibration is not None:
        settings["calibration_sha256"] = _sha256(Path(node.calibration.partition("#")[0]))
    if node.ignore_file is not None:
        settings["ignore_sha256"] = _sha256(node.ignore_file)
    outputs = tuple(sorted(config.outputs))
    key = checksum_of({"model": model_sha256, "settings": settings, "outputs": outputs})
    job = Job(
        to=opened(config.to)[1] if scheme_of(config.to) == "file" else config.to,
        node=node,
        outputs=outputs,
        model_file=str(file.resolve()),
        key=key,
        scratch=str(Path(config.scratch).absolute()) if config.scratch else None,
        scratch_bytes=config.scratch_gb * 1e9 / config.workers_here(),
    )
    return Made(key, config.model, model_sha256, settings, outputs), job


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _check_node(node: NodeConfig, outputs: Sequence[str]) -> None:
    """Refuse now what would otherwise be wrong with every clip.

    Raises:
        CalibrationError: if the calibration cannot be used.
        SettingsError: if the file of what is ignored cannot be.
        ArchiveError: if bags cannot be written.
    """
    from perception.archive.error import ArchiveError
    from perception.scene.ignore_file import load_ignore_file
    from perception.scene.settings import RunCalibration

    RunCalibration.of(node)
    if node.ignore_file is not None:
        load_ignore_file(node.ignore_file)
    if "mcap" in outputs and not all(find_spec(package) for package in ("mcap", "rosbags")):
        raise ArchiveError("outputs mcap needs pip install 'drivable[mcap]'")


def _worked_off(planned: Plan, job: Job, config: ArchiveConfig) -> Iterator[ClipResult]:
    """The results of all clips that are to be processed."""
    from perception.archive.pool import work_off
    from perception.archive.progress import Metrics, Progress

    todo = planned.todo
    if not todo:
        return
    sizes = [clip.size for clip in todo]
    progress = Progress(len(todo), sum(size for size in sizes if size) if all(sizes) else 0)
    metrics = Metrics(config.http, len(todo)) if config.http is not None else None
    pool: Pool | None = None
    try:
        pool = workers = _pool(job, config, len(todo))

        def tick(at_work: int) -> None:
            progress.show(at_work)
            if metrics is not None:
                metrics.show(workers.size, at_work)

        # the largest first, so that in the end all workers have something to do
        for result in work_off(pool, sorted(todo, key=lambda clip: -(clip.size or 0)), job, tick):
            progress.count(result)
            if metrics is not None:
                metrics.count(result)
            if result.reason is not None:
                show_status("")
                log.warning(f"{result.name}: {result.outcome}: {result.reason}")
            yield result
    finally:
        show_status("")
        if pool is not None:
            pool.close()
        if metrics is not None:
            metrics.close()


def _pool(job: Job, config: ArchiveConfig, clips: int) -> Pool:
    if config.engine == "ray":
        from perception.archive.ray_pool import RayPool

        return RayPool(job, config, clips)
    from perception.archive.local_pool import LocalPool

    return LocalPool(job, min(config.workers_here(), clips))


def _conclude(store: Store, results: list[ClipResult], others: list[ClipResult]) -> int:
    """Write the tables, and say what became of all clips.

    Args:
        others: clips of the archive that this run does not name.
    """
    from perception.archive.job import CLIPS_FOLDER, Outcome
    from perception.archive.tables import write_tables

    done = [result for result in results if result.outcome is not Outcome.FAILED]
    held = sorted([*results, *others], key=lambda result: result.name)
    folders = (f"{CLIPS_FOLDER}/{it.name}" for it in held if it.outcome is not Outcome.FAILED)
    write_tables(store, [result.row for result in held], folders)
    frames = sum(result.row.get("frames") or 0 for result in done)
    bad = [result for result in results if result.outcome is not Outcome.DONE]
    by_outcome = [
        f"{count} {outcome}" for outcome in Outcome if (count := sum(it.outcome is outcome for it in results))
    ]
    log.info(f"{store}: {len(results)} clips ({', '.join(by_outcome)}), {frames} frames")
    for result in bad[:MOST_NAMED]:
        print_line(f"{result.outcome}: {result.name}: {result.reason}")
    if len(bad) > MOST_NAMED:
        print_line(f"and {len(bad) - MOST_NAMED} more, in {store}/summary/clips.parquet")
    if any(result.outcome is Outcome.FAILED for result in bad):
        log.info("clips that failed are tried again with --retry-failed, or once they have changed")
    return 1 if bad else 0


def _estimate(planned: Plan, job: Job, config: ArchiveConfig) -> int:
    from perception.archive.estimate import estimated

    if not planned.todo:
        print_line("nothing to do: all clips are processed")
        return 0
    estimate = estimated(planned.todo, job)
    for line in estimate.lines(config.workers_here(), config.threads):
        print_line(line)
    return 1 if estimate.fps is None else 0
