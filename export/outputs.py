"""The output files of an export: checked against its inputs, tested early, written together."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from export.package import ExportError
from perception.cli.collisions import Input, Target
from perception.system.set_aside import is_in_the_way, set_aside, write_outputs

CARDS: Final = (".md", ".json")


def files_of(file: Path, *, has_cards: bool = True) -> list[Path]:
    """A model file and the cards beside it."""
    return [file, *(file.with_suffix(suffix) for suffix in CARDS if has_cards)]


def targets(file: Path, *, has_cards: bool = True) -> list[Target]:
    """The outputs of an export to `file`."""
    return [Target("--out", it) for it in files_of(file, has_cards=has_cards)]


def settings_of(files: Sequence[Path]) -> list[Input]:
    """The files of `--config`, as inputs."""
    return [Input("the settings (--config)", file) for file in files]


def check_writable(file: Path) -> None:
    """Check that `file` and its cards can be written, before minutes of work. Leaves no trace.

    Raises:
        ExportError: if not.
    """
    for taken in files_of(file):
        if taken.is_dir():
            raise ExportError(f"{taken}: cannot be written: Is a directory")
    folder = file.absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise ExportError(f"{file}: cannot be written: {folder} is not a folder")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ExportError(f"{file}: cannot be written in {folder}: {error.strerror}") from error


def keep_other_files(file: Path) -> None:
    """Before rewriting `file` in place, set aside files in its cards' place that are no cards.

    Raises:
        ExportError: if that fails.
    """
    try:
        others = [it for it in files_of(file)[1:] if is_in_the_way(it) and not _is_card(it)]
        set_aside(others, has_overwrite=False)
    except OSError as error:
        raise ExportError(f"{file}: its card cannot be written: {error.strerror}") from error


def _is_card(file: Path) -> bool:
    text = file.read_text(errors="replace")
    if file.suffix == ".md":
        lines = text.splitlines()
        return len(lines) > 2 and lines[0].startswith("# ") and lines[2].startswith("| file | `")
    try:
        there = json.loads(text)
    except ValueError:
        return False
    return isinstance(there, dict) and {"file", "sha256", "size_bytes"} <= there.keys()


def write(contents: Mapping[Path, bytes], *, overwrite: bool) -> None:
    """Write files that belong together, each atomically; existing files are set aside.

    Raises:
        ExportError: if one cannot be written.
    """
    file = next(iter(contents))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_outputs(contents, overwrite=overwrite)
    except OSError as error:
        raise ExportError(f"{file}: cannot be written: {error.strerror}") from error
