"""The node's settings as keyword arguments: which belong to a model, and which to a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Final

from perception.cli_config import SettingsError
from perception.cli_config.names import resolved
from perception.config import ModelSettings, NodeConfig, ReportSettings, plugin_names
from perception.inference.engines import ENGINES
from perception.refine import REFINE_STEPS
from perception.sinks.registry import SINKS

OF_COMMAND: Final = ("sources", *(setting.name for setting in fields(ReportSettings)))


def settings_of_model() -> list[str]:
    """Those of engines, other packages' too, and what else a network is loaded with."""
    ours = [setting.name for name in ENGINES.ours for setting in fields(ENGINES[name].settings)]
    common = [setting.name for setting in fields(ModelSettings) if setting.name != "model"]
    return [*common, "threads", *ours, *ENGINES.names()]


def settings_of_run() -> list[str]:
    """All others that are no command's, and whose place is not that of an argument."""
    others = {*settings_of_model(), *OF_COMMAND, "source", "model"}
    return [name for name in (*(it.name for it in fields(NodeConfig)), *plugin_names()) if name not in others]


def settings_of_refine_steps() -> list[str]:
    """Those of refine steps, of other packages too: single pictures and runs go through them."""
    ours = [REFINE_STEPS[name] for name in REFINE_STEPS.ours]
    files = {SINKS[name].target for name in SINKS.ours}
    flat = [each.name for kind in ours if not kind.group for each in fields(kind.settings)]
    groups = [kind.group for kind in ours if kind.group]
    return [*groups, *(name for name in flat if name not in files), *REFINE_STEPS.plugins]


def check_of_model(names: Iterable[str]) -> None:
    """Refuse settings that only a run has; unknown ones are refused where the settings are filled.

    Raises:
        SettingsError: naming the first.
    """
    only_of_run = [name for name in settings_of_run() if name not in settings_of_refine_steps()]
    for name in names:
        if resolved(name, only_of_run):
            raise SettingsError(f"{name} is a setting of a run: perception.open(source, model, {name}=…)")
        _check_of_command(name)


def check_of_run(names: Iterable[str]) -> None:
    """Refuse settings of a model, which was loaded with them; as `check_of_model`."""
    for name in names:
        if resolved(name, settings_of_model()):
            raise SettingsError(f"{name} is a setting of the model: perception.Model(name, {name}=…)")
        _check_of_command(name)


def _check_of_command(name: str) -> None:
    if resolved(name, OF_COMMAND):
        raise SettingsError(f"{name} is a setting of the command drivable-node alone")
