"""What a figure was measured on, as far as it can be read."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.report.machine import commit, machine


def test_machine_is_described_as_far_as_it_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    core = "model name\t: A CPU @ 3 GHz\ncpu MHz\t\t: 2000.0\n\n"
    (tmp_path / "cpuinfo").write_text(2 * core)
    (tmp_path / "governor").write_text("powersave\n")
    monkeypatch.setattr("bench.report.machine.CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("bench.report.machine.GOVERNOR", tmp_path / "governor")
    monkeypatch.setattr("psutil.cpu_freq", lambda: SimpleNamespace(current=2500.04))
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=16_000_000_000))

    found = machine()

    assert (found["cpu"], found["clock_mhz"], found["memory_gb"]) == ("A CPU @ 3 GHz", 2500.0, 16.0)
    assert found["governor"] == "powersave"
    assert found["cores"] >= 1


def test_what_cannot_be_read_is_null(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.report.machine.CPU_INFO", tmp_path / "none")
    monkeypatch.setattr("bench.report.machine.GOVERNOR", tmp_path / "none")
    monkeypatch.setattr("psutil.cpu_freq", lambda: None)
    monkeypatch.setattr("bench.gpu.name_and_driver", lambda: None)

    found = machine()

    assert [found[name] for name in ("clock_mhz", "governor", "gpu")] == [None] * 3
    json.dumps(found)


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
