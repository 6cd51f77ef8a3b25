"""Files of settings: found by path or by the name of a shipped one, and read as YAML nodes."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

import yaml

from perception.cli_config.error import SettingsError
from perception.cli_config.yaml_file import YamlError, compose_file

log = logging.getLogger(__name__)

_NEAR = 0.6


def shipped_config(name: str, suffix: str = ".yaml") -> Path | None:
    """The file of a shipped config such as `train/rt_m`; None where there is none of that name."""
    for folder in _folders():
        file = folder / f"{name}{suffix}"
        if file.is_file():
            return file
    return None


def shipped_configs() -> list[str]:
    """The names of all of them, as `--config` takes them."""
    names = {f"{file.parent.name}/{file.stem}" for folder in _folders() for file in folder.glob("*/*.yaml")}
    return sorted(names)


def config_files(arguments: Sequence[str]) -> list[Path]:
    """The files that `--config` names, shipped ones too, among arguments that `parse` has taken."""
    names = [
        argument.removeprefix("--config=") if argument.startswith("--config=") else following
        for argument, following in zip(arguments, [*arguments[1:], ""], strict=True)
        if argument == "--config" or argument.startswith("--config=")
    ]
    found = (
        Path(name) if _is_file(Path(name)) else shipped_config(name.removesuffix(".yaml")) for name in names
    )
    return [file for file in found if file is not None]


def named_settings(arguments: Sequence[str]) -> set[str]:
    """The first parts of the names that arguments and their files of settings hold, known or not."""
    typed = {argument[2:].partition("=")[0] for argument in arguments if argument.startswith("--")}
    for file in config_files(arguments):
        with suppress(YamlError):  # which `parse` raises
            node = compose_file(file)
            if isinstance(node, yaml.MappingNode):
                typed |= {str(key.value) for key, _ in node.value}
    return {name.partition(".")[0].rstrip("+").replace("-", "_") for name in typed}


def read_config(name: str, program: str) -> tuple[Path, yaml.MappingNode]:
    """A file's settings, and which file it is.

    Args:
        program: such as "drivable-node", whose shipped configs are named where there is no such file.

    Raises:
        SettingsError: if it is not there, cannot be read, or holds no settings.
    """
    file = Path(name)
    if not _is_file(file):
        shipped = shipped_config(name.removesuffix(".yaml")) or shipped_config(name)
        if shipped is None:
            raise SettingsError(_not_found(name, program))
        file = shipped
    try:
        node = compose_file(file)
    except YamlError as error:
        raise SettingsError(f"{file}: not readable as YAML: {error}") from None
    if not isinstance(node, yaml.MappingNode):
        raise SettingsError(f"{file}: expected settings as `name: value`{_instead(node)}")
    log.debug(f"settings: {file}")
    return file, node


def _folders() -> tuple[Path, Path]:
    package = Path(str(files("perception")))
    return package / "configs", package.parent / "configs"  # a wheel's, a checkout's


def _not_found(name: str, program: str) -> str:
    """With the shipped ones: the near ones, or else those of the program."""
    known = shipped_configs()
    own = f"{program.partition(' ')[0].removeprefix('drivable-')}/"
    group = name.partition("/")[0]
    near = [one for one in known if one.rpartition("/")[2] == Path(name).stem]
    near = near or difflib.get_close_matches(name, known, n=4, cutoff=_NEAR)
    shown = near or [one for one in known if one.startswith((f"{group}/", own))] or known
    if Path(name).is_dir():
        return f"{name}: is a folder; --config takes a file, or a shipped config such as {shown[0]}"
    return f"{name}: no such config file, and no shipped config of that name; shipped: {', '.join(shown)}"


def _instead(node: yaml.Node | None) -> str:
    if node is None:
        return ", and it is empty"
    return ", and it is a list" if isinstance(node, yaml.SequenceNode) else ""


def _is_file(file: Path) -> bool:
    """Whether it is one; raises SettingsError if that cannot be seen."""
    try:
        return file.is_file()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file}: cannot be read: {getattr(error, 'strerror', error)}") from None
