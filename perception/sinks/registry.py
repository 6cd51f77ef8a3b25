"""The kinds of sinks, and how settings turn them on."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from perception.sinks.jsonl import JsonLinesSink
from perception.sinks.masks import MaskFolderSink
from perception.sinks.overlay_images import OverlayFolderSink, OverlayImageSink, one_picture_alone
from perception.sinks.overlay_picture import SUFFIXES
from perception.sinks.rotation import RecordingPolicy, Rotate
from perception.sinks.sink import OwnedSink, Sink, SinkError
from perception.sinks.video import VIDEO_QUALITY, OverlayVideoSink
from perception.sinks.video_segment import CONTAINERS


@dataclass(frozen=True)
class SinkSettings:
    """Where the predictions go; a kind that is None is off."""

    out: str | None = None
    """For the overlay: a video, the image of one image, or a folder of images, as `out_kind` has it."""
    is_one_image: bool = False
    """The source gives one frame."""
    jsonl: str | None = None
    """File for the records, one JSON object a line; "-" is stdout."""
    masks: str | None = None
    """Folder for the masks, one PNG a frame."""
    mask_palette: bool = False
    """Masks have a palette of the overlay's colours."""
    quality: int | None = None
    """Of the overlay, 1 to 100 as of JPEG; None takes what suits its format."""
    preset: str = "ultrafast"
    """x264 preset of the video."""
    encoder_threads: int = 1
    """Threads that the video encoder may use."""

    rotate: Rotate = field(default_factory=Rotate)
    min_free_mb: float = 200.0
    """Recording stops while less is free on the disk (millions of bytes); 0 never stops."""
    append: bool = False
    """Go on with what an earlier run left, and write over none of it."""
    overwrite: bool = False
    """Replace what is there, which is set aside otherwise."""
    durable: bool = False
    """What is written is safe from a power cut within about a second."""
    folders: frozenset[str] = frozenset()
    """That names of frames have, and all above them: there a folder of masks or overlays has such too."""


def _overlay(settings: SinkSettings, keeping: RecordingPolicy) -> OwnedSink | None:
    if settings.out is None:
        return None
    match out_kind(settings.out):
        case "folder":
            return OverlayFolderSink(settings.out, settings.quality, keeping)
        case "image":
            if not settings.is_one_image:
                raise SinkError(one_picture_alone(settings.out))
            return OverlayImageSink(settings.out, settings.quality, keeping)
        case "video":
            quality = VIDEO_QUALITY if settings.quality is None else settings.quality
            threads = settings.encoder_threads
            return OverlayVideoSink(settings.out, settings.preset, quality, threads, keeping)
    raise SinkError(
        f"{settings.out}: unknown kind of overlay; end its name in {' or '.join(CONTAINERS)} (a video), "
        f"{', '.join(SUFFIXES)} (of one image) or / (a folder of images)"
    )


def _jsonl(settings: SinkSettings, keeping: RecordingPolicy) -> OwnedSink | None:
    return None if settings.jsonl is None else JsonLinesSink(settings.jsonl, keeping)


def _masks(settings: SinkSettings, keeping: RecordingPolicy) -> OwnedSink | None:
    return (
        None
        if settings.masks is None
        else MaskFolderSink(settings.masks, keeping, has_palette=settings.mask_palette)
    )


def out_kind(out: str) -> Literal["video", "image", "folder", None]:
    """What an overlay of that name is; None where the name does not tell.

    Example:
        >>> out_kind("z.mp4"), out_kind("z.jpg"), out_kind("z/"), out_kind("z.xyz")
        ('video', 'image', 'folder', None)
    """
    if out.endswith(("/", os.sep)) or Path(out).is_dir():
        return "folder"
    suffix = Path(out).suffix.lower()
    if suffix in CONTAINERS:
        return "video"
    return "image" if suffix in SUFFIXES else None


SINKS: Final[dict[str, Callable[[SinkSettings, RecordingPolicy], OwnedSink | None]]] = {
    OverlayVideoSink.name: _overlay,
    JsonLinesSink.name: _jsonl,
    MaskFolderSink.name: _masks,
}


FRAME_IS: Final = {
    OverlayVideoSink.name: "frame",
    JsonLinesSink.name: "record",
    MaskFolderSink.name: "mask",
}
"""What a frame of each is called."""


class SinkBuilder:
    """Builds a run's sinks, and the ones that take their places after a restart."""

    def __init__(self, settings: SinkSettings) -> None:
        self._settings = settings
        self._keepings = {
            name: RecordingPolicy(
                *(settings.rotate, settings.min_free_mb, settings.append, settings.overwrite),
                durable=settings.durable,
                folders=settings.folders,
            )
            for name in SINKS
        }

    def build(self, name: str) -> OwnedSink | None:
        """A new sink of that name, not yet open; None if the settings do not turn it on.

        It shares with those built before only what they hold: the claim, and the list of the segments that
        `rotate.keep` may remove.

        Raises:
            SinkError: for a setting that no sink can be made from.
        """
        return SINKS[name](self._settings, self._keepings[name])

    def written(self) -> list[str]:
        """What every sink has left, such as `out.mp4 (300 frames, 4.2 MB)`; once they are closed."""
        notes = {}
        if not self._settings.mask_palette:
            notes[MaskFolderSink.name] = "black to the eye without --mask-palette"
        told = (self._keepings[name].written.told(what, notes.get(name)) for name, what in FRAME_IS.items())
        return [line for line in told if line]

    def build_all(self) -> list[OwnedSink]:
        """Every sink that the settings turn on, not yet open; raises SinkError as `build` does."""
        return [sink for name in SINKS if (sink := self.build(name)) is not None]


def build_sinks(settings: SinkSettings) -> list[Sink]:
    """The sinks that the settings turn on, not yet open.

    Raises:
        SinkError: for a setting that no sink can be made from.
    """
    return [*SinkBuilder(settings).build_all()]
