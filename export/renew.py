"""`drivable-export renew`: rewrites files in this version's format, with unchanged graphs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from export.outputs import check_writable, keep_other_files
from export.package import unpack
from export.run import write_with_cards
from perception.inference.zoo import shipped_models


@dataclass(frozen=True)
class RenewConfig:
    """Settings of `drivable-export renew`."""

    file: str | None = None
    """ONNX file of drivable-export; without one, every shipped file."""


def renew(config: RenewConfig, say: Callable[[str], None]) -> list[Path]:
    """Add a known answer to files that lack one; their graphs stay bit for bit the same.

    Raises:
        ExportError, EngineError: in one line; a file that cannot be renewed is left unchanged.
    """
    files = [Path(config.file)] if config.file else list(shipped_models().values())
    for file in files:
        check_writable(file)
        packed = unpack(file)
        keep_other_files(file)
        write_with_cards(file, packed.graph, packed.contract, packed.card, overwrite=True)
        say(f"{file}: renewed, {file.stat().st_size / 1e6:.1f} MB")
    return files
