"""The parts of the kernel-camera rig that need no kernel; the rig itself is run by `make rigs`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

RIG = Path(__file__).parent / "kernel_camera"


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ModuleType, ModuleType]]:
    """`guest_kernel` and `initramfs`, imported as the rig's script imports them, and forgotten afterwards."""
    for folder in (RIG.parent, RIG):
        monkeypatch.syspath_prepend(str(folder))
    yield importlib.import_module("guest_kernel"), importlib.import_module("initramfs")
    for name in ("guest_kernel", "initramfs", "packages"):
        sys.modules.pop(name, None)


def test_modules_are_loaded_behind_those_they_need(
    rig: tuple[ModuleType, ModuleType], tmp_path: Path
) -> None:
    guest_kernel, _ = rig
    needs = {"vivid": "videodev,v4l2-tpg", "v4l2_tpg": "", "videodev": "mc", "mc": "", "9p": ""}
    for name, depends in needs.items():
        (tmp_path / name).write_bytes(b"\0license=GPL\0depends=" + depends.encode() + b"\0name=x\0")

    order = guest_kernel.load_order({name: tmp_path / name for name in needs}, ("9p", "vivid"))

    assert order == ["9p", "mc", "videodev", "v4l2_tpg", "vivid"]


def test_a_module_that_is_not_there_is_named(
    rig: tuple[ModuleType, ModuleType],
) -> None:
    guest_kernel, _ = rig

    with pytest.raises(guest_kernel.RigError, match="no module vivid"):
        guest_kernel.load_order({}, ("vivid",))


def test_the_first_file_system_is_a_cpio_archive_with_the_command_in_its_init(
    rig: tuple[ModuleType, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, initramfs = rig
    busybox, vivid = tmp_path / "busybox", tmp_path / "vivid.ko"
    busybox.write_bytes(b"program")
    vivid.write_bytes(b"module")
    monkeypatch.setattr(initramfs.shutil, "which", lambda _: str(busybox))

    archive = initramfs.initramfs([vivid], ["echo", "it's here"], tmp_path)

    files = files_of(archive)
    assert list(files)[-1] == "TRAILER!!!"
    assert (files["bin/busybox"], files["modules/vivid.ko"]) == (b"program", b"module")
    init = files["init"].decode()
    assert "insmod /modules/vivid.ko n_devs=1" in init
    assert init.startswith("#!/bin/busybox sh\n")


def files_of(archive: bytes) -> dict[str, bytes]:
    """Name and contents of every entry of a "newc" archive, in order."""
    files, position = {}, 0
    while position < len(archive):
        header = archive[position : position + 110]
        assert header.startswith(b"070701")
        size, name_size = (int(header[6 + 8 * field :][:8], 16) for field in (6, 11))
        name_end = position + 110 + name_size
        start = name_end + -name_end % 4
        files[archive[position + 110 : name_end - 1].decode()] = archive[start : start + size]
        position = start + size + -(start + size) % 4
    return files


def test_what_is_missing_is_one_line_that_tells_how_to_install_it(
    rig: tuple[ModuleType, ModuleType], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guest_kernel, _ = rig
    monkeypatch.setattr(guest_kernel.shutil, "which", lambda tool: None if tool == "busybox" else tool)
    monkeypatch.setattr(sys, "argv", ["run.py"])
    run = importlib.import_module("run")

    status = run.main()

    message = capsys.readouterr().err
    assert (status, message.count("\n")) == (2, 1)
    assert "sudo apt-get install --yes --no-install-recommends busybox-static" in message
