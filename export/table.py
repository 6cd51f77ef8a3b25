"""`drivable-export table`: exports every network for both targets, and compares them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from export.config import DEFAULT_SIZE_WH, ExportConfig, Target
from export.run import Exported, export_from
from export.source import open_source
from export.verify import CLASS_MAP, DIFFERENCE, SAME_CLASS, GateError
from train.models import MODELS, check_known

TARGETS: Final[tuple[Target, ...]] = ("cpu", "gpu")


@dataclass(frozen=True)
class TableConfig:
    """Settings of `drivable-export table`."""

    models: list[str] = field(default_factory=lambda: list(MODELS))
    """Names of the networks."""
    runs: str = "runs"
    """Folder that drivable-train wrote to; a network without a checkpoint there gets random weights."""
    size_wh: tuple[int, int] = DEFAULT_SIZE_WH
    """Width and height of the networks' input, such as 640x384."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if not self.models:
            raise ValueError("models is empty; name one network at least")
        for name in self.models:
            check_known(name)
            ExportConfig(name, size_wh=self.size_wh)


def table(config: TableConfig, say: Callable[[str], None]) -> int:
    """Print each row of a Markdown table as it is measured; 1 if a network fails a gate, else 0."""
    say("| network | weights | target | logits differ by | same class | MB | s |")
    say("|---|---|---|---|---|---|---|")
    has_failed = False
    for name in config.models:
        started_s = time.monotonic()
        is_trained = (Path(config.runs) / name / "best.pt").is_file()
        settings = ExportConfig(name, runs=config.runs, size_wh=config.size_wh, random_weights=not is_trained)
        source = open_source(settings, lambda line: None)
        for target in TARGETS:
            with tempfile.TemporaryDirectory() as folder:
                out = str(Path(folder) / f"{name}.onnx")
                one = replace(settings, out=out, target=target)
                try:
                    cells = _row(export_from(source, one, lambda line: None), started_s)
                except GateError as error:
                    cells, has_failed = f"refused: {error} | – | – | –", True
            say(f"| {name} | {'trained' if is_trained else 'random'} | {target} | {cells} |")
            started_s = time.monotonic()
    return int(has_failed)


def _row(exported: Exported, started_s: float) -> str:
    gates = {gate.name: gate for gate in exported.gates}
    same = gates.get(CLASS_MAP, gates[SAME_CLASS])
    size_mb = exported.file.stat().st_size / 1e6
    seconds = time.monotonic() - started_s
    return f"{gates[DIFFERENCE].measured_text} | {same.measured_text} | {size_mb:.1f} | {seconds:.1f}"
