"""`drivable-export inspect`: a file's card, its integrity, and where it runs on this machine."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import onnxruntime as ort

from export.card import known_answer_data, model_card
from export.package import Packed, unpack
from export.tensorrt import left_by_tensorrt, tensorrt_line
from perception.inference.engines import Engine, EngineError, OnnxEngine, OpenVinoEngine
from perception.inference.engines.providers import PROVIDERS
from perception.inference.predictor import Predictor
from perception.inference.zoo import shipped_models
from perception.system.time_limit import within
from perception.system.time_limits import LOAD_LIMIT_S, TENSORRT_LOAD_LIMIT_S

OPENVINO: Final = "openvino"


@dataclass(frozen=True)
class InspectConfig:
    """Settings of `drivable-export inspect`."""

    file: str
    """ONNX file of drivable-export, or the name of a shipped model."""
    json: bool = False
    """Print the card and the contract as JSON."""


def inspect(config: InspectConfig, say: Callable[[str], None]) -> None:
    """Print the card of an unchanged file, and where it runs on this machine.

    Raises:
        ExportError: if it is not one of our files, or a byte of it was changed since its export.
    """
    file = shipped_models().get(config.file, Path(config.file))
    packed = unpack(file)
    runs_on = where_it_runs(file)
    if config.json:
        say(json.dumps(_as_data(packed, file, runs_on), indent=2, ensure_ascii=False))
        return
    say(model_card(packed.card, packed.contract, file.name, packed.size_bytes, packed.known))
    say("Checksum and contract: unchanged since the export.")
    if packed.known is not None:
        say("Known answer: in the file; each engine was checked with it.")
    else:
        say(f"Known answer: none, so no engine was checked; `drivable-export renew {file}` adds one.")
    say(f"In records and logs (`model_sha256`): {_sha256_of(file)}")
    say(f"{tensorrt_line(packed.graph)}.")
    say(f"Runs here on: {'; '.join(f'{name}: {result}' for name, result in runs_on.items())}")


def _as_data(packed: Packed, file: Path, runs_on: dict[str, str]) -> dict[str, Any]:
    return {
        **packed.card,
        "left_by_tensorrt": left_by_tensorrt(packed.graph),
        "file": file.name,
        "file_sha256": _sha256_of(file),
        "sha256": packed.contract.sha256,
        "size_bytes": packed.size_bytes,
        "contract": asdict(packed.contract),
        "known_answer": known_answer_data(packed.known),
        "runs_here_on": runs_on,
    }


def _sha256_of(file: Path) -> str:
    """Of the whole file; the contract's checksum is another one, with zeros in place of itself."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def where_it_runs(file: Path) -> dict[str, str]:
    """By provider, and for OpenVINO: "yes", or why not, tested with one frame.

    If a provider runs only part of the graph, the numbers of nodes are given.
    """
    found = {}
    for name, full_name in PROVIDERS.items():
        if full_name in ort.get_available_providers():
            limit_s = TENSORRT_LOAD_LIMIT_S if name == "tensorrt" else LOAD_LIMIT_S
            found[name] = tried(lambda name=name: OnnxEngine(file, provider=name), limit_s)  # type: ignore[misc]
        else:
            found[name] = "no, it is not in this build of ONNX Runtime"
    if importlib.util.find_spec(OPENVINO):
        found[OPENVINO] = tried(lambda: OpenVinoEngine(file), LOAD_LIMIT_S)
    else:
        found[OPENVINO] = "no, it is not installed"
    return found


def tried(load: Callable[[], Engine], limit_s: float) -> str:
    """ "yes", or why an engine could not be loaded and run once in time."""

    def warm() -> Engine:
        engine = load()
        Predictor(engine).warm_up()
        return engine

    try:
        engine = within(limit_s, warm)
    except TimeoutError:
        return f"no, loading and running it once took longer than {limit_s:g} s"
    except EngineError as error:
        # The advice behind the last semicolon is for users who requested this provider.
        return f"no, {str(error).rpartition('; ')[0] or error}"
    if len(engine.nodes) > 1:
        return f"yes, {', '.join(f'{count} nodes on {name}' for name, count in engine.nodes.items())}"
    return "yes"
