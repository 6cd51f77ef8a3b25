"""Training data, licence and recipe of a network, for its contract and card."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from perception.cli_config import SettingsError, parse
from train.config import TrainConfig, settings_as_begun
from train.models import PUBLISHED, Network
from train.recipe import recipe_of

OWN_LICENCE = "Apache-2.0"
NOT_OF_THE_RECIPE = (
    *("data", "more_data", "layout", "label_map", "data_name", "data_licence", "encoder_weights", "weights"),
    *("teachers", "name"),
    *("workers", "device", "out", "resume", "overwrite", "dry_run"),
)
"""Settings that a recipe leaves open."""
PATHS = ("data", "label_map", "encoder_weights", "weights", "out")


def training_data(config: dict[str, Any], origin: Mapping[str, Any] | None = None) -> str:
    """The frames of a run as named in its settings, and those of its initial weights.

    Args:
        config: the settings in a checkpoint; those of an older version may lack some.
        origin: fields of `train.first_weights.Origin`.
    """
    sources = []
    if config["data"]:
        sources.append(config.get("data_name") or f"the labelled frames of {Path(config['data']).name}")
        sources += [more["name"] or Path(more["folder"]).name for more in config.get("more_data", [])]
    if any(stage["synthetic_drives"] for stage in config["stages"]):
        sources.append("rendered drives")
    own = " and ".join(filter(None, [", ".join(sources[:-1]), *sources[-1:]]))
    if origin is None:
        return own
    theirs = origin["training_data"] or (
        training_data(origin["settings"], origin["before"]) if origin["settings"] else "frames not stated"
    )
    return f"{own}; initial weights of {origin['name']}, trained on {theirs}"


def licence(config: dict[str, Any], network: Network, origin: Mapping[str, Any] | None = None) -> str:
    """Our own licence, and the terms of data, libraries and initial weights."""
    terms = [OWN_LICENCE]
    if config["data"]:
        unstated = "as the licence of the training data allows (not stated; see --data_licence)"
        terms = [f"code {OWN_LICENCE}", f"weights: {config.get('data_licence') or unstated}"]
    if network.licence_note:
        terms.append(network.licence_note)
    if origin is not None:
        theirs = origin["licence"] or (
            licence(origin["settings"], network, origin["before"]) if origin["settings"] else "not stated"
        )
        terms.append(f"initial weights of {origin['name']}: {theirs}")
    return "; ".join(terms)


def training(config: dict[str, Any], history: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """The training section of the card, ready for JSON: recipe, settings, epochs; without folder names.

    Args:
        config, history: as in a checkpoint; figures that are not finite are left out.
    """
    return {
        "weights": "trained",
        "recipe": recipe(config),
        "settings": _plain(_without_folders(config)),
        "epochs": [
            {name: value for name, value in entry.items() if math.isfinite(value)} for entry in history
        ],
    }


def recipe(config: dict[str, Any]) -> str | None:
    """The shipped recipe that these settings follow, as `drivable-train` takes it; None if there is none."""
    name = config["model"]
    shipped = recipe_of(name) or ""
    try:
        recipe_settings = asdict(parse(TrainConfig, "", "", ["--config", shipped, "--model", name]))
    except SettingsError:  # no such recipe
        return None
    begun = settings_as_begun(config)
    for setting, value in recipe_settings.items():
        own = begun.get(setting, value)
        if setting not in NOT_OF_THE_RECIPE and _plain(own) != _plain(value):
            return None
    return f"{shipped} --model {name}" if name in PUBLISHED else shipped


def _plain(value: Any) -> Any:
    """The value as it comes back from JSON, where tuples are lists."""
    return json.loads(json.dumps(value))


def _without_folders(config: dict[str, Any]) -> dict[str, Any]:
    """The settings with file names instead of paths."""
    named = {name: Path(config[name]).name for name in PATHS if config.get(name)}
    teachers = [teacher | {"file": Path(teacher["file"]).name} for teacher in config.get("teachers", [])]
    further = [more | {"folder": Path(more["folder"]).name} for more in config.get("more_data", [])]
    return {**config, **named, "teachers": teachers, "more_data": further}
