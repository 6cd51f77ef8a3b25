"""A drive without any file: frames of a rendered road together with their exact class maps.

Per frame: sky, ground with marks and shadows, walls and trees beside the road, vehicles from far to near, our
own bonnet, then what lens and sensor do. The class map is drawn from the same geometry, in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT
from perception.synthetic import textures
from perception.synthetic import view as paint
from perception.synthetic.lens import Lens
from perception.synthetic.traffic import paint_vehicles, shadow_quads
from perception.synthetic.view import View
from perception.synthetic.world import MIXED, SCENES, Scene, Vehicle, World, hash_unit, mixed_hash

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]

MIXED_SCENE_S = 6.0
VEHICLE_FAR_M = 170.0
MARK_FAR_M = 110.0
DRIVABLE_FAR_M = 75.0  # annotators of BDD100K stop about here on a flat road by day
TREE_CELL_M, POLE_CELL_M, POST_CELL_M, CROSSING_CELL_M = 9.0, 34.0, 25.0, 90.0


def drivable_far_m(scene: Scene) -> float:
    """How far ahead the class map has drivable area."""
    return min(DRIVABLE_FAR_M, 0.55 * scene.visibility_m)


class DriveRenderer:
    """Frames of one drive; any frame can be rendered at any time, with the same bytes every time.

    Args:
        scene: a name of `SCENES`.
        frame_wh: width and height of the frames, in pixels.
        rate_hz: frames per second; frame `i` shows the drive at `i / rate_hz` seconds.
        seed: another seed is another road, traffic and camera.
        stands_ahead_m: distance in our lane of a vehicle that stands there at a time in seconds, besides the
            traffic, or None for none: an obstacle that appears and disappears at once.

    Raises:
        ValueError: if `scene` is not known.
    """

    def __init__(
        self,
        scene: str = "mixed",
        frame_wh: tuple[int, int] = (640, 360),
        rate_hz: float = 30.0,
        seed: int = 0,
        stands_ahead_m: Callable[[float], float | None] | None = None,
    ) -> None:
        if scene not in SCENES:
            raise ValueError(f"unknown scene {scene!r}; known: {', '.join(SCENES)}")
        names = MIXED if scene == "mixed" else (scene,)
        self._names = names
        self._frame_wh = frame_wh
        self._rate_hz = rate_hz
        self._seed = seed
        self._stands_ahead_m = stands_ahead_m
        self._stages: dict[int, _Stage] = {}
        self._stage(0)

    def render(self, frame_id: int) -> tuple[Image, Image]:
        """(H, W, 3) BGR image and (H, W) exact class map of frame `frame_id` (time = frame_id / rate_hz)."""
        time_s = frame_id / self._rate_hz
        ahead_m = self._stands_ahead_m(time_s) if self._stands_ahead_m else None
        return self._stage(int(time_s // MIXED_SCENE_S) % len(self._names)).render(time_s, frame_id, ahead_m)

    def bonnet(self, frame_id: int) -> NDArray[np.bool_]:
        """(H, W) bool, where frame `frame_id` shows our own bonnet."""
        return self._stage(int(frame_id / self._rate_hz // MIXED_SCENE_S) % len(self._names)).bonnet()

    def road_seed(self, scene: str) -> int:
        """Seed of the `World` that this drive shows in a scene."""
        return mixed_hash(self._seed, list(SCENES).index(scene))

    def _stage(self, index: int) -> _Stage:
        # the later scenes of "mixed" are made when they are first seen, so that starting stays quick
        if index not in self._stages:
            name = self._names[index]
            self._stages[index] = _Stage(SCENES[name], self._frame_wh, self.road_seed(name))
        return self._stages[index]


class _Stage:
    """One scene on one road, with all its textures."""

    def __init__(self, scene: Scene, frame_wh: tuple[int, int], seed: int) -> None:
        self._scene, self._frame_wh, self._seed = scene, frame_wh, seed
        self._world = World(scene, seed)
        road = self._world.road
        rng = np.random.default_rng([seed, 23])
        self._ground = paint.ground_pyramid(textures.ground_texture(rng, road, scene.rain))
        self._shade = textures.shade_texture(rng, scene.shade) if scene.shade > 0.0 else None
        self._sky = textures.sky_texture(rng, scene, road.setting)
        far_bgr = np.asarray(self._sky[textures.SKY_HORIZON_PX - 40].mean(axis=0) * 0.85, dtype=np.float64)
        self._haze = far_bgr, scene.visibility_m
        lit = min(1.0, scene.ambient * 1.5) if scene.headlights else scene.ambient
        self._walls = self._choose_walls(rng, lit)
        self._barrier: tuple[float, list[Image]] | None = None
        if road.divider == "median" and rng.random() < 0.8:
            rail = paint.wall_pyramid(dim(textures.rail_wall(rng), lit))
            self._barrier = (-road.median_m / 2, rail)
        self._trees = [paint.sprite_pyramid(dim(textures.tree_sprite(rng), lit)) for _ in range(4)]
        self._tree_share = float(rng.uniform(0.0, 0.8))
        self._has_poles = bool(rng.random() < 0.7) and scene.street_lamps
        self._dash_m = (3.0, 12.0) if rng.random() < 0.6 else (3.0, 9.0)
        self._mark_half_m = float(rng.uniform(0.05, 0.08))
        self._white = float(rng.uniform(165, 235))
        self._bonnet = textures.bonnet(rng, frame_wh, scene.sky_low_bgr, min(1.0, scene.ambient))
        self._glows = {
            name: textures.to_image(paint.make_glow()[..., None] * np.asarray(bgr, np.float32))
            for name, bgr in {"tail": (40, 30, 230), "head": (235, 245, 255), "lamp": (120, 190, 255)}.items()
        }
        for name in ("tail", "head"):  # reflections on the road are weaker than the lamp itself
            self._glows[name + "_wet"] = np.asarray(self._glows[name] * 0.35, dtype=np.uint8)
        self._lens = Lens(rng, scene, frame_wh)
        self._sun_lean_m = float(rng.uniform(-1.2, 1.2)) * (scene.sun > 0.3)
        self._beam_half_m, self._beam_reach_m = 2.0, 17.0
        if not scene.street_lamps:
            self._beam_half_m, self._beam_reach_m = float(rng.uniform(1.4, 2.6)), float(rng.uniform(11, 28))

    def _choose_walls(self, rng: np.random.Generator, lit: float) -> list[tuple[float, list[Image]]]:
        """Walls along the road as (position across in metres, texture), the outermost first."""
        road, scene = self._world.road, self._scene
        walls: list[tuple[float, Image]] = []
        for side, edge_m in ((1.0, road.paved_right_m), (-1.0, road.paved_left_m)):
            walk_m = edge_m + side * (road.walk_m + 0.3)
            if road.setting == "city" or (road.setting == "suburb" and rng.random() < 0.25):
                back_m = 0.0 if road.setting == "city" else float(rng.uniform(3, 9))
                walls.append((walk_m + side * back_m, textures.facade_wall(rng, scene.headlights)))
            elif rng.random() < 0.85:
                walls.append((walk_m + side * float(rng.uniform(4, 12)), textures.tree_wall(rng)))
            if road.setting != "city" and rng.random() < 0.4:
                walls.append((walk_m + side * float(rng.uniform(1, 3.5)), textures.panel_wall(rng)))
            if road.setting == "highway" and rng.random() < 0.75:
                walls.append((edge_m + side * 0.5, textures.rail_wall(rng)))
        walls.sort(key=lambda wall: -abs(wall[0] - road.right_m / 2))
        return [(d_m, paint.wall_pyramid(dim(texture, lit))) for d_m, texture in walls]

    def render(
        self, time_s: float, frame_id: int, stands_ahead_m: float | None = None
    ) -> tuple[Image, Image]:
        """Image and class map at a time; `frame_id` only draws the noise of the sensor."""
        width, height = self._frame_wh
        view = View(self._world, time_s, self._frame_wh)
        image = np.empty((height, width, 3), dtype=np.uint8)
        class_map = np.full((height, width), BACKGROUND, dtype=np.uint8)
        vehicles = self._world.vehicles(time_s, VEHICLE_FAR_M)
        if stands_ahead_m is not None:
            vehicles = self._world.with_one_ahead(vehicles, time_s, stands_ahead_m)
        self._paint_sky(image, view)
        self._paint_road(image, view, vehicles)
        self._paint_lanes(class_map, view, vehicles)
        for d_m, pyramid in self._walls:
            paint.paint_wall(image, class_map, view, d_m, pyramid, self._haze)
        self._paint_roadside(image, class_map, view)
        if self._scene.rain > 0.0:
            self._paint_reflection(image, view)
        if self._barrier is not None:  # stands between us and the oncoming traffic
            oncoming = [vehicle for vehicle in vehicles if vehicle.is_oncoming]
            vehicles = [vehicle for vehicle in vehicles if not vehicle.is_oncoming]
            paint_vehicles(image, class_map, view, self._scene, oncoming, self._haze, self._glows)
            paint.paint_wall(image, class_map, view, *self._barrier, self._haze)
        paint_vehicles(image, class_map, view, self._scene, vehicles, self._haze, self._glows)
        if abs(view.roll_rad) > 1e-4:
            image, class_map = rolled(image, class_map, view)
        if self._bonnet is not None:
            paint.paste(image, class_map, self._bonnet, 0, height - self._bonnet.shape[0])
        return self._lens.expose(image, time_s, frame_id), class_map

    def bonnet(self) -> NDArray[np.bool_]:
        """(H, W) bool, where the bonnet is; the same in every frame."""
        width, height = self._frame_wh
        mask = np.zeros((height, width), np.bool_)
        if self._bonnet is not None:
            mask[height - self._bonnet.shape[0] :] = self._bonnet[..., 3] > 127
        return mask

    def _paint_sky(self, image: Image, view: View) -> None:
        """The panorama, turned with the road and scaled to the frame."""
        wide, bottom = textures.SKY_WH[0] / 2 / view.width, max(view.ground_top, 1)
        tall = (textures.SKY_HORIZON_PX - 6) / (0.64 * view.height)
        left = textures.SKY_WH[0] / 2 - view.cx * wide + view.panorama_rad * view.f * wide
        source_from_target = np.array([[wide, 0, left], [0, tall, textures.SKY_HORIZON_PX - view.cy * tall]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        size = (view.width, bottom)
        image[:bottom] = cv2.warpAffine(
            self._sky, source_from_target, size, flags=flags, borderMode=cv2.BORDER_WRAP
        )

    def _paint_road(self, image: Image, view: View, vehicles: list[Vehicle]) -> None:
        """Ground, marks, the light on them, and haze."""
        row_z = view.row_z()
        paint.paint_ground(image, view, row_z, self._ground)
        yellow = (0.28 * self._white, 0.72 * self._white, 0.92 * self._white)
        white_marks, yellow_marks = self._marks(view)
        paint.fill(image, white_marks, (self._white, self._white, self._white))
        paint.fill(image, yellow_marks, yellow)
        part = image[view.ground_top :]
        light = self._light(view, row_z)
        if self._scene.sun > 0.0:
            shadow = np.full_like(light, 255)
            quads = [q - (0, view.ground_top) for q in shadow_quads(view, vehicles, self._sun_lean_m)]
            for quad in quads:
                paint.fill(shadow, [quad], (255.0 * (1 - self._scene.sun),))
            light = np.asarray(cv2.multiply(light, shadow, scale=1 / 255), dtype=np.uint8)
        part[:] = cv2.multiply(part, cv2.merge([light, light, light]), scale=1 / 255)
        share = 1.0 - np.exp(-row_z / self._scene.visibility_m)
        far = int(np.count_nonzero(share > 0.04))
        blend = share[:far, None, None].astype(np.float32)
        part[:far] = part[:far] * (1 - blend) + self._haze[0].astype(np.float32) * blend

    def _light(self, view: View, row_z: Floats) -> Image:
        """How bright the ground is lit, (rows, W) with 255 for full daylight."""
        scene = self._scene
        if not scene.headlights:
            if self._shade is None:
                return np.full((len(row_z), view.width), round(255 * min(1.0, scene.ambient)), dtype=np.uint8)
            return paint.paint_shade(view, row_z, self._shade)
        u = np.linspace(0, view.width - 1, 48)[None]
        z = row_z[:, None]
        x = (u - view.cx) * z / view.f
        cone = (
            np.exp(-((x / (self._beam_half_m + 0.16 * z)) ** 2))
            * (1 - np.exp(-((z / 3.5) ** 2)))
            / (1 + (z / self._beam_reach_m) ** 2)
        )
        to_pole = np.mod(view.s_m + z, POLE_CELL_M) - POLE_CELL_M / 2
        pool = np.exp(-((to_pole / 9.0) ** 2)) * (0.22 if self._has_poles else 0.0)
        lit = (255.0 * np.clip(scene.ambient + 0.8 * cone + pool, 0, 1)).astype(np.uint8)
        return np.asarray(
            cv2.resize(lit, (view.width, len(row_z)), interpolation=cv2.INTER_LINEAR), dtype=np.uint8
        )

    def _marks(self, view: View) -> tuple[list[Floats], list[Floats]]:
        """White and yellow marks as image polygons."""
        road, half = self._world.road, self._mark_half_m
        white: list[Floats] = []
        yellow: list[Floats] = []

        def solid(d_m: float, into: list[Floats]) -> None:
            into.append(view.road_strip(d_m - half, d_m + half, 1.2, MARK_FAR_M))

        if road.divider == "yellow":
            solid(-0.02 - half, yellow)
            solid(-0.28 + half, yellow)
        elif road.is_marked:
            solid(0.08, yellow)
        if road.divider == "median":
            solid(road.oncoming_right_m - 0.08, yellow)
        if road.is_marked:
            solid(road.right_m, white)
            if road.oncoming_lanes:
                solid(road.oncoming_left_m, white)
            dashed = [lane * road.lane_width_m for lane in range(1, road.lanes)]
            dashed += [
                road.oncoming_right_m - lane * road.lane_width_m for lane in range(1, road.oncoming_lanes)
            ]
            white += self._bars(view, np.array(dashed), half, *self._dash_m)
        if road.setting == "city":
            across = np.arange(road.paved_left_m + 0.6, road.paved_right_m - 0.3, 1.2)
            white += self._bars(view, across, 0.3, 3.2, CROSSING_CELL_M)
        return white, yellow

    def _bars(self, view: View, d_m: Floats, half_m: float, long_m: float, every_m: float) -> list[Floats]:
        """Bars `long_m` long that repeat along the road, at each place of `d_m` across it."""
        start = (
            np.arange(math.floor(view.s_m / every_m), math.ceil((view.s_m + MARK_FAR_M) / every_m)) * every_m
            - view.s_m
        )
        near, far = np.maximum(start, 1.2), start + long_m
        near, far = near[far > 1.4], far[far > 1.4]
        d, near = np.meshgrid(d_m, near)
        _, far = np.meshgrid(d_m, far)
        corners = [view.project(d - half_m, 0.0, near), view.project(d + half_m, 0.0, near),
                   view.project(d + half_m, 0.0, far), view.project(d - half_m, 0.0, far)]  # fmt: skip
        return list(np.stack(corners, axis=-2).reshape(-1, 4, 2))

    def _paint_lanes(self, class_map: Image, view: View, vehicles: list[Vehicle]) -> None:
        """The drivable classes: each lane up to its first vehicle, within the visible distance."""
        road = self._world.road
        own = road.lane_at(view.d_m)
        far_m = drivable_far_m(self._scene)
        edge_m = self._mark_half_m if road.is_marked else 0.0
        for lane in range(road.lanes):
            ahead = [v.ahead_m for v in vehicles if v.lane == lane and v.ahead_m > -1.0]
            end_m = min([far_m, *ahead])
            if end_m > 1.2:
                left, right = lane * road.lane_width_m + edge_m, (lane + 1) * road.lane_width_m - edge_m
                strip = view.road_strip(left, right, 1.0, end_m)
                paint.fill(class_map, [strip], (DIRECT if lane == own else ALTERNATIVE,), smooth=False)

    def _paint_roadside(self, image: Image, class_map: Image, view: View) -> None:
        """Trees and street lamps, the farthest first."""
        road = self._world.road
        places: list[tuple[float, float, int, int]] = []
        for side, edge_m in ((1, road.paved_right_m), (-1, road.paved_left_m)):
            out_m = edge_m + side * (min(road.walk_m, 1.0) if road.walk_m else 2.2)
            for kind, cell_m, reach_m in (
                (0, TREE_CELL_M, 85.0), (1, POLE_CELL_M, 120.0), (2, POST_CELL_M, 110.0),
            ):  # fmt: skip
                first = math.floor(view.s_m / cell_m)
                for cell in range(first, first + int(reach_m / cell_m) + 1):
                    z = (cell + 0.5) * cell_m - view.s_m
                    if z > 4.0:
                        places.append((z, out_m, kind, mixed_hash(self._seed, cell, side + 3, kind)))
        for z, d_m, kind, identity in sorted(places, reverse=True):
            if kind == 1 and self._has_poles:
                self._paint_pole(image, class_map, view, d_m, z)
            elif kind == 2 and not self._scene.street_lamps:
                self._paint_post(image, class_map, view, d_m, z)
            elif kind == 0 and hash_unit(identity, 2) < self._tree_share:
                shift = 3.0 * hash_unit(identity, 3) * (1 if d_m > 0 else -1) * (road.walk_m == 0)
                foot = view.project(d_m + shift, 0.0, np.array([z]))[0]
                tall_px = view.f * (4.5 + 5.0 * hash_unit(identity, 4)) / z
                paint.paint_sprite(image, class_map, self._trees[identity % 4], foot, tall_px, 0.8 * tall_px)

    def _paint_pole(self, image: Image, class_map: Image, view: View, d_m: float, z: float) -> None:
        inward = -1.0 if d_m > self._world.road.right_m / 2 else 1.0
        d = np.array([d_m - 0.09, d_m + 0.09, d_m + 0.06, d_m + inward * 2.4, d_m + inward * 2.4, d_m - 0.06])
        y = np.array([0.0, 0.0, 7.6, 8.1, 8.25, 7.9])
        outline = view.project(d, y, np.full(6, z))
        shade = 95.0 * min(1.0, self._scene.ambient)
        paint.fill(image, [outline], (shade, shade, shade * 1.02))
        paint.fill(class_map, [outline], (BACKGROUND,), smooth=False)
        if self._scene.headlights:
            lamp = view.project(d_m + inward * 2.2, 8.1, np.array([z]))[0]
            paint.add_glow(image, self._glows["lamp"], lamp, view.f * 2.6 / z, view.f * 2.6 / z)

    def _paint_post(self, image: Image, class_map: Image, view: View, d_m: float, z: float) -> None:
        """A post of plastic whose reflector throws the headlights back."""
        shine = 1.0 / (1.0 + (z / 45.0) ** 2)
        for bottom_m, top_m, bgr in ((0.0, 1.0, (90.0, 95.0, 95.0)), (0.7, 0.9, (235.0, 245.0, 250.0))):
            d = np.array([d_m - 0.06, d_m + 0.06, d_m + 0.06, d_m - 0.06])
            outline = view.project(d, np.array([bottom_m, bottom_m, top_m, top_m]), np.full(4, z))
            light = shine if bottom_m else shine / (1.0 + (z / 12.0) ** 2)
            paint.fill(image, [outline], tuple(light * level for level in bgr))
            paint.fill(class_map, [outline], (BACKGROUND,), smooth=False)

    def _paint_reflection(self, image: Image, view: View) -> None:
        """The wet road reflects what is above the horizon, smeared along the road."""
        rows = view.height - view.ground_top
        road = self._world.road
        above = image[max(0, view.ground_top - rows) : view.ground_top][::-1]
        if above.shape[0] < 4:
            return
        small = cv2.resize(
            above, (max(2, view.width // 10), max(2, above.shape[0] // 30)), interpolation=cv2.INTER_AREA
        )
        mirror = cv2.resize(small, (view.width, above.shape[0]), interpolation=cv2.INTER_LINEAR)
        part = image[view.ground_top : view.ground_top + above.shape[0]]
        wet = np.zeros(part.shape[:2], dtype=np.uint8)
        strip = view.road_strip(road.paved_left_m, road.paved_right_m, 1.0, 150.0) - (0, view.ground_top)
        paint.fill(wet, [strip], (255,), smooth=False)
        cv2.copyTo(cv2.addWeighted(part, 0.62, mirror, 0.36, 0.0), wet, part)


def dim(texture: Image, light: float) -> Image:
    """The texture under less light; its transparency stays."""
    result = texture.copy()
    result[..., :3] = (texture[..., :3] * min(1.0, light)).astype(np.uint8)
    return result


def rolled(image: Image, class_map: Image, view: View) -> tuple[Image, Image]:
    """Both turned by the roll of the camera about the frame's middle."""
    middle = ((view.width - 1) / 2, (view.height - 1) / 2)
    turn = cv2.getRotationMatrix2D(middle, math.degrees(view.roll_rad), 1.0)
    size = (view.width, view.height)
    turned = cv2.warpAffine(image, turn, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    classes = cv2.warpAffine(class_map, turn, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(turned, dtype=np.uint8), np.asarray(classes, dtype=np.uint8)
