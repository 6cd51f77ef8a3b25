"""Which way imports point: the runtime and the bench live without torch, and perception knows nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRAINING_ONLY = ["torch", "torchvision", "onnx", "onnxscript", "onnxslim", "segmentation_models_pytorch"]

IMPORT_ALL = """
import importlib, json, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

modules, blocked = json.loads(sys.argv[1])
sys.meta_path.insert(0, Blocker())
failed = {}
for module in modules:
    try:
        importlib.import_module(module)
    except Exception as error:
        failed[module] = f"{type(error).__name__}: {error}"
print(json.dumps({"failed": failed, "loaded": sorted(sys.modules)}))
"""


def modules_of(package: str) -> list[str]:
    """Every module of a package, by its files: also those that nobody imports yet."""
    files = sorted((ROOT / package).rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in names]


def import_all(modules: list[str], blocked: list[str]) -> tuple[dict[str, str], set[str]]:
    """Import in a process of its own: what failed and why, and all that is loaded afterwards."""
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, json.dumps([modules, blocked])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    result = json.loads(run.stdout.splitlines()[-1])
    return result["failed"], {name.split(".")[0] for name in result["loaded"]}


@pytest.mark.parametrize("package", ["perception", "bench"])
def test_every_module_imports_without_the_training_packages(package: str) -> None:
    modules = modules_of(package)

    failed, loaded = import_all(modules, TRAINING_ONLY)

    assert package in modules
    assert failed == {}
    assert not loaded.intersection(TRAINING_ONLY)


def test_perception_imports_none_of_the_other_folders() -> None:
    failed, loaded = import_all(modules_of("perception"), [])

    assert failed == {}
    assert not loaded.intersection({"train", "export", "bench"})


def test_readers_of_datasets_import_without_torch() -> None:
    failed, _ = import_all(["train.data.frames"], TRAINING_ONLY)

    assert failed == {}


def test_blocked_package_fails_to_import() -> None:
    failed, _ = import_all(["yaml"], ["yaml"])

    assert failed == {"yaml": "ModuleNotFoundError: yaml is blocked"}


@pytest.mark.parametrize(
    "module", ["perception.inference.engines", "bench.infer", "export.calibration", "train.teacher"]
)
def test_nothing_is_reported_or_written_to_the_home_folder(tmp_path: Path, module: str) -> None:
    pytest.importorskip("torch")
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}

    subprocess.run(
        [sys.executable, "-c", f"import {module}, onnxruntime"],
        cwd=ROOT,
        env=environment | {"HOME": str(tmp_path), "MPLCONFIGDIR": str(tmp_path / "elsewhere")},
        timeout=60,
        check=True,
    )

    assert [file.name for file in tmp_path.iterdir() if file.name != "elsewhere"] == []
