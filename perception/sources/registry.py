"""Every kind of source, by name; from what the user typed to a source."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any, Final, NamedTuple

from perception.cli_config.error import SettingsError
from perception.sources.bag.bag_source import BAG
from perception.sources.camera import CAMERA
from perception.sources.choice import BEST
from perception.sources.images import IMAGES
from perception.sources.isolated.reader import IS_SUPPORTED, Reader
from perception.sources.isolated.supervisor import IsolatedSource, Limits
from perception.sources.kind import SourceKind, TypedSource, isolation_of
from perception.sources.pacing import Capped, Limited, Looped, Named, Paced, Sampled
from perception.sources.pipe import PIPE
from perception.sources.playlist.playlist_source import PLAYLIST
from perception.sources.ros import ROS
from perception.sources.settings import SourceSettings
from perception.sources.source import Source, SourceError, SourceInfo
from perception.sources.spec import problem_of
from perception.sources.stream import STREAM
from perception.sources.synthetic import SYNTHETIC
from perception.sources.video import VIDEO
from perception.system.plugins import PluginError, Registry, part_of
from perception.system.redaction import redacted_url
from perception.system.time_limits import FILE_LIMIT_S, READER_MARGIN_S

log = logging.getLogger(__name__)

SOURCES: Final[Registry[SourceKind[Any]]] = Registry(
    "drivable.sources",
    SourceKind,
    {
        "stream": STREAM,
        "ros": ROS,
        "synthetic": SYNTHETIC,
        "camera": CAMERA,
        "bag": BAG,
        "pipe": PIPE,
        "playlist": PLAYLIST,
        "images": IMAGES,
        "video": VIDEO,
    },
)

"""Asked in this order whether a spec is theirs; before the last, which takes any file, those of packages."""


class Spec(NamedTuple):
    """A source by its kind."""

    kind: str
    """A name in `SOURCES`."""
    text: str
    """As sources take it: an address without blanks around it, or a local name."""

    @classmethod
    def of(cls, typed: str) -> Spec:
        """Recognise the kind of what was typed.

        Raises:
            SourceError: if it has none of the known forms, or an address is not one; the message says why.

        Example:
            >>> Spec.of(" RTSP://10.0.0.7/road"), Spec.of("0").kind, Spec.of("synthetic:night").kind
            (Spec(kind='stream', text='RTSP://10.0.0.7/road'), 'camera', 'synthetic')
        """
        source = TypedSource(typed)
        *first, last = SOURCES.ours
        for name in (*first, *SOURCES.names()[len(SOURCES.ours) :], last):
            try:
                text = SOURCES[name].spec_of(source)
            except PluginError as error:  # it may not be needed
                _warn_once(str(error))
            else:
                if text is not None:
                    return cls(name, text)
        forms = ", ".join(form for name in reversed(SOURCES.names()) if (form := SOURCES[name].form))
        raise SourceError(f"{redacted_url(typed)!r}: {problem_of(source)}; a source is {forms}")

    def is_live(self) -> bool:
        """Whether it may hang and come back."""
        return SOURCES[self.kind].is_live(self.text)


@cache
def _warn_once(message: str) -> None:
    log.warning(message)


def build_source(source: str | Spec, settings: object = None) -> Source:
    """The source of that spec, not yet open, wrapped as the settings ask.

    Args:
        source: as typed, or recognised already.
        settings: hold SourceSettings and those of kinds, flat or in groups; what is missing has defaults.

    Raises:
        SourceError: if it has none of the known forms; the message lists them.
        SettingsError: if it has no use for one of the settings.
    """
    reading = part_of(settings, SourceSettings)
    name, spec = source if isinstance(source, Spec) else Spec.of(source)
    kind = SOURCES[name]
    own = kind.own(settings)
    if reading.stream != BEST and not kind.has_choice:
        raise SettingsError(f"{spec}: has one video; leave --stream {reading.stream} out")
    if reading.loop and kind.is_once:
        raise SettingsError(f"{spec}: is a pipe, which gives everything once; leave --loop out")
    is_live = kind.is_live(spec)
    is_isolated = IS_SUPPORTED and (is_live or (reading.isolate and not kind.is_once))
    where = ", read in a process of its own" if is_isolated else ""
    log.debug(f"source {redacted_url(spec)}: of kind {name}, {'live' if is_live else 'recorded'}{where}")

    built: Source
    if is_isolated:
        built = _isolated(kind, spec, own, reading, is_live=is_live)
    else:
        built = kind.make(kind.build, spec, own, reading, protocol=Source, expected=SourceError)
        built = Looped(built) if reading.loop else built
    if reading.every > 1:
        built = Sampled(built, reading.every)
    if reading.realtime:
        if reading.duration_s is not None:  # inside too: nobody waits for a frame behind the end
            built = Limited(built, duration_s=reading.duration_s)
        built = Paced(built)
    if reading.rate_limit_hz is not None:
        built = Capped(built, reading.rate_limit_hz)
    if reading.max_frames is not None or reading.duration_s is not None:
        built = Limited(built, reading.max_frames, reading.duration_s)
    if reading.source_name is not None:
        built = Named(built, reading.source_name)
    return built


def _isolated(
    kind: SourceKind[Any], spec: str, own: Any, reading: SourceSettings, *, is_live: bool
) -> IsolatedSource:
    how = (kind.isolation or partial(isolation_of, kind.build))(spec, own, reading)
    name, reconnect, awaited = redacted_url(spec), reading.reconnect, None
    open_timeout_s, read_timeout_s = reading.open_timeout_s, reading.read_timeout_s
    if is_live:
        cap_s = min(how.longest_retry_s, reconnect.cap_s)
        reconnect = replace(reconnect, cap_s=cap_s, first_s=min(reconnect.first_s, cap_s))
        if reading.loop:  # it has to prove to be a recording, of which a round is opened within a read
            read_timeout_s = max(read_timeout_s, open_timeout_s)
        else:
            awaited = SourceInfo(how.name, True, None, how.rate_hz, "not open yet", rate_kind="assumed")
    else:  # a file has limits of its own, which are longer; it is given up before its stage counts as hung
        open_timeout_s = max(open_timeout_s, 2 * FILE_LIMIT_S)
        read_timeout_s = max(read_timeout_s, FILE_LIMIT_S - 2 * READER_MARGIN_S)
    retries = None if reading.open_retries == "forever" else reading.open_retries
    limits = Limits(open_timeout_s, read_timeout_s, reading.freshness, reconnect, retries)

    def new_reader() -> Reader:
        build = how.builder()
        return Reader(partial(_looped, build) if reading.loop else build, name)

    return IsolatedSource(new_reader, name, limits, awaited=awaited)


def _looped(build: Callable[[], Source]) -> Looped:
    return Looped(build())
