"""`drivable-export wrap`: another's network becomes one of our files, with a contract and a card."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from export.card_data import Measured, facts
from export.external_model import ForeignContract, shapes_of, wrapped
from export.file_source import weights_of
from export.frames import rendered
from export.outputs import check_writable, settings_of, targets
from export.package import ExportError, engine_of, load_graph, pack
from export.run import write_with_cards
from export.verify import LIMITS, Infer, check_control, compare, held
from perception.cli.collisions import Input, check_apart
from perception.cli_config import SettingsError, parse
from perception.imaging.letterbox import letterbox
from perception.inference.contract import METADATA_KEY, ModelContract
from perception.inference.engines.session import CPU, load_session


@dataclass(frozen=True)
class WrapConfig:
    """One network of others."""

    file: str
    """ONNX file."""
    contract: str
    """YAML that says what it takes and gives, or the name of a shipped one, such as contracts/twinlitenet."""
    out: str | None = None
    """File to write; without one, NAME.onnx in the current folder."""
    overwrite: bool = False
    """Replace what lies where the file and its cards go; without, it is kept as NAME.1.onnx and so on."""
    model_id: str | None = None
    """What the file calls itself, NAME; without one, the name of the contract's file."""

    def __post_init__(self) -> None:
        """Refuse what cannot be written; raises ValueError."""
        if self.out is not None and not self.out.endswith(".onnx"):
            raise ValueError(f"out is {self.out}; the file's name must end in .onnx")


def wrap(config: WrapConfig, say: Callable[[str], None], settings_files: Sequence[Path] = ()) -> Path:
    """Write the file and its cards; returns the file.

    Args:
        settings_files: of `--config`, which no output may lie on.

    Raises:
        ExportError, SettingsError, GateError: in one line; nothing is left behind.
    """
    file = Path(config.file)
    name = config.model_id or Path(config.contract).stem
    out = Path(config.out or f"{name}.onnx")
    check_writable(out)
    inputs = [Input("the file to wrap", file), Input("the contract", Path(config.contract))]
    check_apart([*inputs, *settings_of(settings_files)], targets(out))
    foreign = _contract(config.contract)
    theirs, content = load_graph(file)
    if any(entry.key == METADATA_KEY for entry in theirs.metadata_props):
        raise ExportError(
            f"{file}: is one of ours already; `drivable-export inspect {file}` tells what it is"
        )
    shapes = shapes_of(theirs, foreign, str(file))
    graph = wrapped(theirs, foreign, shapes, str(file))
    contract = ModelContract(
        model_id=name,
        labels=foreign.labels,
        input_wh=shapes.input_wh,
        pad_bgr=foreign.pad_bgr,
        output_stride=shapes.output_stride,
        training_data=foreign.training_data,
        licence=foreign.licence,
    )
    measured = _measure(theirs, foreign, graph, contract, say)
    training = {
        "weights": "foreign",
        "from_file": file.name,
        "from_sha256": hashlib.sha256(content).hexdigest(),
        "contract": _told(config.contract),
    }
    words = ["drivable-export", "wrap", file.name, "--contract", _told(config.contract), "--model-id", name]
    card = facts(contract, name, weights_of(graph), measured, training, None, shlex.join(words))
    write_with_cards(out, graph, contract, card, overwrite=config.overwrite)
    say(f"{out}: {out.stat().st_size / 1e6:.1f} MB, cards beside it: {out.stem}.md, {out.stem}.json")
    return out


def _contract(name: str) -> ForeignContract:
    """Raises SettingsError, naming the file."""
    try:
        return parse(ForeignContract, "drivable-export wrap", "", ["--config", name])
    except SettingsError as error:
        told = str(error)
        raise SettingsError(told if told.startswith(name) else f"{name}: {told}") from error


def _told(contract: str) -> str:
    """A shipped contract by its name, a file of its own without its folder."""
    return Path(contract).name if Path(contract).is_file() else contract


def _measure(
    theirs: onnx.ModelProto,
    foreign: ForeignContract,
    graph: onnx.ModelProto,
    contract: ModelContract,
    say: Callable[[str], None],
) -> Measured:
    """What the other's file gives for pixels prepared in numpy, and what ours gives for the bytes.

    Raises:
        GateError: if they are not the same.
    """
    images, on = rendered()
    inputs = [letterbox(image, contract.input_wh, contract.pad_bgr)[0] for image in images]
    infer = _infer(theirs, foreign)
    ours = engine_of(pack(graph, contract, {})[0], contract.model_id).infer
    gates = held(compare(infer, ours, inputs).gates(LIMITS["fp32"], on), say)
    control = compare(lambda input_bgr: infer(np.ascontiguousarray(input_bgr[..., ::-1])), ours, inputs)
    check_control(control, LIMITS["fp32"])
    return Measured(gates, control, "the same network, red and blue exchanged", None, "")


def _infer(theirs: onnx.ModelProto, foreign: ForeignContract) -> Infer:
    session = load_session(theirs.SerializeToString(), "the network to wrap", [CPU], threads=0)

    def infer(input_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        output = session.run([foreign.output], {foreign.input: foreign.prepared(input_bgr)})[0]
        return foreign.logits(output)

    return infer
