"""The calibration files of KITTI's road and object benchmarks, for their colour camera (image_2).

A point X of the road's frame (x right, y down, z forward; the road is y = 0) is seen at
P2 · R0_rect · Tr_cam_to_road⁻¹ · X (Fritsch et al., "A New Performance Measure and Evaluation Benchmark for
Road Detection Algorithms", ITSC 2013, and its development kit).
"""

from __future__ import annotations

import numpy as np

from perception.scene.calibration import (
    Calibration,
    CalibrationError,
    Floats,
    Intrinsics,
    Mount,
    NoPictureSizeError,
)
from perception.scene.yaml_values import Group, text_in

_VEHICLE_FROM_ROAD = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def is_kitti(group: Group) -> bool:
    """Whether a file with these names is one."""
    return "P2" in group


def calibration_of_kitti(group: Group, frame_wh: tuple[int, int] | None) -> Calibration:
    """The camera of image_2, whose pictures are rectified already.

    The mount is known where there is Tr_cam_to_road, its reference point below the grey camera on the left.
    Tr_velo_to_cam says nothing of the ground.

    Args:
        frame_wh: of the pictures, which the file does not say.

    Raises:
        CalibrationError: if something is missing, or no camera can be so; at last if there is no `frame_wh`.
    """
    projection = _matrix(group, "P2", (3, 4))
    intrinsics = Intrinsics(frame_wh or (1, 1), projection[:, :3])
    mount = _mount(group, projection) if "Tr_cam_to_road" in group else None
    if frame_wh is None:
        raise NoPictureSizeError
    return Calibration(intrinsics, mount)


def _mount(group: Group, projection: Floats) -> Mount:
    rectification = _rotation(_matrix(group, "R0_rect", (3, 3)), "R0_rect")
    road_from_grey = _matrix(group, "Tr_cam_to_road", (3, 4))
    grey_from_road = _rotation(road_from_grey[:, :3], "Tr_cam_to_road").T
    camera_from_road = rectification @ grey_from_road
    # where the camera is, as the grey one sees it
    beside = -np.linalg.solve(projection[:, :3], projection[:, 3])
    position = road_from_grey[:, :3] @ (rectification.T @ beside) + road_from_grey[:, 3]
    return Mount.of_pose(_VEHICLE_FROM_ROAD @ camera_from_road.T, _VEHICLE_FROM_ROAD @ position)


def _matrix(group: Group, name: str, shape: tuple[int, int]) -> Floats:
    words = text_in(group, name).split()
    try:
        values = np.array([float(word) for word in words])
    except ValueError:
        raise CalibrationError(f"{name} holds what is no number") from None
    if values.size != shape[0] * shape[1]:
        raise CalibrationError(f"{name} has {values.size} values; {shape[0] * shape[1]} are expected")
    if not np.isfinite(values).all():
        raise CalibrationError(f"{name} is not finite")
    return values.reshape(shape)


def _rotation(matrix: Floats, name: str) -> Floats:
    """The matrix, if it is a rotation but for rounding; raises CalibrationError."""
    if not np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-3) or np.linalg.det(matrix) < 0:
        raise CalibrationError(f"{name} is no rotation")
    return matrix
