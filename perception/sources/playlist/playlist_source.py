"""A playlist as a source: a recording of consecutive segments, or a live stream at its own pace."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import av
from av.error import FFmpegError

from perception.sources.choice import Choice
from perception.sources.decoded_source import DecodedSource
from perception.sources.decoding.decoder import Decoded, Decoder
from perception.sources.decoding.frame_times import FrameTimes
from perception.sources.decoding.image_size import MAX_PIXELS
from perception.sources.files import with_parts
from perception.sources.kind import SourceKind, TypedSource
from perception.sources.playlist.feed import Feed
from perception.sources.playlist.parts import Fetch
from perception.sources.playlist.places import fetch_file
from perception.sources.playlist.play_clock import PlayClock
from perception.sources.playlist.segments import FROM_THE_END, Segments
from perception.sources.playlist.video import PlaylistVideo, is_playlist
from perception.sources.settings import SourceSettings
from perception.sources.source import EndOfSource, SourceError, SourceInfo
from perception.system.plugins import NoSettings
from perception.system.time_limits import OPEN_TIMEOUT_S, READ_TIMEOUT_S


class PlaylistSource(DecodedSource):
    """One video of a playlist.

    If the playlist has no end, it is live: it starts a few segments before the newest, as players do, and
    paces the pictures, which count as captured when they are due.

    Args:
        name: for errors, without any password.
        url: of the playlist.
        fetch: opens the playlist and its references.
        choice: of its variants or, without any, of the streams in its segments.
        open_timeout_s: limit for the first picture.
        read_timeout_s: limit for each picture, in addition to the length of a segment.
        threads: of the decoder; None chooses by size.
        max_pixels: larger pictures are refused before they are decoded.
        behind: number of the last segment that an earlier session of a live stream read.
        source_id: short name; `name` by default.
    """

    def __init__(
        self,
        name: str,
        url: str,
        fetch: Fetch,
        choice: Choice | None = None,
        open_timeout_s: float = OPEN_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
        threads: int | None = 1,
        max_pixels: int = MAX_PIXELS,
        behind: int | None = None,
        source_id: str | None = None,
    ) -> None:
        super().__init__(name, source_id, max_pixels, choice)
        self._url, self._fetch = url, fetch
        self._open_timeout_s, self._read_timeout_s = open_timeout_s, read_timeout_s
        self._threads = threads
        self.last_number = behind
        """Of the last segment read from a live stream."""
        self._segments: Segments | None = None
        self._feed: Feed | None = None
        self._problem = ""
        self._part_frames = 0
        self._silent_after_s = read_timeout_s

    @classmethod
    def of_file(
        cls, file: Path, choice: Choice | None = None, threads: int | None = 1, max_pixels: int = MAX_PIXELS
    ) -> PlaylistSource:
        """The source of a playlist on disk."""
        return cls(
            *(str(file), file.absolute().as_uri(), fetch_file, choice),
            threads=threads,
            max_pixels=max_pixels,
            source_id=file.name,
        )

    def open(self) -> SourceInfo:
        """Read the playlist and decode the first picture."""
        began_s = time.monotonic()
        try:
            try:
                video = PlaylistVideo(self._url, self._fetch, self._choice)
            except SourceError as error:
                raise SourceError(f"{self._name}: cannot be opened: {error}") from None
            return self._open(video)
        except TimeoutError:
            self.close()
            raise SourceError(f"{self._name}: no video within {time.monotonic() - began_s:.1f} s") from None
        except SourceError:
            self.close()
            raise

    def _open(self, video: PlaylistVideo) -> SourceInfo:
        self._segments = Segments(video.load, self._fetch, video.playlist, self.last_number)
        self._feed = Feed(self._segments, self._open_timeout_s)
        self._problem = ""
        self._choice_in_part = Choice() if video.has_variants else self._choice
        decoder = self._decoder = self._next_part(self._feed)
        first = decoder.peek()
        is_live, longest_s = self._segments.is_live, video.playlist.longest_s
        self._is_live = is_live
        self._silent_after_s = self._read_timeout_s + longest_s * is_live
        self._feed.wait_up_to(self._silent_after_s)
        self._clock = PlayClock(decoder.rate.hz)
        behind_s = sum(segment.duration_s for segment in video.playlist.segments[-FROM_THE_END:])
        delay = f"about {behind_s:.0f} s behind" if is_live else ""
        description = ", ".join(filter(None, (f"{decoder.description} by {video.form}", delay, video.note)))
        info = self._opened(decoder, first, decoder.rate, description)
        self.times = FrameTimes(decoder.rate.hz)  # over all parts, whatever their containers
        return replace(info, burst_s=longest_s if is_live else 0.0)

    def close(self) -> None:
        """Release everything."""
        if self._feed is not None:
            self._feed.close()
        self._end_part()
        if self._segments is not None and self._segments.is_live:
            self.last_number = self._segments.last_number

    def _next(self, decoder: Decoder) -> Decoded:
        """The next picture; EndOfSource also when a live playlist ends."""
        assert self._feed is not None
        while True:
            try:
                decoded = decoder.next()
                self._part_frames += 1
                return decoded
            except EndOfSource:
                self._end_part()
                if not self._feed.has_part:
                    self._check_complete(decoder)
                    raise
                decoder = self._decoder = self._next_part(self._feed)

    def _captured_ns(self, decoded: Decoded) -> int:
        """When it is due, which is waited for."""
        now_ns = time.monotonic_ns()
        captured_ns = self._clock.due_ns(decoded.pts_ns, now_ns)
        time.sleep(max(0, captured_ns - now_ns) / 1e9)
        return captured_ns

    @property
    def _silence(self) -> str:
        return f"no frame for {self._silent_after_s:g} s"

    def _next_part(self, feed: Feed) -> Decoder:
        """A decoder for the segments up to the next discontinuity."""
        feed.next_part()
        try:
            container = av.open(feed, "r", metadata_errors="replace")
        except FFmpegError:
            problem = self._segments.problem if self._segments else ""
            problem = problem or "its segments are not a readable video"
            raise SourceError(f"{self._name}: cannot be opened: {problem}") from None
        self._part_frames = 0
        return Decoder(
            *(container, self._name, self._threads, math.inf, None, self._max_pixels, self._choice_in_part)
        )

    def _end_part(self) -> None:
        decoder, self._decoder = self._decoder, None
        if decoder is None:
            return
        self._errors_before += decoder.decode_errors
        if self._segments is not None and not self._segments.is_live:
            try:
                decoder.check_complete(self._part_frames)
            except SourceError as error:
                self._problem = self._problem or str(error)
        decoder.close()

    def _check_complete(self, decoder: Decoder) -> None:
        segments = self._segments
        if segments is None or segments.is_live:
            return
        if segments.missing:
            raise SourceError(
                f"{self._name}: incomplete: {self._frames_read} frames read; "
                f"{segments.missing} of its segments are missing; {segments.problem}"
            )
        if self._problem:
            raise SourceError(self._problem)


def _is_live(spec: str) -> bool:
    """Whether a playlist on disk will continue; false for an unreadable one, which `open` reports."""
    try:
        video = PlaylistVideo(Path(spec).absolute().as_uri(), fetch_file, Choice())
    except SourceError:
        return False
    return not video.playlist.has_end


def _claims(typed: TypedSource) -> str | None:
    return typed.file if typed.is_file and is_playlist(typed.head) else None


def _build(spec: str, settings: NoSettings, reading: SourceSettings) -> PlaylistSource:
    return PlaylistSource.of_file(Path(spec), reading.choice, reading.decoder_threads, reading.max_pixels)


PLAYLIST: Final = SourceKind(
    settings=NoSettings,
    form="",
    claims=_claims,
    build=_build,
    is_live=_is_live,
    files=lambda spec: with_parts(Path(spec)),
    has_choice=True,
)
