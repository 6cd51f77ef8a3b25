"""JSON for every parser: without NaN, infinities and lone surrogates, which Python would write."""

from __future__ import annotations

import json
import math
from typing import Any


def json_text(value: Any, *, indent: int | None = None) -> str:
    """The value as JSON, on one line without `indent`.

    Numbers that are not finite become null, and bytes of file names that are not UTF-8 are escaped.
    """
    separators = (",", ":") if indent is None else None
    try:
        text = json.dumps(value, indent=indent, separators=separators, allow_nan=False)
    except ValueError:
        text = ""
    if text and "\\ud" not in text:
        return text
    return json.dumps(_sound(value), indent=indent, separators=separators, allow_nan=False)


def why_unreadable(error: Exception) -> str:
    """The reason of an error of reading JSON, and its place."""
    if isinstance(error, json.JSONDecodeError):
        return (
            f"not JSON from line {error.lineno}, column {error.colno} on"
            if error.doc.strip()
            else "it is empty"
        )
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 text at byte {error.start}"
    return "nested too deep" if isinstance(error, RecursionError) else "a number has too many digits"


def _sound(value: Any) -> Any:
    if isinstance(value, dict):
        return {_sound(name): _sound(it) for name, it in value.items()}
    if isinstance(value, list | tuple):
        return [_sound(it) for it in value]
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    return None if isinstance(value, float) and not math.isfinite(value) else value
