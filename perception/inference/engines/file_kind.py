"""What a file is that is given for a model and is none: by its first bytes, and what to do with it."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Final

_BEGINNINGS: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"version https://git-lfs", "it is the pointer of a Git LFS file; `git lfs pull` brings the file"),
    (0, b"\x1f\x8b", "it is packed with gzip; unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "it is packed with 7-Zip; unpack it first"),
    (4, b"TFL3", "it is a model of TensorFlow Lite; the node runs ONNX files"),
    (4, b"ORTM", "it is in ONNX Runtime's own format; take the ONNX file that it was made of"),
    (0, b"ftrt", "it is an engine of TensorRT; --provider tensorrt builds it from the ONNX file by itself"),
    (0, b"\x89HDF", "it is a model of Keras (HDF5); the node runs ONNX files"),
    (0, b"%PDF", "it is a PDF"),
    (4, b"ftyp", "it is a video or picture; a source is named by --source"),
    (0, b"\xff\xd8\xff", "it is a picture; a source is named by --source"),
    (0, b"\x89PNG", "it is a picture; a source is named by --source"),
)
_ENGINES: Final = (".engine", ".plan", ".trt")
_SAFETENSORS_HEADER: Final = 8
_LOOKED_AT: Final = 4096


def what_else(content: bytes, name: str) -> str | None:
    """What is known of a file that is no ONNX file, with what to do; None where it may be one.

    Args:
        content: the file's bytes.
        name: the file's, with its folder.
    """
    if not content:
        return "it is empty"
    for offset, beginning, told in _BEGINNINGS:
        if content[offset : offset + len(beginning)] == beginning:
            return told
    head = content[:_LOOKED_AT]
    if head.startswith(b"PK"):
        is_checkpoint = b"data.pkl" in head or name.endswith((".pt", ".pth", ".ckpt"))
        return checkpoint_of(name) if is_checkpoint else "it is packed with zip; unpack it first"
    if head[0] == 0x80 and head[1] in range(2, 6):  # pickle's protocol
        return checkpoint_of(name)
    if head[_SAFETENSORS_HEADER : _SAFETENSORS_HEADER + 1] == b"{" and b"dtype" in head:
        return f"it holds weights alone (safetensors); drivable-train --weights {name} begins with them"
    if Path(name).suffix.lower() in _ENGINES:
        return "it is an engine of TensorRT; --provider tensorrt builds it from the ONNX file by itself"
    return _text(head)


def checkpoint_of(name: str) -> str:
    """What to do with a checkpoint."""
    file = Path(name)
    run = file.parent.name if file.stem in ("best", "last") else ""
    return (
        f"it is a checkpoint; `drivable-export --model {run or 'NAME'} --checkpoint {name}` makes a model of "
        "one of drivable-train's"
    )


def _text(head: bytes) -> str | None:
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "it is a page of the web, as of a download that was refused"
    if start.startswith((b"<?xml", b"<net")):
        what = "a network of OpenVINO" if b"<net" in start else "XML"
        return f"it is {what}; the node runs ONNX files, with --engine openvino too"
    return "it is a text" if all(byte in string.printable.encode() for byte in head) else None
