"""The shipped networks, by name."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
DEFAULT_MODEL = "rt_m-int8"


def shipped_models() -> dict[str, Path]:
    """Name and file of every shipped network: "rt_m", and "rt_m-int8" for its faster twin."""
    return {file.stem: file for file in sorted(FOLDER.glob("*.onnx"), key=lambda file: file.stem)}


def model_file(name: str) -> Path:
    """The file of a shipped model such as "rt_m", or `name` itself where it is a path.

    Raises:
        FileNotFoundError: in one line that lists the shipped names.
    """
    shipped = shipped_models()
    if name in shipped:
        return shipped[name]
    if Path(name).is_file():
        return Path(name)
    known = ", ".join(shipped)
    raise FileNotFoundError(f"{name}: no such model file, and no shipped model so named; shipped: {known}")
