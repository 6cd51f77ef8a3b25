"""What runtimes say of a failure, in our words: without their codes, and the places in their source."""

from __future__ import annotations

import re
from typing import Final

import onnxruntime as ort

from perception.inference.engines.engine import one_line

_NEWER: Final = f"it was made for a newer ONNX Runtime than {ort.__version__}; export it with an older opset"
_LOADING: Final = (
    ("No graph was found", "it holds no graph"),
    ("Unsupported model IR version", _NEWER),
    ("only *guarantees* support for models stamped", _NEWER),
    ("rotobuf parsing failed", "damaged, or not an ONNX file"),
    ("bad_alloc", "not enough memory"),
)
"""What ONNX Runtime says of a file that it does not load, and what that means."""
_OPERATOR: Final = re.compile(r"(?:No Op registered for |Fatal error: )([\w.:]+)")
_FAILED: Final = re.compile(r"while running (\w+) node")
_NOISE: Final = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from \S* failed:\s*"
    r"|Exception from [^ :]+:\d+:\s*|Check '.*?' failed at [^ :]+:\d+:\s*"
    r"|(?:/?[\w.+-]+/)+[\w.+-]+\.(?:cc|h|cpp|hpp):\d+\s*(?:\S+\(.*?\)\s*)?"
)
_LONGEST: Final = 200


def why_not_loaded(error: Exception) -> str:
    """Of a file."""
    text = one_line(error)
    if (told := next((ours for theirs, ours in _LOADING if theirs in text), None)) is not None:
        return told
    operator = _OPERATOR.search(text)
    return f"it does not know the operator {operator[1]}" if operator else _cleaned(text)


def why_not_run(error: Exception) -> str:
    """Of a network that was loaded: which operator failed, where that is told."""
    text = one_line(error)
    if "bad_alloc" in text:
        return "not enough memory"
    operator = _FAILED.search(text)
    return f"its operator {operator[1]} failed" if operator else _cleaned(text)


def _cleaned(text: str) -> str:
    return _NOISE.sub("", text).strip()[:_LONGEST] or "it says no reason"
