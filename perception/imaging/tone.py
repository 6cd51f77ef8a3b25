"""Tone mapping of high dynamic range and wide gamuts to BT.709 with standard range, for networks and screens.

By lookup tables on pictures with 10 bits per channel. The result is for a display of 203 nits, the level of
diffuse white in ITU-R BT.2408: light is kept up to 88 nits and rolled off from there to 1000 nits, for which
HDR is mastered, by the EETF of ITU-R BT.2390 on each of R, G and B.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

WHITE_NITS: Final = 203.0
PEAK_NITS: Final = 1000.0
SDR_GAMMA: Final = 2.4  # ITU-R BT.1886
CODE_MAX: Final = 1023  # of 10 bits
_LINEAR_MAX: Final = 65535

# Numbers of ITU-T H.273.
LINEAR, LOG, LOG_SQRT, PQ, HLG = 8, 9, 10, 16, 18
BT709, BT2020, DISPLAY_P3 = 1, 9, 12

_XY: Final = {  # of red, green, blue; white is D65
    BT709: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    DISPLAY_P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_WHITE_XY: Final = (0.3127, 0.3290)
_BT2020_LUMA_BGR: Final = (0.0593, 0.6780, 0.2627)


def pq_nits(signal: Values) -> Values:
    """Light by SMPTE ST 2084, in nits, of a signal from 0 to 1."""
    m1, m2, c1, c2, c3 = _PQ
    power = signal ** (1 / m2)
    return np.asarray(10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1))


def pq_signal(nits: Values | float) -> Values:
    """The signal from 0 to 1 of light in nits, by SMPTE ST 2084."""
    m1, m2, c1, c2, c3 = _PQ
    power = (np.asarray(nits) / 10_000) ** m1
    return np.asarray(((c1 + c2 * power) / (1 + c3 * power)) ** m2)


_PQ: Final = (2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128)


def hlg_scene(signal: Values) -> Values:
    """Scene light from 0 to 1 of a signal from 0 to 1: the inverse OETF of HLG, ITU-R BT.2100."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    bright = (np.exp((np.maximum(signal, 0.5) - c) / a) + b) / 12
    return np.where(signal <= 0.5, signal**2 / 3, bright)


def rolled_off(nits: Values) -> Values:
    """Light in units of white, at most 1: the EETF of BT.2390 from `PEAK_NITS` to `WHITE_NITS`."""
    peak = float(pq_signal(PEAK_NITS))
    signal = np.minimum(pq_signal(nits) / peak, 1.0)
    white = float(pq_signal(WHITE_NITS)) / peak
    knee = 1.5 * white - 0.5
    t = (np.maximum(signal, knee) - knee) / (1 - knee)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * white
    )
    return pq_nits(np.where(signal < knee, signal, spline) * peak) / WHITE_NITS


_LINEAR_FROM_SIGNAL: Final[dict[int, Callable[[Values], Values]]] = {
    LINEAR: lambda signal: signal,
    LOG: lambda signal: np.where(signal > 0, 10 ** (2 * (signal - 1)), 0),
    LOG_SQRT: lambda signal: np.where(signal > 0, 10 ** (2.5 * (signal - 1)), 0),
    PQ: lambda signal: rolled_off(pq_nits(signal)),
}
CURVES: Final = (*_LINEAR_FROM_SIGNAL, HLG)
"""Supported transfer characteristics beyond those of standard range."""
GAMUTS: Final = (BT2020, DISPLAY_P3)
"""Supported primaries beyond those close to BT.709."""


@dataclass(frozen=True, eq=False)
class ToneMap:
    """From 10 bits per channel with one transfer characteristic to 8 bits of BT.709."""

    linear: NDArray[np.uint16]
    """16-bit light by code; scene light for HLG."""
    gamut: NDArray[np.float64]
    """(3, 3) from linear BGR to linear BGR of BT.709."""
    root: NDArray[np.uint16] | None = None
    """For HLG: square root of scene light by code."""

    def apply(self, code_bgr: NDArray[np.uint16]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 BGR of (H, W, 3) codes from 0 to `CODE_MAX`."""
        linear = cv2.LUT(code_bgr, self.linear)
        if self.root is not None:
            # The gain of HLG's OOTF depends on luminance and is the same for all channels.
            luminance = cv2.transform(linear, np.array([_BT2020_LUMA_BGR]))
            gain = cv2.cvtColor(cv2.LUT(luminance, _hlg_gain_root()), cv2.COLOR_GRAY2BGR)
            displayed = cv2.multiply(cv2.LUT(code_bgr, self.root), gain, scale=1 / _LINEAR_MAX)
            linear = cv2.LUT(displayed, _hlg_rolled_off())
        return np.asarray(cv2.LUT(cv2.transform(linear, self.gamut), _sdr_from_linear()), np.uint8)


@cache
def tone_map(curve: int, primaries: int) -> ToneMap:
    """The tone map for a transfer characteristic and primaries, by their numbers in H.273."""
    signal = np.minimum(np.arange(_LINEAR_MAX + 1) / CODE_MAX, 1.0)
    gamut = gamut_matrix(primaries)
    if curve == HLG:
        scene = hlg_scene(signal)
        return ToneMap(_as_table(scene), gamut, _as_table(np.sqrt(scene)))
    read = _LINEAR_FROM_SIGNAL.get(curve, _screen_linear)
    return ToneMap(_as_table(read(signal)), gamut)


def _screen_linear(signal: Values) -> Values:
    return signal**SDR_GAMMA


def gamut_matrix(primaries: int) -> NDArray[np.float64]:
    """(3, 3) from linear BGR of these primaries to linear BGR of BT.709."""
    rgb = np.linalg.inv(_xyz_from_rgb(BT709)) @ _xyz_from_rgb(primaries if primaries in _XY else BT709)
    return np.ascontiguousarray(rgb[::-1, ::-1])


def _xyz_from_rgb(primaries: int) -> NDArray[np.float64]:
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in _XY[primaries]]).T
    x, y = _WHITE_XY
    return np.asarray(columns * np.linalg.solve(columns, [x / y, 1, (1 - x - y) / y]))


def _as_table(share: Values) -> NDArray[np.uint16]:
    return np.rint(np.clip(share, 0, 1) * _LINEAR_MAX).astype(np.uint16)


@cache
def _sdr_from_linear() -> NDArray[np.uint8]:
    share = np.arange(_LINEAR_MAX + 1) / _LINEAR_MAX
    return np.rint(255 * share ** (1 / SDR_GAMMA)).astype(np.uint8)


@cache
def _hlg_gain_root() -> NDArray[np.uint16]:
    """Square root of the OOTF's gain for a display of 1000 nits, gamma 1.2, by scene luminance."""
    return _as_table((np.arange(_LINEAR_MAX + 1) / _LINEAR_MAX) ** 0.1)


@cache
def _hlg_rolled_off() -> NDArray[np.uint16]:
    """Resulting light by the square root of that display's light."""
    return _as_table(rolled_off((np.arange(_LINEAR_MAX + 1) / _LINEAR_MAX) ** 2 * PEAK_NITS))
