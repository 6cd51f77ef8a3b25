"""What is known of the road in metres as messages of ROS 2: a grid, a scan and a cloud.

They lie in the vehicle's frame of REP 103 and 105: x forward, y left, z up. The first two are flat: z is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.scene.calibration import Intrinsics
from perception.scene.metres import UNKNOWN, Grid, Metres

New = Callable[..., Any]
"""Makes a message of a type from its fields."""
Floats32 = NDArray[np.float32]

_FLOAT32: Final = 7
"""Of `sensor_msgs/msg/PointField`."""
_POINT_BYTES: Final = 12
_FAR_CELLS: Final = 10_000.0
"""Beyond any grid."""
_PARTS: Final = 4
"""Of a step of the profile: seen from another place, a step may cover several of the scan."""
_OPEN_SHARE: Final = 0.9
"""Of the distance up to which any is known: a direction that is free for so long without an end is open."""


def occupancy_grid(new: New, header: Any, metres: Metres) -> Any:
    """`nav_msgs/msg/OccupancyGrid`: 0 is free, 100 is not drivable, -1 is not known.

    Its data are rows of cells along x, forward, that follow each other along y, to the left.
    """
    grid = metres.grid
    rows, columns = grid.cells.shape
    corner = new("geometry_msgs/msg/Point", *grid.origin_m, 0.0)
    pose = new("geometry_msgs/msg/Pose", corner, new("geometry_msgs/msg/Quaternion", 0.0, 0.0, 0.0, 1.0))
    info = new("nav_msgs/msg/MapMetaData", header.stamp, grid.resolution_m, columns, rows, pose)
    return new("nav_msgs/msg/OccupancyGrid", header, info, np.ascontiguousarray(grid.cells).reshape(-1))


def laser_scan(new: New, header: Any, metres: Metres) -> Any:
    """`sensor_msgs/msg/LaserScan`: free space around the vehicle's reference point, by REP 117.

    A range ends at the first ground that is not drivable. It is inf where all is free up to `range_max`,
    to which distances are known, and NaN where that is not known, as where the picture ends at the side.
    """
    bearing_rad = metres.free_space.bearing_rad
    ranges, range_max_m = ranges_m(metres)
    return new(
        *("sensor_msgs/msg/LaserScan", header),
        *(float(bearing_rad[0]), float(bearing_rad[-1]), float(bearing_rad[1] - bearing_rad[0])),
        *(0.0, 0.0),  # all at once
        *(0.0, range_max_m, ranges, np.zeros(0, np.float32)),
    )


def ranges_m(metres: Metres) -> tuple[Floats32, float]:
    """(n,) free distances from the vehicle's reference point in the profile's directions, and the largest.

    The profile is seen from below the camera: with its origin in the reference point they are the same.
    """
    profile = metres.free_space
    count, first_rad = len(profile.bearing_rad), profile.bearing_rad[0]
    step_rad = profile.bearing_rad[1] - first_rad
    parts = (np.arange(_PARTS) + 0.5) / _PARTS - 0.5
    bearing_rad = (profile.bearing_rad[:, None] + parts * step_rad).ravel()
    distance_m, has_end = np.repeat(profile.distance_m, _PARTS), np.repeat(profile.is_end_seen, _PARTS)
    ahead_m, left_m = distance_m * np.cos(bearing_rad), distance_m * np.sin(bearing_rad)
    is_open = ~has_end & (ahead_m >= _OPEN_SHARE * metres.limit_m)
    x, y = profile.origin_m[0] + ahead_m, profile.origin_m[1] + left_m
    range_m = np.hypot(x, y)
    range_max_m = float(min(profile.origin_m[0] + metres.limit_m, range_m[is_open].min(initial=np.inf)))
    range_m = np.where(is_open | (has_end & (range_m > range_max_m)), np.inf, range_m)
    place = np.rint((np.arctan2(y, x) - first_rad) / step_rad)
    is_in = (is_open | has_end) & (place >= 0) & (place < count)
    ranges = np.full(count, np.nan, np.float32)
    np.fmin.at(ranges, place[is_in].astype(np.int64), range_m[is_in].astype(np.float32))
    return ranges, float(np.nextafter(np.float32(range_max_m), np.float32(np.inf)))  # which no range exceeds


def point_cloud(
    new: New, header: Any, metres: Metres, mask_wh: tuple[int, int], frame_wh: tuple[int, int]
) -> Any:
    """`sensor_msgs/msg/PointCloud2`, organised as the class map is: the ground that its pixels see.

    Args:
        mask_wh: width and height of the class map, which covers the whole frame.
        frame_wh: those of the frame.
    """
    fields = [
        new("sensor_msgs/msg/PointField", name, 4 * place, _FLOAT32, 1) for place, name in enumerate("xyz")
    ]
    width, height = mask_wh
    points = ground_points(metres, mask_wh, frame_wh)
    return new(
        *("sensor_msgs/msg/PointCloud2", header, height, width, fields, False),
        *(_POINT_BYTES, _POINT_BYTES * width, points.reshape(-1).view(np.uint8), False),
    )


def ground_points(metres: Metres, mask_wh: tuple[int, int], frame_wh: tuple[int, int]) -> Floats32:
    """(h, w, 3) x, y and z of the ground that pixels see.

    NaN above the horizon, and where the grid knows nothing: of what is seen behind the first ground that is
    not drivable, most stands on that ground and hides what is behind it.
    """
    mount = metres.mount.mount
    right, down = _rays(metres.intrinsics, mask_wh, frame_wh)
    turn = mount.vehicle_from_camera.tolist()
    ahead, left, up = (row[0] * right + row[1] * down + row[2] for row in turn)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        # where a ray meets z = crest / 2 x², in the form that holds for a flat road too
        root = np.sqrt(up * up + (2 * metres.crest_per_m * mount.height_m) * ahead * ahead)
        reach = 2 * mount.height_m / (root - up)
        x, y, z = ahead * reach + mount.forward_m, left * reach + mount.left_m, up * reach + mount.height_m
    is_unknown = _cells_at(metres.grid, x, y) == np.uint8(UNKNOWN % 256)
    for axis in (x, y, z):
        np.copyto(axis, np.nan, where=is_unknown)
    return np.asarray(cv2.merge((x, y, z)), np.float32)


def _cells_at(grid: Grid, x: Floats32, y: Floats32) -> NDArray[np.uint8]:
    """(h, w) cells in which points of the ground lie, as bytes; `UNKNOWN` beyond the grid."""
    column, row = (
        np.clip((along - origin) * (1 / grid.resolution_m) - 0.5, -_FAR_CELLS, _FAR_CELLS)
        for along, origin in ((x, grid.origin_m[0]), (y, grid.origin_m[1]))
    )
    for place in (column, row):
        cv2.patchNaNs(place, -_FAR_CELLS)
    cells, unknown = grid.cells.view(np.uint8), UNKNOWN % 256
    found = cv2.remap(
        *(cells, column, row, cv2.INTER_NEAREST), borderMode=cv2.BORDER_CONSTANT, borderValue=(unknown,)
    )
    return np.asarray(found, np.uint8)


@lru_cache(2)
def _rays(intrinsics: Intrinsics, mask_wh: tuple[int, int], frame_wh: tuple[int, int]) -> Floats32:
    """(2, h, w) how far right and down at depth 1 the pixels of a class map look; NaN where nowhere."""
    scale = np.array(frame_wh) / mask_wh
    columns, rows = np.meshgrid(np.arange(mask_wh[0]), np.arange(mask_wh[1]))
    in_mask = np.stack([columns.ravel(), rows.ravel()], axis=1)
    rays = intrinsics.rays_of((in_mask + 0.5) * scale - 0.5).astype(np.float32)
    rays = np.ascontiguousarray(rays.T).reshape(2, mask_wh[1], mask_wh[0])
    rays.setflags(write=False)
    return rays
