"""What the overlay says, in words that a driver understands."""

from __future__ import annotations

import math
from typing import Final

from perception.frame import ENGINE_SEES, CameraState, EngineState, OutputItem, Prediction
from perception.scene.metres import Measured, Metres

_CAMERA_WORDS: Final = {
    CameraState.DEGRADED: "poor view",
    CameraState.BLOCKED: "camera blocked",
    CameraState.FROZEN: "picture frozen",
    CameraState.STALE: "no new picture",
    CameraState.LOST: "camera lost",
}
_ENGINE_WORDS: Final = {
    EngineState.SUSPECT: "network output invalid",
    EngineState.STALLED: "network stalled",
}

_MIDDLE_M: Final = 0.05
"""So near to the lane's middle is in the middle."""
_STRAIGHT_RADIUS_M: Final = 2000.0
"""A bend of a larger radius is none that a driver notices."""
_LEAST_DEGREES: Final = 0.1
UNKNOWN: Final = "not known"


def time_text(output: OutputItem) -> str:
    """Age of a live picture, such as `34 ms old`; time in a recording, such as `00:12.3`; else empty."""
    if output.shown_time == "age" and isinstance(output, Prediction):
        age_ms = output.age_ms
        return f"{age_ms:.0f} ms old" if round(age_ms) < 1000 else f"{age_ms / 1000:.1f} s old"
    if output.shown_time == "time":
        seconds, tenth = divmod(max(0, output.time_ns) // 100_000_000, 10)
        minutes, second = divmod(seconds, 60)
        hours, minute = divmod(minutes, 60)
        return (f"{hours}:" if hours else "") + f"{minute:02d}:{second:02d}.{tenth}"
    return ""


def provider_text(output: OutputItem) -> str:
    """What runs the network instead of what was asked for, such as `on CPU (fallback)`; else empty."""
    if output.engine_state != EngineState.FALLBACK:
        return ""
    provider = output.provider.removesuffix("ExecutionProvider")
    return f"on {provider} (fallback)" if provider else "fallback"


def message_text(output: OutputItem) -> str:
    """Why there is no mask, or what the view lacks, with the reason; empty if all is well."""
    claims: list[tuple[str, str | None]] = []
    if output.engine_state not in ENGINE_SEES:
        claims.append((_ENGINE_WORDS[output.engine_state], output.engine_reason))
    if output.camera_state != CameraState.OK:
        claims.append((_CAMERA_WORDS[output.camera_state], output.camera_reason))
    if not claims and not output.has_mask:
        claims.append(("no new picture", None))
    said = "; ".join(words + (f": {reason}" if reason else "") for words, reason in claims)
    return said[:1].upper() + said[1:] if output.has_mask else f"NO MASK \N{EN DASH} {said}"


def ahead_text(metres: Metres) -> str:
    """How far the own lane is free, such as `28 ± 1 m`; empty where that is not known.

    Where it is free as far as can be measured, it is free for so many metres at least.
    """
    ahead = metres.distance_ahead_m
    if ahead is None:
        return ""
    if metres.is_ahead_open:
        return f"over {math.floor((ahead.value - ahead.sigma) / 5) * 5} m"
    return f"{ahead.value:.0f} \N{PLUS-MINUS SIGN} {_upwards(ahead.sigma)} m"


def road_words(metres: Metres) -> dict[str, str]:
    """What is known of the road, as a driver says it, with the standard deviation behind each number."""
    return {
        "Free ahead": ahead_text(metres) or UNKNOWN,
        "In the lane": _place_text(metres.lateral_offset_m),
        "Lane width": _metres_text(metres.lane_width_m),
        "Heading": _heading_text(metres.heading_error_rad),
        "Bend": _bend_text(metres.curvature_per_m),
    }


def _place_text(offset_m: Measured | None) -> str:
    if offset_m is None:
        return UNKNOWN
    if abs(offset_m.value) < _MIDDLE_M:
        return "in the middle"
    away = _metres_text(Measured(abs(offset_m.value), offset_m.sigma))
    return f"{away} {_side(offset_m.value)} of the middle"


def _metres_text(measured: Measured | None) -> str:
    if measured is None:
        return UNKNOWN
    return f"{measured.value:.1f} \N{PLUS-MINUS SIGN} {_upwards(measured.sigma, 1)} m"


def _heading_text(error_rad: Measured | None) -> str:
    if error_rad is None:
        return UNKNOWN
    angle, sigma = math.degrees(error_rad.value), math.degrees(error_rad.sigma)
    text = f"{abs(angle):.1f} \N{PLUS-MINUS SIGN} {_upwards(sigma, 1)}\N{DEGREE SIGN}"
    return f"{text} to the {_side(angle)}" if abs(angle) >= _LEAST_DEGREES else "along the lane"


def _bend_text(curvature_per_m: Measured | None) -> str:
    """A radius has no standard deviation worth naming: that of a straight lane is infinite."""
    if curvature_per_m is None:
        return UNKNOWN
    if abs(curvature_per_m.value) < max(1 / _STRAIGHT_RADIUS_M, curvature_per_m.sigma):
        return "straight"
    radius_m = 1 / abs(curvature_per_m.value)
    return f"to the {_side(curvature_per_m.value)}, radius {float(f'{radius_m:.2g}'):.0f} m"


def _side(left: float) -> str:
    return "left" if left > 0 else "right"


def _upwards(sigma: float, digits: int = 0) -> str:
    """A standard deviation in so many digits, never as smaller than it is."""
    step = 10.0**digits
    return f"{math.ceil(round(sigma * step, 6)) / step:.{digits}f}"
