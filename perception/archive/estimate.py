"""What a run would take, without it: hours of video by a sample of the clips, and the speed of one worker."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final

import av

from perception.archive.clip import Clip
from perception.archive.fetch import is_here
from perception.archive.job import Job, Outcome
from perception.archive.store import opened
from perception.archive.work import ClipWorker
from perception.cli import source_run
from perception.cli.progress import clock_text

SAMPLES: Final = 24
MEASURED_FRAMES: Final = 300
WORKERS: Final = (1, 16, 256)


@dataclass(frozen=True)
class Estimate:
    """Of the clips that are to be processed."""

    clips: int
    hours: float
    frames: float
    """To go through the network."""
    fps: float | None
    """Of one worker; None if none of the sampled clips can be read."""
    rate_is_sampled: bool

    def lines(self, workers: int, threads: int) -> Iterator[str]:
        """For people."""
        about = "about " if self.rate_is_sampled else ""
        yield f"{self.clips} clips to do: {about}{self.hours:.3g} h, {self.frames:,.0f} frames"
        if self.fps is None:
            yield "no speed was measured: none of the sampled clips can be read here"
            return
        cores = f"{threads} core{'s' if threads > 1 else ''}"
        yield f"one worker ({cores}) takes {self.fps:.1f} frames a second, measured on this machine"
        for count in sorted({workers, *WORKERS}):
            taken_s = self.frames / self.fps / count
            yield f"{count:6} worker{'s' if count > 1 else ' '} {_long(taken_s):>10}"


def estimated(clips: Sequence[Clip], job: Job) -> Estimate:
    """Sample some clips for their length, and measure one worker on the first that can be read.

    Raises:
        EngineError: if the network cannot be loaded.
        ArchiveError: if a sampled clip's store cannot be opened.
    """
    step = max(1, len(clips) // SAMPLES)
    lengths = [(clip, *length) for clip in islice(clips[::step], SAMPLES) if (length := length_of(clip))]
    size = sum(clip.size or 0 for clip, *_ in lengths)
    whole = sum(clip.size or 0 for clip in clips)
    # by bytes, as clips are of very different lengths; by number, where no server says how large they are
    scale = whole / size if size and whole else len(clips) / max(len(lengths), 1)
    every = job.node.every
    with _without_words_of_runs():
        fps = next(_speeds([clip for clip, *_ in lengths], job), None)
    return Estimate(
        clips=len(clips),
        hours=sum(duration_s for _, duration_s, _ in lengths) * scale / 3600,
        frames=sum(duration_s * rate_hz / every for _, duration_s, rate_hz in lengths) * scale,
        fps=fps,
        rate_is_sampled=len(lengths) < len(clips),
    )


def length_of(clip: Clip) -> tuple[float, float] | None:
    """Seconds and frames a second by the file's own word; None if it says nothing."""
    files, path = opened(clip.address)
    with suppress(Exception), files.open(path) as stream, av.open(stream) as container:
        video = container.streams.video[0]
        rate_hz = float(video.average_rate or video.base_rate or 0)
        if container.duration and rate_hz:
            return container.duration / av.time_base, rate_hz
    return None


@contextmanager
def _without_words_of_runs() -> Iterator[None]:
    """What is said of a single run is left out."""
    words = logging.getLogger(source_run.__name__)
    before = words.level
    words.setLevel(logging.WARNING)
    try:
        yield
    finally:
        words.setLevel(before)


def _speeds(clips: Sequence[Clip], job: Job) -> Iterator[float]:
    """Frames a second of the clips that can be read here, with all outputs."""
    with tempfile.TemporaryDirectory(prefix="drivable-archive-") as folder:
        node = replace(job.node, max_frames=MEASURED_FRAMES)
        worker: ClipWorker | None = None
        for clip in clips:
            if not is_here(clip) and (clip.size or 0) > job.scratch_bytes:
                continue
            worker = worker or ClipWorker(replace(job, to=str(Path(folder, "out")), node=node))
            began_s = time.monotonic()
            result = worker.process(clip)
            if result.outcome is not Outcome.FAILED and result.row["frames"]:
                yield result.row["frames"] / (time.monotonic() - began_s)


def _long(seconds: float) -> str:
    """`1:05`, `2:00:09`, `27 days`."""
    return f"{seconds / 86400:.3g} days" if seconds > 86400 * 2 else clock_text(seconds)
