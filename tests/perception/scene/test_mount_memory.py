"""The file of what was learnt of a mount."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from flat_road import camera

from perception.scene.calibration import CalibrationError, Mount
from perception.scene.mount_filter import Learnt
from perception.scene.mount_memory import EVERY_NS, MountMemory

LEARNT = Learnt(pitch_rad=0.01, pitch_sigma_rad=0.001, yaw_rad=-0.004)


def saved(file: Path) -> None:
    memory = MountMemory(file, camera())
    memory.offer(LEARNT, 0)
    memory.offer(LEARNT, EVERY_NS)


def test_next_run_goes_on_from_what_was_learnt(tmp_path: Path) -> None:
    saved(tmp_path / "mount.json")

    assert MountMemory(tmp_path / "mount.json", camera()).learnt == LEARNT
    assert [it.name for it in tmp_path.iterdir()] == ["mount.json"]


def test_it_is_saved_every_ten_seconds_of_the_frames_time(tmp_path: Path) -> None:
    memory = MountMemory(tmp_path / "mount.json", camera())

    memory.offer(LEARNT, 0)
    memory.offer(LEARNT, EVERY_NS - 1)
    assert not list(tmp_path.iterdir())
    memory.offer(LEARNT, EVERY_NS)
    assert (tmp_path / "mount.json").exists()


def test_same_camera_at_another_picture_size_goes_on_too(tmp_path: Path) -> None:
    saved(tmp_path / "mount.json")

    assert MountMemory(tmp_path / "mount.json", camera().scaled_to((1280, 720))).learnt == LEARNT


def test_file_of_another_calibration_is_kept_and_learning_begins(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved(tmp_path / "mount.json")

    with caplog.at_level(logging.WARNING):
        memory = MountMemory(tmp_path / "mount.json", camera(Mount(2.0)))

    assert memory.learnt is None
    assert "another calibration" in caplog.text
    assert json.loads((tmp_path / "mount.1.json").read_text())["learnt"]["pitch_rad"] == 0.01


@pytest.mark.parametrize(
    "content",
    ["no JSON", "[]", "{}", '{"drivable_mount": 1, "mount": {}, "learnt": {"pitch_rad": 9}}', "\x00" * 9],
)
def test_file_of_somebody_else_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    file = tmp_path / "mine.json"
    file.write_text(content)

    with pytest.raises(CalibrationError, match=r"mine\.json: is not what this program writes"):
        MountMemory(file, camera())

    assert file.read_text() == content


def test_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mount.json"
    file.write_text('{"drivable_mount": 2}')

    with pytest.raises(CalibrationError, match="version 2"):
        MountMemory(file, camera())


def test_empty_file_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "mount.json").touch()

    assert MountMemory(tmp_path / "mount.json", camera()).learnt is None


def test_missing_folder_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="folder does not exist"):
        MountMemory(tmp_path / "no" / "mount.json", camera())


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="directory"):
        MountMemory(tmp_path, camera())


def test_file_that_cannot_be_written_is_reported_once_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    memory = MountMemory(folder / "mount.json", camera())
    folder.rmdir()

    for turn in range(4):
        memory.offer(LEARNT, turn * EVERY_NS)

    assert caplog.text.count("is not kept") == 1
