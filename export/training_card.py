"""The training section of the card: recipe, stages, epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from perception.labels import LABELS
from train.report import best_epoch

EXTERNAL: Final = ("external", "foreign")
"""Values of `weights` in the card of a wrapped network; earlier versions wrote the second."""


def training_section(training: Mapping[str, Any]) -> list[str]:
    """Lines of Markdown.

    Args:
        training: as made by `export.provenance.training`. Settings of an older version may lack some; empty
            if nothing is known.
    """
    weights = training.get("weights")
    origin = []
    if made_from := training.get("made_from"):
        origin = [f"Made from `{made_from['file']}` (sha256 `{made_from['sha256']}`).", ""]
    if weights == "random":
        return [*origin, "None: the weights are random. For speed tests only."]
    if weights in EXTERNAL:
        return [
            *origin,
            f"By others: it is `{training['from_file']}` (sha256 `{training['from_sha256']}`), wrapped with "
            f"the contract `{training['contract']}`.",
        ]
    if weights != "trained":
        return [*origin, "Not stated in the file that it was made from."]
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
    """The settings of the run as table rows; those that an older version lacked are left out."""
    recipe = {
        "recipe": f"`drivable-train --config {shipped}`" if shipped else "custom settings, below",
        "encoder": _encoder(settings),
    }
    if settings.get("teachers"):
        recipe["teachers"] = ", ".join(_teacher(teacher) for teacher in settings["teachers"])
    recipe["loss"] = settings["loss"]
    # An older version had one optimiser and one schedule, and did not name them.
    optimiser, schedule = settings.get("optimiser", "adamw"), settings.get("schedule", "onecycle")
    decay = settings["weight_decay"]
    recipe["optimiser"] = f"{optimiser}, learning rate by {schedule}, weight decay {decay:g}"
    if settings["clip_norm"]:
        recipe["optimiser"] += f", gradient norm at most {settings['clip_norm']:g}"
    if settings.get("ema_decay"):
        recipe["weights"] = f"moving average, decay {settings['ema_decay']:g}"
    augment = {name: value for name, value in (settings.get("augment") or {}).items() if value}
    recipe["augmentation"] = ", ".join(f"{name} {value:g}" for name, value in augment.items()) or "none"
    if settings.get("resize", "letterbox") != "letterbox":
        recipe["resize"] = settings["resize"]
    recipe["precision, seed"] = f"{settings.get('precision', 'float32')}, {settings['seed']}"
    return recipe


def _encoder(settings: Mapping[str, Any]) -> str:
    first = settings.get("weights") or settings.get("encoder_weights")
    text = f"initial weights from `{first}`" if first else "random initial weights"
    text += ", frozen" if settings.get("freeze_encoder") else ""
    return text + (", frozen statistics of batch norms" if settings.get("freeze_batch_norm") else "")


def _teacher(teacher: Mapping[str, Any]) -> str:
    manner = f"weight {teacher['weight']:g}, temperature {teacher['temperature']:g}"
    if teacher.get("mirrored"):
        manner += ", averaged with its answer to the mirrored frame"
    return f"`{teacher['file']}` ({manner})"


def _further(more: Mapping[str, Any]) -> str:
    share = f", {100 * more['share']:g} % of the real frames" if more["share"] else ""
    return f"`{more['folder']}`{share}"


def _stages(settings: Mapping[str, Any], epochs: Sequence[Mapping[str, float]]) -> list[str]:
    names = ["stage", "input", "frames", "epochs", "batch", "max learning rate", "teachers"]
    rows = [f"| {' | '.join(names)} | best mean IoU on `val` |", f"|{'---|' * (len(names) + 1)}"]
    for index, stage in enumerate(settings["stages"]):
        rendered = stage["synthetic_drives"] * stage["frames_per_drive"]
        frames = ["all of `train`"] * bool(settings.get("data"))
        if stage.get("more_data", True):
            frames += [_further(more) for more in settings.get("more_data", [])]
        frames += [f"{rendered:,} rendered"] * bool(rendered)
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
        return ["Exported before the end of its first epoch."]
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
        figures = [
            f"{factor * entry[key]:.{digits}f}" if key in entry else "–"
            for key, (_, factor, digits) in columns.items()
        ]
        rows.append(f"| {int(entry['stage']) + 1} | {int(entry['epoch']) + 1} | {' | '.join(figures)} |")
    return [
        f"Exported: stage {int(last['stage']) + 1} after epoch {int(last['epoch']) + 1}{chosen}.",
        "",
        "<details><summary>All epochs</summary>",
        "",
        *rows,
        "",
        "</details>",
    ]
