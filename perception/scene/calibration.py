"""The camera as a measuring device: its intrinsics, its mount on the vehicle, and the ground that it sees.

Frames are those of REP 103. Vehicle: x forward, y left, z up, in metres; its origin lies on flat ground below
the vehicle's reference point (`base_link` of REP 105, projected onto the ground). Camera, optical: x right,
y down, z forward. Pixels: (0, 0) is the middle of the top left one, as in OpenCV and in ROS's camera_info.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Literal, Self, get_args

import cv2
import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DistortionModel = Literal["plumb_bob", "rational_polynomial", "equidistant"]

DISTORTION_SIZES: Final[dict[DistortionModel, tuple[int, ...]]] = {
    "plumb_bob": (4, 5),
    "rational_polynomial": (8,),
    "equidistant": (4,),
}
"""How many coefficients a model has, in OpenCV's order: k1 k2 p1 p2 [k3 [k4 k5 k6]], and k1 k2 k3 k4."""

HEIGHT_LIMITS_M: Final = (0.1, 10.0)
PITCH_LIMIT_RAD: Final = math.radians(30)
YAW_LIMIT_RAD: Final = math.radians(60)
ROLL_LIMIT_RAD: Final = math.radians(30)
OFFSET_LIMIT_M: Final = 30.0
"""Forward and sideways: longer than any vehicle."""

_VEHICLE_FROM_OPTICAL: Final = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
_UNDISTORT_UNTIL: Final = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-10)
_WORST_INVERSION_PX: Final = 0.01


class CalibrationError(ValueError):
    """A calibration that cannot be used; one line that says why."""


class NoPictureSizeError(CalibrationError):
    """A file that does not say of which pictures it is, and all else in it can be used."""

    def __init__(self, line: str = "") -> None:
        super().__init__(
            line
            or "does not say of which pictures it is; give their size with it: --calibration_size 1920x1080"
        )


@dataclass(frozen=True, eq=False)  # arrays do not compare
class Intrinsics:
    """How a camera maps directions to pixels.

    Raises:
        CalibrationError: if no camera can be so.
    """

    frame_wh: tuple[int, int]
    """Width and height in pixels of the pictures that it holds for."""
    camera_matrix: Floats
    """(3, 3): focal lengths and principal point, in pixels."""
    distortion_model: DistortionModel = "plumb_bob"
    """As ROS names it: plumb_bob is Brown's with five coefficients, equidistant is OpenCV's fisheye."""
    distortion: Floats = field(default_factory=lambda: np.zeros(5))
    """(n,) coefficients, see `DISTORTION_SIZES`."""

    def __post_init__(self) -> None:
        """Refuse what no camera can be."""
        matrix = np.array(self.camera_matrix, np.float64)
        distortion = np.array(self.distortion, np.float64).ravel()
        _check_frame(self.frame_wh)
        if matrix.shape != (3, 3):
            shape = "x".join(map(str, matrix.shape))
            raise CalibrationError(f"the camera matrix is {shape}; three rows of three are expected")
        if not np.isfinite(matrix).all():
            raise CalibrationError(f"the camera matrix is not finite: {_in_words(matrix)}")
        if abs(np.linalg.det(matrix)) < 1e-9 * max(1.0, float(np.abs(matrix).max())):
            raise CalibrationError(f"the camera matrix is singular: {_in_words(matrix)}")
        if min(matrix[0, 0], matrix[1, 1]) <= 0:
            raise CalibrationError(
                f"the focal lengths are {matrix[0, 0]:g} and {matrix[1, 1]:g} px; both have to be above 0"
            )
        if not np.array_equal(matrix[[0, 1, 2, 2, 2], [1, 0, 0, 1, 2]], [0, 0, 0, 0, 1]):
            raise CalibrationError(f"the camera matrix is no [fx 0 cx, 0 fy cy, 0 0 1]: {_in_words(matrix)}")
        if self.distortion_model not in DISTORTION_SIZES:
            raise CalibrationError(
                f"the distortion model {self.distortion_model} is none of "
                f"{', '.join(get_args(DistortionModel))}"
            )
        sizes = DISTORTION_SIZES[self.distortion_model]
        if distortion.size not in sizes:
            wanted = " or ".join(map(str, sizes))
            raise CalibrationError(
                f"{self.distortion_model} has {wanted} coefficients, and there are {distortion.size}"
            )
        if not np.isfinite(distortion).all():
            raise CalibrationError(f"the distortion is not finite: {_in_words(distortion)}")
        for array, name in ((matrix, "camera_matrix"), (distortion, "distortion")):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def focal_px(self) -> tuple[float, float]:
        """Across and down."""
        return float(self.camera_matrix[0, 0]), float(self.camera_matrix[1, 1])

    @property
    def centre_px(self) -> tuple[float, float]:
        """The principal point."""
        return float(self.camera_matrix[0, 2]), float(self.camera_matrix[1, 2])

    def scaled_to(self, frame_wh: tuple[int, int]) -> Self:
        """The same camera's pictures at another size, resized and not cropped.

        Raises:
            CalibrationError: if the sides have another ratio, by more than the rounding to whole pixels.
        """
        if frame_wh == self.frame_wh:
            return self
        _check_frame(frame_wh)
        (width, height), (to_width, to_height) = self.frame_wh, frame_wh
        off_px = min(abs(height * to_width / width - to_height), abs(width * to_height / height - to_width))
        if off_px >= 1:
            raise CalibrationError(
                f"it is of pictures of {width}x{height}, and these are {to_width}x{to_height}, of another "
                f"shape, as after cropping; calibrate the camera at the size it is used at"
            )
        across, down = to_width / width, to_height / height
        # pixels are counted from their middles, so half of one lies before the first
        shift = np.array(
            [[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]], dtype=np.float64
        )
        return replace(self, frame_wh=frame_wh, camera_matrix=shift @ self.camera_matrix)

    @cached_property
    def reach(self) -> float:
        """The largest distance from the axis, at depth 1, up to which distorted distances rise; may be inf.

        Behind it the model folds back, and two directions would share a pixel.
        """
        if self.distortion_model == "equidistant":
            k1, k2, k3, k4 = self.distortion
            angle_rad = math.sqrt(_least_root(Polynomial([1, 3 * k1, 5 * k2, 7 * k3, 9 * k4])))
            return math.tan(angle_rad) if angle_rad < math.pi / 2 else math.inf
        k = np.zeros(8)
        k[: self.distortion.size] = self.distortion
        above, below = Polynomial([1, k[0], k[1], k[4]]), Polynomial([1, *k[5:]])
        square = Polynomial([0, 1])  # of the distance, which is the variable
        slope = (above + 2 * square * above.deriv()) * below - 2 * square * above * below.deriv()
        return math.sqrt(min(_least_root(slope), _least_root(below)))

    def rays_of(self, points_uv: Floats) -> Floats:
        """Directions in which pixels look.

        Args:
            points_uv: (n, 2) pixels, inside the frame or outside.

        Returns:
            (n, 2) x to the right and y down at depth 1; NaN where the distortion cannot be inverted.
        """
        points = _points(points_uv, 2)
        if not len(points):
            return points
        finite = np.where(np.isfinite(points), points, 0)[:, None]
        undistort = cv2.fisheye.undistortPoints if self._is_fisheye else cv2.undistortPoints
        rays = np.asarray(
            undistort(finite, self.camera_matrix, self.distortion, criteria=_UNDISTORT_UNTIL), np.float64
        ).reshape(-1, 2)
        back = self.project(np.column_stack([rays, np.ones(len(rays))]))
        with np.errstate(invalid="ignore"):
            is_wrong = ~(np.hypot(*(back - points).T) < _WORST_INVERSION_PX)
        rays[is_wrong] = np.nan
        return rays

    def project(self, points: Floats) -> Floats:
        """Pixels at which points are seen.

        Args:
            points: (n, 3) in the camera's optical frame, in any unit.

        Returns:
            (n, 2) pixels, also outside the frame; NaN for what lies behind the camera or beyond `reach`.
        """
        points = _points(points, 3)
        if not len(points):
            return np.empty((0, 2))
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            at_1 = points[:, :2] / points[:, 2:]
            is_seen = (points[:, 2] > 0) & (np.hypot(*at_1.T) < self.reach)
        rays = np.column_stack([np.where(is_seen[:, None], at_1, 0), np.ones(len(points))])[:, None]
        still = np.zeros(3)
        if self._is_fisheye:
            pixels, _ = cv2.fisheye.projectPoints(rays, still, still, self.camera_matrix, self.distortion)
        else:
            pixels, _ = cv2.projectPoints(rays, still, still, self.camera_matrix, self.distortion)
        return np.where(is_seen[:, None], np.asarray(pixels, np.float64).reshape(-1, 2), np.nan)

    @property
    def _is_fisheye(self) -> bool:
        return self.distortion_model == "equidistant"


@dataclass(frozen=True)
class Mount:
    """Pose of the camera on the vehicle: angles as REP 103 has them, applied as roll, then pitch, then yaw.

    Raises:
        CalibrationError: if a value is out of its range.
    """

    height_m: float
    """Of the camera above the ground."""
    pitch_rad: float = 0.0
    """Positive looks down."""
    yaw_rad: float = 0.0
    """Positive looks to the left."""
    roll_rad: float = 0.0
    """Positive has the camera's right side lower."""
    forward_m: float = 0.0
    """From the reference point to the camera."""
    left_m: float = 0.0
    """The same, to the left."""

    def __post_init__(self) -> None:
        """Refuse what no road camera can be."""
        least_m, most_m = HEIGHT_LIMITS_M
        if not least_m <= self.height_m <= most_m:
            raise CalibrationError(
                f"height_m is {self.height_m:g}; a camera's height is {least_m:g} to {most_m:g} m"
            )
        for name, limit_rad in (
            ("pitch_rad", PITCH_LIMIT_RAD),
            ("yaw_rad", YAW_LIMIT_RAD),
            ("roll_rad", ROLL_LIMIT_RAD),
        ):
            value = getattr(self, name)
            if not abs(value) <= limit_rad:
                raise CalibrationError(
                    f"{name} is {value:g} ({math.degrees(value):.3g}°), out of range: a road camera's is "
                    f"between -{math.degrees(limit_rad):g}° and {math.degrees(limit_rad):g}°, in radians "
                    f"{-limit_rad:.3f} to {limit_rad:.3f}"
                )
        for name in ("forward_m", "left_m"):
            if not abs(getattr(self, name)) <= OFFSET_LIMIT_M:
                raise CalibrationError(
                    f"{name} is {getattr(self, name):g}; a camera is within {OFFSET_LIMIT_M:g} m of the "
                    f"reference point"
                )

    @classmethod
    def of_pose(cls, vehicle_from_camera: Floats, position_m: Floats) -> Self:
        """From a rotation as of `vehicle_from_camera` and a position as of `position_m`.

        Raises:
            CalibrationError: as of the class.
        """
        body = np.asarray(vehicle_from_camera, np.float64) @ _VEHICLE_FROM_OPTICAL.T
        forward_m, left_m, height_m = (float(value) for value in position_m)
        return cls(
            height_m,
            pitch_rad=-math.asin(min(1.0, max(-1.0, float(body[2, 0])))),
            yaw_rad=math.atan2(body[1, 0], body[0, 0]),
            roll_rad=math.atan2(body[2, 1], body[2, 2]),
            forward_m=forward_m,
            left_m=left_m,
        )

    @property
    def position_m(self) -> Floats:
        """(3,) of the camera in the vehicle's frame."""
        return np.array([self.forward_m, self.left_m, self.height_m])

    @property
    def vehicle_from_camera(self) -> Floats:
        """(3, 3) rotation of directions from the camera's optical frame into the vehicle's."""
        (cr, sr), (cp, sp), (cy, sy) = (
            (math.cos(angle), math.sin(angle)) for angle in (self.roll_rad, self.pitch_rad, self.yaw_rad)
        )
        roll = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
        pitch = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
        yaw = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
        return np.asarray(yaw @ pitch @ roll @ _VEHICLE_FROM_OPTICAL, np.float64)

    def directions_of(self, rays: Floats) -> Floats:
        """(n, 3) in the vehicle's frame, of (n, 2) rays as of `Intrinsics.rays_of`."""
        return np.asarray(
            np.column_stack([rays, np.ones(len(rays))]) @ self.vehicle_from_camera.T, np.float64
        )


@dataclass(frozen=True, eq=False)
class Calibration:
    """A camera's intrinsics, and its mount where that is known."""

    intrinsics: Intrinsics
    mount: Mount | None = None

    def scaled_to(self, frame_wh: tuple[int, int]) -> Self:
        """As `Intrinsics.scaled_to`."""
        return replace(self, intrinsics=self.intrinsics.scaled_to(frame_wh))

    def ground_of(self, points_uv: Floats, mount: Mount | None = None) -> Floats:
        """Where pixels look at flat ground.

        Args:
            points_uv: (n, 2) pixels.
            mount: that of the moment; the calibration's own without one.

        Returns:
            (n, 2) metres forward and to the left of the reference point; NaN at the horizon and above.

        Raises:
            CalibrationError: if no mount is known.
        """
        mount = self._mount(mount)
        rays = self.intrinsics.rays_of(points_uv)
        directions = mount.directions_of(rays)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            reach = np.where(directions[:, 2] < 0, mount.height_m / -directions[:, 2], np.nan)
            ground = mount.position_m[:2] + reach[:, None] * directions[:, :2]
        ground[~np.isfinite(ground).all(axis=1)] = np.nan
        return np.asarray(ground, np.float64)

    def image_of(self, ground: Floats, mount: Mount | None = None) -> Floats:
        """Pixels at which points of flat ground are seen.

        Args:
            ground: (n, 2) metres forward and to the left of the reference point.
            mount: that of the moment; the calibration's own without one.

        Returns:
            (n, 2) pixels; NaN for what the camera cannot see.

        Raises:
            CalibrationError: if no mount is known.
        """
        mount = self._mount(mount)
        ground = _points(ground, 2)
        from_camera = np.column_stack([ground, np.zeros(len(ground))]) - mount.position_m
        return self.intrinsics.project(from_camera @ mount.vehicle_from_camera)

    def _mount(self, mount: Mount | None) -> Mount:
        chosen = mount or self.mount
        if chosen is None:
            raise CalibrationError("the camera's mount is not known: its height above the ground at least")
        return chosen


def _check_frame(frame_wh: tuple[int, int]) -> None:
    if min(frame_wh) < 1:
        raise CalibrationError(f"its pictures are {frame_wh[0]}x{frame_wh[1]} px; both have to be above 0")


def _points(points: Floats, columns: int) -> Floats:
    return np.ascontiguousarray(points, np.float64).reshape(-1, columns)


def _least_root(polynomial: Polynomial) -> float:
    """The least real root above 0; inf without one."""
    roots = polynomial.trim().roots()
    real = roots.real[(np.abs(roots.imag) < 1e-9) & (roots.real > 0)]
    return float(real.min()) if real.size else math.inf


def _in_words(array: Floats) -> str:
    """Rows by commas."""
    return ", ".join(" ".join(f"{value:g}" for value in row) for row in np.atleast_2d(array))
