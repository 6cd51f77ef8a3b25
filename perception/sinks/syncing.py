"""Syncs outputs to the disk within about a second, for vehicles whose power may fail at any moment."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final

from perception.system.atomic_file import sync_folder

SYNC_EVERY_S: Final = 1.0
"""From the start of one round to that of the next."""
_MOST_RENAMES: Final = 1000


class Syncer:
    """Syncs open files and renames others once a second, in its own thread.

    Writes do not wait for the disk unless a thousand files wait to be renamed.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._rounds = Lock()
        self._open: dict[int, int] = {}
        self._finished: list[int] = []
        self._renames: list[tuple[Path, Path]] = []
        self._folders: set[Path] = set()
        self._error: OSError | None = None
        self._is_closing = Event()
        self._thread: Thread | None = None

    def watch(self, descriptor: int, file: Path) -> None:
        """Sync this open file from now on, and its name once."""
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return
        with self._lock:
            self._open[descriptor] = os.dup(descriptor)
            self._folders.add(file.parent)
        self._start()

    def finish(self, descriptor: int) -> None:
        """Sync it once more; it may be closed already."""
        with self._lock:
            twin = self._open.pop(descriptor, None)
            if twin is not None:
                self._finished.append(twin)

    def sync_name(self, folder: Path) -> None:
        """Sync the name of a new folder in the next round."""
        with self._lock:
            self._folders.add(folder.parent)

    def rename(self, partial: Path, file: Path) -> None:
        """Rename a closed file once its content is on the disk; raises like `check`."""
        with self._lock:
            self._renames.append((partial, file))
            is_behind = len(self._renames) > _MOST_RENAMES
        self._start()
        if is_behind:
            self._round()
            self.check()

    def check(self) -> None:
        """Raise the OSError of a round, if there was one."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def close(self) -> None:
        """End the thread after a last round; raises like `check`. Safe to call twice."""
        self._is_closing.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        self._round()
        self.check()

    def _start(self) -> None:
        if self._thread is None and not self._is_closing.is_set():
            self._thread = Thread(target=self._run, name="sync", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        took_s = 0.0
        while not self._is_closing.wait(max(0.0, SYNC_EVERY_S - took_s)):
            before_s = time.monotonic()
            self._round()
            took_s = time.monotonic() - before_s

    def _round(self) -> None:
        with self._rounds:
            with self._lock:
                twins, finished, self._finished = list(self._open.values()), self._finished, []
                renames, self._renames = self._renames, []
                folders, self._folders = self._folders, set()
            try:
                for twin in [*twins, *finished]:
                    os.fdatasync(twin)
                folders |= _rename_all(renames)
                for folder in folders:
                    with contextlib.suppress(FileNotFoundError):
                        sync_folder(folder)
            except OSError as error:
                self._error = error
            finally:
                for twin in finished:
                    os.close(twin)


def _rename_all(renames: list[tuple[Path, Path]]) -> set[Path]:
    """Sync and rename files; returns their folders. A removed folder is noticed by the writer."""
    opened: list[tuple[int, Path, Path]] = []
    try:
        for partial, file in renames:
            with contextlib.suppress(FileNotFoundError):
                opened.append((os.open(partial, os.O_RDONLY), partial, file))
        for descriptor, _, _ in opened:  # starts writing, so that one commit of the file system serves all
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        for descriptor, partial, file in opened:
            os.fdatasync(descriptor)
            with contextlib.suppress(FileNotFoundError):
                os.replace(partial, file)
    finally:
        for descriptor, _, _ in opened:
            os.close(descriptor)
    return {file.parent for _, file in renames}
