"""Recognises files that are no ONNX models by their first bytes, with advice."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Final

_TENSORRT: Final = "it is a TensorRT engine; --provider tensorrt builds it from the ONNX file itself"
_BEGINNINGS: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"version https://git-lfs", "it is a Git LFS pointer; `git lfs pull` fetches the file"),
    (0, b"\x1f\x8b", "it is packed with gzip; unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "it is packed with 7-Zip; unpack it first"),
    (4, b"TFL3", "it is a TensorFlow Lite model; the node runs ONNX files"),
    (4, b"ORTM", "it is in ONNX Runtime's own format; use the ONNX file that it was made from"),
    (0, b"ftrt", _TENSORRT),
    (0, b"\x89HDF", "it is a Keras model (HDF5); the node runs ONNX files"),
    (0, b"%PDF", "it is a PDF"),
    (4, b"ftyp", "it is a video or picture; name a source with --source"),
    (0, b"\xff\xd8\xff", "it is a picture; name a source with --source"),
    (0, b"\x89PNG", "it is a picture; name a source with --source"),
)
_ENGINES: Final = (".engine", ".plan", ".trt")
_SAFETENSORS_HEADER: Final = 8
_HEAD_BYTES: Final = 4096


def what_else(content: bytes, name: str) -> str | None:
    """What a file is that is no ONNX file, with advice; None if unknown or if it may be one.

    Args:
        content: the file's bytes.
        name: the file's, with its folder.
    """
    if not content:
        return "it is empty"
    for offset, beginning, text in _BEGINNINGS:
        if content[offset : offset + len(beginning)] == beginning:
            return text
    head = content[:_HEAD_BYTES]
    if head.startswith(b"PK"):
        is_checkpoint = b"data.pkl" in head or name.endswith((".pt", ".pth", ".ckpt"))
        return checkpoint_of(name) if is_checkpoint else "it is packed with zip; unpack it first"
    if head[0] == 0x80 and head[1] in range(2, 6):  # pickle's protocol
        return checkpoint_of(name)
    if head[_SAFETENSORS_HEADER : _SAFETENSORS_HEADER + 1] == b"{" and b"dtype" in head:
        return f"it contains only weights (safetensors); drivable-train --weights {name} starts from them"
    if Path(name).suffix.lower() in _ENGINES:
        return _TENSORRT
    return _text(head)


def checkpoint_of(name: str) -> str:
    """Advice for a checkpoint."""
    file = Path(name)
    run = file.parent.name if file.stem in ("best", "last") else ""
    return (
        f"it is a checkpoint; `drivable-export --model {run or 'NAME'} --checkpoint {name}` exports one of "
        "drivable-train"
    )


def _text(head: bytes) -> str | None:
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "it is a web page, such as that of a refused download"
    if start.startswith((b"<?xml", b"<net")):
        kind = "an OpenVINO network" if b"<net" in start else "XML"
        return f"it is {kind}; the node runs ONNX files, with --engine openvino too"
    return "it is text" if all(byte in string.printable.encode() for byte in head) else None
