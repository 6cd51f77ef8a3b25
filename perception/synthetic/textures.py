"""Surfaces of the built-in drive, made once from a seed: ground, walls along the road, trees, sky, bonnet.

All textures are for full daylight; the renderer darkens them. BGRA where something must be see-through.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from perception.synthetic.vehicles import Bgr
from perception.synthetic.world import Road, Scene

Image = NDArray[np.uint8]
Floats32 = NDArray[np.float32]

GROUND_LEFT_M, GROUND_RIGHT_M, GROUND_LENGTH_M = -24.0, 26.0, 48.0
GROUND_STEP_M = 0.06
WALL_LENGTH_M, WALL_STEP_M = 96.0, 0.12
SKY_WH = (1024, 300)
SKY_HORIZON_PX = 250  # row of the horizon in the sky texture; below it is far land
VERGES_BGR: list[Bgr] = [(45, 95, 85), (55, 110, 105), (70, 105, 120), (75, 115, 145)]
LEAVES_BGR: list[Bgr] = [(35, 80, 62), (40, 95, 85), (45, 85, 60), (50, 100, 130), (45, 70, 70)]
PLASTER_BGR: list[Bgr] = [
    (70, 85, 140), (110, 130, 150), (165, 180, 190), (95, 100, 105), (60, 70, 95), (150, 160, 175),
]  # fmt: skip


def noise(rng: np.random.Generator, shape_hw: tuple[int, int], cell_px: tuple[int, int]) -> Floats32:
    """Smooth noise of about unit deviation, features of `cell_px` (rows, columns); wraps both ways."""
    height, width = shape_hw
    small = rng.standard_normal((max(2, height // cell_px[0]), max(2, width // cell_px[1])), dtype=np.float32)
    wrapped = np.pad(small, 1, mode="wrap")
    step_y, step_x = height / small.shape[0], width / small.shape[1]
    wide_wh = round(width + 2 * step_x), round(height + 2 * step_y)
    big = cv2.resize(wrapped, wide_wh, interpolation=cv2.INTER_LINEAR)
    top, left = round(step_y), round(step_x)
    return np.asarray(big[top : top + height, left : left + width], dtype=np.float32)


def to_image(values: MatLike) -> Image:
    return np.clip(values, 0, 255).astype(np.uint8)


def _pick(rng: np.random.Generator, colours: Sequence[Bgr]) -> Bgr:
    return colours[int(rng.integers(len(colours)))]


def tint(rng: np.random.Generator, bgr: Bgr, spread: float) -> Floats32:
    """`bgr` a little brighter or darker and a little off in colour."""
    return np.asarray(
        np.asarray(bgr) * rng.uniform(1 - spread, 1 + spread) * rng.uniform(0.95, 1.05, 3), np.float32
    )


def ground_texture(rng: np.random.Generator, road: Road, wet: float) -> Image:
    """The ground from above without marks: rows along the road, columns across, GROUND_STEP_M a pixel."""
    height = round(GROUND_LENGTH_M / GROUND_STEP_M)
    width = round((GROUND_RIGHT_M - GROUND_LEFT_M) / GROUND_STEP_M)
    d_m = GROUND_LEFT_M + (np.arange(width, dtype=np.float32) + 0.5) * GROUND_STEP_M
    fine, grain = noise(rng, (height, width), (1, 1)), noise(rng, (height, width), (3, 3))
    blotch, wide = noise(rng, (height, width), (16, 12)), noise(rng, (height, width), (80, 50))

    grass = 0.12 * fine + 0.12 * grain + 0.14 * blotch + 0.1 * wide
    image = (1.0 + grass)[..., None] * tint(rng, _pick(rng, VERGES_BGR), 0.15)

    level = float(rng.uniform(82, 135)) * (1 - 0.3 * wet)
    asphalt_bgr = tint(rng, (level * 1.03, level, level * 0.98), 0.04)
    rough = float(rng.uniform(0.5, 1.6))
    detail = rough * (0.03 * fine + 0.025 * grain + 0.02 * blotch + 0.025 * wide)
    lane = (d_m / road.lane_width_m) % 1.0
    wear = np.exp(-(((lane - 0.26) / 0.08) ** 2)) + np.exp(-(((lane - 0.74) / 0.08) ** 2))
    oil = np.exp(-(((lane - 0.5) / 0.1) ** 2))
    profile = 1.0 + float(rng.uniform(-0.07, 0.08)) * wear - float(rng.uniform(0.0, 0.09)) * oil
    asphalt = (1.0 + detail)[..., None] * asphalt_bgr * profile[None, :, None]
    cut_patches(rng, asphalt, road)
    paved = (d_m > road.paved_left_m) & (d_m < road.paved_right_m)
    image[:, paved] = asphalt[:, paved]

    if road.divider == "median":
        median = (d_m < 0.0) & (d_m > road.oncoming_right_m)
        if rng.random() < 0.5:
            image[:, median] = (1.0 + 0.4 * grass[:, median])[..., None] * tint(rng, (120, 125, 130), 0.1)
    if road.walk_m > 0.0:
        lay_walk(rng, image, d_m, road, detail)
    return to_image(image)


def cut_patches(rng: np.random.Generator, asphalt: Floats32, road: Road) -> None:
    """Repair patches, cracks and filled seams, drawn into `asphalt` in place."""
    height, width = asphalt.shape[:2]
    for _ in range(int(rng.integers(0, 9))):
        rows, columns = int(rng.uniform(20, 110)), int(rng.uniform(12, 55))
        top, left = int(rng.integers(height - rows)), int(rng.integers(width - columns))
        asphalt[top : top + rows, left : left + columns] *= float(rng.choice([0.8, 0.87, 1.08]))
    for _ in range(int(rng.integers(0, 45))):
        steps = rng.normal(0.0, 6.0, (10, 2)) + rng.normal(0.0, 5.0, 2)
        points = np.cumsum(np.vstack([rng.uniform((0, 0), (width, height)), steps]), axis=0)
        dark = asphalt[0, 0] * float(rng.uniform(0.5, 0.75))
        cv2.polylines(asphalt, [points.astype(np.int32)], False, dark.tolist(), 1, cv2.LINE_AA)
    if rng.random() < 0.5:  # a tar seam along each lane border
        for lane in range(-road.oncoming_lanes, road.lanes + 1):
            column = round((lane * road.lane_width_m + 0.2 - GROUND_LEFT_M) / GROUND_STEP_M)
            if 0 <= column < width - 1:
                asphalt[:, column : column + 2] *= 0.8
    if rng.random() < 0.3:  # concrete slabs
        for row in range(0, height, round(6.0 / GROUND_STEP_M)):
            asphalt[row : row + 2] *= 0.75


def lay_walk(rng: np.random.Generator, image: Floats32, d_m: Floats32, road: Road, detail: Floats32) -> None:
    """Sidewalks with kerbs and slab joints, drawn into `image` in place."""
    walk_bgr = tint(rng, (150, 155, 160), 0.15)
    for beyond_m in (d_m - road.paved_right_m, road.paved_left_m - d_m):
        walk = (beyond_m > 0.0) & (beyond_m < road.walk_m)
        strip = (1.0 + detail[:, walk])[..., None] * walk_bgr
        strip[:: round(1.5 / GROUND_STEP_M)] *= 0.8
        image[:, walk] = strip
        image[:, (beyond_m > 0.0) & (beyond_m < 0.2)] *= 1.12
        image[:, (beyond_m > -0.25) & (beyond_m <= 0.0)] *= 0.72


def shade_texture(rng: np.random.Generator, strength: float) -> Image:
    """Shadows of trees and of a bridge on the road, (rows along, columns across) grey; 255 is full light."""
    shape_hw = (round(GROUND_LENGTH_M / 0.2), round((GROUND_RIGHT_M - GROUND_LEFT_M) / 0.2))
    crowns = np.zeros(shape_hw, np.float32)
    side = float(rng.choice([-1, 1]))
    for _ in range(int(rng.integers(3, 11))):
        row = float(rng.uniform(10, shape_hw[0] - 10))
        column = shape_hw[1] * (0.5 + side * float(rng.uniform(-0.2, 0.45)))
        axes = (int(rng.uniform(15, 50)), int(rng.uniform(8, 22)))
        cv2.ellipse(crowns, (int(column), int(row)), axes, float(rng.uniform(-25, 25)), 0, 360, (1.0,), -1)
    leaves = 0.8 * noise(rng, shape_hw, (3, 3)) + 0.6 * noise(rng, shape_hw, (9, 9))
    dark = cv2.GaussianBlur(crowns, (0, 0), 3.0) * np.clip(0.85 + 0.4 * leaves, 0, 1)
    for _ in range(int(rng.integers(0, 3))):  # poles, walls, bridges: hard edges straight across
        row = int(rng.integers(0, shape_hw[0] - 40))
        dark[row : row + int(rng.choice([2, 3, 30]))] = 1.0
    return to_image(255.0 * (1.0 - strength * cv2.GaussianBlur(np.clip(dark, 0, 1), (0, 0), 0.8)))


def facade_wall(rng: np.random.Generator, is_night: bool) -> Image:
    """Houses side by side with windows and shops. BGRA, top row first, `WALL_STEP_M` a pixel."""
    height, width = round(24.0 / WALL_STEP_M), round(WALL_LENGTH_M / WALL_STEP_M)
    wall = np.zeros((height, width, 4), np.float32)
    left = 0
    while left < width:
        right = min(width, left + int(rng.uniform(7, 20) / WALL_STEP_M))
        top = int(rng.uniform(0.0, 0.68) * height)
        tone = tint(rng, _pick(rng, PLASTER_BGR), 0.25)
        wall[top:, left:right, :3] = tone
        wall[top : top + 5, left:right, :3] = tone * 0.65
        wall[top:, left : left + 2, :3] = tone * 0.7
        wall[top:, left:right, 3] = 255
        pitch_x, pitch_y = int(rng.uniform(2.0, 3.6) / WALL_STEP_M), int(rng.uniform(2.8, 3.6) / WALL_STEP_M)
        pane_x, pane_y = int(pitch_x * rng.uniform(0.4, 0.75)), int(pitch_y * rng.uniform(0.4, 0.6))
        for y in range(height - pitch_y - 30, top + 6, -pitch_y):
            for x in range(left + 6, right - pane_x - 3, pitch_x):
                lit = is_night and rng.random() < 0.22
                pane = (
                    np.array((150, 225, 255)) * 1.6 if lit else np.array((75, 65, 55)) * rng.uniform(0.6, 1.9)
                )
                wall[y : y + pane_y, x : x + pane_x, :3] = pane
                wall[y + pane_y : y + pane_y + 2, x : x + pane_x, :3] = tone * 1.2
        shop = np.asarray(rng.uniform(30, 110) * rng.uniform(0.6, 1.3, 3), np.float32)
        wall[height - 28 :, left:right, :3] = shop * 0.5
        wall[height - 34 : height - 28, left:right, :3] = shop * (2.2 if is_night else 1.5)
        for x in range(left + 5, right - 22, 28):
            wall[height - 24 : height - 4, x : x + 19, :3] = np.asarray(
                (120, 190, 225) if is_night else (80, 72, 60)
            )
        left = right + (int(rng.uniform(1, 5) / WALL_STEP_M) if rng.random() < 0.2 else 0)
    wall[..., :3] *= (
        1.0 + 0.05 * noise(rng, (height, width), (2, 2)) + 0.05 * noise(rng, (height, width), (20, 20))
    )[..., None]
    return to_image(wall)


def foliage(
    rng: np.random.Generator,
    canvas: Floats32,
    middle_xy: tuple[float, float],
    reach_xy: tuple[float, float],
    leaf_bgr: Floats32,
) -> None:
    """A clump of leaves on a BGRA canvas, in place: darker below and inside, brighter on top."""
    for k in range(30):
        depth = k / 30
        angle, out = float(rng.uniform(0, 6.283)), 0.8 * float(rng.uniform(0, 1)) ** 0.6
        x = middle_xy[0] + out * float(np.cos(angle)) * reach_xy[0]
        y = middle_xy[1] + (out * float(np.sin(angle)) - depth * 0.15) * reach_xy[1]
        light = (0.5 + 0.6 * depth - 0.25 * (y - middle_xy[1]) / reach_xy[1]) * rng.uniform(0.8, 1.2)
        colour = [*np.clip(leaf_bgr * light, 4, 255).tolist(), 255.0]
        radius = max(1, int(min(reach_xy) * float(rng.uniform(0.1, 0.32))))
        cv2.circle(canvas, (int(x), int(y)), radius, colour, -1)


def leaf_colour(rng: np.random.Generator) -> Floats32:
    return tint(rng, _pick(rng, LEAVES_BGR), 0.2)


def speckle(rng: np.random.Generator, canvas: Floats32, strength: float) -> Image:
    shape_hw = (canvas.shape[0], canvas.shape[1])
    grain = 0.6 * noise(rng, shape_hw, (1, 1)) + 0.6 * noise(rng, shape_hw, (3, 3))
    canvas[..., :3] *= np.clip(1.0 + strength * grain, 0.3, 1.9)[..., None]
    holes = noise(rng, shape_hw, (2, 2)) > 1.9
    canvas[holes, 3] = 0.0
    ragged = cv2.GaussianBlur(canvas[..., 3], (0, 0), 2.5) + 45.0 * grain  # no crown has a smooth outline
    canvas[..., 3] = np.where(ragged > 75.0, canvas[..., 3], 0.0)
    return to_image(canvas)


def tree_wall(rng: np.random.Generator) -> Image:
    """A wood or hedge along the road, seen from the side. BGRA, top row first."""
    height, width = round(11.0 / WALL_STEP_M), round(WALL_LENGTH_M / WALL_STEP_M)
    wall = np.zeros((height, width, 4), np.float32)
    tall = float(rng.uniform(0.3, 0.85))
    leaf_bgr = leaf_colour(rng)
    hedge = int(rng.uniform(0.05, 0.25) * height)
    wall[height - hedge :] = [*(leaf_bgr * 0.5).tolist(), 255.0]
    for x in np.arange(0, width, 17) + rng.uniform(-6, 6, len(range(0, width, 17))):
        size = tall * float(rng.uniform(0.3, 1.0))
        colour = leaf_bgr * float(rng.uniform(0.75, 1.25))
        foliage(rng, wall, (float(x), height * (1 - 0.5 * size)), (16.0, 0.42 * size * height), colour)
    return speckle(rng, wall, 0.3)


def rail_wall(rng: np.random.Generator) -> Image:
    """Guard rail on posts, or a concrete barrier, 1.1 m high. BGRA, top row first, WALL_STEP_M a pixel."""
    height, width = 9, round(WALL_LENGTH_M / WALL_STEP_M)
    wall = np.zeros((height, width, 4), np.float32)
    if rng.random() < 0.5:
        wall[:, :: round(2.0 / WALL_STEP_M)] = (70, 75, 78, 255)
        wall[2:6] = (150, 152, 155, 255)
        wall[3:5, :, :3] *= 0.75
    else:
        wall[1:] = [*tint(rng, (150, 155, 160), 0.15).tolist(), 255.0]
        wall[6:, :, :3] *= 0.8
        wall[:, :: round(6.0 / WALL_STEP_M), :3] *= 0.7
    wall[..., :3] *= (1.0 + 0.06 * noise(rng, (height, width), (2, 6)))[..., None]
    return to_image(wall)


def panel_wall(rng: np.random.Generator) -> Image:
    """A sound wall or a long fence. BGRA, top row first."""
    height, width = round(float(rng.uniform(1.5, 4.5)) / WALL_STEP_M), round(WALL_LENGTH_M / WALL_STEP_M)
    wall = np.zeros((height, width, 4), np.float32)
    wall[:] = [*tint(rng, (125, 140, 155), 0.3).tolist(), 255.0]
    wall[:, :: round(4.0 / WALL_STEP_M), :3] *= 0.7
    wall[:2, :, :3] *= 1.2
    wall[..., :3] *= (1.0 + 0.08 * noise(rng, (height, width), (4, 12)))[..., None]
    return to_image(wall)


def tree_sprite(rng: np.random.Generator) -> Image:
    """One tree, trunk at the middle of the bottom row. (160, 128, 4) BGRA."""
    canvas = np.zeros((160, 128, 4), np.float32)
    lean = int(rng.integers(-6, 7))
    bark = [*tint(rng, (50, 60, 72), 0.3).tolist(), 255.0]
    cv2.line(canvas, (64, 159), (64 + lean, 60), bark, int(rng.integers(4, 9)))
    leaf_bgr = leaf_colour(rng)
    middle_y = float(rng.uniform(45, 65))
    for _ in range(5):
        clump = (64 + lean + float(rng.normal(0, 16)), middle_y + float(rng.normal(0, 13)))
        foliage(rng, canvas, clump, (float(rng.uniform(22, 36)), float(rng.uniform(20, 30))), leaf_bgr)
    return speckle(rng, canvas, 0.35)


def sky_texture(rng: np.random.Generator, scene: Scene, setting: str) -> Image:
    """A panorama with gradient, clouds and a far skyline; wraps around sideways. `SKY_WH`, BGR."""
    width, height = SKY_WH
    rise = np.clip(1.0 - np.arange(height, dtype=np.float32) / SKY_HORIZON_PX, 0, 1)[:, None, None]
    low, top = tint(rng, scene.sky_low_bgr, 0.08), tint(rng, scene.sky_top_bgr, 0.12)
    sky = low + (top - low) * np.sqrt(rise)
    cover = float(np.clip(scene.cloud + rng.uniform(-0.35, 0.35), 0, 1))
    puff = sum(
        noise(rng, (height, width), (cell, 3 * cell)) * weight
        for cell, weight in ((50, 0.6), (20, 0.4), (8, 0.22))
    )
    amount = np.clip((np.asarray(puff) - 0.9 + 1.7 * cover) * 1.1, 0, 1)[..., None] * np.minimum(
        1, 3 * rise + 0.1
    )
    bright = low * (1.12 - 0.35 * cover * amount)
    sky = sky + (bright - sky) * (0.85 * amount)
    skyline = np.abs(noise(rng, (1, width), (1, 90))[0]) * float(rng.uniform(2, 13)) + 1.5
    if setting == "city":
        skyline += np.repeat(rng.uniform(0, 28, width // 16), 16)
    else:
        skyline += np.abs(noise(rng, (1, width), (1, 9))[0]) * 2.5
    land = low * 0.55 + tint(rng, (55, 75, 65), 0.3) * (0.45 * scene.ambient)
    rows = np.arange(height)[:, None]
    sky[rows > SKY_HORIZON_PX - skyline[None]] = land
    if scene.headlights and scene.street_lamps:
        lights = (
            (rng.random((height, width)) < 0.012)
            & (rows > SKY_HORIZON_PX - skyline[None])
            & (rows < SKY_HORIZON_PX)
        )
        sky[lights] = (110, 180, 220)
    return to_image(sky)


def bonnet(rng: np.random.Generator, frame_wh: tuple[int, int], sky_bgr: Bgr, light: float) -> Image | None:
    """The front of our own car as BGRA for the frame's lowest rows, or None when it is out of view."""
    width, height = frame_wh
    share = float(rng.uniform(0.05, 0.19))
    shine, arch, tone = float(rng.uniform(0.15, 0.65)), float(rng.uniform(0.15, 0.6)), rng.uniform(8, 90, 3)
    if rng.random() < 0.3:
        return None
    rows = max(2, round(share * height))
    x = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None]
    y = np.linspace(0.0, 1.0, rows, dtype=np.float32)[:, None]
    depth = y - arch * np.abs(x) ** 2.4
    body = tone.mean() * 0.7 + tone * 0.3
    sheen = shine * np.exp(-(((depth - 0.12) / 0.2) ** 2)) + 0.1 * np.exp(-(((np.abs(x) - 0.45) / 0.03) ** 2))
    dash = 1.0 / (1.0 + np.exp(-(depth - 0.62) * 25.0))
    colour = (1 - dash[..., None]) * (body * light + sheen[..., None] * np.asarray(sky_bgr)) + dash[
        ..., None
    ] * 14.0 * light
    alpha = np.where(depth > 0.0, 255.0, 0.0)[..., None]
    return to_image(np.concatenate([colour, alpha], axis=2).astype(np.float32))
