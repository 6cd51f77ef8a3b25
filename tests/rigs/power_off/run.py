"""A machine whose power goes while it records: `python tests/rigs/power_off/run.py [SCENARIO ...]`.

Boots Debian's kernel under QEMU with an ext4 disk of its own, lets the sinks record on it with this very
Python and checkout, and kills QEMU: the guest's page cache is gone, as in a power cut. Then the disk is
repaired as at a boot, and its files are judged against the last frame that the guest had written. Prints one
JSON line a scenario: fault, asked, seen, holds. Ends with 0 if all hold, 1 if one does not, 2 if the rig
itself cannot run.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "kernel_camera")]

from guest_kernel import BOOTS, guest_kernel, missing_packages  # noqa: E402
from initramfs import initramfs  # noqa: E402
from judge import Found, found_in  # noqa: E402
from lines import Line, run_all  # noqa: E402
from machine import qemu_command  # noqa: E402
from packages import RigError, provide  # noqa: E402

CHECKOUT: Final = HERE.parents[2]
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "drivable-rigs/power_off"
MODULES: Final = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic", "9pnet_virtio", "9p", "overlay")
PACKAGES: Final = BOOTS | {"mkfs.ext4": "e2fsprogs", "debugfs": "e2fsprogs"}
CANNOT_RUN: Final = 2
KILLS: Final = 3
FRAMES: Final = (60, 90)
"""After between so many frames the power goes."""
MOST_S: Final = 1.5
BOOT_LIMIT_S: Final = 240.0


def record_and_cut(folder: Path, kind: str, suffix: str, frames: int) -> list[tuple[int, int, float]]:
    """Boot, record, kill QEMU after so many frames; what the guest said: id, time in ns, longest write."""
    disk, initrd, console = folder / "disk", folder / "initramfs", folder / "console"
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(disk)], check=True)
    kernel = guest_kernel(CACHE, MODULES)
    program = ["/usr/bin/env", f"PYTHONPATH={CHECKOUT}", sys.executable, str(HERE / "guest.py"), kind, suffix]
    initrd.write_bytes(initramfs(kernel.modules, program, CHECKOUT))
    drive = ("-drive", f"file={disk},if=virtio,format=raw,cache=writeback")
    command = qemu_command(kernel.image, initrd, console, *drive)
    said: list[tuple[int, int, float]] = []
    rest: list[str] = []
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as machine:
        assert machine.stdout is not None
        limit_s = time.monotonic() + BOOT_LIMIT_S
        for text in machine.stdout:  # to the end of what was on its way when the power went
            words = text.split()
            if len(words) == 3 and words[0].isdigit():
                said.append((int(words[0]), int(words[1]), float(words[2])))
            else:
                rest.append(text)
            if len(said) >= frames or time.monotonic() > limit_s:
                machine.kill()
    if len(said) < frames:
        raise RigError(f"the guest recorded {len(said)} of {frames} frames; it said: {''.join(rest[-8:])}")
    return said


def power_cut(kind: str, suffix: str, seed: int) -> Line:
    """Some power cuts, at moments of chance."""
    moments = random.Random(seed)
    lost_s: list[dict[str, float]] = []
    faults: list[str] = []
    longest_ms = 0.0
    for _ in range(KILLS):
        with tempfile.TemporaryDirectory() as name:
            said = record_and_cut(Path(name), kind, suffix, moments.randint(*FRAMES))
            found: Found = found_in(Path(name), suffix)
        times_ns = {frame_id: time_ns for frame_id, time_ns, _ in said}
        last_ns = said[-1][1]
        lost_s.append(
            {it: (last_ns - times_ns.get(last, said[0][1])) / 1e9 for it, last in found.last.items()}
        )
        faults += found.faults
        longest_ms = max(longest_ms, said[-1][2])
    worst = {it: max(lost[it] for lost in lost_s) for it in lost_s[0]}
    most_s = max(worst.values())
    if kind == "durable":
        asked = f"<= {MOST_S:g} s of records, video and masks lost; every line, picture and mask whole"
        holds = most_s <= MOST_S and not faults
    else:  # that the rig's power cuts do lose what was not synced
        asked = f"without it, more than {MOST_S:g} s are lost"
        holds = most_s > MOST_S
    lost = ", ".join(f"{it} {seconds:.2f} s" for it, seconds in worst.items())
    seen = f"{KILLS} power cuts, seed {seed}: lost at most {lost}; longest write {longest_ms:.0f} ms"
    return Line(f"power cut, {suffix}, {kind}", asked, "; ".join([seen, *faults]), holds)


SCENARIOS: Final = {
    "durable_mp4": partial(power_cut, "durable", "mp4", 1),
    "durable_mkv": partial(power_cut, "durable", "mkv", 2),
    "plain_mp4": partial(power_cut, "plain", "mp4", 3),
}


def main() -> int:
    """Run the rig; its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", nargs="*", help="those to run; all without")
    parser.add_argument("--install", action="store_true", help="apt-get what is missing, if root")
    options = parser.parse_args()
    try:
        provide(partial(missing_packages, PACKAGES), options.install)
    except RigError as error:
        print(f"power_off: {error}", file=sys.stderr)
        return CANNOT_RUN
    return run_all(SCENARIOS, options.scenarios)


if __name__ == "__main__":
    sys.exit(main())
