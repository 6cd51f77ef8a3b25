"""The guest's first file system: busybox, modules, and an init that changes over to the host's own root."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

FOLDERS: Final = ("bin", "dev", "host", "modules", "new", "over", "proc", "sys")
# One webcam of vivid's, nothing else of it.
MODULE_PARAMETERS: Final = {"vivid": "n_devs=1 node_types=0x1 num_inputs=1 input_types=0x0"}
STATUS_MARK: Final = "guest ended with status"

# The host's root is read-only; a tmpfs above it takes what the guest writes.
_INIT: Final = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
echo 3 > /proc/sys/kernel/printk
{insmods}
mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=loose,ro hostroot /host
mount -t tmpfs tmp /over
mkdir /over/upper /over/work
mount -t overlay -o lowerdir=/host,upperdir=/over/upper,workdir=/over/work overlay /new
mount -t tmpfs tmp /new/run
mount --move /proc /new/proc
mount --move /sys /new/sys
mount --move /dev /new/dev
chroot /new /bin/sh -c {command} > /new/dev/ttyS1 2>&1 < /new/dev/null
echo "{mark} $?" > /new/dev/ttyS1
sleep 1
poweroff -f
"""


def initramfs(modules: Sequence[Path], command: Sequence[str], directory: Path) -> bytes:
    """A cpio archive for QEMU's `-initrd`.

    Args:
        modules: to load, in this order.
        command: to run in the host's root, from `directory`.
    """
    insmods = "\n".join(
        f"insmod /modules/{file.name} {MODULE_PARAMETERS.get(file.stem, '')}" for file in modules
    )
    line = f"cd {shlex.quote(str(directory))} && exec {shlex.join(command)}"
    init = _INIT.format(insmods=insmods, command=shlex.quote(line), mark=STATUS_MARK)
    busybox = Path(shutil.which("busybox") or "/bin/busybox")
    files = {"init": init.encode(), "bin/busybox": busybox.read_bytes()}
    files |= {f"modules/{file.name}": file.read_bytes() for file in modules}
    entries = [_entry(folder, 0o040755, b"") for folder in FOLDERS]
    entries += [_entry(name, 0o100755, data) for name, data in files.items()]
    return b"".join([*entries, _entry("TRAILER!!!", 0, b"")])


def _entry(name: str, mode: int, data: bytes) -> bytes:
    """One file as "newc" of cpio(5) has it: a header of numbers in hexadecimal, all parts padded to four."""
    path = name.encode() + b"\0"
    numbers = [0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0]
    header = b"070701" + b"".join(b"%08X" % number for number in numbers) + path
    return _padded(header) + _padded(data)


def _padded(part: bytes) -> bytes:
    return part + bytes(-len(part) % 4)
