"""`drivable-export renew`: files as this version of drivable writes them, their graphs as they were."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from export.outputs import check_writable, keep_what_is_no_card
from export.package import unpack
from export.run import write_with_cards
from perception.inference.zoo import shipped_models


@dataclass(frozen=True)
class RenewConfig:
    """Which files."""

    file: str | None = None
    """ONNX file of drivable-export; without one, every shipped file."""


def renew(config: RenewConfig, say: Callable[[str], None]) -> list[Path]:
    """Give files what newer ones carry, a known answer; their graphs stay as they are, bit for bit.

    Raises:
        ExportError, EngineError: in one line; a file that could not be renewed is as it was.
    """
    files = [Path(config.file)] if config.file else list(shipped_models().values())
    for file in files:
        check_writable(file)
        packed = unpack(file)
        keep_what_is_no_card(file)
        write_with_cards(file, packed.graph, packed.contract, packed.card, overwrite=True)
        say(f"{file}: renewed, {file.stat().st_size / 1e6:.1f} MB")
    return files
