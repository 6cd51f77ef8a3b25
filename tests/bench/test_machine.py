"""What a figure was measured on, as far as the machine tells."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.machine import commit, gpu, machine, of_installation, versions


def test_reads_processor_clock_and_memory(tmp_path: Path) -> None:
    proc, cpus = tmp_path / "proc", tmp_path / "cpus"
    (cpus / "cpu0/cpufreq").mkdir(parents=True)
    proc.mkdir()
    core = "model name\t: A CPU @ 3 GHz\ncpu MHz\t\t: {}\n\n"
    (proc / "cpuinfo").write_text(core.format(2000.0) + core.format(3000.0))
    (proc / "meminfo").write_text("MemTotal:       16000000 kB\nMemFree: 1 kB\n")
    (cpus / "cpu0/cpufreq/scaling_governor").write_text("powersave\n")

    told = machine(proc, cpus)

    assert (told["cpu"], told["clock_mhz"], told["memory_gb"]) == ("A CPU @ 3 GHz", 2500.0, 16.0)
    assert told["governor"] == "powersave"
    assert told["cores"] >= 1


def test_what_the_machine_does_not_tell_is_null(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    told = machine(tmp_path, tmp_path)

    assert [told[name] for name in ("clock_mhz", "governor", "memory_gb", "gpu")] == [None] * 4
    json.dumps(told)


def test_gpu_is_the_first_that_its_tool_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA X, 1.2'\necho 'NVIDIA Y, 1.2'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert gpu() == "NVIDIA X, 1.2"


def test_commit_is_marked_where_files_differ_from_it(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        author = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
        subprocess.run(["git", "-C", str(tmp_path), *author, *arguments], check=True, capture_output=True)

    assert commit(tmp_path) is None
    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "first")
    clean = commit(tmp_path)
    (tmp_path / "file").write_text("two")

    assert clean
    assert len(clean) == 10
    assert commit(tmp_path) == f"{clean}+"


def test_installation_tells_its_versions_and_another_python_is_refused() -> None:
    assert of_installation(sys.executable)["versions"] == versions()
    with pytest.raises(ValueError, match="/bin/false: is no Python with drivable"):
        of_installation("/bin/false")
    with pytest.raises(ValueError, match="/bin/true: is no Python with drivable"):
        of_installation("/bin/true")


def test_installation_tells_what_its_models_are() -> None:
    told = of_installation(sys.executable, ["rt_s-int8"])["models"]["rt_s-int8"]

    assert (told["precision"], told["input_wh"]) == ("int8", [640, 384])
    with pytest.raises(ValueError, match="no such model file"):
        of_installation(sys.executable, ["nothing"])
