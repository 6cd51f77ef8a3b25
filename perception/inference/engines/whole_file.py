"""Refuses model files that refer to other files, before a runtime follows any path.

ONNX allows a tensor's values in another file, which a runtime opens relative to the working directory. No
checksum covers those, and whoever chooses the directory chooses the weights. The same holds for nodes that
stand for an engine built elsewhere.
"""

from __future__ import annotations

from typing import Final

from perception.inference.engines.engine import EngineError
from perception.inference.engines.file_kind import what_else

LARGEST_BYTES: Final = 2**31 - 1
"""The limit of protobuf, and so of ONNX files."""
# The messages of onnx.proto3 that lead to tensors, by field number; other fields are skipped.
_INSIDE: Final = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "tensor": {},
}
_VARINT, _LONG, _BYTES, _SHORT = 0, 1, 2, 5
_OP_TYPE, _NAME, _EXTERNAL_DATA, _DATA_LOCATION = 4, 8, 13, 14
_NAME_BYTES: Final = 80
_OF_OTHER_FILES: Final = b"EPContext"


class _Damaged(Exception):
    """Bytes that are not a protobuf message."""


def check_whole(content: bytes, where: str) -> None:
    """Refuse a file that refers to others.

    Args:
        content: the file's bytes.
        where: its name, for the error.

    Raises:
        EngineError: naming the tensor or node; or if this is not protobuf.
    """
    if not content:
        raise EngineError(f"{where}: not a model that ONNX Runtime can load: it is empty")
    waiting = [("model", 0, len(content))]  # not recursive: graphs may be nested to any depth
    try:
        while waiting:
            kind, at, end = waiting.pop()
            name = b""
            while at < end:
                field, wire, value, start, at = _field(content, at, end)
                if wire == _BYTES and field in _INSIDE[kind]:
                    waiting.append((_INSIDE[kind][field], start, at))
                elif kind == "tensor" and field == _NAME and wire == _BYTES:
                    name = content[start:at]
                elif kind == "tensor" and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value)):
                    named = f" ({name[:_NAME_BYTES].decode(errors='replace')!a})" if name else ""
                    raise EngineError(
                        f"{where}: a tensor{named} has its values in another file, which no checksum covers; "
                        f"write a single file: onnx.save(onnx.load(FILE), FILE)"
                    )
                elif kind == "node" and field == _OP_TYPE and content[start:at] == _OF_OTHER_FILES:
                    raise EngineError(
                        f"{where}: a node stands for an engine built elsewhere (EPContext); export the "
                        f"network itself"
                    )
    except _Damaged:
        reason = what_else(content, where) or "damaged, or not an ONNX file"
        raise EngineError(f"{where}: not a model that ONNX Runtime can load: {reason}") from None


def _field(content: bytes, at: int, end: int) -> tuple[int, int, int, int, int]:
    """Number, wire type, value (of a varint), first byte and end of the field at `at`; raises _Damaged."""
    tag, at = _varint(content, at, end)
    field, wire, value, start = tag >> 3, tag & 7, 0, at
    if wire == _VARINT:
        value, at = _varint(content, at, end)
    elif wire == _BYTES:
        length, start = _varint(content, at, end)
        at = start + length
    elif wire in (_LONG, _SHORT):
        at += 8 if wire == _LONG else 4
    else:  # groups, which ONNX has none of
        raise _Damaged
    if at > end:
        raise _Damaged
    return field, wire, value, start, at


def _varint(content: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise _Damaged
