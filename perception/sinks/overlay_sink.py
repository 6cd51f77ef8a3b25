"""The overlay as a sink: a video, a single image or a folder of images, by the target's name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from perception.sinks.earlier_files import OVERLAYS, EarlierKind
from perception.sinks.kind import SinkKind
from perception.sinks.overlay_images import (
    OverlayFolderSink,
    OverlayImageSink,
    check_has_quality,
    one_picture_alone,
)
from perception.sinks.overlay_picture import SUFFIXES
from perception.sinks.rotation import RecordingPolicy
from perception.sinks.sink import Sink, SinkError
from perception.sinks.video import VIDEO_QUALITY, OverlayVideoSink
from perception.sinks.video_segment import CONTAINERS
from perception.sources.source import SourceInfo
from perception.system.plugins import Checked


@dataclass(frozen=True)
class OverlaySettings(Checked):
    """The overlay, a picture or video of what was found."""

    out: Annotated[str, "FILE|FOLDER/"] | None = None
    """Overlay to write: a video (.mp4, .mkv), a single image (.jpg, .png, .webp), or FOLDER/ of images."""
    quality: int | None = None
    """Quality of the overlay, 1 to 100 like JPEG's; without it 75, and 90 for images."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise ValueError(f"quality is {self.quality}; it must be from 1 to 100")
        if self.out is not None:
            if out_kind(self.out) is None:
                raise ValueError(_unknown_kind(self.out))
            if self.quality is not None and out_kind(self.out) == "image":
                check_has_quality(self.out)
        super().__post_init__()


def build_overlay(settings: OverlaySettings, policy: RecordingPolicy, info: SourceInfo) -> Sink:
    """The sink for `settings.out`; raises SinkError for one image of many frames."""
    out = str(settings.out)
    match out_kind(out):
        case "folder":
            return OverlayFolderSink(out, settings.quality, policy)
        case "image":
            if not info.is_one_picture:
                raise SinkError(one_picture_alone(out))
            return OverlayImageSink(out, settings.quality, policy)
        case "video":
            quality = VIDEO_QUALITY if settings.quality is None else settings.quality
            return OverlayVideoSink(out, quality, policy)
    raise SinkError(_unknown_kind(out))  # a folder without a / that was removed since


def _unknown_kind(out: str) -> str:
    return (
        f"{out}: unknown kind of overlay; its name has to end in {' or '.join(CONTAINERS)} (a video), "
        f"{', '.join(SUFFIXES)} (a single image) or / (a folder of images)"
    )


def overlay_pictures(out: str) -> EarlierKind | None:
    """The files of a folder of overlays; None if `out` is not a folder."""
    return OVERLAYS if out_kind(out) == "folder" else None


def out_kind(out: str) -> Literal["video", "image", "folder", None]:
    """The kind of overlay that a name stands for; None if unknown.

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


OVERLAY_SINK: Final = SinkKind(
    settings=OverlaySettings, target="out", build=build_overlay, pictures=overlay_pictures
)
