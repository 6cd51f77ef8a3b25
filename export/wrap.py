"""`drivable-export wrap`: makes one of our files, with contract and card, of an external network."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from export.card_data import Measured, card_data
from export.config import check_out
from export.external_model import ExternalContract, shapes_of, wrapped
from export.file_source import weights_of
from export.frames import rendered
from export.outputs import check_writable, settings_of, targets
from export.package import ExportError, engine_of, load_graph, pack
from export.run import write_with_cards
from export.verify import LIMITS, Infer, check_control, compare, require
from perception.cli.collisions import Input, check_apart
from perception.cli_config import SettingsError, parse
from perception.imaging.letterbox import letterbox
from perception.inference.contract import METADATA_KEY, ModelContract
from perception.inference.engines.session import CPU, load_session


@dataclass(frozen=True)
class WrapConfig:
    """Settings of `drivable-export wrap`."""

    file: str
    """ONNX file."""
    contract: str
    """YAML that describes its input and output, or a shipped one by name, such as contracts/twinlitenet."""
    out: str | None = None
    """File to write; without one, NAME.onnx in the current folder."""
    overwrite: bool = False
    """Replace an existing file and its cards; without it, they are kept as NAME.1.onnx and so on."""
    model_id: str | None = None
    """NAME, the id of the file; without one, the name of the contract's file."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        check_out(self.out)


def wrap(config: WrapConfig, say: Callable[[str], None], settings_files: Sequence[Path] = ()) -> Path:
    """Write the file and its cards; returns the file.

    Args:
        settings_files: of `--config`, which no output may overwrite.

    Raises:
        ExportError, SettingsError, GateError: in one line; nothing is left behind.
    """
    file = Path(config.file)
    name = config.model_id or Path(config.contract).stem
    out = Path(config.out or f"{name}.onnx")
    check_writable(out)
    inputs = [Input("the file to wrap", file), Input("the contract", Path(config.contract))]
    check_apart([*inputs, *settings_of(settings_files)], targets(out))
    external = _contract(config.contract)
    source, content = load_graph(file)
    if any(entry.key == METADATA_KEY for entry in source.metadata_props):
        raise ExportError(f"{file}: is one of our files already; see `drivable-export inspect {file}`")
    shapes = shapes_of(source, external, str(file))
    graph = wrapped(source, external, shapes, str(file))
    contract = ModelContract(
        model_id=name,
        labels=external.labels,
        input_wh=shapes.input_wh,
        pad_bgr=external.pad_bgr,
        output_stride=shapes.output_stride,
        training_data=external.training_data,
        licence=external.licence,
    )
    measured = _measure(source, external, graph, contract, say)
    # A shipped contract by its name, a file without its folder.
    described = Path(config.contract).name if Path(config.contract).is_file() else config.contract
    training = {
        "weights": "external",
        "from_file": file.name,
        "from_sha256": hashlib.sha256(content).hexdigest(),
        "contract": described,
    }
    words = ["drivable-export", "wrap", file.name, "--contract", described, "--model-id", name]
    card = card_data(contract, name, weights_of(graph), measured, training, None, shlex.join(words))
    write_with_cards(out, graph, contract, card, overwrite=config.overwrite)
    say(f"{out}: {out.stat().st_size / 1e6:.1f} MB, cards beside it: {out.stem}.md, {out.stem}.json")
    return out


def _contract(name: str) -> ExternalContract:
    """Raises SettingsError, naming the file."""
    try:
        return parse(ExternalContract, "drivable-export wrap", "", ["--config", name])
    except SettingsError as error:
        line = str(error)
        raise SettingsError(line if line.startswith(name) else f"{name}: {line}") from error


def _measure(
    source: onnx.ModelProto,
    external: ExternalContract,
    graph: onnx.ModelProto,
    contract: ModelContract,
    say: Callable[[str], None],
) -> Measured:
    """Compare the external file, preprocessed in numpy, with ours on the same bytes.

    Raises:
        GateError: if they differ.
    """
    images, on = rendered()
    inputs = [letterbox(image, contract.input_wh, contract.pad_bgr)[0] for image in images]
    infer = _infer(source, external)
    ours = engine_of(pack(graph, contract, {})[0], contract.model_id).infer
    gates = require(compare(infer, ours, inputs).gates(LIMITS["fp32"], on), say)
    control = compare(lambda input_bgr: infer(np.ascontiguousarray(input_bgr[..., ::-1])), ours, inputs)
    check_control(control, LIMITS["fp32"])
    return Measured(gates, control, "the same network, red and blue swapped", None, "")


def _infer(source: onnx.ModelProto, external: ExternalContract) -> Infer:
    session = load_session(source.SerializeToString(), "the network to wrap", [CPU], threads=0)

    def infer(input_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        output = session.run([external.output], {external.input: external.preprocess(input_bgr)})[0]
        return external.logits(output)

    return infer
