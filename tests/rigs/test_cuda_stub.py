"""What the rig of the stub CUDA reads: names of functions, and calls. `make rigs` runs the rig itself."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The rig's modules, imported as its script imports them, and forgotten afterwards."""
    for folder in (HERE, HERE / "cuda_stub"):
        monkeypatch.syspath_prepend(str(folder))
    yield importlib.import_module("stub")
    for name in ("stub", "build", "packages"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("function", "library"),
    [
        ("cudaMalloc", "libcudart.so.13"),
        ("__cudaRegisterFunction", "libcudart.so.13"),
        ("cublasGemmEx", "libcublas.so.13"),
        ("cublasLtMatmul", "libcublasLt.so.13"),
        ("cudnnBackendFinalize", "libcudnn.so.9"),
        ("cuTensorMapEncodeTiled", "libcuda.so.1"),
        ("cufftXtExec", "libcufft.so.12"),
        ("curandCreateGenerator", "libcurand.so.10"),
        ("custom_op", None),
        ("malloc", None),
    ],
)
def test_each_function_is_of_one_library(rig: ModuleType, function: str, library: str | None) -> None:
    assert rig.build.__globals__["_library"](function) == library


def test_calls_are_assigned_to_their_frames(rig: ModuleType) -> None:
    lines = """7 cudaMalloc 512 of 512 error 0
7 cudaStreamEndCapture kernels 61 error 0
0 frame
7 cudaMemcpy 737280 kind 1 pinned
7 cudaStreamSynchronize default
7 cudaGraphLaunch 2
7 refused cudaFree
7 cudaMemcpy 46080 kind 2 pageable"""
    seen = rig.SourceItem({"nodes": {"cuda": 3}}, [line.split() for line in lines.splitlines()])

    assert seen.by_frame() == [
        [
            *("cudaMemcpy in pinned", "cudaStreamSynchronize default", "cudaGraphLaunch"),
            *("refused", "cudaMemcpy out pageable"),
        ]
    ]
    assert (seen.is_captured, seen.refused, seen.nodes["cuda"]) == (True, ["cudaFree"], 3)
