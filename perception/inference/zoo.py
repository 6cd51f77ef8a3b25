"""The shipped networks, by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "models"
DEFAULT_MODEL = "rt_m-int8"
_NEAR = 0.7
_MOST_TOLD = 5


def shipped_models() -> dict[str, Path]:
    """Name and file of every shipped network: "rt_m", and "rt_m-int8" for its faster twin."""
    return {file.stem: file for file in sorted(FOLDER.glob("*.onnx"), key=lambda file: file.stem)}


def model_file(name: str) -> Path:
    """The file of a shipped model such as "rt_m", or `name` itself where it is a path.

    Raises:
        FileNotFoundError: in one line that lists the shipped names, and says what is there instead.
    """
    shipped = shipped_models()
    if name in shipped:
        return shipped[name]
    file = Path(name)
    if file.is_file():
        return file
    if name and file.is_dir():
        raise FileNotFoundError(f"{name}: is a folder, and no model file{_in_folder(file)}")
    known = ", ".join(shipped)
    instead = _instead(file, shipped)
    raise FileNotFoundError(
        f"{name}: no such model file, and no shipped model so named; shipped: {known}{instead}"
    )


def _in_folder(folder: Path) -> str:
    if (checkpoint := folder / "best.pt").is_file():
        return f"; {_to_export(checkpoint)}"
    inside = sorted(file.name for file in folder.glob("*.onnx"))
    return f"; in it: {', '.join(inside[:_MOST_TOLD])}" if inside else ""


def _instead(file: Path, shipped: Iterable[str]) -> str:
    """What else may be meant by a file that is not there."""
    if (checkpoint := Path("runs") / file.stem / "best.pt").is_file():
        return f"; {_to_export(checkpoint)}"
    name = file.stem.lower().replace("_int8", "-int8")
    near = difflib.get_close_matches(name, list(shipped), n=1, cutoff=_NEAR)
    return f"; the nearest is {near[0]}" if near else ""


def _to_export(checkpoint: Path) -> str:
    run = checkpoint.parent
    return f"{checkpoint} is a checkpoint: `drivable-export --model {run.name} --checkpoint {checkpoint}`"
