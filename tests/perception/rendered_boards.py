"""Pictures of calibration boards through a lens that is known, and files of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SQUARE_M, MARKER_M = 0.04, 0.03
CORNERS_WH = (7, 5)
_SQUARE_PX, _MARGIN_PX = 48, 24


@dataclass(frozen=True)
class TrueCamera:
    """What pictures are rendered with; OpenCV's own models, none of this project's code."""

    matrix: NDArray[np.float64]
    distortion: NDArray[np.float64]
    is_fisheye: bool
    frame_wh: tuple[int, int] = (640, 480)

    @cached_property
    def rays(self) -> NDArray[np.float64]:
        """(H, W, 2) at depth 1; NaN where the lens shows nothing."""
        width, height = self.frame_wh
        u, v = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
        pixels = np.stack([u, v], axis=-1).reshape(-1, 1, 2)
        until = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 60, 1e-9)
        undistort: Any = cv2.fisheye.undistortPoints if self.is_fisheye else cv2.undistortPoints
        rays = undistort(pixels, self.matrix, self.distortion, criteria=until).reshape(*u.shape, 2)
        return np.where(np.abs(rays) < 20, rays, np.nan)


PINHOLE = TrueCamera(
    np.array([[520.0, 0, 327.0], [0, 516.0, 236.0], [0, 0, 1]]),
    np.array([-0.28, 0.09, 0.001, -0.0008, -0.01]),
    is_fisheye=False,
)
FISHEYE = TrueCamera(
    np.array([[393.0, 0, 476.0], [0, 390.0, 364.0], [0, 0, 1]]),
    np.array([0.03, -0.012, 0.004, -0.001]),
    is_fisheye=True,
    frame_wh=(960, 720),
)


def chessboard(corners_wh: tuple[int, int] = CORNERS_WH) -> NDArray[np.uint8]:
    """Picture of a board."""
    columns, rows = corners_wh[0] + 1, corners_wh[1] + 1
    squares = np.indices((rows, columns)).sum(axis=0) % 2 * 255
    whole = np.kron(squares, np.ones((_SQUARE_PX, _SQUARE_PX))).astype(np.uint8)
    return np.pad(whole, _MARGIN_PX, constant_values=255)


def charuco(
    corners_wh: tuple[int, int] = CORNERS_WH, kind: int = cv2.aruco.DICT_5X5_100
) -> NDArray[np.uint8]:
    """Picture of a board with markers."""
    squares = corners_wh[0] + 1, corners_wh[1] + 1
    board = cv2.aruco.CharucoBoard(squares, SQUARE_M, MARKER_M, cv2.aruco.getPredefinedDictionary(kind))
    size = tuple(side * _SQUARE_PX + 2 * _MARGIN_PX for side in squares)
    return np.asarray(board.generateImage((size[0], size[1]), marginSize=_MARGIN_PX), np.uint8)


def pictures(
    board: NDArray[np.uint8], camera: TrueCamera, count: int, seed: int = 3
) -> list[NDArray[np.uint8]]:
    """Views of the board, tilted and in all parts of the picture, with noise."""
    rng = np.random.default_rng(seed)
    rays = camera.rays
    width, height = camera.frame_wh
    wide_m = board.shape[1] / _SQUARE_PX * SQUARE_M
    views = []
    for number in range(count):
        tilt = np.radians(rng.uniform(-38, 38, 2))
        turn = cv2.Rodrigues(np.array([tilt[0], tilt[1], np.radians(rng.uniform(-25, 25))]))[0]
        # how far, and where: around a grid of places
        share = rng.uniform(0.5, 0.62) if camera.is_fisheye else rng.uniform(0.5, 0.66)
        reach = 1.3 if camera.is_fisheye else width / camera.matrix[0, 0]
        ahead_m = wide_m / (share * reach)
        at = (np.array([number % 3, number // 3 % 3]) - 1) * (0.27 if camera.is_fisheye else 0.24)
        middle = ahead_m * np.array([at[0] * reach, at[1] * reach * height / width, 1.0])
        half = np.array([board.shape[1], board.shape[0]]) / _SQUARE_PX * SQUARE_M / 2
        shift = middle - turn[:, :2] @ half
        views.append(_view(board, rays, np.column_stack([turn[:, :2], shift]), rng))
    return views


def _view(
    board: NDArray[np.uint8],
    rays: NDArray[np.float64],
    camera_from_board: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    height, width = rays.shape[:2]
    flat = np.concatenate([rays, np.ones((height, width, 1))], axis=-1).reshape(-1, 3)
    on_board = flat @ np.linalg.inv(camera_from_board).T
    with np.errstate(divide="ignore", invalid="ignore"):
        metres = np.where(on_board[:, 2:] > 0, on_board[:, :2] / on_board[:, 2:], np.nan)
    places = np.nan_to_num(metres / SQUARE_M * _SQUARE_PX - 0.5, nan=-1e4).clip(-1e4, 1e4).astype(np.float32)
    seen = cv2.remap(
        *(board, places[:, 0].reshape(height, width), places[:, 1].reshape(height, width)),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(120,),
    )
    soft = cv2.GaussianBlur(seen, (0, 0), 0.7).astype(np.float64)
    lit = 30 + soft * 0.75 + rng.normal(0, 1.5, soft.shape)
    return np.clip(lit, 0, 255).astype(np.uint8)


def write(folder: Path, views: list[NDArray[np.uint8]]) -> Path:
    """A folder of the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, view in enumerate(views):
        cv2.imwrite(str(folder / f"board{number:02}.png"), view)
    return folder
