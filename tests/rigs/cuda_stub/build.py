"""The stub CUDA, and ONNX Runtime's CUDA build of one version beside it, in folders of their own.

What the provider's library takes from CUDA is read from that library: a function that neither runtime.c nor
libraries.c has becomes one that returns success.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
VERSION: Final = "1.31.1"
PACKAGES: Final = (f"onnxruntime-gpu=={VERSION}", "nvidia-cuda-runtime>=13,<14")
"""The second for its headers."""

PREFIXES: Final = {
    "libcudart.so.13": ("cuda", "__cuda"),
    "libcublas.so.13": ("cublas",),
    "libcublasLt.so.13": ("cublasLt",),
    "libcurand.so.10": ("curand",),
    "libcufft.so.12": ("cufft",),
    "libcudnn.so.9": ("cudnn",),
    "libcuda.so.1": ("cu",),
}
VERSIONED: Final = ("libcudart.so.13", "libcublas.so.13", "libcublasLt.so.13")
"""Whose symbols carry the library's name as their version."""
DRIVER: Final = ("cuInit", "cuTensorMapEncodeTiled")

# Words of nvcc in driver_types.h, which a C compiler does not know.
HOST_DEFINES: Final = """
#define __align__(n) __attribute__((aligned(n)))
#define __builtin_align__(n) __attribute__((aligned(n)))
#define __device_builtin__
#define __device_builtin_texture_type__
#define __device_builtin_surface_type__
#define __cudart_builtin__
#define __host__
#define __device__
#define __specialization_static
#define CUDARTAPI
"""


def provide_packages(folder: Path) -> Path:
    """ONNX Runtime with CUDA, to be put first on PYTHONPATH; all else comes from this environment."""
    packages = folder / f"packages-{VERSION}"
    if not (packages / "onnxruntime").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(packages)]
        subprocess.run([*command, *PACKAGES], check=True, stdout=sys.stderr)
        # Of NVIDIA's package the headers are expected; its libraries would be found before the stub's.
        shutil.rmtree(packages / "nvidia" / "cu13" / "lib")
    return packages


def build(packages: Path, folder: Path) -> Path:
    """Compile the libraries; returns the folder for LD_LIBRARY_PATH."""
    libraries = folder / "libraries"
    includes = folder / "include"
    for made in (libraries, includes / "crt"):
        made.mkdir(parents=True, exist_ok=True)
    (includes / "crt" / "host_defines.h").write_text(HOST_DEFINES)
    wanted = _functions(packages / "onnxruntime" / "capi" / "libonnxruntime_providers_cuda.so")
    headers = packages / "nvidia" / "cu13" / "include"
    for name in PREFIXES:
        source = HERE / ("runtime.c" if name == "libcudart.so.13" else "libraries.c")
        own = _compile(source, libraries, name, [f"-I{includes}", f"-I{headers}"])
        rest = sorted(function for function in wanted if _library(function) == name and function not in own)
        generated = folder / f"{name}.c"
        generated.write_text("".join(f"int {function}(void) {{ return 0; }}\n" for function in rest))
        _link(name, libraries, generated)
    return libraries


def _functions(provider: Path) -> set[str]:
    """Names that the provider's library takes from CUDA: linked, or looked up by name while it runs."""
    listed = subprocess.run(
        ["nm", "-D", "--undefined-only", str(provider)], check=True, capture_output=True, text=True
    ).stdout
    linked = {line.split()[-1].partition("@")[0] for line in listed.splitlines()}
    by_name = re.findall(rb"\0((?:cudnn|cufft)[A-Z]\w+)(?=\0)", provider.read_bytes())
    return {name for name in linked | {name.decode() for name in by_name} if _library(name)} | set(DRIVER)


def _library(function: str) -> str | None:
    """The library of the longest prefix; None where it is no function of CUDA's."""
    fitting = [
        (prefix, name)
        for name, prefixes in PREFIXES.items()
        for prefix in prefixes
        if re.match(rf"{prefix}[A-Z]", function)
    ]
    return max(fitting)[1] if fitting else None


def _compile(source: Path, libraries: Path, name: str, includes: list[str]) -> set[str]:
    """Compile a source for one library; the functions that it has."""
    macro = f"-DLIBRARY_{name.removeprefix('lib').partition('.')[0].upper()}"
    target = libraries / f"{name}.o"
    flags = ["-O1", "-w", "-fPIC", macro, *includes]
    subprocess.run(["gcc", *flags, "-c", str(source), "-o", str(target)], check=True)
    listed = subprocess.run(
        ["nm", "--defined-only", "--extern-only", str(target)], check=True, capture_output=True, text=True
    ).stdout
    return {line.split()[-1] for line in listed.splitlines()}


def _link(name: str, libraries: Path, generated: Path) -> None:
    flags = ["-w", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-lpthread"]
    if name in VERSIONED:
        versions = libraries / f"{name}.map"
        versions.write_text(f"{name} {{ global: *; }};\n")
        flags.append(f"-Wl,--version-script={versions}")
    object_file = libraries / f"{name}.o"
    subprocess.run(["gcc", str(object_file), str(generated), *flags, "-o", str(libraries / name)], check=True)
