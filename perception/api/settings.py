"""The node's settings as keyword arguments: which belong to a model, and which to a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Final

from perception.cli_config import SettingsError
from perception.cli_config.names import resolved
from perception.config import NodeConfig

OF_MODEL: Final = (
    *("engine", "engine_precision", "provider", "allow_fallback", "load_timeout_s"),
    "threads",
)
OF_COMMAND: Final = ("http", "http_hosts", "summary")
OF_RUN: Final = tuple(
    setting.name
    for setting in fields(NodeConfig)
    if setting.name not in (*OF_MODEL, *OF_COMMAND, "source", "model")
)


def check_of_model(names: Iterable[str]) -> None:
    """Refuse settings of a run; unknown ones are whoever fills the settings to refuse.

    Raises:
        SettingsError: naming the first.
    """
    for name in names:
        if resolved(name, OF_RUN):
            raise SettingsError(f"{name} is a setting of a run: perception.open(source, model, {name}=…)")
        _check_of_command(name)


def check_of_run(names: Iterable[str]) -> None:
    """Refuse settings of a model, which was loaded with them; as `check_of_model`."""
    for name in names:
        if resolved(name, OF_MODEL):
            raise SettingsError(f"{name} is a setting of the model: perception.Model(name, {name}=…)")
        _check_of_command(name)


def _check_of_command(name: str) -> None:
    if resolved(name, OF_COMMAND):
        raise SettingsError(f"{name} is a setting of the command drivable-node alone")
