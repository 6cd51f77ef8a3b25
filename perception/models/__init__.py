"""The shipped networks, by name."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
DEFAULT_MODEL = "rt_m"


def model_file(name: str) -> Path:
    """The file of a shipped model such as "rt_m", or `name` itself where it is a path.

    Raises:
        FileNotFoundError: in one line that lists the shipped names.
    """
    shipped = FOLDER / f"{name}.onnx"
    if shipped.is_file():
        return shipped
    if Path(name).is_file():
        return Path(name)
    known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.onnx")))
    raise FileNotFoundError(f"{name}: no such model file, and no shipped model so named; shipped: {known}")
