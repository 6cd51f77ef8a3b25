"""Rows of a class map as directions on the road: made once for a calibration and a size."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perception.scene.calibration import Calibration, Intrinsics, Mount

Floats = NDArray[np.float64]

ROWS = 60
FARTHEST_M = 70.0


def of_class_map(intrinsics: Intrinsics, frame_wh: tuple[int, int], map_wh: tuple[int, int]) -> Intrinsics:
    """The camera of class maps: each covers the whole frame, whatever the sides' ratio.

    Args:
        intrinsics: of the frame, at any size of its shape.
        frame_wh: width and height of the frames.
        map_wh: width and height of the class maps.

    Raises:
        CalibrationError: if the frames have another shape than the calibration.
    """
    of_frame = intrinsics.scaled_to(frame_wh)
    across, down = map_wh[0] / frame_wh[0], map_wh[1] / frame_wh[1]
    shift = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]])
    return replace(of_frame, frame_wh=map_wh, camera_matrix=shift @ of_frame.camera_matrix)


@dataclass(frozen=True, eq=False)
class RowView:
    """Some rows of the class map, and where their pixels' borders look, by the mount that it was made for."""

    rows: NDArray[np.int64]
    """(n,) of the class map, from the far ones to the near ones."""
    t: Floats
    """(n, w + 1) tangent of the angle below the vehicle's forward axis, of the border left of each column."""
    left: Floats
    """(n, w + 1) tangent of the angle to the left of it."""

    @classmethod
    def of(cls, intrinsics: Intrinsics, mount: Mount) -> RowView:
        """Rows in which the ground lies less than 70 m ahead, evenly spaced; none where there is none."""
        width, height = intrinsics.frame_wh
        calibration = Calibration(intrinsics, mount)
        middle = intrinsics.centre_px[0]
        column = np.column_stack([np.full(height, middle), np.arange(height, dtype=np.float64)])
        ahead = calibration.ground_of(column)[:, 0] - mount.forward_m
        seen = np.flatnonzero((ahead > 0) & (ahead < FARTHEST_M))
        if not len(seen):
            empty = np.empty((0, width + 1))
            return cls(np.empty(0, np.int64), empty, empty)
        count = min(ROWS, len(seen))
        rows = np.unique(np.linspace(seen[0], seen[-1], count).round().astype(np.int64))
        u, v = np.meshgrid(np.arange(width + 1) - 0.5, rows.astype(np.float64))
        rays = intrinsics.rays_of(np.column_stack([u.ravel(), v.ravel()]))
        directions = mount.directions_of(rays)
        with np.errstate(divide="ignore", invalid="ignore"):
            is_ahead = directions[:, 0] > 1e-6
            t = np.where(is_ahead, -directions[:, 2] / directions[:, 0], np.nan)
            left = np.where(is_ahead, directions[:, 1] / directions[:, 0], np.nan)
        return cls(rows, t.reshape(u.shape), left.reshape(u.shape))
