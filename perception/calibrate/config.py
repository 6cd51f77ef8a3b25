"""CalibrateConfig and MountConfig: what drivable-calibrate reads, looks for and writes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

from perception.scene.calibration import Mount
from perception.sources.camera import CameraSettings
from perception.system.plugins import Checked

Lens = Literal["pinhole", "wide", "fisheye"]

DICTIONARIES: Final = (
    *(f"{bits}x{bits}_{count}" for bits in (4, 5, 6, 7) for count in (50, 100, 250, 1000)),
    *("aruco_original", "apriltag_16h5", "apriltag_25h9", "apriltag_36h10", "apriltag_36h11"),
)
"""Of markers, as OpenCV names them."""
FEWEST_VIEWS: Final = 10


@dataclass(frozen=True)
class MountSettings(Checked):
    """Where the camera is on the vehicle."""

    height_m: float | None = None
    """Height of the camera above the ground; without it no mount is written."""
    pitch_deg: float = 0.0
    """How far the camera looks down; up is negative."""
    yaw_deg: float = 0.0
    """How far it looks to the left; right is negative."""
    roll_deg: float = 0.0
    """How far its right side is lower; left is negative."""
    forward_m: float = 0.0
    """How far the camera is in front of the vehicle's reference point, base_link."""
    left_m: float = 0.0
    """How far it is to the left of it; right is negative."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        self.mount_at(1.0 if self.height_m is None else self.height_m)
        super().__post_init__()

    @property
    def mount(self) -> Mount | None:
        """None without a height."""
        return None if self.height_m is None else self.mount_at(self.height_m)

    def mount_at(self, height_m: float) -> Mount:
        """With that height."""
        pitch, yaw, roll = (math.radians(it) for it in (self.pitch_deg, self.yaw_deg, self.roll_deg))
        return Mount(height_m, pitch, yaw, roll, self.forward_m, self.left_m)


@dataclass(frozen=True)
class BoardSettings(Checked):
    """The board in the pictures."""

    corners_wh: tuple[int, int]
    """Inner corners of the board, across and down: a board of 10x7 squares has 9x6."""
    board: Literal["chessboard", "charuco"] = "chessboard"
    square_m: float | None = None
    """Side of a square. Intrinsics do not depend on it; of charuco boards its ratio to the markers counts."""
    marker_m: float | None = None
    """Side of a marker, of charuco boards."""
    dictionary: str = "5x5_100"
    """Of the markers, as OpenCV names them, such as 4x4_50 or apriltag_36h11."""
    legacy: bool = False
    """A charuco board as OpenCV before 4.6 made them: with an even number of rows a marker is top left."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if min(self.corners_wh) < 2 or max(self.corners_wh) < 3 or max(self.corners_wh) > 50:
            raise ValueError(
                "corners_wh is {}x{}; a board has 3x2 to 50x50 inner corners".format(*self.corners_wh)
            )
        if self.dictionary not in DICTIONARIES:
            raise ValueError(f"dictionary is {self.dictionary}; known are {', '.join(DICTIONARIES)}")
        if self.board == "chessboard" and (self.marker_m is not None or self.legacy):
            raise ValueError("marker_m and legacy are of charuco boards; add --board charuco")
        if self.board == "charuco" and (self.square_m is None or self.marker_m is None):
            raise ValueError(
                "a charuco board needs the sides of its squares and markers: --square_m, --marker_m"
            )
        for name in ("square_m", "marker_m"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 100:
                raise ValueError(f"{name} is {value:g}; it has to be above 0, in metres")
        if self.marker_m is not None and self.square_m is not None and self.marker_m >= self.square_m:
            raise ValueError(
                f"marker_m is {self.marker_m:g} and square_m {self.square_m:g}; markers are the smaller ones"
            )
        super().__post_init__()


@dataclass(frozen=True)
class OutputSettings(Checked):
    """What is written."""

    out: str = "camera.yaml"
    """File to write: ROS's camera_info as YAML."""
    name: str = "camera"
    """Name of the camera in it."""
    overwrite: bool = False
    """Replace existing files; without it they are kept under other names."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if Path(self.out).suffix.lower() not in (".yaml", ".yml"):
            raise ValueError(f"out is {self.out}; the file's name must end in .yaml")
        if not self.name.isprintable() or any(sign in self.name for sign in ":#'\"{}[]"):
            raise ValueError(f"name is {self.name!r}; letters, digits and dashes are expected")
        super().__post_init__()


@dataclass(frozen=True)
class CalibrateConfig(OutputSettings, MountSettings, BoardSettings):
    """Intrinsics from pictures of a board."""

    source: Annotated[str, "SOURCE"] = ""
    """Pictures of the board: a folder, a glob, a video, or a camera, /dev/video0."""
    lens: Lens = "pinhole"
    """pinhole: distortion plumb_bob. wide: rational_polynomial, for lenses of 90° and more. fisheye:
    equidistant."""
    coverage: Annotated[str, "FILE.png"] | None = None
    """Picture of where corners were seen, and how well they fit; without one OUT's name with .png."""
    views: int = 40
    """How many views to take of a video or a camera; of single pictures all are taken."""
    duration_s: float | None = None
    """Stop looking at a video or a camera after this time."""
    camera: CameraSettings = field(default_factory=CameraSettings)

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if not self.source:
            raise ValueError(
                "no source is named: drivable-calibrate boards/ --corners 9x6, or a video, or /dev/video0"
            )
        if self.views < FEWEST_VIEWS:
            raise ValueError(f"views is {self.views}; at least {FEWEST_VIEWS} are needed")
        if self.duration_s is not None and self.duration_s <= 0:
            raise ValueError(f"duration_s is {self.duration_s:g}; it must be above 0")
        if self.coverage is not None and Path(self.coverage).suffix.lower() != ".png":
            raise ValueError(f"coverage is {self.coverage}; the file's name must end in .png")
        super().__post_init__()

    @property
    def coverage_file(self) -> Path:
        """Where the picture goes."""
        return Path(self.coverage or Path(self.out).with_suffix(".png"))


@dataclass(frozen=True)
class RoadPicture(Checked):
    """What the mount is taken from."""

    camera: Annotated[str, "CAMERA.yaml"]
    """File with the camera's intrinsics."""
    picture: Annotated[str, "ROAD.jpg"]
    """Picture of a straight, level road, taken from a lane, in its direction."""


@dataclass(frozen=True)
class MountConfig(OutputSettings, RoadPicture):
    """The mount, from one picture of a straight, level road."""

    out: str = "mounted.yaml"
    """File to write: CAMERA's content with the mount."""
    height_m: float | None = None
    """Height of the camera above the ground, where it was measured."""
    lane_width_m: float | None = None
    """Width of the lane, from the middle of one marking to the middle of the other, for the height to follow
    from; lanes of US highways are 3.66 m wide."""
    roll_deg: float = 0.0
    """How far the camera's right side is lower: one picture does not show it."""
    forward_m: float = 0.0
    """How far the camera is in front of the vehicle's reference point, base_link."""
    left_m: float = 0.0
    """How far it is to the left of it; right is negative."""
    left_line: tuple[float, float, float, float] | None = None
    """Two points of the lane's left marking, u1,v1,u2,v2 in pixels; without, markings are looked for."""
    right_line: tuple[float, float, float, float] | None = None
    """The same of its right marking."""
    check: Annotated[str, "FILE.png"] | None = None
    """Picture of what was found, with the distance in metres; without one OUT's name with .png."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if self.height_m is None and self.lane_width_m is None:
            raise ValueError("the scale is not known: --height or --lane_width is expected, in metres")
        if self.lane_width_m is not None and not 1 <= self.lane_width_m <= 20:
            raise ValueError(f"lane_width_m is {self.lane_width_m:g}; it has to be from 1 to 20 m")
        if (self.left_line is None) != (self.right_line is None):
            raise ValueError("left_line and right_line belong together; name both or none")
        if self.check is not None and Path(self.check).suffix.lower() != ".png":
            raise ValueError(f"check is {self.check}; the file's name must end in .png")
        self.mount_of(self.height_m or 1.0, 0.0, 0.0)
        super().__post_init__()

    def mount_of(self, height_m: float, pitch_rad: float, yaw_rad: float) -> Mount:
        """With what the settings give."""
        roll_rad = math.radians(self.roll_deg)
        return Mount(height_m, pitch_rad, yaw_rad, roll_rad, self.forward_m, self.left_m)

    @property
    def check_file(self) -> Path:
        """Where the picture goes."""
        return Path(self.check or Path(self.out).with_suffix(".png"))
