"""A graph, its contract and its card as one ONNX file: packing and unpacking."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from perception.inference.contract import (
    CARD_KEY,
    METADATA_KEY,
    NO_CHECKSUM,
    ContractError,
    ModelContract,
    checksum,
)
from perception.inference.engines import EngineError, OnnxEngine
from perception.inference.engines.file_kind import what_else
from perception.inference.engines.whole_file import check_whole
from perception.inference.known_answer import KNOWN_ANSWER_KEY, KnownAnswer

OPSET = 18
"""Of all our graphs: the oldest that torch.onnx writes without conversion."""


class ExportError(RuntimeError):
    """Nothing was exported; the message says why and what to do."""


@dataclass(frozen=True)
class Packed:
    """Contents of one of our files."""

    graph: onnx.ModelProto
    """Without metadata."""
    contract: ModelContract
    card: dict[str, Any]
    size_bytes: int
    known: KnownAnswer | None = None


def pack(
    graph: onnx.ModelProto,
    contract: ModelContract,
    card: Mapping[str, Any],
    known: KnownAnswer | None = None,
) -> tuple[bytes, ModelContract]:
    """The file's bytes, and the contract with its checksum.

    The checksum covers every byte: the file is serialised with `NO_CHECKSUM` in its place, which the
    checksum of that then replaces. So a runtime without protobuf can verify the whole file.

    Args:
        card: the model card as data, ready for JSON.
        known: a picture and the network's class map of it, to check engines with.
    """
    contract = replace(contract, sha256=NO_CHECKSUM)
    model = copy.deepcopy(graph)
    del model.metadata_props[:]
    model.metadata_props.add(key=METADATA_KEY, value=contract.to_json())
    model.metadata_props.add(key=CARD_KEY, value=json.dumps(card, ensure_ascii=False))
    if known is not None:
        model.metadata_props.add(key=KNOWN_ANSWER_KEY, value=known.to_json())
    before = model.SerializeToString(deterministic=True)
    contract = replace(contract, sha256=checksum(before, NO_CHECKSUM))
    return before.replace(NO_CHECKSUM.encode(), contract.sha256.encode()), contract


def load_graph(file: Path) -> tuple[onnx.ModelProto, bytes]:
    """Any ONNX file, and its bytes.

    Raises:
        ExportError: if it cannot be read, is no ONNX file, or has external data.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ExportError(f"{file}: cannot be read: {error.strerror}") from error
    try:
        graph = onnx.load_model_from_string(content)
    except DecodeError as error:
        reason = what_else(content, str(file)) or "it is damaged, or something else"
        raise ExportError(f"{file}: not an ONNX file: {reason}") from error
    if not graph.graph.node:
        reason = what_else(content, str(file)) or "it holds no graph"
        raise ExportError(f"{file}: not an ONNX file: {reason}")
    try:
        check_whole(content, str(file))
    except EngineError as error:
        raise ExportError(str(error)) from error
    return graph, content


def unpack(file: Path) -> Packed:
    """Read one of our files and verify its checksum.

    Raises:
        ExportError: if it cannot be read, is not one of our files, or was changed.
    """
    graph, content = load_graph(file)
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    if METADATA_KEY not in metadata:
        raise ExportError(
            f"{file}: an ONNX file without a drivable contract; "
            f"`drivable-export wrap {file} --contract FILE.yaml` adds one"
        )
    try:
        contract = ModelContract.from_json(metadata[METADATA_KEY], str(file))
        contract.verify(content, str(file))
        text = metadata.get(KNOWN_ANSWER_KEY)
        known = None if text is None else KnownAnswer.from_json(text, contract, str(file))
    except ContractError as error:
        raise ExportError(str(error)) from error
    except UnicodeDecodeError as error:  # protobuf does not check that its strings are UTF-8
        raise ExportError(f"{file}: the file was changed after it was exported") from error
    del graph.metadata_props[:]
    return Packed(graph, contract, json.loads(metadata.get(CARD_KEY, "{}")), len(content), known)


def engine_of(content: bytes, name: str) -> OnnxEngine:
    """An engine on the CPU for a packed file, loaded like in the node.

    Args:
        name: its name in error messages.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / Path(name).name
        file.write_bytes(content)
        return OnnxEngine(file, provider="cpu")
