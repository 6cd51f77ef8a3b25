"""What the overlay says, in words that a driver understands."""

from __future__ import annotations

from typing import Final

from perception.frame import ENGINE_SEES, CameraState, EngineState, OutputItem, Prediction

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
