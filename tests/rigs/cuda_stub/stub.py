"""Programs on the stub CUDA: their environment, what they called, and a model as it was placed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from build import VERSION, build, provide_packages
from packages import RigError

ROOT: Final = Path(__file__).parents[3]
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "drivable-rigs/cuda_stub"
LIMIT_S: Final = 120.0

_PROBE: Final = """
import json, sys
from pathlib import Path
import numpy as np
from perception.inference.engines import EngineError, OnnxEngine
file, provider, allow_fallback, frames, log = sys.argv[1:]
try:
    engine = OnnxEngine(Path(file), provider, 0, allow_fallback == "yes")
except EngineError as error:
    print(json.dumps({"error": str(error)}))
    sys.exit()
width, height = engine.contract.takes_wh
frame = np.zeros((height, width, 3), np.uint8)
run = engine.infer if engine.contract.output == "logits" else engine.segment
for _ in range(int(frames)):
    with open(log, "a") as to:
        to.write("0 frame\\n")
    try:
        run(frame)
    except EngineError:
        pass  # of kernels that do nothing a graph for GPUs finds no class
report = {name: getattr(engine, name) for name in ("provider", "state", "nodes", "notes")}
print(json.dumps(report))
"""


@cache
def environment() -> dict[str, str]:
    """For programs on the stub. The packages are kept in the user's cache.

    Raises:
        RigError: if a compiler is missing, or the packages cannot be had.
    """
    if shutil.which("gcc") is None or shutil.which("nm") is None:
        raise RigError("the stub CUDA needs gcc and nm; install them with: sudo apt-get install gcc binutils")
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        packages = provide_packages(CACHE)
    except subprocess.CalledProcessError as error:
        raise RigError(f"onnxruntime-gpu {VERSION} could not be installed: {error}") from error
    libraries = build(packages, CACHE)
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("STUB_CUDA_")},
        "PYTHONPATH": os.pathsep.join((str(packages), str(ROOT))),
        "LD_LIBRARY_PATH": str(libraries),
    }


@dataclass(frozen=True)
class SourceItem:
    """One model that was loaded and run on the stub, and what was called meanwhile."""

    report: dict[str, Any]
    """The engine's provider, state, nodes and notes; or its error."""
    calls: list[list[str]]
    """Thread, call, and what is known of it."""

    @property
    def nodes(self) -> Counter[str]:
        """By provider."""
        return Counter(self.report.get("nodes", {}))

    @property
    def is_captured(self) -> bool:
        """Whether a graph was captured, and replayed for every frame from then on."""
        names = [call[1] for call in self.calls]
        return "cudaStreamEndCapture" in names and all(
            "cudaGraphLaunch" in frame for frame in self.by_frame()
        )

    @property
    def refused(self) -> list[str]:
        """Calls that CUDA forbids while a stream is being captured."""
        return [call[2] for call in self.calls if call[1] == "refused"]

    def by_frame(self) -> list[list[str]]:
        """The calls of each frame after loading, in their order, without numbers of bytes."""
        frames: list[list[str]] = []
        for _, name, *rest in self.calls:
            if name == "frame":
                frames.append([])
            elif frames:
                word = {"1": "in", "2": "out"}.get(rest[2], "") if name == "cudaMemcpy" else ""
                kind = rest[-1] if name in ("cudaMemcpy", "cudaStreamSynchronize") else ""
                frames[-1].append(" ".join(part for part in (name, word, kind) if part))
        return frames


def see(
    file: Path,
    folder: Path,
    provider: str = "cuda",
    allow_fallback: bool = False,
    frames: int = 3,
    **settings: int,
) -> SourceItem:
    """Load a model in a process of its own, and run a few frames.

    Args:
        folder: for the log.
        settings: of the stub, by their names without STUB_CUDA_.
    """
    log = folder / "calls"
    log.unlink(missing_ok=True)
    stub = {f"STUB_CUDA_{name}": str(value) for name, value in settings.items()}
    arguments = [str(file), provider, "yes" if allow_fallback else "no", str(frames), str(log)]
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, *arguments],
        env=environment() | stub | {"STUB_CUDA_LOG": str(log)},
        cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{file.name}: {done.stderr.strip().splitlines()[-1]}")
    calls = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return SourceItem(json.loads(done.stdout), calls)
