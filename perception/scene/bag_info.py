"""The camera in a bag: its topic of sensor_msgs/CameraInfo."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from perception.scene.calibration import Calibration, CalibrationError, Intrinsics
from perception.scene.camera_info import intrinsics_of
from perception.sources.bag.bag_file import BagFile
from perception.sources.bag.bag_message import BagTopic
from perception.sources.source import SourceError

TYPE_NAME: Final = "sensor_msgs/msg/CameraInfo"


def calibration_of_bag(bag: Path, topic: str | None = None) -> Calibration:
    """From the first message of a topic; a bag knows of no mount.

    Args:
        bag: a file or folder, as for a source.
        topic: which; None if there is only one.

    Raises:
        CalibrationError: if there is no such topic, or no camera can be so.
    """
    try:
        opened = BagFile(bag)
        try:
            name = _chosen(opened, topic)
            first = next(opened.messages(BagTopic(name, TYPE_NAME, 0)), None)
        finally:
            opened.close()
    except SourceError as error:
        raise CalibrationError(str(error).removeprefix(f"{bag}: ")) from None
    if first is None:
        raise CalibrationError(f"{name} holds no message")
    if first.problem:
        raise CalibrationError(f"{name}: the first message cannot be decoded: {first.problem}")
    try:
        return Calibration(_intrinsics(first.message))
    except CalibrationError as error:
        raise CalibrationError(f"{name}: {error}") from None


def _chosen(bag: BagFile, topic: str | None) -> str:
    there = sorted(name for name, type_name in bag.all_topics.items() if type_name == TYPE_NAME)
    if topic is not None and topic not in there:
        raise CalibrationError(f"has no {TYPE_NAME} at {topic}; it has {', '.join(there) or 'none'}")
    if topic is None and len(there) != 1:
        which = f"{len(there)}: {', '.join(there)}; name one behind a #" if there else "none"
        raise CalibrationError(f"of topics with {TYPE_NAME} there are {which}")
    return topic or there[0]


def _intrinsics(message: Any) -> Intrinsics:
    """Of ROS 2, or of ROS 1, where the names are of capitals."""
    matrix = np.array(message.k if hasattr(message, "k") else message.K, np.float64).reshape(3, 3)
    distortion = np.array(message.d if hasattr(message, "d") else message.D, np.float64)
    if not matrix.any():
        raise CalibrationError("the camera is not calibrated: its matrix is all zeros")
    roi, binning = message.roi, (max(1, message.binning_x), max(1, message.binning_y))
    if roi.width or roi.height or roi.x_offset or roi.y_offset or binning != (1, 1):
        raise CalibrationError("a region of interest and binning are not supported; record whole pictures")
    model = message.distortion_model or "plumb_bob"
    return intrinsics_of((int(message.width), int(message.height)), matrix, model, distortion)
