"""Writing a graph and its contract as one ONNX file, whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx

from perception.atomic_file import write_atomically
from perception.contract import METADATA_KEY, ModelContract


class ExportError(RuntimeError):
    """Nothing was exported; the message says why and what to do."""


def pack(graph: onnx.ModelProto, contract: ModelContract) -> tuple[bytes, ModelContract]:
    """The file's bytes, and the contract with its checksum.

    Two serialised protobuf messages in a row are one message with the fields of both. So the graph
    is the first part of the file and the metadata the rest, and the checksum over the graph can be
    verified by a runtime that knows no protobuf.
    """
    bare = onnx.ModelProto()
    bare.CopyFrom(graph)
    del bare.metadata_props[:]
    graph_bytes = bare.SerializeToString(deterministic=True)
    contract = replace(contract, graph_size_bytes=len(graph_bytes), sha256="")
    contract = replace(contract, sha256=contract.checksum(graph_bytes))
    metadata = onnx.ModelProto()
    metadata.metadata_props.add(key=METADATA_KEY, value=contract.to_json())
    return graph_bytes + metadata.SerializeToString(deterministic=True), contract


def write(file: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        ExportError: if it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, content)
    except OSError as error:
        raise ExportError(f"{file}: cannot be written: {error.strerror}") from error
