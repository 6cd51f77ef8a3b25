"""The model card: what a shipped file is, what it was trained on, how good it is, who may use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from export.verify import Parity
from perception.confusion import ConfusionMatrix
from perception.contract import ModelContract

BDD100K_DATA = "BDD100K drivable area"
BDD100K_LICENCE = (
    "code Apache-2.0; weights trained on BDD100K: educational, research and not-for-profit use, "
    "commercial use needs a licence from the Regents of the University of California"
)


def model_card(
    contract: ModelContract,
    config: dict[str, Any] | None,
    history: list[dict[str, float]],
    parity: Parity,
    accuracy: ConfusionMatrix | None,
    accuracy_of: str,
    file: Path,
) -> str:
    """Markdown text of the card.

    Args:
        config: the training settings; None for random weights.
        history: one entry an epoch, as the checkpoint holds it.
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
        per_class = ", ".join(
            f"{label} {100 * iou:.2f}" for label, iou in zip(contract.labels, accuracy.iou(), strict=True)
        )
        lines.append(
            f"| mean IoU on `{accuracy_of}` | **{100 * accuracy.mean_iou():.2f} %** ({per_class}), "
            f"through the node's own path at the size of the labels |"
        )
    lines += ["", "## How it was trained", ""]
    if config is None:
        return "\n".join([*lines, "It was not: the weights are random. For trying out speed only.", ""])
    first = Path(config["encoder_weights"]).name if config["encoder_weights"] else None
    lines.append(
        f"`drivable-train --config train/{contract.model_id}`, "
        + (f"the encoder's first weights from `{first}`" if first else "from random weights")
        + f", loss {config['loss']}, seed {config['seed']}; validation by mean IoU on `val`:"
    )
    lines += ["", "| stage | input | epoch | loss | mean IoU on `val` |", "|---|---|---|---|---|"]
    for entry in history:
        stage = config["stages"][int(entry["stage"])]
        lines.append(
            f"| {int(entry['stage']) + 1} | {stage['input_wh'][0]}x{stage['input_wh'][1]} "
            f"| {int(entry['epoch']) + 1} | {entry['loss']:.4f} | {100 * entry['val_mean_iou']:.2f} % |"
        )
    lines += ["", "The epoch with the best mean IoU on `val` was exported.", ""]
    return "\n".join(lines)
