"""The camera of the built-in drive, and painting of the surfaces that it sees: ground, walls, sprites.

A pinhole camera over a curved road that is flat across: at distance z the road has moved `grid_x` sideways
and `grid_y` up from the tangent at the camera. So each image row below the horizon, and each column of a
wall, has one z.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.labels import BACKGROUND
from perception.synthetic.textures import (
    GROUND_LEFT_M,
    GROUND_LENGTH_M,
    GROUND_STEP_M,
    WALL_LENGTH_M,
    WALL_STEP_M,
)
from perception.synthetic.world import World

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]
Places = NDArray[np.float64 | np.float32]
Haze = tuple[Floats, float]
"""Its colour, and the distance in metres over which it takes over."""

SHIFT = 4  # polygons carry this many bits below the pixel
NEAR_M, FAR_M = 0.9, 400.0
LIMIT_PX = 16000.0  # OpenCV's fixed point ends at 32767
GLOW_PX = 48


class View:
    """Position and direction of the camera at one moment.

    Attributes:
        grid_z, grid_x, grid_y: (n,) metres; the road ahead, see the module docstring.
        grid_v: (n,) image row of the road at `grid_z`; crests hide the road behind them.
    """

    def __init__(self, world: World, time_s: float, frame_wh: tuple[int, int]) -> None:
        self.width, self.height = frame_wh
        pitch_rad, self.roll_rad = world.shake_rad(time_s)
        self.roll_rad += world.roll_rad
        self.f = world.focal_per_width * self.width
        self.cx = (self.width - 1) / 2 + self.f * world.yaw_rad
        self.cy = (self.height - 1) * world.horizon_share + self.f * pitch_rad
        self.h = world.camera_height_m
        self.s_m = world.travelled_m(time_s)
        self.d_m = world.camera_d_m(time_s)
        across_mps = (world.camera_d_m(time_s + 0.1) - world.camera_d_m(time_s - 0.1)) / 0.2
        heading_rad = across_mps / world.speed_mps
        self.panorama_rad = world.plan.slope(self.s_m) + heading_rad
        self.grid_z = np.geomspace(NEAR_M, FAR_M, 140)
        self.grid_x = world.plan.offset(self.s_m, self.grid_z) - heading_rad * self.grid_z
        self.grid_y = world.profile.offset(self.s_m, self.grid_z)
        rows = self.cy + self.f * (self.h - self.grid_y) / self.grid_z
        self.grid_v = np.minimum.accumulate(rows)
        self.ground_top = min(max(math.ceil(float(self.grid_v[-1])), 0), self.height - 1)

    def project(self, d_m: Floats | float, y_m: Floats | float, z_m: Floats) -> Floats:
        """Image (..., 2) of points `d_m` across, `y_m` above and `z_m` along the road, z held above 0.3 m."""
        z = np.maximum(z_m, NEAR_M / 3)
        side, up = np.interp(z, self.grid_z, self.grid_x), np.interp(z, self.grid_z, self.grid_y)
        u = self.cx + self.f * (d_m - self.d_m + side) / z
        v = self.cy + self.f * (self.h - up - y_m) / z
        return np.asarray(np.clip(np.stack([u, v], axis=-1), -LIMIT_PX, LIMIT_PX), dtype=np.float64)

    def road_strip(self, left_m: float, right_m: float, near_m: float, far_m: float) -> Floats:
        """Polygon (n, 2) in the image of the road between two lines, hidden where a crest hides it."""
        inside = (self.grid_z > near_m) & (self.grid_z < far_m)
        z = np.concatenate([[near_m], self.grid_z[inside][::2], [far_m]])
        side = np.interp(z, self.grid_z, self.grid_x)
        v = np.interp(1.0 / z[::-1], 1.0 / self.grid_z[::-1], self.grid_v[::-1])[::-1]
        left = self.cx + self.f * (left_m - self.d_m + side) / z
        right = self.cx + self.f * (right_m - self.d_m + side) / z
        strip = np.concatenate([np.stack([left, v], axis=1), np.stack([right, v], axis=1)[::-1]])
        return np.asarray(np.clip(strip, -LIMIT_PX, LIMIT_PX), dtype=np.float64)

    def row_z(self) -> Floats:
        """Distance of the ground in every row from `ground_top` down, in metres."""
        rows = np.arange(self.ground_top, self.height, dtype=np.float64)
        return np.asarray(1.0 / np.interp(rows, self.grid_v[::-1], 1.0 / self.grid_z[::-1]), dtype=np.float64)


def fixed(points: Floats) -> NDArray[np.int32]:
    """Points in OpenCV's fixed point with SHIFT bits."""
    return np.rint(points * (1 << SHIFT)).astype(np.int32)


def fill(image: Image, polygons: Sequence[Floats], colour: Sequence[float], smooth: bool = True) -> None:
    """Fill polygons that do not overlap, in place; `smooth` blends their edges."""
    if polygons:
        kind = cv2.LINE_AA if smooth else cv2.LINE_8
        cv2.fillPoly(image, [fixed(polygon) for polygon in polygons], tuple(colour), kind, SHIFT)


def ground_pyramid(texture: Image) -> list[Image]:
    """Coarser and coarser copies, faster along than across, each with one row wrapped at both ends."""
    levels = []
    for level in range(4):
        height, width = texture.shape[0] // 4**level, texture.shape[1] // 2**level
        small = cv2.resize(texture, (width, height), interpolation=cv2.INTER_AREA)
        levels.append(np.ascontiguousarray(np.concatenate([small[-1:], small, small[:1]]), dtype=np.uint8))
    return levels


def sampled(texture: Image, map_x: Places, map_y: Places, border: int = cv2.BORDER_REPLICATE) -> Image:
    """The texture at (H, W) places; one row or column of them does for all."""
    x, y = (np.ascontiguousarray(each, np.float32) for each in np.broadcast_arrays(map_x, map_y))
    return np.asarray(cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=border), np.uint8)


def paint_ground(image: Image, view: View, row_z: Floats, pyramid: list[Image]) -> None:
    """Paint the ground from `view.ground_top` down, each band of rows from the level that fits it."""
    step_along = row_z**2 / (view.f * view.h)
    level_of_row = np.clip(
        np.ceil(np.log2(np.maximum(step_along * 0.6 / GROUND_STEP_M, 0.1)) / 2), 0, 3
    ).astype(int)
    side = np.interp(row_z, view.grid_z, view.grid_x)
    columns = np.arange(view.width, dtype=np.float32)[None]
    # d = camera + (u - cx) z / f - side, so a row's texture column is linear in u
    slope = (row_z / view.f).astype(np.float32)[:, None]
    base = (view.d_m - side - view.cx * row_z / view.f - GROUND_LEFT_M).astype(np.float32)[:, None]
    along = np.mod(view.s_m + row_z, GROUND_LENGTH_M)
    for level, texture in enumerate(pyramid):
        rows = np.flatnonzero(level_of_row == level)
        if rows.size == 0:
            continue
        first, last = int(rows[0]), int(rows[-1]) + 1
        per_m = 1.0 / (GROUND_STEP_M * 2**level)
        map_x = columns * (slope[first:last] * per_m) + (base[first:last] * per_m - 0.5)
        map_y = (along[first:last] / (GROUND_STEP_M * 4**level) + 0.5)[:, None]
        target = image[view.ground_top + first : view.ground_top + last]
        target[:] = sampled(texture, map_x, map_y)


def paint_shade(view: View, row_z: Floats, texture: Image) -> Image:
    """Tree and bridge shadows on the ground rows, (rows, W) grey; at half resolution, shadows are soft."""
    half_wh = (max(1, view.width // 2), max(1, len(row_z) // 2))
    pick = np.linspace(0, len(row_z) - 1, half_wh[1]).astype(int)
    z = row_z[pick]
    side = np.interp(z, view.grid_z, view.grid_x)
    columns = np.linspace(0, view.width - 1, half_wh[0], dtype=np.float32)[None]
    step_m = GROUND_LENGTH_M / texture.shape[0]
    base = ((view.d_m - side - view.cx * z / view.f - GROUND_LEFT_M) / step_m).astype(np.float32)[:, None]
    map_x = columns * (z / view.f / step_m).astype(np.float32)[:, None] + base
    small = sampled(texture, map_x, (np.mod(view.s_m + z, GROUND_LENGTH_M) / step_m)[:, None])
    return np.asarray(
        cv2.resize(small, (view.width, len(row_z)), interpolation=cv2.INTER_LINEAR), dtype=np.uint8
    )


def wall_pyramid(texture: Image) -> list[Image]:
    """The wall and a copy four times coarser along it, each closed at its ends."""
    coarse = cv2.resize(texture, (texture.shape[1] // 4, texture.shape[0]), interpolation=cv2.INTER_AREA)
    return [
        np.ascontiguousarray(np.concatenate([t, t[:, :1]], axis=1), dtype=np.uint8) for t in (texture, coarse)
    ]


def paint_wall(
    image: Image, class_map: Image, view: View, d_m: float, pyramid: list[Image], haze: Haze
) -> None:
    """Paint an upright surface that follows the road at `d_m` across; what it covers becomes background."""
    sign = 1.0 if d_m > view.d_m else -1.0
    inverse = 1.0 / view.grid_z
    u = sign * (view.cx + view.f * (d_m - view.d_m + view.grid_x) * inverse)
    u = np.minimum.accumulate(u)  # a bend can hide the far part of a wall behind its near part
    bounds = (0.0, view.width - 1.0) if sign > 0 else (1.0 - view.width, 0.0)
    columns = np.arange(math.ceil(max(float(u[-1]), bounds[0])), math.floor(min(float(u[0]), bounds[1])) + 1)
    if columns.size == 0:
        return
    z = 1.0 / np.interp(columns, u[::-1], inverse[::-1])
    if sign < 0:
        columns, z = -columns[::-1], z[::-1]
    up = np.interp(z, view.grid_z, view.grid_y)
    tall_m = pyramid[0].shape[0] * WALL_STEP_M
    foot = view.cy + view.f * (view.h - up) / z
    top = max(0, math.floor(float(np.min(foot - view.f * tall_m / z))))
    bottom = min(view.height, math.ceil(float(np.max(foot))) + 1)
    is_far = z**2 > 0.3 * view.f * max(abs(d_m - view.d_m), 1.0)
    for level, chosen in enumerate((~is_far, is_far)):
        picked = np.flatnonzero(chosen)
        if picked.size == 0 or bottom <= top:
            continue
        part = slice(int(picked[0]), int(picked[-1]) + 1)
        left = int(columns[part][0])
        rows = np.arange(top, bottom, dtype=np.float32)[:, None]
        step = view.f * WALL_STEP_M
        scale = (z[part] / step).astype(np.float32)
        offset = (pyramid[0].shape[0] - 0.5 - foot[part] * z[part] / step).astype(np.float32)
        along = np.mod(view.s_m + z[part], WALL_LENGTH_M) / (WALL_STEP_M * 4**level)
        seen = sampled(pyramid[level], along, rows * scale + offset, cv2.BORDER_CONSTANT)
        if level == 1:
            haze_bgr, visibility_m = haze
            share = (1.0 - np.exp(-z[part] / visibility_m)).astype(np.float32)[None, :, None]
            seen[..., :3] = seen[..., :3] * (1 - share) + haze_bgr.astype(np.float32) * share
        paste(image, class_map, seen, left, top)


def paste(image: Image, class_map: Image, bgra: Image, left: int, top: int) -> None:
    """Put the opaque part of `bgra` on the image, and BACKGROUND on the class map; it must lie inside."""
    height, width = bgra.shape[:2]
    _, mask = cv2.threshold(cv2.extractChannel(bgra, 3), 127.0, 255.0, cv2.THRESH_BINARY)
    cv2.copyTo(cv2.cvtColor(bgra, cv2.COLOR_BGRA2BGR), mask, image[top : top + height, left : left + width])
    class_map[top : top + height, left : left + width][mask > 0] = BACKGROUND


def paint_sprite(
    image: Image, class_map: Image, pyramid: list[Image], foot_uv: Floats, tall_px: float, wide_px: float
) -> None:
    """Paint a standing BGRA picture whose bottom middle is at `foot_uv`."""
    left, top = float(foot_uv[0]) - wide_px / 2, float(foot_uv[1]) - tall_px
    x0, y0 = max(0, math.floor(left)), max(0, math.floor(top))
    x1, y1 = min(image.shape[1], math.ceil(left + wide_px)), min(image.shape[0], math.ceil(top + tall_px))
    if x1 <= x0 or y1 <= y0:
        return
    fits = [sprite for sprite in pyramid if sprite.shape[0] < 1.7 * tall_px]
    sprite = fits[0] if fits else pyramid[-1]
    scale_x, scale_y = sprite.shape[1] / wide_px, sprite.shape[0] / tall_px
    source_from_target = np.array([[scale_x, 0, (x0 - left) * scale_x], [0, scale_y, (y0 - top) * scale_y]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = cv2.warpAffine(sprite, source_from_target, (x1 - x0, y1 - y0), flags=flags)
    paste(image, class_map, np.asarray(seen, np.uint8), x0, y0)


def sprite_pyramid(sprite: Image) -> list[Image]:
    """The sprite at full, half, quarter and eighth size."""
    height, width = sprite.shape[:2]
    sizes = [(width >> k, height >> k) for k in range(4)]
    return [np.asarray(cv2.resize(sprite, wh, interpolation=cv2.INTER_AREA), dtype=np.uint8) for wh in sizes]


def make_glow() -> NDArray[np.float32]:
    """A round falling light, (GLOW_PX, GLOW_PX), 1 in the middle."""
    axis = np.linspace(-1, 1, GLOW_PX, dtype=np.float32)
    radius = np.hypot(axis[None], axis[:, None])
    light = 0.75 * np.exp(-((radius / 0.14) ** 2)) + 0.32 * np.exp(-((radius / 0.4) ** 2))
    return np.asarray(light * np.clip(1.0 - radius, 0, 1), dtype=np.float32)


def add_glow(image: Image, glow: Image, middle_uv: Floats, wide_px: float, tall_px: float) -> None:
    """Add the light `glow` (BGR) around a point, stretched to the given size."""
    width, height = max(3, round(wide_px)), max(3, round(tall_px))
    left, top = round(float(middle_uv[0]) - width / 2), round(float(middle_uv[1]) - height / 2)
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(image.shape[1], left + width), min(image.shape[0], top + height)
    if x1 <= x0 or y1 <= y0 or width > 2 * image.shape[1]:
        return
    light = cv2.resize(glow, (width, height), interpolation=cv2.INTER_LINEAR)
    part = image[y0:y1, x0:x1]
    part[:] = cv2.add(part, light[y0 - top : y1 - top, x0 - left : x1 - left])
