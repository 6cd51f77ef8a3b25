"""The model card: what a shipped file is, what it was trained on, how good it is, who may use it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.verify import Parity
from perception.accuracy import CONFIDENCE, NIGHT_BELOW_LUMA, RESAMPLES, Accuracy
from perception.contract import ModelContract
from perception.labels import LABELS
from train.models import PUBLISHED
from train.report import best_epoch


def model_card(
    contract: ModelContract,
    config: dict[str, Any] | None,
    history: Sequence[dict[str, float]],
    parity: Parity,
    accuracy: Accuracy | None,
    accuracy_of: str,
    file: Path,
) -> str:
    """Markdown text of the card.

    Args:
        config: the training settings; None for random weights. Those of an older version may lack some.
        history: one entry an epoch, as the checkpoint holds it: the last one is the exported epoch.
        accuracy: of the exported file through the node's own path; None where no data was named.
        accuracy_of: the split that `accuracy` was counted on.
    """
    width, height = contract.input_wh
    size_mb = (contract.graph_size_bytes + len(contract.to_json())) / 1e6
    lines = [
        f"# {contract.model_id}",
        "",
        f"| file | `{file.name}`, {size_mb:.1f} MB |",
        "|---|---|",
        f"| input | uint8 {contract.input_layout} {contract.colour_order}, {width}x{height}, "
        f"padded with {contract.pad_bgr} |",
        f"| output | {contract.output}, stride {contract.output_stride}: {', '.join(contract.labels)} |",
        f"| training data | {contract.training_data} |",
        f"| licence | {contract.licence} |",
        f"| sha256 | `{contract.sha256}` (graph and contract) |",
        f"| parity with torch | logits differ by at most {parity.max_logit_difference:.1e}, classes agree on "
        f"{100 * parity.agreement:.3f} % of positions, {parity.frames} frames |",
    ]
    if accuracy is not None:
        lines += _accuracy(accuracy, accuracy_of, contract.labels)
    lines += ["", "## How it was trained", ""]
    if config is None:
        return "\n".join([*lines, "It was not: the weights are random. For trying out speed only.", ""])
    lines += ["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in _recipe(config).items())]
    lines += ["", *_stages(config, history), "", *_epochs(config, history), ""]
    return "\n".join(lines)


def _accuracy(accuracy: Accuracy, split: str, labels: Sequence[str]) -> list[str]:
    two = accuracy.drivable_or_not()
    per_class = ", ".join(
        f"{label} {100 * iou:.2f}" for label, iou in zip(labels, accuracy.total.iou(), strict=True)
    )
    conditions = ", ".join(
        f"{condition} **{100 * part.total.mean_iou():.2f} %** ({len(part.frames)} frames)"
        for condition, part in accuracy.by_condition().items()
    )
    return [
        f"| mean IoU on `{split}` | **{100 * accuracy.total.mean_iou():.2f} %** ({per_class}), "
        f"through the node's own path at the size of the labels |",
        f"| {100 * CONFIDENCE:.0f} % interval | {_interval(accuracy)}, by recording: {len(accuracy.frames)} "
        f"frames of {len(accuracy.recordings)} recordings, drawn anew {RESAMPLES:,} times |",
        f"| mean IoU, day and night | {conditions}; night is a mean luma below {NIGHT_BELOW_LUMA:g} |",
        f"| mean IoU, drivable or not | **{100 * two.total.mean_iou():.2f} %**, direct and alternative as "
        f"one class; {100 * CONFIDENCE:.0f} % interval {_interval(two)} |",
    ]


def _interval(accuracy: Accuracy) -> str:
    low, high = accuracy.mean_iou_interval()
    return f"{100 * low:.2f} to {100 * high:.2f} %"


def _recipe(config: dict[str, Any]) -> dict[str, str]:
    """What the run was made of, for people; what an older version did not know is left out."""
    name = config["model"]
    shipped = f"published --model {name}" if name in PUBLISHED else name
    recipe = {"recipe": f"`drivable-train --config train/{shipped}`", "encoder": _encoder(config)}
    if config.get("teachers"):
        recipe["teachers"] = ", ".join(_teacher(teacher) for teacher in config["teachers"])
    recipe["loss"] = config["loss"]
    # An older version knew one optimiser and one schedule, and did not name them.
    optimiser, schedule = config.get("optimiser", "adamw"), config.get("schedule", "onecycle")
    recipe["optimiser"] = f"{optimiser}, learning rate by {schedule}, weight decay {config['weight_decay']:g}"
    if config["clip_norm"]:
        recipe["optimiser"] += f", gradients up to a norm of {config['clip_norm']:g}"
    if config.get("ema_decay"):
        recipe["weights"] = f"their moving average, decay {config['ema_decay']:g}"
    augment = {name: value for name, value in (config.get("augment") or {}).items() if value}
    recipe["frames varied by"] = (
        ", ".join(f"{name} {value:g}" for name, value in augment.items()) or "nothing"
    )
    if config.get("resize", "letterbox") != "letterbox":
        recipe["resize"] = config["resize"]
    recipe["precision, seed"] = f"{config.get('precision', 'float32')}, {config['seed']}"
    return recipe


def _encoder(config: dict[str, Any]) -> str:
    first = config.get("encoder_weights")
    text = f"first weights from `{Path(first).name}`" if first else "random first weights"
    text += ", left as they are" if config.get("freeze_encoder") else ""
    return text + (", batch norms' statistics too" if config.get("freeze_batch_norm") else "")


def _teacher(teacher: dict[str, Any]) -> str:
    name = Path(teacher["file"]).name
    return f"`{name}` (weight {teacher['weight']:g}, temperature {teacher['temperature']:g})"


def _stages(config: dict[str, Any], history: Sequence[dict[str, float]]) -> list[str]:
    names = ["stage", "input", "frames", "epochs", "batch", "largest learning rate", "taught"]
    rows = [f"| {' | '.join(names)} | best mean IoU on `val` |", f"|{'---|' * (len(names) + 1)}"]
    for index, stage in enumerate(config["stages"]):
        rendered = stage["synthetic_drives"] * stage["frames_per_drive"]
        frames = ["all of `train`"] * bool(config.get("data")) + [f"{rendered:,} rendered"] * bool(rendered)
        reached = [entry["val_mean_iou"] for entry in history if entry["stage"] == index]
        taught = "yes" if config.get("teachers") and stage.get("taught", True) else "no"
        rows.append(
            f"| {index + 1} | {stage['input_wh'][0]}x{stage['input_wh'][1]} | {', '.join(frames)} "
            f"| {stage['epochs']} | {stage['batch_size']} | {stage['max_learning_rate']:g} | {taught} "
            f"| {f'{100 * max(reached):.2f} %' if reached else '–'} |"
        )
    return rows


def _epochs(config: dict[str, Any], history: Sequence[dict[str, float]]) -> list[str]:
    if not history:
        return ["Exported before its first epoch was over."]
    last = history[-1]
    measure = "loss" if config.get("choose_by") == "loss" else "mean IoU"
    is_best = best_epoch(config, history) == len(history) - 1
    chosen = f", the best of its stage by {measure} on `val`" if is_best else ", not the best of its stage"
    columns = {
        "loss": ("loss", 1.0, 4),
        "val_loss": ("loss on `val`", 1.0, 4),
        "val_mean_iou": ("mean IoU on `val`, %", 100.0, 2),
        **{f"val_iou_{label}": (label, 100.0, 2) for label in LABELS},
    }
    names = ["stage", "epoch", *(name for name, _, _ in columns.values())]
    rows = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    for entry in history:
        told = [
            f"{factor * entry[key]:.{digits}f}" if math.isfinite(entry.get(key, math.nan)) else "–"
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
