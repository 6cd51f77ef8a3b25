"""Boards of known corners, and finding them in pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.calibrate.config import BoardSettings

Grey = NDArray[np.uint8]
Points = NDArray[np.float32]

FEWEST_CORNERS: Final = 8
"""Of a charuco board that is partly hidden."""
_LARGEST_PX: Final = 1600
"""A chessboard is looked for at this width at most, and its corners are then refined at full size."""
_SUBPIX_UNTIL: Final = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
_WIDEST_REFINEMENT_PX: Final = 11
_DARK, _BRIGHT = 25, 235


class NoBoardError(Exception):
    """There is no board in a picture, or too little of it; the reason in a few words."""


@dataclass(frozen=True, eq=False)
class Corners:
    """The corners of a board that a picture shows."""

    board_m: Points
    """(n, 3) on the board, z = 0; in squares where their side is not known."""
    image_uv: Points
    """(n, 2) pixels."""


class Board(Protocol):
    """A board to look for."""

    def find(self, grey: Grey, *, is_one_of_many: bool = False) -> Corners:
        """Its corners in an (H, W) picture.

        Args:
            is_one_of_many: of a video, where the next one comes soon: do not look hard, nor say why not.

        Raises:
            NoBoardError: if it is not there.
        """
        ...

    @property
    def description(self) -> str:
        """In words, for messages."""
        ...


def board_of(settings: BoardSettings) -> Board:
    """The board that the settings describe."""
    return Charuco(settings) if settings.board == "charuco" else Chessboard(settings)


class Chessboard:
    """A plain chessboard, which has to be seen whole."""

    def __init__(self, settings: BoardSettings) -> None:
        self._wh = settings.corners_wh
        self._board_m = _grid(self._wh, settings.square_m or 1.0)

    @property
    def description(self) -> str:
        """As of `Board`."""
        return "chessboard of {}x{} inner corners".format(*self._wh)

    def find(self, grey: Grey, *, is_one_of_many: bool = False) -> Corners:
        """As of `Board`."""
        scale = min(1.0, _LARGEST_PX / grey.shape[1])
        small = grey if scale == 1.0 else np.asarray(_resized(grey, scale), np.uint8)
        flags = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE
        flags |= cv2.CALIB_CB_FAST_CHECK * is_one_of_many
        is_found, corners = cv2.findChessboardCorners(small, self._wh, flags=flags)
        if not is_found:
            raise NoBoardError("none found" if is_one_of_many else self._why_not(small))
        found = (np.asarray(corners, np.float32).reshape(-1, 2) + 0.5) / scale - 0.5
        return Corners(self._board_m, _refined(grey, found, self._wh))

    def _why_not(self, grey: Grey) -> str:
        if exposure := _exposure(grey):
            return exposure
        flags = cv2.CALIB_CB_LARGER | cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_EXHAUSTIVE
        is_found, _, meta = cv2.findChessboardCornersSBWithMeta(grey, (3, 3), flags)
        if is_found:
            rows, columns = np.asarray(meta).shape[:2]
            seen, wanted = sorted((columns, rows), reverse=True), sorted(self._wh, reverse=True)
            if seen != wanted and seen[0] <= wanted[0] and seen[1] <= wanted[1]:
                return "{}x{} of its {}x{} corners are seen".format(*seen, *wanted)
            if seen != wanted:
                return "a board of {}x{} inner corners".format(*seen)
            return "not sharp, or cut at the edge"
        return "none found"


class Charuco:
    """A chessboard with markers in its white squares, of which a part is enough."""

    def __init__(self, settings: BoardSettings) -> None:
        self._wh = settings.corners_wh
        self._dictionary = settings.dictionary
        width, height = self._wh
        kind = getattr(cv2.aruco, f"DICT_{self._dictionary.upper()}")
        dictionary = cv2.aruco.getPredefinedDictionary(kind)
        square_m, marker_m = float(settings.square_m or 1), float(settings.marker_m or 1)
        board = cv2.aruco.CharucoBoard((width + 1, height + 1), square_m, marker_m, dictionary)
        board.setLegacyPattern(settings.legacy)
        self._detector = cv2.aruco.CharucoDetector(board)
        self._board_m = _grid(self._wh, square_m)

    @property
    def description(self) -> str:
        """As of `Board`."""
        return "charuco board of {}x{} inner corners and markers {}".format(*self._wh, self._dictionary)

    def find(self, grey: Grey, *, is_one_of_many: bool = False) -> Corners:
        """As of `Board`."""
        corners, ids, _, marker_ids = self._detector.detectBoard(grey)
        markers = 0 if marker_ids is None else len(marker_ids)
        found = np.zeros(0, int) if ids is None else np.asarray(ids, int).ravel()
        if not markers:
            raise NoBoardError(_exposure(grey) or f"no marker of {self._dictionary} found")
        if len(found) < FEWEST_CORNERS:
            raise NoBoardError(f"{markers} markers and {len(found)} corners that fit the board")
        if len(np.unique(found // self._wh[0])) < 2 or len(np.unique(found % self._wh[0])) < 2:
            raise NoBoardError("one row of corners alone")
        return Corners(self._board_m[found], np.asarray(corners, np.float32).reshape(-1, 2))


def _grid(corners_wh: tuple[int, int], square_m: float) -> Points:
    """(n, 3) corners of a board, row by row."""
    width, height = corners_wh
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.asarray(np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)]) * square_m, np.float32)


def _refined(grey: Grey, found: Points, corners_wh: tuple[int, int]) -> Points:
    """Corners to a fraction of a pixel, each within reach of no other."""
    width, height = corners_wh
    grid = found.reshape(height, width, 2)
    steps = [np.linalg.norm(np.diff(grid, axis=axis), axis=-1) for axis in (0, 1)]
    least_px = min(float(step.min()) for step in steps)
    reach = max(2, min(_WIDEST_REFINEMENT_PX, int(least_px / 3)))
    corners = np.array(found, np.float32, order="C").reshape(-1, 1, 2)
    refined = cv2.cornerSubPix(grey, corners, (reach, reach), (-1, -1), _SUBPIX_UNTIL)
    return np.asarray(refined, np.float32).reshape(-1, 2)


def _resized(grey: Grey, scale: float) -> cv2.typing.MatLike:
    return cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _exposure(grey: Grey) -> str:
    """What is wrong with the light; empty if nothing is."""
    mean = float(grey.mean())
    return "too dark" if mean < _DARK else "overexposed" if mean > _BRIGHT else ""
