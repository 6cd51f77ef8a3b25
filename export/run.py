"""One export: source → graph → gates → file and cards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import onnx

from export.build import Built, builds, contract_of
from export.card import known_answer_data, model_card
from export.card_data import Measured, card_data, command_line
from export.config import DEFAULT_FRAME_WH, ExportConfig, sides
from export.frames import TEST_SPLIT, VAL_SPLIT, GateFrames, ProgressFrames
from export.known_answer import known_answer_of
from export.outputs import CARDS, check_writable, files_of, settings_of, targets, write
from export.package import engine_of, pack
from export.plain_nchw import export_plain_nchw
from export.source import Source, file_of, open_source
from export.tensorrt import tensorrt_line
from export.verify import (
    LIMITS,
    Gate,
    GateError,
    accuracy_gates,
    check_control,
    class_map_gate,
    compare,
    require,
)
from perception.cli.collisions import Input, check_apart
from perception.imaging.letterbox import letterbox
from perception.inference.contract import ModelContract
from perception.inference.ood import UncertaintyWatch, quantiles_of
from perception.inference.predictor import Predictor
from perception.metrics.segmentation import Accuracy, measure_accuracy

Say = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """The written file, and the gates that it passed."""

    file: Path
    gates: list[Gate]


def export(config: ExportConfig, say: Say = print, settings_files: Sequence[Path] = ()) -> Exported:
    """Export one network.

    Args:
        settings_files: of `--config`, which no output may overwrite.

    Raises:
        ExportError, GateError, ValueError (of checkpoints and data too): in one line; nothing is left behind.
    """
    if config.out:  # before torch is imported, which takes seconds
        _check_out(config, Path(config.out), settings_files)
    source = open_source(config, say)
    _check_out(config, config.file(source.name), settings_files)
    return export_from(source, config, say)


def _check_out(config: ExportConfig, out: Path, settings_files: Sequence[Path]) -> None:
    """Raise ExportError or CollisionError if an output cannot be written or would overwrite an input."""
    check_writable(out)
    sets = {"the data": config.data, "the data of --calibrate": config.calibrate}
    inputs = [Input(what, Path(folder), is_data_set=True) for what, folder in sets.items() if folder]
    if config.label_map:
        inputs.append(Input("the label map", Path(config.label_map)))
    if (file := file_of(config)) is not None:
        inputs += [Input("the file to export from", file)]
        inputs += [Input("its card", file.with_suffix(suffix)) for suffix in CARDS if file.suffix == ".onnx"]
    check_apart([*inputs, *settings_of(settings_files)], targets(out, has_cards=config.target != "plain"))


def export_from(source: Source, config: ExportConfig, say: Say = print) -> Exported:
    """`export` from an open source."""
    out = config.file(source.name)
    input_wh = source.input_wh(config.size_wh)
    if config.size_wh not in (None, input_wh):
        asked = sides(config.size_wh)
        say(f"--size {asked}: the network's input is {sides(input_wh)}, the next multiples of 32")
    if config.target == "plain":
        return Exported(out, export_plain_nchw(source, config, input_wh, out, say))
    if config.target == "gpu" and config.frame_wh is None:
        say(f"for camera frames of {sides(DEFAULT_FRAME_WH)}; --frame sets another size, or any")
    frames = GateFrames.open(config)
    contract = contract_of(source, config, input_wh)
    candidates = builds(source, config, input_wh, frames.calibration, say)
    built, measured = _first_that_passes(candidates, source, contract, frames, say)
    if config.target == "gpu":
        say(tensorrt_line(built.graph))
    contract = replace(contract, doubt_quantiles=measured.doubt_quantiles)
    card = card_data(
        contract,
        source.network,
        source.parameters,
        measured,
        source.training,
        built.quantisation,
        command_line(config, source, input_wh),
    )
    write_with_cards(out, built.graph, contract, card, overwrite=config.overwrite)
    say(f"{out}: {out.stat().st_size / 1e6:.1f} MB, cards beside it: {out.stem}.md, {out.stem}.json")
    return Exported(out, measured.gates)


def _first_that_passes(
    candidates: Iterable[Built], source: Source, contract: ModelContract, frames: GateFrames, say: Say
) -> tuple[Built, Measured]:
    """Raises the GateError of the most promising candidate if none passes."""

    @cache
    def reference() -> Accuracy:
        assert frames.val is not None
        labelled = ProgressFrames(frames.val, "the network", say)
        return measure_accuracy(source.predict(contract.input_wh), labelled)

    failure: GateError | None = None
    for built in candidates:
        try:
            return built, _measure(source, built, contract, frames, reference, say)
        except GateError as error:
            failure = failure or error
    assert failure is not None
    raise failure


def _measure(
    source: Source,
    built: Built,
    contract: ModelContract,
    frames: GateFrames,
    reference: Callable[[], Accuracy],
    say: Say,
) -> Measured:
    """Check every gate, then measure the accuracy.

    Args:
        reference: measures the network itself on the frames of `val`.

    Raises:
        GateError: if one fails; the cheap ones come first.
    """
    limits = LIMITS[contract.precision]
    network_contract = replace(contract, frame_wh=None, output="logits")
    network = engine_of(pack(built.network, network_contract, {})[0], contract.model_id)
    inputs = [letterbox(image, contract.input_wh, contract.pad_bgr)[0] for image in frames.parity_bgr]

    parity = compare(source.infer(contract.input_wh), network.infer, inputs)
    gates = require(parity.gates(limits, frames.parity_on), say)
    control = compare(source.control(contract.input_wh), network.infer, inputs)
    check_control(control, limits)
    say(
        f"control ({source.control_is}): rejected, as it must be; logits differ by up to "
        f"{control.max_difference:.2g}, same class on {100 * control.agreement:.2f} %"
    )
    predict = Predictor(network)
    if contract.frame_wh is not None:
        by_node = predict
        predict = Predictor(engine_of(pack(built.graph, contract, {})[0], contract.model_id))
        gates += require([class_map_gate(by_node, predict, frames.parity_bgr, frames.parity_on)], say)
    if frames.val is None or frames.test is None:
        return Measured(gates, control, source.control_is, None, TEST_SPLIT)

    on = f"{len(frames.val)} frames of `{VAL_SPLIT}`"
    watched = UncertaintyWatch(predict)
    exported = measure_accuracy(watched, ProgressFrames(frames.val, "the exported file", say))
    gates += require(accuracy_gates(reference(), exported, contract.labels, limits, on), say)
    accuracy = measure_accuracy(predict, ProgressFrames(frames.test, f"accuracy on {TEST_SPLIT}", say))
    say(f"mean IoU on {TEST_SPLIT}: {100 * accuracy.total.mean_iou():.2f} %")
    return Measured(
        gates, control, source.control_is, accuracy, TEST_SPLIT, quantiles_of(watched.uncertainties)
    )


def write_with_cards(
    out: Path, graph: onnx.ModelProto, contract: ModelContract, card: Mapping[str, Any], *, overwrite: bool
) -> None:
    """Write the file with its known answer, and its card as Markdown and as JSON.

    Each is written atomically; existing files are set aside, or replaced if asked to.

    Raises:
        EngineError: if the file does not load.
        ExportError: if one cannot be written.
    """
    known = known_answer_of(engine_of(pack(graph, contract, {})[0], out.name))
    content, contract = pack(graph, contract, card, known)
    engine_of(content, out.name)  # the gates ran without card and answer: the whole file must load too
    text = model_card(card, contract, out.name, len(content), known)
    values = {
        **card,
        "known_answer": known_answer_data(known),
        "file": out.name,
        "sha256": contract.sha256,
        "size_bytes": len(content),
    }
    contents = (content, text.encode(), (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode())
    write(dict(zip(files_of(out), contents, strict=True)), overwrite=overwrite)
