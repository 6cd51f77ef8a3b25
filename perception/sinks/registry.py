"""The kinds of sinks, and how settings turn them on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from perception.sinks.jsonl import JsonLinesSink
from perception.sinks.masks import MaskFolderSink
from perception.sinks.sink import Sink
from perception.sinks.video import OverlayVideoSink


@dataclass(frozen=True)
class SinkSettings:
    """Where the predictions go; a kind that is None is off."""

    out: str | None = None
    """File for the overlay video: .mp4 or .mkv."""
    jsonl: str | None = None
    """File for the records, one JSON object a line; "-" is stdout."""
    masks: str | None = None
    """Folder for the masks, one PNG a frame."""
    preset: str = "ultrafast"
    """x264 preset of the video."""
    qp: int = 26
    """x264 quality of the video: lower is better and larger."""
    encoder_threads: int = 1
    """Threads that the video encoder may use."""


def _overlay(settings: SinkSettings) -> Sink | None:
    if settings.out is None:
        return None
    return OverlayVideoSink(settings.out, settings.preset, settings.qp, settings.encoder_threads)


def _jsonl(settings: SinkSettings) -> Sink | None:
    return None if settings.jsonl is None else JsonLinesSink(settings.jsonl)


def _masks(settings: SinkSettings) -> Sink | None:
    return None if settings.masks is None else MaskFolderSink(settings.masks)


SINKS: Final[dict[str, Callable[[SinkSettings], Sink | None]]] = {
    OverlayVideoSink.name: _overlay,
    JsonLinesSink.name: _jsonl,
    MaskFolderSink.name: _masks,
}


def build_sinks(settings: SinkSettings) -> list[Sink]:
    """The sinks that the settings turn on, not yet open.

    Raises:
        SinkError: for a setting that no sink can be made from.
    """
    return [sink for build in SINKS.values() if (sink := build(settings)) is not None]
