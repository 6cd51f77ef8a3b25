"""Image statistics of a frame: light, sharpness, structure, and a fingerprint, measured on 160x90 luma."""

from __future__ import annotations

import zlib
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.frame import Frame, ImageStats
from perception.imaging.yuv import Plane, Yuv420

SMALL_WH: Final = (160, 90)
HALF_WH: Final = (80, 45)
BLOCKS_WH: Final = (16, 9)
SATURATED_LUMA: Final = 250
ROWS: Final = 180
FINGERPRINT_ROWS: Final = 45
PARTS: Final[dict[str, tuple[slice, slice]]] = {
    "left": np.s_[:, :7],  # the two middle columns and the middle row hold a cover's soft edge
    "right": np.s_[:, 9:],
    "top": np.s_[:4, :],
    "bottom": np.s_[5:, :],
}
OPPOSITE: Final = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
# Decoders' planes run from 16 to 235.
_FULL_RANGE: Final = ((np.arange(256) - 16) * 255 / 219).round().clip(0, 255).astype(np.uint8)
_MOST_STRUCTURED: Final = 0.95
_FLATTEST: Final = 0.1


def image_stats_of(frame: Frame) -> ImageStats:
    """The statistics of one frame; below 160x90 only light and fingerprint.

    Structure is the root mean square of the Laplacian at 80x45 in 5x5 pixels, which averages out most of the
    sensor's noise and ignores smooth gradients. Sharpness is the ratio of the Laplacian's energy at 160x90 to
    that at 80x45: natural pictures have about the same contrast in every octave (Field 1987) and blur removes
    the finest first, so that fog or night do not look like blur, as they would by the variance of the
    Laplacian (Pech-Pacheco et al. 2000). The flattest blocks give the energy of noise, which is subtracted.
    The darkest luma is the dark channel of He et al. (2009), computed from luma alone.
    """
    pixels = frame.pixels.y if isinstance(frame.pixels, Yuv420) else frame.pixels
    # a quarter of the rows at 720: reading memory that is in no cache costs more than everything else here
    rows = pixels[:: max(1, pixels.shape[0] // ROWS)]
    if isinstance(frame.pixels, Yuv420):
        small = np.asarray(cv2.LUT(_shrunk(rows), _FULL_RANGE), np.uint8)
    else:
        small = _shrunk(np.asarray(cv2.cvtColor(rows, cv2.COLOR_BGR2GRAY), np.uint8))
    half = np.asarray(cv2.resize(small, HALF_WH, interpolation=cv2.INTER_AREA), np.uint8)
    block_luma = np.asarray(cv2.resize(half, BLOCKS_WH, interpolation=cv2.INTER_AREA), np.uint8)
    counts = np.cumsum(cv2.calcHist([small], [0], None, [256], [0, 256]))
    sharpness, structure, block_structure, part_structure = None, None, None, {}
    if frame.frame_wh[0] >= SMALL_WH[0] and frame.frame_wh[1] >= SMALL_WH[1]:
        fine, coarse = _laplacian_energy(small), _laplacian_energy(half)
        sharpness = float(np.sqrt(_without_noise(fine) / max(_without_noise(coarse), 1e-4)))
        structure = _structure(coarse)
        block_structure = np.sqrt(coarse)
        part_structure = {name: _structure(coarse[part]) for name, part in PARTS.items()}
    return ImageStats(
        brightest_luma=float(block_luma.max()),
        darkest_luma=float(np.searchsorted(counts, small.size / 100, side="right")),
        saturated_share=float(1 - counts[SATURATED_LUMA - 1] / small.size),
        fingerprint=_fingerprint(rows),
        sharpness=sharpness,
        structure=structure,
        part_structure=part_structure,
        block_luma=block_luma.astype(np.float32),
        block_structure=block_structure,
    )


def _fingerprint(rows: NDArray[np.uint8]) -> int:
    """CRC of about 45 rows: 57,600 luma samples at 1280x720, of which sensor noise always changes some."""
    return zlib.crc32(rows[:: max(1, rows.shape[0] // FINGERPRINT_ROWS)].tobytes())


def _shrunk(luma: Plane) -> Plane:
    """(90, 160) uint8: halved while possible, because OpenCV halves several times faster than it shrinks."""
    height, width = luma.shape
    while width >= 2 * SMALL_WH[0] and height >= 2 * SMALL_WH[1]:
        even = luma[: height // 2 * 2, : width // 2 * 2]
        height, width = height // 2, width // 2
        luma = np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.resize(luma, SMALL_WH, interpolation=cv2.INTER_AREA), np.uint8)


def _laplacian_energy(luma: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(9, 16) float32 mean square of the Laplacian per block."""
    laplacian = cv2.Laplacian(luma, cv2.CV_16S)
    squared = cv2.multiply(laplacian, laplacian, dtype=cv2.CV_32F)
    return np.asarray(cv2.resize(squared, BLOCKS_WH, interpolation=cv2.INTER_AREA), np.float32)


def _without_noise(energy: NDArray[np.float32]) -> float:
    return float(energy.mean() - np.sort(energy, axis=None)[int(energy.size * _FLATTEST)])


def _structure(energy: NDArray[np.float32]) -> float:
    """The 95th percentile of a part's blocks: the most structured ones may be a lamp or a gap."""
    return float(np.sqrt(np.sort(energy, axis=None)[int(energy.size * _MOST_STRUCTURED)]))
