"""Error messages of runtimes in our words, without error codes and source locations."""

from __future__ import annotations

import re
from typing import Final

import onnxruntime as ort

from perception.inference.engines.engine import one_line

_NEWER: Final = f"it needs a newer ONNX Runtime than {ort.__version__}; export it with an older opset"
_LOADING: Final = (
    ("No graph was found", "it contains no graph"),
    ("Unsupported model IR version", _NEWER),
    ("only *guarantees* support for models stamped", _NEWER),
    ("rotobuf parsing failed", "damaged, or not an ONNX file"),
    ("bad_alloc", "not enough memory"),
)
"""Parts of ONNX Runtime's messages for files that do not load, and their meaning."""
_OPERATOR: Final = re.compile(r"(?:No Op registered for |Fatal error: )([\w.:]+)")
_FAILED: Final = re.compile(r"while running (\w+) node")
_NOISE: Final = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from \S* failed:\s*"
    r"|Exception from [^ :]+:\d+:\s*|Check '.*?' failed at [^ :]+:\d+:\s*"
    r"|(?:/?[\w.+-]+/)+[\w.+-]+\.(?:cc|h|cpp|hpp):\d+\s*(?:\S+\(.*?\)\s*)?"
)
_LONGEST: Final = 200


def why_not_loaded(error: Exception) -> str:
    """Why a file did not load."""
    text = one_line(error)
    if meaning := next((meaning for part, meaning in _LOADING if part in text), None):
        return meaning
    operator = _OPERATOR.search(text)
    return f"it does not know the operator {operator[1]}" if operator else _cleaned(text)


def why_not_run(error: Exception) -> str:
    """Why a loaded network failed: the operator, if the message names it."""
    text = one_line(error)
    if "bad_alloc" in text:
        return "not enough memory"
    operator = _FAILED.search(text)
    return f"its operator {operator[1]} failed" if operator else _cleaned(text)


def _cleaned(text: str) -> str:
    return _NOISE.sub("", text).strip()[:_LONGEST] or "no reason given"
