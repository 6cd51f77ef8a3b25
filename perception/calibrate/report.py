"""What the command says of a calibration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from perception.calibrate.cells import covered_share
from perception.calibrate.config import FEWEST_VIEWS
from perception.calibrate.coverage import ENOUGH, as_text, corners_of
from perception.calibrate.fit import OUTLIER, Fit
from perception.calibrate.road_mount import RoadMount
from perception.calibrate.views import Views
from perception.scene.calibration import Mount

_LISTED = 8


def too_few(source: str, views: Views, board: str) -> str:
    """The line that refuses fewer than ten good views."""
    line = (
        f"{source}: {len(views.good)} good views in {views.looked_at} pictures, and at least {FEWEST_VIEWS} "
        f"are needed, of a {board}"
    )
    if views.are_of_video:
        return f"{line}; hold the board still for half a second in every place"
    return f"{line}; without: {_listed(views.without)}" if views.without else line


def lines_of(fitted: Fit, views: Views) -> list[str]:
    """Lines for standard output."""
    intrinsics = fitted.intrinsics
    width, height = intrinsics.frame_wh
    (fx, fy), (cx, cy) = intrinsics.focal_px, intrinsics.centre_px
    lines = [
        f"{len(views.good)} views taken from {views.looked_at} pictures of {width}x{height}"
        if views.are_of_video
        else f"{len(views.good)} of {views.looked_at} pictures of {width}x{height} show the board"
    ]
    if views.without:
        lines.append(f"without: {_listed(views.without)}")
    if views.resized:
        sizes = {name: f"{size[0]}x{size[1]}" for name, size in views.resized.items()}
        lines.append(f"of another size, scaled: {_listed(sizes)}")
    lines += [
        f"left out, as it fits {OUTLIER:g} times worse than the median: {each.view.name} "
        f"(rms {each.rms_px:.2f} px)"
        for each in fitted.dropped
    ]
    sigma = fitted.sigma_px
    lines += [
        f"rms {fitted.rms_px:.2f} px over {len(fitted.views)} views",
        *(
            f"{name} {value:.2f} px, sigma {one:.2f}"
            for name, value, one in zip(("fx", "fy", "cx", "cy"), (fx, fy, cx, cy), sigma, strict=True)
        ),
        f"{intrinsics.distortion_model} {' '.join(f'{value:.4f}' for value in intrinsics.distortion)}",
        "covariance of fx, fy, cx, cy, px²:",
        *("  " + " ".join(f"{value:10.4f}" for value in row) for row in fitted.covariance),
        "views, rms in px, tilt:",
        *(f"  {each.view.name}  {each.rms_px:.2f}  {each.tilt_deg:.0f}°" for each in fitted.views),
    ]
    share = covered_share(corners_of(fitted.views), intrinsics.frame_wh)
    lines += [
        f"coverage {share:.0%} of the picture:",
        *(f"  {row}" for row in as_text(fitted.views, intrinsics.frame_wh)),
    ]
    if share < ENOUGH:
        lines.append(
            "the lens is not known where no corner was seen: hold the board into the corners and edges of "
            "the picture too"
        )
    return lines


def mount_line(mount: Mount) -> str:
    """The mount in one line."""
    angles = ", ".join(
        f"{name} {math.degrees(angle):.2f}°"
        for name, angle in (("pitch", mount.pitch_rad), ("yaw", mount.yaw_rad), ("roll", mount.roll_rad))
    )
    return (
        f"mount: height {mount.height_m:.3f} m, {angles}, forward {mount.forward_m:g} m, "
        f"left {mount.left_m:g} m"
    )


def road_lines(found: RoadMount) -> list[str]:
    """Lines for standard output of a mount from a road."""
    sigmas = [math.degrees(sigma) for sigma in (found.pitch_sigma_rad, found.yaw_sigma_rad)]
    lines = [
        mount_line(found.mount),
        f"sigma of pitch {sigmas[0]:.2f}°, of yaw {sigmas[1]:.2f}°, by the lines alone: a slope adds to it",
    ]
    if found.lane_width_m is not None and found.offset_left_m is not None:
        side = "left" if found.offset_left_m >= 0 else "right"
        lines.append(
            f"lane {found.lane_width_m:.2f} m wide, the camera {abs(found.offset_left_m):.2f} m "
            f"to the {side} of its middle"
        )
    return lines


def notes_of(version: str, source: str, fitted: Fit) -> Sequence[str]:
    """Comments for the top of the file."""
    sigma = fitted.sigma_px
    return (
        f"drivable-calibrate {version}: {len(fitted.views)} views of {source}, rms {fitted.rms_px:.3f} px",
        f"sigma of fx, fy, cx, cy: {', '.join(f'{one:.3f}' for one in sigma)} px",
    )


def _listed(reasons: Mapping[str, str]) -> str:
    named = [f"{name} ({why})" for name, why in list(reasons.items())[:_LISTED]]
    more = len(reasons) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
