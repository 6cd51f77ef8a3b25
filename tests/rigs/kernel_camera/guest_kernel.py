"""A Linux kernel for the guest, with vivid, out of Debian's package: kept in the cache, never installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packages import RigError

BOOTS: Final = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "dpkg-deb": "dpkg",
    "apt-get": "apt",
}
"""What must be there to boot a guest, and the Debian package that has it."""
PACKAGES: Final = BOOTS | {"v4l2-ctl": "v4l-utils"}
WANTED: Final = ("virtio_pci", "9pnet_virtio", "9p", "overlay", "vivid")
_DEPENDS: Final = re.compile(rb"\0depends=([^\0]*)\0")


@dataclass(frozen=True)
class GuestKernel:
    """A kernel image, and the modules to load in this order."""

    image: Path
    modules: tuple[Path, ...]


def missing_packages(needed: Mapping[str, str] = PACKAGES) -> list[str]:
    """Debian packages that the rig needs and this machine has not."""
    return sorted({package for tool, package in needed.items() if shutil.which(tool) is None})


def guest_kernel(cache: Path, wanted: Sequence[str] = WANTED) -> GuestKernel:
    """The newest kernel of this Debian, from the cache or from its archive; raises RigError.

    Args:
        cache: a folder of its own for each set of modules.
        wanted: names of modules; those that they need come with them.
    """
    depends = _output("apt-cache", "depends", "linux-image-amd64")
    found = re.search(r"Depends: (linux-image-[\w.+-]+)", depends)
    if not found:
        raise RigError("apt knows no linux-image-amd64; run apt-get update on a Debian for amd64")
    kept = cache / found[1]
    if not (kept / "complete").exists():
        _fetch(found[1], kept, wanted)
    modules = {_module_name(file): file for file in kept.glob("*.ko")}
    return GuestKernel(kept / "vmlinuz", tuple(modules[name] for name in load_order(modules, wanted)))


def load_order(modules: dict[str, Path], wanted: Sequence[str] = WANTED) -> list[str]:
    """Names of the modules wanted and of all that they depend on, each behind those it needs."""
    order: list[str] = []

    def add(name: str) -> None:
        if name in order:
            return
        if name not in modules:
            raise RigError(f"Debian's kernel has no module {name}")
        for needed in depends_of(modules[name].read_bytes()):
            add(needed)
        order.append(name)

    for name in wanted:
        add(name)
    return order


def depends_of(module: bytes) -> list[str]:
    """Names of the modules that a module needs, as its .modinfo section says."""
    found = _DEPENDS.search(module)
    return [name.replace("-", "_") for name in found[1].decode().split(",") if name] if found else []


def _fetch(package: str, kept: Path, wanted: Sequence[str]) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as scratch_name:
        scratch = Path(scratch_name)
        _output("apt-get", "download", package, cwd=scratch)
        (archive,) = scratch.glob("*.deb")
        _output("dpkg-deb", "-x", str(archive), str(scratch / "tree"))
        modules = {_module_name(file): file for file in (scratch / "tree/lib/modules").rglob("*.ko")}
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        for name in load_order(modules, wanted):
            shutil.copy(modules[name], kept)
        (image,) = (scratch / "tree/boot").glob("vmlinuz-*")
        shutil.copy(image, kept / "vmlinuz")
        (kept / "complete").touch()


def _module_name(file: Path) -> str:
    return file.stem.replace("-", "_")


def _output(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RigError(f"{' '.join(command)}: {reason}")
    return done.stdout
