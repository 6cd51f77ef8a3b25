"""From what the user typed to a source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from perception.sources.camera import CameraSettings, CameraSource, identity_of, node_name
from perception.sources.choice import BEST, Choice
from perception.sources.decoding.image_size import MAX_PIXELS
from perception.sources.decoding.video_file import FILE_LIMIT_S
from perception.sources.images import ImagesSource
from perception.sources.isolated.freshness import FreshnessSettings, ReconnectSettings
from perception.sources.isolated.reader import IS_SUPPORTED, Reader
from perception.sources.isolated.supervisor import MARGIN_S, IsolatedSource, Limits
from perception.sources.network.tls import TlsSettings
from perception.sources.pacing import Limited, Looped, Paced
from perception.sources.pipe import PipeSource
from perception.sources.playlist import PlaylistSource
from perception.sources.rate import FALLBACK_RATE_HZ
from perception.sources.source import Source, SourceError, SourceInfo
from perception.sources.spec import Spec
from perception.sources.stream import LATE_SHARE, RtspTransport, StreamSource
from perception.sources.synthetic import SyntheticSource
from perception.sources.v4l2.identity import Identity
from perception.sources.video import VideoSource
from perception.system.cores import usable_cores
from perception.system.redaction import redacted_url


@dataclass(frozen=True)
class SourceSettings:
    """How sources are opened and played; each kind takes what concerns it."""

    camera: CameraSettings = field(default_factory=CameraSettings)
    synthetic_wh: tuple[int, int] = (1280, 720)
    synthetic_rate_hz: float = 30.0
    seed: int = 0
    """Of the rendered drive."""
    images_rate_hz: float = 10.0
    max_pixels: int = MAX_PIXELS
    """Of a picture; a larger one is refused before it is decoded."""
    stream: str = BEST
    """Which of several videos: `best`, an index from 0, or a size that it is not to exceed, as 1280x720."""
    open_timeout_s: float = 10.0
    """Limit for connecting to a network stream and finding its video."""
    read_timeout_s: float = 5.0
    """A live source that gives no frame for so long has failed, and is opened again."""
    rtsp_transport: RtspTransport = "auto"
    tls: TlsSettings = field(default_factory=TlsSettings)
    open_retries: int | None = 0
    """How often a live source that does not open at first is tried again; None for ever."""
    freshness: FreshnessSettings = field(default_factory=FreshnessSettings)
    reconnect: ReconnectSettings = field(default_factory=ReconnectSettings)
    isolates_recordings: bool = False
    """Read recordings in a process of their own too, as live sources are."""
    realtime: bool = False
    """Play a recording as a live source would give it."""
    loop: bool = False
    """Start a recording over at its end."""
    threads: int = 0
    """That may be at work at a time; 0 takes every core."""
    max_frames: int | None = None
    duration_s: float | None = None
    """End after so many seconds of the source's own time."""


Builder = Callable[[str, SourceSettings], Source]


def _build_video(spec: str, settings: SourceSettings) -> Source:
    # frame threads hold frames back: in real time that would be delay
    is_single = settings.realtime or (settings.threads or usable_cores()) == 1
    return VideoSource(Path(spec), 1 if is_single else None, settings.max_pixels, Choice.of(settings.stream))


def _build_pipe(spec: str, settings: SourceSettings) -> Source:
    return PipeSource(Path(spec), 1, settings.max_pixels, Choice.of(settings.stream))


def _build_images(spec: str, settings: SourceSettings) -> Source:
    return ImagesSource(spec, settings.images_rate_hz, settings.max_pixels)


def _build_camera(spec: str, settings: SourceSettings, identity: Identity | None = None) -> Source:
    return CameraSource(spec, settings.camera, identity)


def _build_stream(spec: str, settings: SourceSettings) -> Source:
    return StreamSource(
        *(spec, settings.open_timeout_s, settings.read_timeout_s, settings.rtsp_transport),
        *(settings.tls, settings.max_pixels, Choice.of(settings.stream), settings.images_rate_hz),
    )


def _build_playlist(spec: str, settings: SourceSettings) -> Source:
    is_single = settings.realtime or (settings.threads or usable_cores()) == 1
    return PlaylistSource.of_file(
        Path(spec), Choice.of(settings.stream), 1 if is_single else None, settings.max_pixels
    )


def _build_synthetic(spec: str, settings: SourceSettings) -> Source:
    scene = spec.partition(":")[2] or "mixed"
    return SyntheticSource(scene, settings.synthetic_wh, settings.synthetic_rate_hz, settings.seed)


SOURCES: Final[dict[str, Builder]] = {
    "video": _build_video,
    "playlist": _build_playlist,
    "live playlist": _build_playlist,
    "pipe": _build_pipe,
    "images": _build_images,
    "camera": _build_camera,
    "rtsp": _build_stream,
    "rtsps": _build_stream,
    "http": _build_stream,
    "https": _build_stream,
    "synthetic": _build_synthetic,
}

LIVE: Final = ("camera", "live playlist", "rtsp", "rtsps", "http", "https")
"""Kinds that are read in a process of their own: they may hang in a driver, and come back."""
ONE_VIDEO: Final = ("images", "camera", "synthetic")
CAMERA_CAP_S: Final = 0.5


def build_source(spec: str, settings: SourceSettings | None = None) -> Source:
    """The source for `spec`, not yet open, wrapped as the settings ask.

    Raises:
        SourceError: if `spec` has none of the known forms; the message lists them.
    """
    settings = settings or SourceSettings()
    kind, spec = Spec.of(spec)
    if settings.stream != BEST and kind in ONE_VIDEO:
        raise SourceError(f"{redacted_url(spec)}: has one video; leave --stream {settings.stream} out")
    if settings.loop and kind == "pipe":
        raise SourceError(f"{spec}: is a pipe, which gives everything once; leave --loop out")

    def build() -> Source:
        if IS_SUPPORTED and (kind in LIVE or (settings.isolates_recordings and kind != "pipe")):
            return _supervised(kind, spec, settings)
        return SOURCES[kind](spec, settings)

    source: Source = Looped(build) if settings.loop else build()
    if settings.realtime:
        if settings.duration_s is not None:  # inside too: nobody waits for a frame behind the end
            source = Limited(source, duration_s=settings.duration_s)
        source = Paced(source)
    if settings.max_frames is not None or settings.duration_s is not None:
        source = Limited(source, settings.max_frames, settings.duration_s)
    return source


def _supervised(kind: str, spec: str, settings: SourceSettings) -> IsolatedSource:
    name, reconnect = redacted_url(spec), settings.reconnect
    open_timeout_s, read_timeout_s = settings.open_timeout_s, settings.read_timeout_s
    build, awaited = partial(SOURCES[kind], spec, settings), None
    camera = _Camera(spec, settings) if kind == "camera" else None
    if camera is not None:
        cap_s = min(CAMERA_CAP_S, reconnect.cap_s)
        reconnect = replace(reconnect, cap_s=cap_s, first_s=min(reconnect.first_s, cap_s))
        awaited = SourceInfo(
            node_name(spec), True, None, settings.camera.rate_hz, "not open yet", rate_kind="assumed"
        )
    elif kind in LIVE:
        open_timeout_s *= 1 + LATE_SHARE
        awaited = SourceInfo(name, True, None, FALLBACK_RATE_HZ, "not open yet", rate_kind="assumed")
    else:  # a file has limits of its own, which are longer; it is given up before its stage counts as hung
        open_timeout_s = max(open_timeout_s, 2 * FILE_LIMIT_S)
        read_timeout_s = max(read_timeout_s, FILE_LIMIT_S - 2 * MARGIN_S)
    limits = Limits(open_timeout_s, read_timeout_s, settings.freshness, reconnect, settings.open_retries)
    return IsolatedSource(
        lambda: Reader(camera.builder() if camera else build, name), name, limits, awaited=awaited
    )


class _Camera:
    """What makes one camera: a process that takes the place of a killed one finds the same again."""

    def __init__(self, spec: str, settings: SourceSettings) -> None:
        self._spec, self._settings = spec, settings
        self._identity = identity_of(spec)

    def builder(self) -> Callable[[], Source]:
        """Makes the camera in another process."""
        self._identity = self._identity or identity_of(self._spec)  # it may have been away at first
        return partial(_build_camera, self._spec, self._settings, self._identity)


def kind_of(spec: str) -> str:
    """The name in `SOURCES` that `spec` belongs to; raises SourceError.

    Example:
        >>> kind_of("rtsp://10.0.0.7/road"), kind_of("0"), kind_of("synthetic:night")
        ('rtsp', 'camera', 'synthetic')
    """
    return Spec.of(spec).kind
