"""Files of calibration: ROS's camera_info, VisionPilot's H.yaml, KITTI's, and CameraInfo in a bag."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from perception.cli_config.yaml_file import YamlError, text_of
from perception.scene.calibration import Calibration, CalibrationError
from perception.scene.camera_info import calibration_of_info, info_text, is_camera_info
from perception.scene.homography import calibration_of_homography, is_homography
from perception.scene.kitti import calibration_of_kitti, is_kitti
from perception.scene.yaml_values import group_of_text
from perception.sources.bag.bag_place import is_bag
from perception.sources.source import SourceError
from perception.system.set_aside import write_outputs

_TOPIC_MARK: Final = "#"
_MIDDLE_SHARE: Final = (0.1, 0.2)
"""How far the principal point may lie from the middle, of width and height, where nothing names a size."""


def load_calibration(path: Path | str, frame_wh: tuple[int, int] | None = None) -> Calibration:
    """Read a calibration, whatever its form; its mount is None where the file knows of none.

    Args:
        path: YAML of ROS's camera_info, with a section `mount` or without; VisionPilot's H.yaml; KITTI's
            text; a bag, and after `#` its topic of CameraInfo.
        frame_wh: of the pictures, for files that do not say it, as VisionPilot's and KITTI's.

    Raises:
        CalibrationError: one line with the file's name, what is wrong, and where.
        NoPictureSizeError: the same, for want of `frame_wh` alone.
    """
    try:
        return _loaded(Path(path), frame_wh)
    except CalibrationError as error:
        raise type(error)(f"{path}: {error}") from None
    except OSError as error:  # no name of a file, as one that is too long
        raise CalibrationError(f"{str(path)[:80]}: cannot be read: {error.strerror}") from None


def save_calibration(
    path: Path | str,
    calibration: Calibration,
    name: str = "camera",
    notes: Sequence[str] = (),
    *,
    overwrite: bool = False,
) -> None:
    """Write ROS's camera_info as YAML, atomically; an existing file is kept under another name.

    Args:
        name: of the camera.
        notes: lines of comment at the top.
        overwrite: replaces an existing file.

    Raises:
        OSError: if it cannot be written.
    """
    content = info_text(calibration, name, notes).encode()
    write_outputs({Path(path): content}, overwrite=overwrite)


def _loaded(path: Path, frame_wh: tuple[int, int] | None) -> Calibration:
    bag, mark, topic = str(path).partition(_TOPIC_MARK)
    try:
        if path.is_dir() or (path.is_file() and is_bag(path)):
            return _of_bag(path, None)
        if mark and not path.exists() and Path(bag).exists():
            return _of_bag(Path(bag), topic)
    except (SourceError, OSError) as error:
        raise CalibrationError(str(error)) from None
    if path.exists() and not path.is_file():
        raise CalibrationError("is no file of calibration, but a device or a pipe")
    try:
        text = text_of(path)
    except YamlError as error:
        raise CalibrationError(f"cannot be read: {error}") from None
    group = group_of_text(text)
    if is_camera_info(group):
        return calibration_of_info(group)
    read = (
        calibration_of_kitti
        if is_kitti(group)
        else calibration_of_homography
        if is_homography(group)
        else None
    )
    if read is None:
        raise CalibrationError(
            "is no file of calibration: it has neither camera_matrix, as ROS's camera_info, nor P2, as "
            "KITTI's, nor H, as VisionPilot's"
        )
    calibration = read(group, frame_wh)
    if is_kitti(group):
        _check_middle(calibration)
    return calibration


def _of_bag(bag: Path, topic: str | None) -> Calibration:
    from perception.scene.bag_info import calibration_of_bag

    return calibration_of_bag(bag, topic)


def _check_middle(calibration: Calibration) -> None:
    """Refuse a picture size that was made up for another camera."""
    for side, at, share in zip(
        calibration.intrinsics.frame_wh, calibration.intrinsics.centre_px, _MIDDLE_SHARE, strict=True
    ):
        if abs(at / side - 0.5) > share:
            width, height = calibration.intrinsics.frame_wh
            x, y = calibration.intrinsics.centre_px
            raise CalibrationError(
                f"is not of pictures of {width}x{height}: its axis goes through {x:.0f}, {y:.0f}, far from "
                f"their middle; give their size with --calibration_size"
            )
