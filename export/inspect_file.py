"""`drivable-export inspect`: what a file is, whether it is as it was exported, and where it runs."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import onnxruntime as ort

from export.card import known_answer_facts, model_card
from export.package import Packed, unpack
from export.tensorrt import left_by_tensorrt, tensorrt_line
from perception.inference.engines import Engine, EngineError, OnnxEngine, OpenVinoEngine
from perception.inference.engines.kind import LOAD_S
from perception.inference.engines.onnx import TENSORRT_LOAD_S
from perception.inference.engines.providers import PROVIDERS
from perception.inference.predictor import Predictor
from perception.system.time_limit import within

OPENVINO: Final = "openvino"


@dataclass(frozen=True)
class InspectConfig:
    """One file to look at."""

    file: str
    """ONNX file of drivable-export."""
    json: bool = False
    """Print what the card tells for machines, with the contract, as JSON."""


def inspect(config: InspectConfig, say: Callable[[str], None]) -> None:
    """Print the card of a file that is as it was exported, and where it runs on this machine.

    Raises:
        ExportError: if it is none of ours, or a byte of it was changed since it was exported.
    """
    file = Path(config.file)
    packed = unpack(file)
    where = where_it_runs(file)
    if config.json:
        say(json.dumps(_for_machines(packed, file, where), indent=2, ensure_ascii=False))
        return
    say(model_card(packed.card, packed.contract, file.name, packed.size_bytes, packed.known))
    say("Checksum and contract: as they were exported.")
    if packed.known is not None:
        say("Known answer: in the file, and each engine was checked by it.")
    else:
        say(f"Known answer: none, no engine was checked by one; `drivable-export renew {file}` adds it.")
    say(f"In records and logs (`model_sha256`): {_sha256_of(file)}")
    say(f"{tensorrt_line(packed.graph)}.")
    say(f"Runs here on: {'; '.join(f'{name}: {told}' for name, told in where.items())}")


def _for_machines(packed: Packed, file: Path, where: dict[str, str]) -> dict[str, Any]:
    return {
        **packed.card,
        "left_by_tensorrt": left_by_tensorrt(packed.graph),
        "file": file.name,
        "file_sha256": _sha256_of(file),
        "sha256": packed.contract.sha256,
        "size_bytes": packed.size_bytes,
        "contract": asdict(packed.contract),
        "known_answer": known_answer_facts(packed.known),
        "runs_here_on": where,
    }


def _sha256_of(file: Path) -> str:
    """Of the whole file as it lies there, which is not the contract's: that has zeros in its own place."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def where_it_runs(file: Path) -> dict[str, str]:
    """By provider, and OpenVINO where it is installed: "yes", or why not, found out by one frame.

    Of a graph that a provider runs in part, the nodes are counted.
    """
    told = {}
    for name, full_name in PROVIDERS.items():
        if full_name in ort.get_available_providers():
            limit_s = TENSORRT_LOAD_S if name == "tensorrt" else LOAD_S
            told[name] = tried(lambda name=name: OnnxEngine(file, provider=name), limit_s)  # type: ignore[misc]
        else:
            told[name] = "no, it is not in this build of ONNX Runtime"
    if importlib.util.find_spec(OPENVINO):
        told[OPENVINO] = tried(lambda: OpenVinoEngine(file), LOAD_S)
    else:
        told[OPENVINO] = "no, it is not installed"
    return told


def tried(load: Callable[[], Engine], limit_s: float) -> str:
    """ "yes", or why an engine is not loaded and run once in time."""

    def warm() -> Engine:
        engine = load()
        Predictor(engine).warm_up()
        return engine

    try:
        engine = within(limit_s, warm)
    except TimeoutError:
        return f"no, it was not loaded and run once within {limit_s:g} s"
    except EngineError as error:
        # What to do about it, behind the last semicolon, is for those who asked for this provider.
        return f"no, {str(error).rpartition('; ')[0] or error}"
    if len(engine.nodes) > 1:
        return f"yes, {', '.join(f'{count} nodes on {name}' for name, count in engine.nodes.items())}"
    return "yes"
