"""Files written whole or not at all: links, folders, other writers, and what waits for the disk."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from perception.system.atomic_file import partial_of, write_atomically


@pytest.mark.parametrize("waits_for_disk", [True, False])
def test_link_in_the_place_of_the_partial_file_is_not_followed(tmp_path: Path, waits_for_disk: bool) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"of somebody else")
    partial_of(tmp_path / "a.png").symlink_to(elsewhere)

    write_atomically(tmp_path / "a.png", b"mask", waits_for_disk=waits_for_disk)

    assert elsewhere.read_bytes() == b"of somebody else"
    assert (tmp_path / "a.png").read_bytes() == b"mask"
    assert not (tmp_path / "a.png").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["a.png", "elsewhere"]


def test_what_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    partial_of(tmp_path / "a").write_bytes(b"half, and longer than what comes")

    write_atomically(tmp_path / "a", b"whole")

    assert (tmp_path / "a").read_bytes() == b"whole"


def test_file_of_the_user_that_is_called_partial_stays(tmp_path: Path) -> None:
    (tmp_path / "a.partial").write_bytes(b"of the user")

    write_atomically(tmp_path / "a", b"whole")

    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {
        "a": b"whole",
        "a.partial": b"of the user",
    }


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127])
def test_longest_name_that_there_may_be_is_written_too(tmp_path: Path, name: str) -> None:
    write_atomically(tmp_path / name, b"whole")

    assert os.listdir(tmp_path) == [name]


def test_file_that_another_writer_put_in_the_place_of_ours_is_not_taken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"before")

    def fsync(descriptor: int) -> None:
        partial_of(tmp_path / "a").unlink()
        partial_of(tmp_path / "a").write_bytes(b"half")

    monkeypatch.setattr("perception.system.atomic_file.os.fsync", fsync)

    with pytest.raises(FileExistsError, match="another process writes it too"):
        write_atomically(tmp_path / "a", b"whole")
    assert (tmp_path / "a").read_bytes() == b"before"


def test_name_is_safe_from_a_power_cut_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []

    def fsync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append("its folder" if is_folder else "the file")
        assert (tmp_path / "a").exists() == is_folder

    monkeypatch.setattr("perception.system.atomic_file.os.fsync", fsync)

    write_atomically(tmp_path / "a", b"whole")
    assert synced == ["the file", "its folder"]

    write_atomically(tmp_path / "a", b"again", waits_for_disk=False)
    assert synced == ["the file", "its folder"]
