"""The model card in Markdown: contents, training data, accuracy and licence of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from export.config import sides
from export.training_card import EXTERNAL, training_section
from export.verify import Gate
from perception.inference.contract import ModelContract
from perception.inference.known_answer import LEAST_MEAN_IOU, KnownAnswer


def model_card(
    card: Mapping[str, Any],
    contract: ModelContract,
    file_name: str,
    size_bytes: int,
    known: KnownAnswer | None = None,
) -> str:
    """Markdown text of the card.

    Args:
        card: as made by `export.card_data`; if empty, only the contract's part is written.
        known: the known answer in the file.
    """
    precision = "" if contract.precision == "fp32" else f", {contract.precision}"
    lines = [
        f"# {contract.model_id}",
        "",
        f"| file | `{file_name}`, {size_bytes / 1e6:.1f} MB{precision} |",
        "|---|---|",
    ]
    if "network" in card:
        lines += [f"| network | {card['network']}, {card['parameters']:,} parameters |"]
    lines += [
        f"| input | {_input(contract)} |",
        f"| output | {_output(contract)} |",
        f"| ood_score | {_ood_score(contract)} |",
        f"| known answer | {_known_answer(known)} |",
        f"| training data | {contract.training_data} |",
        f"| licence | {contract.licence} |",
        f"| sha256 | `{contract.sha256}` (over the whole file, with zeros in place of itself) |",
    ]
    if card.get("quantisation"):
        lines += _quantisation(card["quantisation"])
    if card.get("accuracy"):
        lines += _accuracy(card["accuracy"])
    if card.get("reproduce"):
        lines += [f"| made by | `{card['reproduce']}` |"]
    if card.get("gates"):
        lines += ["", "## Gates passed", "", *_gates(card)]
    lines += ["", "## Training", "", *training_section(card.get("training", {})), ""]
    return "\n".join(lines)


def _input(contract: ModelContract) -> str:
    kind = f"uint8 {contract.input_layout} {contract.colour_order}"
    padded = f"padded with {contract.pad_bgr}"
    if contract.frame_wh is None:
        return f"{kind}, {sides(contract.input_wh)}, {padded}"
    frames = f"camera frames of {sides(contract.frame_wh)}" if any(contract.frame_wh) else "any camera frame"
    return f"{kind}, {frames}; the graph fits them into {sides(contract.input_wh)}, {padded}"


def _output(contract: ModelContract) -> str:
    labels = ", ".join(contract.labels)
    if contract.output == "class_map":
        return f"class map and confidence, uint8 at {sides(contract.input_wh)}: {labels}"
    return f"{contract.output}, stride {contract.output_stride}: {labels}"


def _ood_score(contract: ModelContract) -> str:
    if contract.doubt_quantiles is None:
        return "null in records: the network's uncertainty on known frames was not measured"
    median = contract.doubt_quantiles[len(contract.doubt_quantiles) // 2]
    return f"in records; median on `val` of the mean confidence in the drivable area: {_percent(1 - median)}"


def known_answer_data(known: KnownAnswer | None) -> dict[str, Any] | None:
    """The known answer's figures, ready for JSON."""
    if known is None:
        return None
    return {
        "picture": known.picture,
        "classes": {label: round(share, 4) for label, share in known.classes.items()},
        "mean_confidence": round(known.confidence, 4),
        "least_mean_iou": LEAST_MEAN_IOU,
    }


def _known_answer(known: KnownAnswer | None) -> str:
    if known is None:
        return "none: engines are not checked at start; `drivable-export renew` adds one"
    classes = ", ".join(f"{label} {_percent(share)}" for label, share in known.classes.items())
    return f"{known.picture}: {classes}; engines with a mean IoU below {LEAST_MEAN_IOU:g} with it are refused"


def _quantisation(quantisation: Mapping[str, Any]) -> list[str]:
    parts = [quantisation["method"]]
    if frames := quantisation.get("calibration_frames"):
        counts = ", ".join(f"{count} {condition}" for condition, count in frames.items())
        kept = ", ".join(f"`{name}`" for name in quantisation["kept_in_float"]) or "nothing"
        parts = [f"calibrated to {parts[0]}, on frames: {counts}", f"kept in float: {kept}"]
        parts += [f"rejected by the gates: {method}" for method in quantisation.get("refused_by_gates", [])]
    return [f"| {quantisation['precision']} | {'; '.join(parts)} |"]


def _accuracy(accuracy: Mapping[str, Any]) -> list[str]:
    split, two, percent = accuracy["split"], accuracy["two_classes"], f"{100 * accuracy['confidence']:.0f} %"
    path = "through the node's own path at the size of the labels"
    extent = (
        f"by recording: {accuracy['frames']} frames of {accuracy['recordings']} recordings, "
        f"{accuracy['resamples']:,} bootstrap samples"
    )
    night = f"night is a mean luma below {accuracy['night_below_luma']:g}"
    if "mean_iou" not in accuracy:
        return [
            f"| mean IoU on `{split}`, drivable or not | **{_percent(two['mean_iou'])}** ({_classes(two)}), "
            f"{path}; the network does not separate direct from alternative |",
            f"| {percent} interval | {_interval(two)}, {extent} |",
            f"| mean IoU, day and night | {_conditions(two)}; {night} |",
        ]
    return [
        f"| mean IoU on `{split}` | **{_percent(accuracy['mean_iou'])}** ({_classes(accuracy)}), {path} |",
        f"| {percent} interval | {_interval(accuracy)}, {extent} |",
        f"| mean IoU, day and night | {_conditions(accuracy)}; {night} |",
        f"| mean IoU, drivable or not | **{_percent(two['mean_iou'])}**, direct and alternative as "
        f"one class; {percent} interval {_interval(two)} |",
    ]


def _classes(figures: Mapping[str, Any]) -> str:
    return ", ".join(f"{label} {_digits(iou)}" for label, iou in figures["iou"].items())


def _conditions(figures: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{condition} **{_percent(part['mean_iou'])}** ({part['frames']} frames)"
        for condition, part in figures["conditions"].items()
    )


def _interval(figures: Mapping[str, Any]) -> str:
    low, high = figures["interval"]
    return f"{_digits(low)} to {_percent(high)}"


def _percent(share: float | None) -> str:
    return f"{_digits(share)} %"


def _digits(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f}"


def _gates(card: Mapping[str, Any]) -> Sequence[str]:
    gates = [Gate.of_card(gate) for gate in card["gates"]]
    rows = ["| what | measured | limit | on |", "|---|---|---|---|"]
    rows += [f"| {gate.name} | {gate.measured_text} | {gate.limit_text} | {gate.on} |" for gate in gates]
    control = card["control"]
    same = f"{100 * control['agreement']:.2f} %"
    rows += [
        "",
        f"Control, rejected as it must be: {control['what']}; logits differ by up to "
        f"{control['max_difference']:.2g}, same class on {same} of positions.",
    ]
    if not card.get("accuracy") and card.get("training", {}).get("weights") not in EXTERNAL:
        rows += ["", "The loss of mean IoU was not measured: no labelled frames were given."]
    return rows
