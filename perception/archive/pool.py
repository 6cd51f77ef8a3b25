"""Workers: what a pool of them does, and the loop that keeps all of them at work."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from perception.archive.clip import Clip
from perception.archive.job import ClipResult, Job, Outcome

log = logging.getLogger(__name__)

MOST_ATTEMPTS: Final = 3
"""At one clip, before it is left: each has cost a worker."""
TICK_S: Final = 0.5


@dataclass(frozen=True)
class Task:
    """A clip in a worker's hands."""

    clip: Clip
    attempt: int = 1


@dataclass(frozen=True)
class Finished:
    """What came back."""

    task: Task
    result: ClipResult | None
    """None if the worker was lost."""
    reason: str = ""
    """Of a worker that was lost: what is known."""


class Pool(Protocol):
    """Workers, each with one clip at a time; lost ones are replaced."""

    @property
    def room(self) -> int:
        """How many workers are free."""

    @property
    def size(self) -> int:
        """How many workers there are, those that start among them."""

    def submit(self, task: Task) -> None:
        """Give a free worker a clip."""

    def wait(self, limit_s: float) -> list[Finished]:
        """What has come back; waits for the first, up to a limit.

        Raises:
            ArchiveError: if no worker can be started, or results cannot be written.
        """

    def close(self) -> None:
        """End all workers, whatever they do."""


def work_off(
    pool: Pool, clips: Iterable[Clip], job: Job, tick: Callable[[int], None] = lambda at_work: None
) -> Iterator[ClipResult]:
    """Take all clips through a pool, in the order in which they are finished.

    Args:
        tick: called every half second, with the number of clips that are worked on.

    Raises:
        ArchiveError: as of `Pool.wait`.
    """
    waiting = deque(Task(clip) for clip in clips)
    at_work = 0
    while waiting or at_work:
        while waiting and pool.room:
            pool.submit(waiting.popleft())
            at_work += 1
        tick(at_work)
        for finished in pool.wait(TICK_S):
            at_work -= 1
            task = finished.task
            if finished.result is not None:
                yield finished.result
            elif task.attempt < MOST_ATTEMPTS:
                log.warning(f"{task.clip.name}: its worker was lost ({finished.reason}); it is tried again")
                waiting.appendleft(Task(task.clip, task.attempt + 1))
            else:
                yield _given_up(task, finished.reason, job)


def _given_up(task: Task, reason: str, job: Job) -> ClipResult:
    """Of a clip that has cost several workers; nothing is stored of it, and the next run tries it again."""
    clip = task.clip
    said = f"{task.attempt} workers were lost over it ({reason})"
    row = {
        **{"clip": clip.name, "outcome": str(Outcome.FAILED), "reason": said},
        **{"address": clip.source["address"], "size": clip.size, "attempts": task.attempt},
    }
    return ClipResult(clip.name, Outcome.FAILED, said, clip.source, job.key, {}, row)
