"""Bags of whole runs, of a run that is killed, and of one whose disk is full."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lines import Line
from readers import foxglove, rclpy, rerun, rosbags, torn
from ros_nodes import ROOT, records

NODE: Final = (sys.executable, "-m", "perception.node", "synthetic", "--model", "rt_s-int8", "--no-health")
EACH: Final = ("image/compressed", "overlay/compressed", "outlines", "state", "record")
MASKS: Final = ("class_map", "confidence")
WITHOUT_A_TYPE: Final = {"/drivable/labels", "/drivable/outlines"}
"""Of packages that rclpy's environment lacks."""
FRAMES: Final = 100
DISK_MB: Final = 8
KILLED_AFTER_S: Final = 8.0


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@contextmanager
def _small_disk() -> Iterator[Path]:
    with _folder() as folder:
        size = f"size={DISK_MB}m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def clients() -> Line:
    """A whole run, by everybody."""
    with _folder() as folder:
        bag, lines = folder / "a.mcap", folder / "a.jsonl"
        command = [*NODE, "--max-frames", str(FRAMES), "--mcap", str(bag), "--jsonl", str(lines)]
        status = subprocess.run([*command, "--mcap-overlay"], cwd=ROOT, capture_output=True).returncode
        made = records(lines)
        with_a_mask = sum(record["mask"] is not None for record in made)
        expected = Counter({f"/drivable/{name}": len(made) for name in EACH})
        expected += Counter({f"/drivable/{name}": with_a_mask for name in MASKS} | {"/drivable/labels": 1})
        is_content, channels = rerun(bag)
        by_rclpy, differing = rclpy(bag)
        of_ros = {topic: count for topic, count in expected.items() if topic not in WITHOUT_A_TYPE}
        checks = {
            "the node ends well": (status, len(made)) == (0, FRAMES),
            "rerun mcap check": is_content and set(channels) == set(expected),
            "Foxglove's packages": foxglove(bag) == expected,
            "rosbags": rosbags(bag) == expected,
            "rclpy": by_rclpy == of_ros and not differing,
        }
    seen = f"{len(channels)} channels, {expected.total()} messages of {len(made)} records"
    return Line.of_checks(
        "none, with a bag", "rerun, Foxglove's packages, rosbags and rclpy read all", seen, checks
    )


def killed() -> Line:
    """SIGKILL in the middle of a live run."""
    with _folder() as folder:
        bag, lines = folder / "a.mcap", folder / "a.jsonl"
        command = [*NODE, "--realtime", "--mcap", str(bag), "--jsonl", str(lines)]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
            time.sleep(KILLED_AFTER_S)
            process.send_signal(signal.SIGKILL)
        made, kept = len(records(lines)), torn(bag)["/drivable/record"]
    checks = {"there were frames": made > 25, "lost": made - kept <= 13, "killed": process.returncode < 0}
    seen = f"{kept} of {made} records"
    return Line.of_checks("SIGKILL of a run with a bag", "all but the last half second", seen, checks)


def full_disk() -> Line:
    """A file system of some megabytes, and nothing that stops before it is full."""
    with _small_disk() as folder:
        bag = folder / "a.mcap"
        command = [*NODE, "--max-frames", "1000", "--mcap", str(bag), "--min_free_mb", "0"]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
        found, by_foxglove, (is_content, _) = rosbags(bag), foxglove(bag), rerun(bag)
        size_mb = bag.stat().st_size / 2**20
    error = said.stderr.splitlines()[-1]
    checks = {
        "one line": said.returncode == 1 and "a.mcap: cannot write a bag: No space left on device" in error,
        "whole": is_content and found == by_foxglove,
        "used": size_mb > 0.9 * DISK_MB,
    }
    seen = f"{size_mb:.1f} of {DISK_MB} MiB, {found['/drivable/record']} records, with its index"
    return Line.of_checks("disk full under a bag", "one line, and the file is whole", seen, checks)


SCENARIOS: Final[Mapping[str, Callable[[], Line]]] = {
    "clients": clients,
    "killed": killed,
    "full_disk": full_disk,
}
