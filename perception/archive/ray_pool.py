"""RayPool: workers as actors of a Ray cluster, each with cores or GPUs of its own; clips go by name alone."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any, Final

from perception.archive.clip import Clip
from perception.archive.config import ArchiveConfig
from perception.archive.error import ArchiveError
from perception.archive.job import ClipResult, Job
from perception.archive.pool import Finished, Task
from perception.system.error_text import text_of

PROBE_S: Final = 5.0
OBJECT_STORE_BYTES: Final = 128 << 20
"""Of a Ray that is started for this run: only names and rows go through it."""


class RayPool:
    """See `Pool`. Workers that a cluster has no room for yet start when it has; the others go on."""

    def __init__(self, job: Job, config: ArchiveConfig, clips: int) -> None:
        """Connect to the cluster, or start Ray here.

        Args:
            clips: there are to do; more workers are not started.

        Raises:
            ArchiveError: if it does not answer, or is too small for one worker.
        """
        self._ray = ray = _imported()
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        if config.ray_address is None:
            options |= {
                "num_cpus": config.workers_here() * config.threads,
                "object_store_memory": OBJECT_STORE_BYTES,
                "include_dashboard": False,
            }
            options |= {"num_gpus": config.gpus * config.workers_here()} if config.gpus else {}
        _probe(config.ray_address or "")
        try:
            ray.init(address=config.ray_address or "local", **options)
        except Exception as error:
            where = f"Ray at {config.ray_address}" if config.ray_address else "Ray"
            raise ArchiveError(f"{where} does not answer: {_first_line(error)}") from None
        self._job = ray.put(job)
        self._actor = ray.remote(_Actor).options(
            num_cpus=config.threads, num_gpus=config.gpus or None, max_restarts=0, max_concurrency=1
        )
        self._free: list[Any] = []
        self._at: dict[Any, tuple[Any, Task | None]] = {}
        """By the object that an actor will answer with."""
        for _ in range(min(config.workers or self._fitting(config), clips)):
            self._start()

    @property
    def room(self) -> int:
        """How many workers are free."""
        return len(self._free)

    @property
    def size(self) -> int:
        """How many workers there are."""
        return len(self._free) + len(self._at)

    def submit(self, task: Task) -> None:
        """Give a free worker a clip."""
        actor = self._free.pop()
        self._at[actor.process.remote(task.clip, task.attempt)] = actor, task

    def wait(self, limit_s: float) -> list[Finished]:
        """What has come back."""
        finished: list[Finished] = []
        ready, _ = self._ray.wait(list(self._at), num_returns=1, timeout=limit_s) if self._at else ([], [])
        for answer in ready:
            actor, task = self._at.pop(answer)
            try:
                result, is_usable = self._ray.get(answer)
            except self._ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, ArchiveError) or task is None:
                    raise ArchiveError(_first_line(error.cause)) from None
                finished.append(Finished(task, None, _first_line(error.cause)))
                self._replace(actor)
            except self._ray.exceptions.RayError as error:
                if task is not None:
                    finished.append(Finished(task, None, _first_line(error)))
                self._start()
            else:
                if task is not None:
                    finished.append(Finished(task, result))
                if is_usable:
                    self._free.append(actor)
                else:
                    self._replace(actor)
        return finished

    def close(self) -> None:
        """End all workers, and Ray if it was started here."""
        for actor in [*self._free, *(actor for actor, _ in self._at.values())]:
            self._ray.kill(actor)
        self._ray.shutdown()

    def _start(self) -> None:
        actor = self._actor.remote(self._job)
        self._at[actor.ready.remote()] = actor, None

    def _replace(self, actor: Any) -> None:
        self._ray.kill(actor)
        self._start()

    def _fitting(self, config: ArchiveConfig) -> int:
        """How many workers the cluster has cores or GPUs for, now."""
        has = self._ray.cluster_resources()
        fitting = has.get("CPU", 1) // config.threads
        if config.gpus:
            fitting = min(fitting, has.get("GPU", 0) / config.gpus)
        if fitting < 1:
            raise ArchiveError(
                f"the cluster has {has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs, and a worker "
                f"needs {config.threads} and {config.gpus:g}"
            )
        return int(fitting)


class _Actor:
    """A worker in a process of Ray's."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._worker: Any = None

    def ready(self) -> tuple[None, bool]:
        """Load the network; raises what `ClipWorker` does."""
        for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, "1")
        from perception.archive.work import ClipWorker  # where it runs

        self._worker = ClipWorker(self._job)
        return None, True

    def process(self, clip: Clip, attempt: int) -> tuple[ClipResult, bool]:
        """One clip, as `ClipWorker.process`; and whether this worker can take another one."""
        return self._worker.process(clip, attempt), self._worker.is_usable


def _imported() -> Any:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # without it, a warning in every worker
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise ArchiveError("--engine ray needs Ray: pip install 'drivable[archive]'") from None
    return ray


def _probe(address: str) -> None:
    """Ask whether anybody listens there, for which Ray itself takes minutes; raises ArchiveError."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), PROBE_S).close()
    except (OSError, OverflowError) as error:
        raise ArchiveError(f"Ray at {address} does not answer: {text_of(error)}") from None


def _first_line(error: BaseException) -> str:
    return text_of(error).strip().splitlines()[0]
