"""Network streams, RTSP and HTTP, with a time limit for every wait."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import av
from av.container import InputContainer
from av.error import ExitError, FFmpegError, InvalidDataError

from perception.frame import Frame
from perception.sources.arrival import ArrivalClock
from perception.sources.choice import Choice
from perception.sources.decoded_source import DecodedSource
from perception.sources.decoding.decoder import Decoded, Decoder
from perception.sources.decoding.file_end import (
    ENDS_BEFORE_FIRST,
    Beginning,
    is_broadcast,
    is_cut_off,
    is_index_behind,
)
from perception.sources.decoding.image_size import MAX_PIXELS
from perception.sources.decoding.unreadable import (
    INDEX_IS_BEHIND,
    INDEX_IS_MISSING,
    MOVE_INDEX,
    in_words,
    why_no_video,
)
from perception.sources.kind import Isolation, SourceKind, TypedSource, isolation_of
from perception.sources.network.address import PORTS, Address
from perception.sources.network.body import Body
from perception.sources.network.client import Web
from perception.sources.network.deadline import Deadline
from perception.sources.network.picture import WebPicture, picture_suffix
from perception.sources.network.picture_stream import FORM, PictureStream, are_pictures
from perception.sources.network.rtsp import RtspTransport as RtspTransport
from perception.sources.network.rtsp import open_rtsp
from perception.sources.network.tls import CertificateSettings, TlsSettings
from perception.sources.playlist import PlaylistSource, fetch_by, is_playlist
from perception.sources.rate import WITHOUT_RATE, Rate
from perception.sources.settings import SourceSettings
from perception.sources.source import EndOfSource, SourceError, SourceInfo
from perception.system.redaction import redacted_url
from perception.system.time_limits import OPEN_TIMEOUT_S, READ_TIMEOUT_S

_OPENS_NOTHING: Final = {"protocol_whitelist": ""}  # libav by itself, for what is in an answer
# libav measures a rate over 20 frames, which would delay every reconnection: once is enough.
_KNOWN_RATE: Final = {"fpsprobesize": "0"}
LATE_SHARE: Final = 0.25
"""Additional share of the open timeout for a server that answers late."""


@dataclass(frozen=True)
class StreamSettings(CertificateSettings):
    """Network streams: transport and certificates."""

    rtsp_transport: RtspTransport = "auto"
    """How packets of a camera come: auto takes TCP, and UDP where the camera refuses that."""


class StreamSource(DecodedSource):
    """An `rtsp(s)://` or `http(s)://` stream.

    Anything with an end is played as a recording, without drops: an HTTP answer whose server states a length
    or whose container states a duration, a playlist with an end, a single picture. All else is live.

    Args:
        url: may hold a user and a password; the password appears in no message and no record.
        open_timeout_s: limit for connecting and finding the video.
        read_timeout_s: limit for each frame; a longer silence is an error.
        rtsp_transport: "auto" uses TCP, or UDP if the camera refuses TCP. With packet loss, TCP is late due
            to retransmission, and UDP gives damaged pictures.
        tls: how certificates are verified.
        max_pixels: larger pictures are refused before they are decoded.
        choice: of its videos; by default the best.
        pictures_hz: pictures per second of an animation.
    """

    def __init__(
        self,
        url: str,
        open_timeout_s: float = OPEN_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
        rtsp_transport: RtspTransport = "auto",
        tls: TlsSettings | None = None,
        max_pixels: int = MAX_PIXELS,
        choice: Choice | None = None,
        pictures_hz: float = 10.0,
    ) -> None:
        scheme, separator, rest = url.partition("://")
        self._url = scheme.lower() + separator + rest  # libav knows only lower-case schemes
        super().__init__(redacted_url(self._url), max_pixels=max_pixels, choice=choice)
        self._open_timeout_s, self._read_timeout_s = open_timeout_s, read_timeout_s
        self._transport, self._tls = rtsp_transport, tls or TlsSettings()
        self._answer: Body | None = None
        self._pictures: PictureStream | None = None
        self._known_rate: tuple[float | None, Rate] | None = None  # with the codec's statement at that time
        self._pictures_hz = pictures_hz
        self._inside: PlaylistSource | WebPicture | None = None
        self._last_number: int | None = None  # of the segments of a playlist
        self._limit = Deadline()
        self._asked_ns = 0  # when libav began to connect

    def open(self) -> SourceInfo:
        """Connect and find the video."""
        inside: PlaylistSource | WebPicture | None = None
        self._limit.start(self._open_timeout_s)
        try:
            if self._url.startswith("http"):
                inside = self._ask()
            if inside is None:
                container = self._open_container()
        except (ExitError, TimeoutError):
            self.close()
            raise SourceError(f"{self._name}: {self._nothing_came}") from None
        except (SourceError, FFmpegError) as error:  # libav's text and its cause would show the password
            self.close()
            problem = error if isinstance(error, SourceError) else in_words(error)
            raise SourceError(f"{self._name}: cannot be opened: {problem}") from None
        if inside is not None:
            return self._open_inside(inside)
        self._is_live = self._has_no_end(container)
        self._limit.start(self._read_timeout_s)
        waited_ns = time.monotonic_ns() - self._asked_ns
        try:
            decoder, first = self._begin(
                container,
                threads=1,
                file=self._beginning,
                frame_limit_s=self._read_timeout_s,
                has_clock=self._pictures is None,
            )
        except (SourceError, TimeoutError) as error:
            self.close()
            raise SourceError(str(error) or f"{self._name}: {self._silence}") from None
        if self._pictures:
            decoder.form = "pictures over HTTP"
        # frames that arrived while the stream was probed are queued, and up to as old as that took
        self._arrivals = ArrivalClock(waited_ns=waited_ns if decoder.has_clock else 0)
        return self._opened(decoder, first, self._rate_of(decoder), decoder.description)

    def read(self) -> Frame:
        """The next frame; raises SourceError if a live stream ends."""
        if self._inside is not None:
            try:
                return self._inside.read()
            finally:
                self.decode_errors = self._inside.decode_errors
        return super().read()

    def close(self) -> None:
        """Disconnect."""
        if self._inside is not None:
            self._inside.close()
            if isinstance(self._inside, PlaylistSource):
                self._last_number = self._inside.last_number
            self._inside = None
        super().close()
        if self._answer is not None:
            self._answer.close()

    def _ask(self) -> PlaylistSource | WebPicture | None:
        """Request an HTTP address; a source for its answer unless libav can read that as it is."""
        self._asked_ns = time.monotonic_ns()
        self._pictures = None
        web = Web(self._url, self._tls, self._limit)
        answer = self._answer = web.first()
        if suffix := picture_suffix(answer):
            if self._choice.index:
                raise SourceError("is one picture; leave --stream out")
            return WebPicture(self._name, answer, suffix, self._pictures_hz, self._max_pixels)
        if is_playlist(answer.start):
            self._limit.start_each(self._read_timeout_s)
            return PlaylistSource(
                *(self._name, answer.url, fetch_by(web, answer), self._choice),
                *(self._open_timeout_s, self._read_timeout_s),
                max_pixels=self._max_pixels,
                behind=self._last_number,
            )
        return None

    def _open_inside(self, inside: PlaylistSource | WebPicture) -> SourceInfo:
        self._inside = inside
        try:
            info = inside.open()
        except (SourceError, TimeoutError) as error:
            self.close()
            raise SourceError(str(error) or f"{self._name}: {self._nothing_came}") from None
        if isinstance(inside, PlaylistSource):
            self.times = inside.times
        return info

    def _has_no_end(self, container: InputContainer) -> bool:
        """Whether a stream is live; libav does not know the duration of every recording."""
        if self._answer is None or (self._pictures and self._answer.content_type.startswith("multipart/")):
            return True
        has_length = container.duration and not is_broadcast(self._answer.start)
        return self._answer.size_bytes is None and not has_length

    def _open_container(self) -> InputContainer:
        options = _KNOWN_RATE if self._known_rate else {}
        if self._answer is not None:
            self._limit.leave(self._open_timeout_s * LATE_SHARE)
            return self._open_answer(self._answer, options)
        limits_s = (self._open_timeout_s, self._read_timeout_s)
        container, self._asked_ns = open_rtsp(self._url, self._transport, self._tls, limits_s, options)
        return container

    def _open_answer(self, answer: Body, options: Mapping[str, str]) -> InputContainer:
        if are_pictures(answer.content_type, answer.start):
            self._pictures = PictureStream(answer)
            self._pictures.wait()
            return av.open(self._pictures, "r", format=FORM)
        problem = why_no_video(answer.start, answer.head)
        if problem:
            raise SourceError(problem)
        if is_index_behind(answer.start) and not answer.seekable():
            self._keep(answer)
        try:
            return av.open(
                *(answer, "r"),
                options={**_OPENS_NOTHING, **options},
                timeout=(self._limit.left_s(), self._read_timeout_s),
                metadata_errors="replace",
            )
        except InvalidDataError:
            raise SourceError(self._why_unreadable(answer)) from None

    def _why_unreadable(self, answer: Body) -> str:
        if answer.failure:
            return str(answer.failure)
        if is_index_behind(answer.start):
            return INDEX_IS_MISSING
        if self._beginning and is_cut_off(self._beginning):
            return ENDS_BEFORE_FIRST
        return f"the server answers {answer.head}: not a readable video"

    def _keep(self, answer: Body) -> None:
        """Download a file whose index is at its end."""
        within = ""
        try:
            if answer.keep():
                return
        except TimeoutError:
            within = f" within {self._limit.waited_s:g} s (--open_timeout_s)"
        raise SourceError(
            f"{INDEX_IS_BEHIND}, the server gives no ranges, and the whole file is too large{within}; "
            f"download it, or {MOVE_INDEX}"
        )

    def _rate_of(self, decoder: Decoder) -> Rate:
        """As measured at the first connection, unless the codec now states another rate."""
        known, codec_hz = self._known_rate, decoder.codec_hz
        rate = known[1] if known is not None and known[0] == codec_hz else decoder.rate
        self._known_rate = (codec_hz, rate) if decoder.form in WITHOUT_RATE else None
        return rate

    def _next(self, decoder: Decoder) -> Decoded:
        self._limit.start(self._read_timeout_s)
        try:
            decoded = decoder.next()
            if self._is_live:
                self._limit.left_s()  # after a silence libav flushes the frames it had held back
            return decoded
        except EndOfSource:
            failure = self._answer.failure if self._answer else None
            if isinstance(failure, TimeoutError):  # libav may take it for the end
                raise TimeoutError from None
            if not self._is_live:
                cut = "the file ends early" if self._pictures and self._pictures.is_cut_off else ""
                decoder.check_complete(self._frames_read, str(failure or cut))
                raise
        cause = f"; {failure}" if failure else ""
        raise SourceError(f"{self._name}: the stream ended after {self._frames_read} frames{cause}")

    def _next_pts_ns(self) -> int | None:
        self._limit.start(self._read_timeout_s)
        return super()._next_pts_ns()

    def _captured_ns(self, decoded: Decoded) -> int:
        return self._arrivals.captured_ns(decoded.pts_ns, decoded.received_ns)

    @property
    def _errors(self) -> int:
        return super()._errors + (self._pictures.torn if self._pictures else 0)

    @property
    def _beginning(self) -> Beginning | None:
        """The first bytes of a file of known size that libav reads directly."""
        answer = self._answer
        if self._pictures or answer is None or answer.size_bytes is None:
            return None
        return Beginning(answer.start, answer.size_bytes)

    @property
    def _nothing_came(self) -> str:
        within = f"within {self._limit.waited_s:g} s"
        if self._pictures:
            return f"no picture {within} in its answer{self._pictures.parts}"
        return f"no video {within}"

    @property
    def _silence(self) -> str:
        return f"no frame for {self._read_timeout_s:g} s"


def _claims(typed: TypedSource) -> str | None:
    if typed.scheme not in PORTS or not typed.slashes.startswith("//"):
        return None
    try:
        Address.of(typed.text)
    except SourceError as error:
        raise SourceError(f"{redacted_url(typed.text)}: {error}") from None
    return typed.text


def _build(spec: str, settings: StreamSettings, reading: SourceSettings) -> StreamSource:
    return StreamSource(
        *(spec, reading.open_timeout_s, reading.read_timeout_s, settings.rtsp_transport, settings.tls),
        *(reading.max_pixels, reading.choice, reading.images_rate_hz),
    )


def _isolation(spec: str, settings: StreamSettings, reading: SourceSettings) -> Isolation:
    if settings.tls_ca:
        settings.tls.context()  # fails now rather than at each attempt to open
    return isolation_of(_build, spec, settings, reading)


STREAM: Final = SourceKind(
    settings=StreamSettings,
    form="rtsp(s)://… or http(s)://…",
    claims=_claims,
    build=_build,
    is_live=lambda spec: True,
    isolation=_isolation,
    has_choice=True,
)
