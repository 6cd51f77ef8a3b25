"""Which way imports point: the runtime and the bench live without torch, and perception knows nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from clips import WH, Kind, write

ROOT = Path(__file__).parents[2]
H264 = Kind("libx264")
TRAINING_ONLY = ["torch", "torchvision", "onnx", "onnxscript", "onnxslim", "segmentation_models_pytorch"]

NEEDS = {"perception.ros.rclpy_network": "rclpy", "perception.ros.zenoh_network": "zenoh"}
"""Modules that need what is not always installed; others import them once they know that it is."""

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


def output_of(program: str, *arguments: str) -> str:
    """Standard output of a Python program in a process of its own."""
    command = [sys.executable, "-c", program, *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return run.stdout


def modules_of(package: str) -> list[str]:
    """Every module of a package that can be imported here, also those that nobody imports yet."""
    files = sorted((ROOT / package).rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    modules = [name.removesuffix(".__init__") for name in names]
    return [name for name in modules if name not in NEEDS or find_spec(NEEDS[name])]


def import_all(modules: list[str], blocked: list[str]) -> tuple[dict[str, str], set[str]]:
    """Import in a process of its own: what failed and why, and all that is loaded afterwards."""
    output = output_of(IMPORT_ALL, json.dumps([modules, blocked]))
    result = json.loads(output.splitlines()[-1])
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


RUN_NODE = """
import json, sys
from perception.node import main

assert main(sys.argv[1:]) == 0
print(json.dumps([name for name in sys.modules if name.startswith("perception.synthetic")]))
"""


@pytest.mark.parametrize("is_synthetic", [False, True])
def test_a_node_imports_the_renderer_only_for_the_synthetic_source(
    is_synthetic: bool, tmp_path: Path, make_classifier: Callable[..., Path]
) -> None:
    source = "synthetic" if is_synthetic else str(write(tmp_path / "drive.mp4", H264, frames=3))
    model = make_classifier(WH)
    options = ["--source", source, "--model", str(model), "--synthetic.wh", "{}x{}".format(*WH)]

    output = output_of(RUN_NODE, *options, "--max-frames", "2")

    assert bool(json.loads(output.splitlines()[-1])) == is_synthetic


def test_a_reader_process_imports_no_renderer() -> None:
    output = output_of(
        "import sys, perception.sources.registry, perception.sources.isolated.reader_process;"
        "print([name for name in sys.modules if name.startswith('perception.synthetic')])"
    )

    assert output == "[]\n"
