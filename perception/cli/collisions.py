"""Checks, before a command begins, that what it writes is neither what it reads nor another of its outputs.

By the files themselves and not by their names: links, hard links, `./` and other case change nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from perception.cli_config import SettingsError
from perception.system.atomic_file import PARTIAL_SUFFIX
from perception.system.set_aside import is_stream


class CollisionError(SettingsError):
    """An output that would destroy an input, or another output."""


@dataclass(frozen=True)
class Input:
    """What a command reads."""

    what: str
    """As the error calls it, such as "the source"."""
    path: Path
    is_data_set: bool = False
    """A folder that all it holds belongs to."""


@dataclass(frozen=True)
class Target:
    """What a command writes."""

    option: str
    """That names it, such as "--out"."""
    path: Path
    is_folder: bool = False
    names: str | None = None
    """Regular expression of what else it may write: names beside a file, or paths within a folder."""

    @property
    def kind(self) -> str:
        """In words."""
        return "folder" if self.is_folder else "file"

    def may_write(self, file: Path) -> bool:
        """Whether `file` has a name that is its own to give."""
        if self.names is None:
            return False
        root = _real(self.path if self.is_folder else self.path.parent)
        for place in {_real(file.parent) / file.name, _real(file)}:
            if place.is_relative_to(root) and re.fullmatch(self.names, place.relative_to(root).as_posix()):
                return True
        return False


def check_apart(inputs: Sequence[Input], targets: Sequence[Target]) -> None:
    """Refuse outputs that meet an input or each other.

    Raises:
        CollisionError: naming the first, in one line.
    """
    for target in targets:
        if _is_partial(target.path):
            raise CollisionError(
                f"{target.path}: this kind of name is reserved for partial files; choose another one"
            )
        for read in inputs:
            _check_input(read, target)
    if made := next((read for read in inputs if _is_partial(read.path)), None):
        raise CollisionError(
            f"{made.path}: this kind of name is reserved for partial files; rename {made.what} first"
        )
    for first, second in combinations(targets, 2):
        if first.option != second.option:
            _check_outputs(first, second)


def _check_input(read: Input, target: Target) -> None:
    instead = f"name another {target.kind} with {target.option}"
    if is_same(read.path, target.path):
        raise CollisionError(f"{target.path} is {read.what}; {instead}")
    if read.is_data_set and _is_part(target, read.path):
        raise CollisionError(f"{target.path} is part of {read.what}, {read.path}; {instead}")
    if target.may_write(read.path):
        raise CollisionError(
            f"{read.path} is {read.what}, and {target.option} {target.path} may write a file of that name; "
            f"{instead}"
        )


def _is_named_pipe(path: Path) -> bool:
    """Whether its reader sees an end when the first of two has written, and the other then waits for ever."""
    is_by_number = any(Path(os.path.abspath(path)).is_relative_to(place) for place in ("/dev", "/proc"))
    return path.is_fifo() and not is_by_number


def _is_partial(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(PARTIAL_SUFFIX)


def _is_part(target: Target, data_set: Path) -> bool:
    """Whether a folder to write to lies in a data set, and holds other things than what is written there."""
    if (
        not target.is_folder
        or not target.path.is_dir()
        or not _real(target.path).is_relative_to(_real(data_set))
    ):
        return False
    names = target.names or ""
    there = [entry for entry in target.path.iterdir() if not entry.name.startswith(".")]
    return any(not re.fullmatch(names, entry.name + "/" * entry.is_dir()) for entry in there)


def _check_outputs(first: Target, second: Target) -> None:
    are_pipes = _is_named_pipe(first.path) and _is_named_pipe(second.path)
    if is_stream(first.path) and is_stream(second.path) and not are_pipes:
        return
    if is_same(first.path, second.path):
        raise CollisionError(
            f"{first.option} and {second.option} name the same {second.kind}, {second.path}; "
            f"name two different ones"
        )
    for outer, inner in ((first, second), (second, first)):
        if not outer.is_folder and _real(inner.path).is_relative_to(_real(outer.path)):
            raise CollisionError(
                f"{inner.option} {inner.path} lies in {outer.path}, which {outer.option} names as a file; "
                f"name another {inner.kind} with {inner.option}"
            )
        if outer.may_write(inner.path):
            raise CollisionError(
                f"{inner.option} {inner.path} has a name that {outer.option} {outer.path} may give a file; "
                f"name another {inner.kind} with {inner.option}"
            )


def is_same(one: Path, other: Path) -> bool:
    """Whether both are one file or folder; of what is not there yet, by name."""
    with contextlib.suppress(OSError):
        return os.path.samefile(one, other)
    return _real(one) == _real(other)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
