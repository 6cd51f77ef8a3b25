"""What people leave out on the command line: a network's recipe, and the settings of a run to resume."""

from __future__ import annotations

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
_THEIRS: Final = "train/published"


def recipe_of(model: str) -> str | None:
    """The name of the shipped recipe of a network, as `--config` takes it; None of an unknown one.

    Example:
        >>> recipe_of("rt_m"), recipe_of("pspnet"), recipe_of("yolo")
        ('train/rt_m', 'train/published', None)
    """
    if model in PUBLISHED:
        return _THEIRS
    return f"train/{model}" if f"train/{model}" in shipped_recipes() else None


def shipped_recipes() -> list[str]:
    """Their names, as `--config` takes them."""
    theirs = shipped_config(_THEIRS)
    return [f"train/{file.stem}" for file in sorted(theirs.parent.glob("*.yaml"))] if theirs else []


@contextmanager
def completed(arguments: Sequence[str]) -> Iterator[list[str]]:
    """The arguments with `--config` where one of these stands for it, as long as the block lasts.

    - `--resume` without a network: the settings of the one run in `--out`.
    - `--resume --model NAME`: the settings of the run of that name there, if there is one.
    - `--model NAME` without stages: the network's shipped recipe.

    Raises:
        SettingsError: if nothing says what to train, with what would.
    """
    given = list(arguments)
    names = _given(given)
    asks_for_help = any(word in given for word in (*HELP, *VERSION))
    misspelt = {name.partition(".")[0] for name in names} - {field.name for field in fields(TrainConfig)}
    if asks_for_help or "config" in names or misspelt:  # what is misspelt is better said than what is missing
        yield given
        return
    model = names.get("model")
    resume = names.get("resume", "false").lower()
    if resume not in ("true", "false", "yes", "no", "on", "off"):
        place = Path(names["resume"])
        home = place.parent if place.suffix == ".pt" else place
        raise SettingsError(
            f"resume is {place}; it takes no value, the run is named by its folder: --resume --out {home}"
        )
    if resume in ("true", "yes", "on"):
        run = _run_in(Path(names.get("out", _default("out"))), names.get("name") or model)
        if run is not None:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "settings.yaml"
                file.write_text(yaml.safe_dump(_settings_of(run)))
                yield ["--config", str(file), "--out", str(run.parent.parent), *_without(given, "out")]
            return
        if model is None:
            where = names.get("out", _default("out"))
            raise SettingsError(
                f"{where}: holds no run named {names['name']}; --out names the folder it is in"
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
        own = [name.removeprefix("train/") for name in shipped_recipes() if name != _THEIRS]
        raise SettingsError(f"model {model}: no such network; known: {', '.join([*own, *PUBLISHED])}")
    yield ["--config", recipe, *given]


def _given(arguments: Sequence[str]) -> dict[str, str]:
    """The values of the options, as they were typed; "true" of one that has none."""
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
    """The last checkpoint of the run that is meant; None where only a recipe can say.

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
            f"{out}: holds no run to resume, one with a whole epoch at least; --out names the folder that "
            f"--out named then"
        )
    if found[1:]:
        runs = ", ".join(file.parent.name for file in found)
        raise SettingsError(f"{out}: holds several runs ({runs}); name the one to resume with --name")
    return found[0]


def _settings_of(run: Path) -> dict[str, Any]:
    """What the run was begun with, as YAML can hold it; raises CheckpointError."""
    from train.checkpoint import Checkpoint  # torch takes seconds, and only a run that goes on needs it here

    known = {field.name for field in fields(TrainConfig)} - {"resume", "overwrite", "out"}
    begun = Checkpoint.load(run).config
    plain: dict[str, Any] = _plain({name: value for name, value in begun.items() if name in known})
    if run.parent.name != begun["model"]:
        plain["name"] = run.parent.name
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _default(name: str) -> Any:
    return next(field.default for field in fields(TrainConfig) if field.name == name)
