"""The shipped networks, by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "models"
DEFAULT_MODEL = "rt_m-int8"
_CUTOFF = 0.7
_MOST_NAMED = 5


def shipped_models() -> dict[str, Path]:
    """Name and file of every shipped network, such as "rt_m" and "rt_m-int8"."""
    return {file.stem: file for file in sorted(FOLDER.glob("*.onnx"), key=lambda file: file.stem)}


def model_file(name: str) -> Path:
    """The file of a shipped model such as "rt_m", or `name` itself if it is a file.

    Raises:
        FileNotFoundError: in one line that lists the shipped names, with a hint at what may be meant.
    """
    shipped = shipped_models()
    if name in shipped:
        return shipped[name]
    file = Path(name)
    if file.is_file():
        return file
    if name and file.is_dir():
        raise FileNotFoundError(f"{name}: is a folder, not a model file{_in_folder(file)}")
    raise FileNotFoundError(
        f"{name}: no such model file, and no shipped model of that name; shipped: {', '.join(shipped)}"
        f"{_hint(file, shipped)}"
    )


def _in_folder(folder: Path) -> str:
    if (checkpoint := folder / "best.pt").is_file():
        return f"; {_to_export(checkpoint)}"
    inside = sorted(file.name for file in folder.glob("*.onnx"))
    return f"; in it: {', '.join(inside[:_MOST_NAMED])}" if inside else ""


def _hint(file: Path, shipped: Iterable[str]) -> str:
    """What may be meant by a missing file."""
    if (checkpoint := Path("runs") / file.stem / "best.pt").is_file():
        return f"; {_to_export(checkpoint)}"
    name = file.stem.lower().replace("_int8", "-int8")
    near = difflib.get_close_matches(name, list(shipped), n=1, cutoff=_CUTOFF)
    return f"; the nearest is {near[0]}" if near else ""


def _to_export(checkpoint: Path) -> str:
    run = checkpoint.parent
    return f"{checkpoint} is a checkpoint: `drivable-export --model {run.name} --checkpoint {checkpoint}`"
