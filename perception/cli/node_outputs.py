"""Checks that a run of the node writes over none of its inputs, before anything is opened or made."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from perception.cli.collisions import CollisionError, Input, Target, check_apart, is_same
from perception.config import BUILT_IN, NodeConfig
from perception.sinks.earlier_files import EarlierKind
from perception.sinks.jsonl import STDOUT
from perception.sinks.kind import SinkKind
from perception.sinks.naming import Naming
from perception.sinks.registry import SINKS
from perception.sources.images import IMAGE_SUFFIXES, frame_names
from perception.sources.registry import SOURCES, Spec
from perception.system.set_aside import is_stream

_STDOUT_FILE: Final = Path("/dev/stdout")
"""By which what standard output goes to is found, where the system has such a name."""


def check_outputs(configs: Sequence[NodeConfig], model: Path, settings_files: Sequence[Path] = ()) -> None:
    """Refuse outputs that would destroy what is read, or each other.

    Args:
        configs: of each source.
        model: its file.
        settings_files: of `--config`.

    Raises:
        CollisionError: in one line.
        SourceError: if the source is none.
    """
    all_targets = [_targets(config) for config in configs]
    if not any(all_targets):
        return
    inputs, written, of_images = [], [], []
    for config, targets in zip(configs, all_targets, strict=True):
        source = Spec.of(config.source or BUILT_IN)
        files = list(SOURCES[source.kind].files(source.text))
        inputs += _inputs(config, source, files, model, settings_files)
        written += _of_source(config, targets, len(configs) > 1)
        if source.kind == "images":
            of_images.append((config, source.text, files, targets))
    check_apart(inputs, written)
    for config in configs:
        _check_own_streams(config)
    for images in of_images:
        _check_images(*images)


def check_read_once(configs: Sequence[NodeConfig]) -> None:
    """Refuse two sources that read the same pipe, of which each would get a part.

    Raises:
        CollisionError: in one line.
        SourceError: if a source is none.
    """
    specs = [Spec.of(config.source or BUILT_IN) for config in configs]
    once = [spec.text for spec in specs if SOURCES[spec.kind].is_once]
    for first, second in combinations(once, 2):
        if is_same(Path(first), Path(second)):
            raise CollisionError(f"{second} can be read by one source alone, and {first} is read already")


def _of_source(config: NodeConfig, targets: Sequence[Target], is_one_of_several: bool) -> list[Target]:
    """Targets whose options say whose they are, where there are several sources."""
    whose = f" of {config.source_name}" if is_one_of_several else ""
    return [replace(target, option=target.option + whose) for target in targets]


def hint_without_outputs(config: NodeConfig) -> str | None:
    """Which outputs there are, where none is asked for; None where one is."""
    if config.summary or config.http or _sinks_that_write(config):
        return None
    options = [*(kind.option for kind in SINKS.used(config).values()), "--summary"]
    return f"no output requested; choose from {', '.join(options)} and --http"


def _inputs(
    config: NodeConfig, source: Spec, files: Sequence[Path], model: Path, settings_files: Sequence[Path]
) -> list[Input]:
    if source.kind == "images":
        inputs = [Input("the source", Path(source.text))]  # a folder, or one of the images
        inputs += [Input("a picture of the source", file) for file in files]
    else:
        inputs = [Input("the source", file) for file in files[:1]]
        inputs += [Input("a part of the source", file) for file in files[1:]]
    inputs.append(Input("the model", model))
    inputs += [Input("the model's card", model.with_suffix(suffix)) for suffix in (".md", ".json")]
    inputs += [Input("the settings (--config)", file) for file in settings_files]
    if config.calibration:
        inputs.append(Input("the calibration", Path(config.calibration)))
    if config.ignore_file is not None:
        inputs.append(Input("what is ignored (--ignore)", config.ignore_file))
    if config.tls_ca:
        inputs.append(Input("the certificates (--tls-ca)", Path(config.tls_ca)))
    return [it for it in inputs if it.path.exists()]


def _targets(config: NodeConfig) -> list[Target]:
    targets = []
    for kind, name in _sinks_that_write(config):
        if not kind.is_on_disk:
            continue
        if name == STDOUT:
            targets += [Target(kind.option, _STDOUT_FILE)] if _STDOUT_FILE.is_file() else []
        elif pictures := kind.pictures(name):
            suffix, others = re.escape(pictures.suffix), Naming(Path(name), are_folders=True).others
            names = rf"(.*/)?[^/]+{suffix}|{others}"
            targets.append(Target(kind.option, Path(name), is_folder=True, names=names))
        else:
            targets.append(Target(kind.option, Path(name), names=Naming(Path(name)).others))
    if config.summary is not None:
        file = Path(config.summary)
        names = rf"\.{re.escape(file.name)}\.lock"
        targets.append(Target("--summary", file, names=names))
    if config.mount_state is not None:
        targets.append(Target("--mount_state", Path(config.mount_state)))
    return targets


def _check_own_streams(config: NodeConfig) -> None:
    """A video or an image begins at the beginning of its file: nothing else may go there."""
    if config.out is not None and (file := Path(config.out)).is_file() and is_stream(file):
        raise CollisionError(
            f"{file} is where standard output or standard error goes; name another file with --out"
        )


def _sinks_that_write(config: NodeConfig) -> list[tuple[SinkKind[Any], str]]:
    """The sinks that the settings turn on, and where each writes."""
    kinds = SINKS.used(config).values()
    return [(kind, name) for kind in kinds if (name := kind.target_of(config)) is not None]


def _check_images(config: NodeConfig, source: str, files: Sequence[Path], targets: Sequence[Target]) -> None:
    """What is written must be no picture of the source for the next run; raises CollisionError."""
    written = {target.option: [target.path] for target in targets}
    for sink, folder in _sinks_that_write(config):
        if (kind := sink.pictures(folder)) is None:
            continue
        taken: dict[str, Path] = {}
        for name, file in zip(frame_names(files), files, strict=True):
            if taken.setdefault(name, file) is not file:
                raise CollisionError(
                    f"{source}: {taken[name]} and {file} would have {kind.noun}s of the same name; "
                    f"rename one, take fewer, or leave out {kind.option}"
                )
        written[kind.option] = [Path(folder, f"{name}{kind.suffix}") for name in taken]
        there = (file for file in written[kind.option] if file.is_file())
        if other := next((file for file in there if not _is_ours(kind, Path(folder), file)), None):
            raise CollisionError(
                f"{other} already exists and is no {kind.noun}; name another folder with {kind.option}"
            )
    for target in targets:
        if any(_would_be_read(source, file) for file in written[target.option]):
            raise CollisionError(
                f"{target.path}: what is written there would be read as a picture of the source {source} the "
                f"next time; name another {target.kind} with {target.option}"
            )


def _is_ours(kind: EarlierKind, folder: Path, file: Path) -> bool:
    return kind.is_ours(file, True) if file.parent == folder else kind.is_certain(file)


def _would_be_read(source: str, file: Path) -> bool:
    """Whether a folder or a pattern would take a file that is not there yet for one of its images."""
    if file.suffix.lower() not in IMAGE_SUFFIXES or file.name.startswith("."):
        return False
    if Path(source).is_dir():
        return is_same(Path(source), file.parent)
    if Path(source).exists() or not glob.has_magic(source):
        return False
    return _pattern(source).fullmatch(os.path.realpath(file)) is not None


def _pattern(source: str) -> re.Pattern[str]:
    """What a glob takes, as a regular expression of whole paths."""
    parts = Path(source).parts
    fixed = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    expression = re.escape(os.path.realpath(Path(*parts[:fixed])).rstrip("/"))
    for part in parts[fixed:]:
        if part == "**":
            expression += r"(?:/[^/]+)*"
        else:
            name = re.sub(r"\\[Zz]$", "", fnmatch.translate(part))  # which ends the expression
            expression += "/" + name.replace(".*", "[^/]*")
    return re.compile(expression)
