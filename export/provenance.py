"""What a network learned from, how, and who may use what it learned: for its contract and card."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from perception.cli_config import SettingsError, parse
from train.config import Stage, TrainConfig
from train.models import PUBLISHED, Network

OWN_LICENCE = "Apache-2.0"
OF_THE_OCCASION = (
    *("data", "layout", "label_map", "data_name", "data_licence", "encoder_weights", "weights", "teachers"),
    "name",
    *("workers", "device", "out", "resume", "overwrite"),
)
"""Settings that a recipe leaves to who trains."""
PATHS = ("data", "label_map", "encoder_weights", "weights", "out")


def training_data(config: dict[str, Any], origin: Mapping[str, Any] | None = None) -> str:
    """The frames of a run, as its settings name them, and those of the weights that it began with.

    Args:
        config: the settings in a checkpoint; those of an older version may lack some.
        origin: what it began with, as `train.first_weights.Origin` has it.
    """
    sources = []
    if config["data"]:
        sources.append(config.get("data_name") or f"the labelled frames of {Path(config['data']).name}")
    if any(stage["synthetic_drives"] for stage in config["stages"]):
        sources.append("rendered drives")
    own = " and ".join(sources)
    if origin is None:
        return own
    theirs = origin["training_data"] or (
        training_data(origin["settings"], origin["before"]) if origin["settings"] else "frames not stated"
    )
    return f"{own}; began with the weights of {origin['name']}, trained on {theirs}"


def licence(config: dict[str, Any], network: Network, origin: Mapping[str, Any] | None = None) -> str:
    """Our own licence, and what the data, the libraries and the first weights ask beyond it."""
    terms = [OWN_LICENCE]
    if config["data"]:
        unstated = "as the licence of the training data allows (not stated; --data_licence states it)"
        terms = [f"code {OWN_LICENCE}", f"weights: {config.get('data_licence') or unstated}"]
    if network.licence_note:
        terms.append(network.licence_note)
    if origin is not None:
        theirs = origin["licence"] or (
            licence(origin["settings"], network, origin["before"]) if origin["settings"] else "not stated"
        )
        terms.append(f"of the weights of {origin['name']}, which it began with: {theirs}")
    return "; ".join(terms)


def training(config: dict[str, Any], history: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """The card's part about training, ready for JSON: recipe, settings, epochs. No folder of whoever trained.

    Args:
        config, history: as a checkpoint holds them; what was not measured is left out.
    """
    return {
        "weights": "trained",
        "recipe": recipe(config),
        "settings": json.loads(json.dumps(_without_folders(config))),
        "epochs": [
            {name: value for name, value in entry.items() if math.isfinite(value)} for entry in history
        ],
    }


def recipe(config: dict[str, Any]) -> str | None:
    """The shipped recipe that these settings follow, as `drivable-train` takes it; None if none."""
    name = config["model"]
    shipped = "train/published" if name in PUBLISHED else f"train/{name}"
    try:
        wanted = asdict(parse(TrainConfig, "", "", ["--config", shipped, "--model", name]))
        stages = [asdict(Stage(**stage)) for stage in config["stages"]]
    except (SettingsError, TypeError):  # no such recipe, or stages of another version
        return None
    own = {field.name: config.get(field.name, wanted[field.name]) for field in fields(TrainConfig)}
    own["stages"] = stages
    if any(
        json.loads(json.dumps(own[setting])) != json.loads(json.dumps(value))
        for setting, value in wanted.items()
        if setting not in OF_THE_OCCASION
    ):
        return None
    return f"{shipped} --model {name}" if name in PUBLISHED else shipped


def _without_folders(config: dict[str, Any]) -> dict[str, Any]:
    """The settings with file names where they have paths."""
    told = dict(config)
    for name in PATHS:
        if told.get(name):
            told[name] = Path(told[name]).name
    told["teachers"] = [
        teacher | {"file": Path(teacher["file"]).name} for teacher in config.get("teachers", [])
    ]
    return told
