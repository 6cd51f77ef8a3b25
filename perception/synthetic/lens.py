"""Effects of lens, windscreen and sensor on frames of the built-in drive."""

from __future__ import annotations

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from perception.synthetic.textures import noise, to_image
from perception.synthetic.world import Scene

Image = NDArray[np.uint8]

NOISE_PX = 512
DROPS_HELD_S = 1.5


class Lens:
    """The camera of one drive. Everything is drawn once from `rng`; `expose` adds the frame's own noise."""

    def __init__(self, rng: np.random.Generator, scene: Scene, frame_wh: tuple[int, int]) -> None:
        self._wh = frame_wh
        self._rain = scene.rain
        self._rain_light = 1.0 if scene.street_lamps else 0.25  # light that the drops scatter
        sigma = scene.noise_sigma * float(rng.uniform(*scene.noise_spread))
        grain = cv2.GaussianBlur(rng.standard_normal((NOISE_PX, NOISE_PX, 3), dtype=np.float32), (0, 0), 0.6)
        self._grain = to_image(grain * (1.7 * sigma) + 128.0)
        self._softness = float(rng.uniform(0.3, 0.75))
        self._grade = self._make_grade(rng, scene)
        self._vignette = self._make_vignette(float(rng.uniform(0.05, 0.35)))
        self._seed = int(rng.integers(1 << 31))
        falling = np.maximum(noise(rng, (NOISE_PX, NOISE_PX), (1, 1)) - 2.6, 0)
        streaks = falling * 60.0 * scene.rain * self._rain_light
        tail = np.zeros((21, 21), np.float32)
        cv2.line(tail, (8, 0), (12, 20), (0.35,), 1, cv2.LINE_AA)
        self._streaks = to_image(cv2.filter2D(streaks, -1, tail))

    @staticmethod
    def _make_grade(rng: np.random.Generator, scene: Scene) -> Image:
        """Exposure, contrast and white balance as one table, (1, 256, 3)."""
        level = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
        gain = float(rng.uniform(*scene.gains)) * rng.uniform(0.95, 1.05, 3).astype(np.float32)
        graded = (level * gain) ** float(rng.uniform(0.82, 1.2))
        contrast = float(rng.uniform(0.0, 0.5)) * (1.0 - scene.rain)
        curved = graded + contrast * (graded * graded * (3 - 2 * graded) - graded)
        veil = 18.0 if scene.street_lamps else 4.0
        lifted = 255.0 * np.clip(curved, 0, 1) * (1 - 0.12 * scene.rain) + veil * scene.rain
        return to_image(lifted)[None]

    def _make_vignette(self, depth: float) -> Image:
        width, height = self._wh
        x = np.linspace(-1, 1, width, dtype=np.float32)[None]
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        edge = ((x * x + y * y) / 2) ** 1.4
        light = to_image(255.0 * (1.0 - depth * edge))
        return np.asarray(cv2.merge([light, light, light]), dtype=np.uint8)

    def expose(self, image: Image, time_s: float, frame_id: int) -> Image:
        """The frame as the camera would give it; (H, W, 3) in and out."""
        rng = np.random.default_rng([self._seed, frame_id & 0xFFFFFFFF])
        seen: MatLike = image
        if self._rain > 0.0:
            seen = cv2.add(seen, cv2.merge([self._tile(self._streaks, rng)] * 3))
            self._add_drops(seen, time_s)
        soft_px = self._softness * max(1.0, self._wh[0] / 900.0) + 0.35 * self._rain
        size = 3 if soft_px < 0.9 else 5
        seen = cv2.GaussianBlur(seen, (size, size), soft_px)
        seen = cv2.multiply(cv2.LUT(seen, self._grade), self._vignette, scale=1 / 255)
        return np.asarray(cv2.addWeighted(seen, 1.0, self._tile(self._grain, rng), 1.0, -128.0), np.uint8)

    def _tile(self, texture: Image, rng: np.random.Generator) -> Image:
        """A random part of `texture` in the size of the frame, repeated if necessary."""
        width, height = self._wh
        top, left = int(rng.integers(NOISE_PX)), int(rng.integers(NOISE_PX))
        rolled = np.roll(texture, (-top, -left), axis=(0, 1))
        border = (0, max(0, height - NOISE_PX), 0, max(0, width - NOISE_PX))
        wide = cv2.copyMakeBorder(rolled, *border, cv2.BORDER_WRAP)
        return np.asarray(wide[:height, :width], dtype=np.uint8)

    def _add_drops(self, image: MatLike, time_s: float) -> None:
        """Drops on the windscreen, in place: each shows the scene behind it upside down and blurred."""
        width, height = self._wh
        rng = np.random.default_rng([self._seed, 7, int(time_s // DROPS_HELD_S)])
        for _ in range(14):
            radius = max(2, round(width * float(rng.uniform(0.004, 0.014))))
            x, y = int(rng.uniform(0, width)), int(rng.uniform(0, height))
            part = image[max(0, y - radius) : y + radius, max(0, x - radius) : x + radius]
            if part.shape[0] < 4 or part.shape[1] < 4:
                continue
            mask = np.zeros(part.shape[:2], np.uint8)
            middle = part.shape[1] // 2, part.shape[0] // 2
            cv2.ellipse(mask, middle, (middle[0] - 1, middle[1] - 1), 0, 0, 360, (255,), -1)
            behind = cv2.blur(cv2.flip(part, 0), (5, 5))
            cv2.copyTo(cv2.addWeighted(behind, 0.85, behind, 0.0, 22.0 * self._rain_light), mask, part)
