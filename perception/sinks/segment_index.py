"""Which segments are a recording's own, over all runs: only these may `rotate.keep` remove."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock

from perception.system.atomic_file import write_atomically


class SegmentIndex:
    """Names of the segments that are there, oldest first, kept in a file beside them.

    A sink and the one that takes its place after a restart share it. No file is written under its lock: a
    sink that hangs on its disk holds up nobody.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._names: list[str] | None = None

    def add(self, index: Path, segment: Path, is_there: Callable[[Path], bool]) -> list[Path]:
        """Note a new segment; gives back all that are there, oldest first.

        Args:
            index: the file that the names are kept in.
            is_there: whether there is something that can be a segment; what is not is forgotten.
        """
        earlier = _read(index) if self._names is None else []
        with self._lock:
            names = [*(earlier if self._names is None else self._names), segment.name]
            there = [segment.with_name(name) for name in dict.fromkeys(names)]
            self._names = [path.name for path in there if path == segment or is_there(path)]
            return [segment.with_name(name) for name in self._names]

    def drop(self, segment: Path) -> None:
        """It was removed."""
        with self._lock:
            self._names = [name for name in self._names or [] if name != segment.name]

    def is_dropped(self, segment: Path) -> bool:
        """Whether it is none of those that were added; False where none ever was."""
        with self._lock:
            return bool(self._names) and segment.name not in (self._names or [])


def save_names(index: Path, segments: Sequence[Path], *, durable: bool) -> None:
    """Keep the names for the runs to come; raises OSError."""
    text = "".join(f"{segment.name}\n" for segment in segments)
    write_atomically(index, text.encode(), waits_for_disk=durable)


def _read(index: Path) -> list[str]:
    """Names that an earlier run left; none that leads out of the folder."""
    try:
        names = index.read_text(errors="replace").splitlines()
    except OSError:
        return []
    return [name for name in names if name and Path(name).name == name]
