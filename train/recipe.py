"""Completes the command line: with a network's recipe, or with the settings of the run to resume."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import yaml

from perception.cli_config import SettingsError, shipped_config
from perception.cli_config.command_line import HELP, VERSION
from train.config import TrainConfig

LAST: Final = "last.pt"

PUBLISHED: Final = ("fcn", "unet", "pspnet", "deeplabv3plus", "segformer")
"""The networks of the published study, which share one recipe; the others are our own."""
_PUBLISHED_RECIPE: Final = "train/published"


def recipe_of(model: str) -> str | None:
    """The name of a network's shipped recipe, as `--config` takes it; None for an unknown network.

    Example:
        >>> recipe_of("rt_m"), recipe_of("pspnet"), recipe_of("yolo")
        ('train/rt_m', 'train/published', None)
    """
    if model in PUBLISHED:
        return _PUBLISHED_RECIPE
    return f"train/{model}" if f"train/{model}" in shipped_recipes() else None


def shipped_recipes() -> list[str]:
    """Their names, as `--config` takes them."""
    one = shipped_config(_PUBLISHED_RECIPE)
    return [f"train/{file.stem}" for file in sorted(one.parent.glob("*.yaml"))] if one else []


@contextmanager
def completed(arguments: Sequence[str]) -> Iterator[list[str]]:
    """The arguments, with a `--config` added for these; valid within the block.

    - `--resume` without a network: the settings of the only run in `--out`.
    - `--resume --model NAME`: the settings of the run of that name, if there is one.
    - `--model NAME` without stages: the network's shipped recipe.

    Raises:
        SettingsError: if nothing says what to train.
    """
    given = list(arguments)
    names = _given(given)
    asks_for_help = any(word in given for word in (*HELP, *VERSION))
    misspelt = {name.partition(".")[0] for name in names} - {field.name for field in fields(TrainConfig)}
    if asks_for_help or "config" in names or misspelt:  # the parser reports a misspelt option
        yield given
        return
    model = names.get("model")
    resume = names.get("resume", "false").lower()
    if resume not in ("true", "false", "yes", "no", "on", "off"):
        place = Path(names["resume"])
        home = place.parent if place.suffix == ".pt" else place
        raise SettingsError(
            f"resume is {place}; it takes no value, name the run by its folder: --resume --out {home}"
        )
    if resume in ("true", "yes", "on"):
        run = _run_in(Path(names.get("out", TrainConfig.out)), names.get("name") or model)
        if run is not None:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "settings.yaml"
                file.write_text(yaml.safe_dump(_settings_of(run)))
                yield ["--config", str(file), "--out", str(run.parent.parent), *_without(given, "out")]
            return
        if model is None:
            where = names.get("out", TrainConfig.out)
            raise SettingsError(
                f"{where}: holds no run named {names['name']}; --out must name the folder it is in"
            )
    if model is None:
        raise SettingsError(
            f"nothing says what to train: name a network, e.g. --model rt_m, or a recipe, e.g. --config "
            f"train/rt_m; shipped recipes: {', '.join(shipped_recipes())}"
        )
    if "stages" in names:
        yield given
        return
    recipe = recipe_of(model)
    if recipe is None:
        own = [name.removeprefix("train/") for name in shipped_recipes() if name != _PUBLISHED_RECIPE]
        raise SettingsError(f"model {model}: no such network; known: {', '.join([*own, *PUBLISHED])}")
    yield ["--config", recipe, *given]


def _given(arguments: Sequence[str]) -> dict[str, str]:
    """The options' values as typed; "true" for an option without a value."""
    values = {}
    for position, argument in enumerate(arguments):
        if argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            following = arguments[position + 1] if position + 1 < len(arguments) else "--"
            values[name.replace("-", "_")] = (
                value if equals else "true" if following.startswith("--") else following
            )
    return values


def _without(arguments: Sequence[str], name: str) -> list[str]:
    """The arguments without an option and its value."""
    kept, skips = [], False
    for argument in arguments:
        if skips:
            skips = False
        elif argument == f"--{name}":
            skips = True
        elif not argument.startswith(f"--{name}="):
            kept.append(argument)
    return kept


def _run_in(out: Path, name: str | None) -> Path | None:
    """The last checkpoint of the run to resume; None if there is no run of that name.

    Raises:
        SettingsError: if no name was given, and there is no run or more than one.
    """
    if out.is_file():  # one of its checkpoints
        out = out.parent
    if name is not None:
        itself = [(out / LAST).resolve()] if out.resolve().name == name else []
        return next((file for file in (out / name / LAST, *itself) if file.is_file()), None)
    if (out / LAST).is_file():  # the folder of the run itself
        return (out / LAST).resolve()
    found = sorted(out.glob(f"*/{LAST}"))
    if not found:
        raise SettingsError(
            f"{out}: holds no run to resume (one with at least a whole epoch); give the --out of that run"
        )
    if found[1:]:
        runs = ", ".join(file.parent.name for file in found)
        raise SettingsError(f"{out}: holds several runs ({runs}); name the one to resume with --name")
    return found[0]


def _settings_of(run: Path) -> dict[str, Any]:
    """The settings that the run was started with, as plain values for YAML; raises CheckpointError."""
    from train.checkpoint import Checkpoint  # imports torch, which takes seconds; only resuming needs it here

    known = {field.name for field in fields(TrainConfig)} - {"resume", "overwrite", "dry_run", "out"}
    begun = Checkpoint.load(run).config
    settings = {name: value for name, value in begun.items() if name in known}
    if run.parent.name != begun["model"]:
        settings["name"] = run.parent.name
    plain: dict[str, Any] = json.loads(json.dumps(settings))  # tuples become lists
    return plain
