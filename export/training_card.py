"""The card's part about training: the recipe, its stages, every epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perception.labels import LABELS
from train.report import best_epoch


def how_it_was_trained(training: Mapping[str, Any]) -> list[str]:
    """Lines of Markdown.

    Args:
        training: as `export.provenance.training` makes it. Its settings may be of an older version, and lack
            some; what is not known at all is empty.
    """
    weights = training.get("weights")
    origin = []
    if made_from := training.get("made_from"):
        origin = [f"Made from `{made_from['file']}` (sha256 `{made_from['sha256']}`).", ""]
    if weights == "random":
        return [*origin, "It was not: the weights are random. For trying out speed only."]
    if weights == "foreign":
        return [
            *origin,
            f"By others: it is `{training['from_file']}` (sha256 `{training['from_sha256']}`), wrapped as "
            f"`{training['contract']}` says.",
        ]
    if weights != "trained":
        return [*origin, "The file that it was made from does not tell."]
    settings, epochs = training["settings"], training["epochs"]
    recipe = _recipe(settings, training["recipe"])
    return [
        *origin,
        *("| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in recipe.items())),
        "",
        *_stages(settings, epochs),
        "",
        *_epochs(settings, epochs),
    ]


def _recipe(settings: Mapping[str, Any], shipped: str | None) -> dict[str, str]:
    """What the run was made of, for people; what an older version did not know is left out."""
    own = "settings of its own, below"
    recipe = {
        "recipe": f"`drivable-train --config {shipped}`" if shipped else own,
        "encoder": _encoder(settings),
    }
    if settings.get("teachers"):
        recipe["teachers"] = ", ".join(_teacher(teacher) for teacher in settings["teachers"])
    recipe["loss"] = settings["loss"]
    # An older version knew one optimiser and one schedule, and did not name them.
    optimiser, schedule = settings.get("optimiser", "adamw"), settings.get("schedule", "onecycle")
    decay = settings["weight_decay"]
    recipe["optimiser"] = f"{optimiser}, learning rate by {schedule}, weight decay {decay:g}"
    if settings["clip_norm"]:
        recipe["optimiser"] += f", gradients up to a norm of {settings['clip_norm']:g}"
    if settings.get("ema_decay"):
        recipe["weights"] = f"their moving average, decay {settings['ema_decay']:g}"
    augment = {name: value for name, value in (settings.get("augment") or {}).items() if value}
    recipe["frames varied by"] = (
        ", ".join(f"{name} {value:g}" for name, value in augment.items()) or "nothing"
    )
    if settings.get("resize", "letterbox") != "letterbox":
        recipe["resize"] = settings["resize"]
    recipe["precision, seed"] = f"{settings.get('precision', 'float32')}, {settings['seed']}"
    return recipe


def _encoder(settings: Mapping[str, Any]) -> str:
    first = settings.get("weights") or settings.get("encoder_weights")
    text = f"first weights from `{first}`" if first else "random first weights"
    text += ", left as they are" if settings.get("freeze_encoder") else ""
    return text + (", batch norms' statistics too" if settings.get("freeze_batch_norm") else "")


def _teacher(teacher: Mapping[str, Any]) -> str:
    return f"`{teacher['file']}` (weight {teacher['weight']:g}, temperature {teacher['temperature']:g})"


def _stages(settings: Mapping[str, Any], epochs: Sequence[Mapping[str, float]]) -> list[str]:
    names = ["stage", "input", "frames", "epochs", "batch", "largest learning rate", "taught"]
    rows = [f"| {' | '.join(names)} | best mean IoU on `val` |", f"|{'---|' * (len(names) + 1)}"]
    for index, stage in enumerate(settings["stages"]):
        rendered = stage["synthetic_drives"] * stage["frames_per_drive"]
        frames = ["all of `train`"] * bool(settings.get("data")) + [f"{rendered:,} rendered"] * bool(rendered)
        reached = [
            entry["val_mean_iou"] for entry in epochs if entry["stage"] == index and "val_mean_iou" in entry
        ]
        taught = "yes" if settings.get("teachers") and stage.get("taught", True) else "no"
        rows.append(
            f"| {index + 1} | {stage['input_wh'][0]}x{stage['input_wh'][1]} | {', '.join(frames)} "
            f"| {stage['epochs']} | {stage['batch_size']} | {stage['max_learning_rate']:g} | {taught} "
            f"| {f'{100 * max(reached):.2f} %' if reached else '–'} |"
        )
    return rows


def _epochs(settings: Mapping[str, Any], epochs: Sequence[Mapping[str, float]]) -> list[str]:
    if not epochs:
        return ["Exported before its first epoch was over."]
    last = epochs[-1]
    measure = "loss" if settings.get("choose_by") == "loss" else "mean IoU"
    is_best = best_epoch(dict(settings), [dict(entry) for entry in epochs]) == len(epochs) - 1
    chosen = f", the best of its stage by {measure} on `val`" if is_best else ", not the best of its stage"
    columns = {
        "loss": ("loss", 1.0, 4),
        "val_loss": ("loss on `val`", 1.0, 4),
        "val_mean_iou": ("mean IoU on `val`, %", 100.0, 2),
        **{f"val_iou_{label}": (label, 100.0, 2) for label in LABELS},
    }
    names = ["stage", "epoch", *(name for name, _, _ in columns.values())]
    rows = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    for entry in epochs:
        told = [
            f"{factor * entry[key]:.{digits}f}" if key in entry else "–"
            for key, (_, factor, digits) in columns.items()
        ]
        rows.append(f"| {int(entry['stage']) + 1} | {int(entry['epoch']) + 1} | {' | '.join(told)} |")
    return [
        f"What was exported is stage {int(last['stage']) + 1} after epoch {int(last['epoch']) + 1}{chosen}.",
        "",
        "<details><summary>Every epoch</summary>",
        "",
        *rows,
        "",
        "</details>",
    ]
