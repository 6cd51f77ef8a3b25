"""What is true of the built-in drive in metres: its camera, and where lane and vehicles are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perception.scene.calibration import Calibration, Intrinsics, Mount
from perception.synthetic.renderer import DriveRenderer, drivable_far_m
from perception.synthetic.view import View
from perception.synthetic.world import SCENES, World

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FrameTruth:
    """One frame; directions and signs as in `perception.scene.metres`, the origin below the camera."""

    pitch_rad: float
    """Of the camera in this frame beyond its mount's, positive down."""
    lane_width_m: float
    ahead_m: float
    """To the first vehicle in our lane, or to where the drivable area ends."""
    is_vehicle: bool
    """The first of these."""
    is_marked: bool
    """The lane's borders are painted."""
    is_changing: bool
    """Between two lanes."""
    centre_z_m: Floats
    """(n,) distances ahead."""
    centre_y_m: Floats
    """(n,) of the middle of our lane at these, to the left."""

    def centre_at(self, x_m: float) -> float:
        """y of the lane's middle."""
        return float(np.interp(x_m, self.centre_z_m, self.centre_y_m))


class DriveTruth:
    """Truth of one drive in one scene.

    The renderer shifts its picture where a real camera would turn: its pitch, yaw and horizon are exactly
    those of a camera that looks straight ahead, and whose principal point is not in the middle.

    Args:
        scene: of `SCENES`, but not `mixed`.
        frame_wh, rate_hz, seed: as of `DriveRenderer`.
    """

    def __init__(self, scene: str, frame_wh: tuple[int, int], rate_hz: float, seed: int) -> None:
        self.renderer = DriveRenderer(scene, frame_wh, rate_hz, seed)
        self._scene, self._frame_wh, self._rate_hz = SCENES[scene], frame_wh, rate_hz
        self.world = World(self._scene, self.renderer.road_seed(scene))

    def calibration(self, pitch_error_rad: float = 0.0, yaw_error_rad: float = 0.0) -> Calibration:
        """The camera, with its mount, or with one that is wrong by these."""
        world, (width, height) = self.world, self._frame_wh
        focal = world.focal_per_width * width
        still = np.array([(width - 1) / 2 + focal * world.yaw_rad, (height - 1) * world.horizon_share])
        u, v = self._rolled(still, world.roll_rad)
        matrix = np.array([[focal, 0, u], [0, focal, v], [0, 0, 1.0]])
        mount = Mount(
            world.camera_height_m,
            pitch_rad=pitch_error_rad,
            yaw_rad=yaw_error_rad,
            roll_rad=world.roll_rad,
        )
        return Calibration(Intrinsics(self._frame_wh, matrix), mount)

    def _rolled(self, point_uv: Floats, roll_rad: float) -> Floats:
        """As the picture is turned about its middle."""
        middle = np.array([(self._frame_wh[0] - 1) / 2, (self._frame_wh[1] - 1) / 2])
        cosine, sine = math.cos(roll_rad), math.sin(roll_rad)
        turned = np.array([[cosine, sine], [-sine, cosine]]) @ (point_uv - middle)
        return np.asarray(middle + turned, np.float64)

    def of(self, frame_id: int) -> FrameTruth:
        """Truth of a frame."""
        world, time_s = self.world, frame_id / self._rate_hz
        road, view = world.road, View(world, time_s, self._frame_wh)
        ahead_uv = self._rolled(np.array([view.cx, view.cy]), view.roll_rad)
        intrinsics = self.calibration().intrinsics
        across, down = (ahead_uv - intrinsics.centre_px) / view.f
        below = math.cos(world.roll_rad) * down + math.sin(world.roll_rad) * across
        lane = road.lane_at(view.d_m)
        far_m = drivable_far_m(self._scene)
        vehicles = [
            it.ahead_m for it in world.vehicles(time_s, far_m) if it.lane == lane and it.ahead_m > -1.0
        ]
        from_middle = abs(view.d_m / road.lane_width_m - lane - 0.5)
        return FrameTruth(
            pitch_rad=-math.atan(below),
            lane_width_m=road.lane_width_m,
            ahead_m=min([far_m, *vehicles]),
            is_vehicle=bool(vehicles) and min(vehicles) < far_m,
            is_marked=road.is_marked,
            is_changing=from_middle > 0.35,
            centre_z_m=view.grid_z,
            centre_y_m=view.d_m - (lane + 0.5) * road.lane_width_m - view.grid_x,
        )
