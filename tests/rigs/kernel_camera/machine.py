"""A virtual machine that runs one command in the host's own root, with a camera of the kernel's making."""

from __future__ import annotations

import re
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from guest_kernel import GuestKernel
from initramfs import STATUS_MARK, initramfs
from packages import RigError


def run_in_guest(
    kernel: GuestKernel,
    command: Sequence[str],
    directory: Path,
    limit_s: float,
    on_line: Callable[[str], None],
) -> int:
    """Boot, run the command, and give its exit status.

    There is no need for KVM: the processor is emulated, at about a tenth of the host's speed.

    Args:
        command: to run from `directory`; both are paths of the host.
        limit_s: for the whole run.
        on_line: is given each line that the command writes, as it comes.

    Raises:
        RigError: if the guest does not end in time, or ends before the command does.
    """
    with tempfile.TemporaryDirectory() as scratch:
        initrd, console = Path(scratch) / "initramfs", Path(scratch) / "console"
        initrd.write_bytes(initramfs(kernel.modules, command, directory))
        with subprocess.Popen(
            qemu_command(kernel.image, initrd, console),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as machine:
            late = threading.Event()
            timer = threading.Timer(limit_s, lambda: (late.set(), machine.kill()))
            timer.start()
            try:
                status = _follow(machine, on_line)
            finally:
                timer.cancel()
                machine.kill()
        if status is not None:
            return status
        last = "\n".join(console.read_text(errors="replace").splitlines()[-15:]) if console.exists() else ""
        problem = f"did not end within {limit_s:g} s" if late.is_set() else "ended before its command did"
        raise RigError(f"the guest {problem}; the last lines of its console:\n{last}")


def _follow(machine: subprocess.Popen[str], on_line: Callable[[str], None]) -> int | None:
    assert machine.stdout is not None
    for raw in machine.stdout:
        line = raw.rstrip("\r\n")
        ended = re.search(rf"{STATUS_MARK} (\d+)$", line)
        if ended:
            return int(ended[1])
        on_line(line)
    return None


def qemu_command(image: Path, initrd: Path, console: Path, *more: str) -> list[str]:
    """QEMU's command line; the program in the guest writes to its standard output."""
    arguments = {
        "-accel": "tcg,thread=multi",
        "-cpu": "max",
        "-smp": "2",
        "-m": "4096",
        "-display": "none",
        "-monitor": "none",
        "-kernel": str(image),
        "-initrd": str(initrd),
        "-append": "console=ttyS0 panic=-1 mitigations=off",
        "-virtfs": "local,path=/,mount_tag=hostroot,security_model=none,readonly=on,multidevs=remap",
    }
    # the first serial port is the kernel's console, the second the command's output
    serial = ["-serial", f"file:{console}", "-serial", "stdio"]
    pairs = [part for pair in arguments.items() for part in pair]
    return ["qemu-system-x86_64", "-no-reboot", *pairs, *serial, *more]
