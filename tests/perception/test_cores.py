"""Cores that a process may use: fewer than there are in a container, and no more than `--threads` says."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from perception.frame import Frame, OutputItem, Prediction
from perception.pipeline import Runner
from perception.sources.source import SourceInfo
from perception.sources.synthetic import SyntheticSource
from perception.system.cores import usable_cores

BYTES = bytes(8_000_000)
MakeGroups = Callable[..., Path]


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)


@pytest.fixture
def make_groups(tmp_path: Path) -> MakeGroups:
    """A function that makes what the kernel shows of a process in control groups, and gives its folder."""

    def make(cgroup: str, mounts: Mapping[str, str], files: Mapping[str, str]) -> Path:
        """`mounts`: what stands behind the mount point, by `root mountpoint`; `files`: below `tmp_path`."""
        proc = tmp_path / "proc"
        proc.mkdir()
        (proc / "cgroup").write_text(cgroup)
        lines = []
        for number, (where, kind) in enumerate(mounts.items()):
            root, point = where.split(" ", 1)
            point = str(tmp_path / point).replace(" ", "\\040")
            lines.append(f"{30 + number} 25 0:27 {root} {point} rw,nosuid - {kind}\n")
        (proc / "mountinfo").write_text("25 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + "".join(lines))
        for name, text in files.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text + "\n")
        return proc

    return make


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000", 16),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("1000 1000000", 1),
        ("6400000 100000", 16),
        ("nonsense", 16),
        ("100000 0", 16),
    ],
)
def test_quota_of_the_group_counts(quota: str, cores: int, make_groups: MakeGroups) -> None:
    proc = make_groups("0::/unit\n", {"/ sys": "cgroup2 cgroup2 rw"}, {"sys/unit/cpu.max": quota})

    assert usable_cores(proc) == cores


def test_smallest_quota_of_the_groups_above_counts(make_groups: MakeGroups) -> None:
    proc = make_groups(
        "0::/a/b/c\n",
        {"/ sys": "cgroup2 cgroup2 rw"},
        {
            "sys/a/cpu.max": "300000 100000",
            "sys/a/b/cpu.max": "max 100000",
            "sys/a/b/c/cpu.max": "500000 100000",
        },
    )

    assert usable_cores(proc) == 3


def test_container_sees_its_own_group_as_the_topmost(make_groups: MakeGroups) -> None:
    proc = make_groups("0::/\n", {"/ sys fs": "cgroup2 cgroup2 rw"}, {"sys fs/cpu.max": "400000 100000"})

    assert usable_cores(proc) == 4


def test_group_that_lies_outside_of_what_is_mounted_is_the_mounted_one(make_groups: MakeGroups) -> None:
    proc = make_groups("0::/../other\n", {"/ sys": "cgroup2 cgroup2 rw"}, {"sys/cpu.max": "400000 100000"})

    assert usable_cores(proc) == 4


@pytest.mark.parametrize("root", ["/", "/docker/c0ffee"])
def test_quota_of_the_older_groups_counts(root: str, make_groups: MakeGroups) -> None:
    folder = "cpu/docker/c0ffee" if root == "/" else "cpu"
    proc = make_groups(
        "5:memory:/docker/c0ffee\n4:cpu,cpuacct:/docker/c0ffee\n0::/system\n",
        {
            f"{root} memory": "cgroup cgroup rw,memory",
            f"{root} cpu": "cgroup cgroup rw,cpu,cpuacct",
            "/ unified": "cgroup2 cgroup2 rw",
        },
        {f"{folder}/cpu.cfs_quota_us": "250000", f"{folder}/cpu.cfs_period_us": "100000"},
    )

    assert usable_cores(proc) == 3


def test_older_group_without_a_quota_has_all_cores(make_groups: MakeGroups) -> None:
    proc = make_groups(
        "4:cpu:/\n",
        {"/ cpu": "cgroup cgroup rw,cpu"},
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
    )

    assert usable_cores(proc) == 16


def test_process_that_the_kernel_says_nothing_of_has_all_cores(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "nowhere") == 16


class Counting:
    """How often a thread begins while another is at work."""

    name = "counting"
    issue = None

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at_work = 0
        self.begun = self.beside_another = 0

    def work(self) -> None:
        with self._lock:
            self._at_work += 1
            self.begun += 1
            self.beside_another += self._at_work > 1
        hashlib.sha256(BYTES).digest()  # takes a core, and not the interpreter's lock
        with self._lock:
            self._at_work -= 1

    def open(self, info: SourceInfo, resumes: bool = False) -> None: ...

    def write(self, output: OutputItem) -> None:
        self.work()

    def close(self) -> None: ...


class Road(SyntheticSource):
    """30 frames that take time to read."""

    def __init__(self, counting: Counting) -> None:
        super().__init__("day", (32, 18), 30.0)
        self._counting = counting

    def read(self) -> Frame:
        self._counting.work()
        return super().read()


def test_recording_keeps_no_more_threads_at_work_than_it_may() -> None:
    counting = Counting()
    source = Road(counting)
    info = source.open()

    def predict(frame: Frame) -> Prediction:
        counting.work()
        return Prediction(frame, np.zeros((2, 2), np.uint8), (1.0, 0.0, 0.0), "fake")

    runner = Runner(source, info, [predict], [counting], cores=1)
    runner.start()
    while runner.counters().published < 60:
        time.sleep(0.01)
    runner.stop()

    assert runner.wait(30)
    # A thread that other programs keep from its core for most of the time counts as one that waits.
    assert counting.beside_another < counting.begun / 5
