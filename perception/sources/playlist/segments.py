"""Fetches the segments of a playlist in order, and reloads a live playlist for new ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Final

from perception.sources.playlist.continuity import Continuity
from perception.sources.playlist.parts import Fetch, Playlist, Segment
from perception.sources.source import SourceError

FROM_THE_END: Final = 3
"""A live stream starts this many segments before its end (RFC 8216): time for the next one to appear."""
NEW_PART: Final = b""
"""Precedes bytes that do not continue the previous ones: another encoding, or segments are missing."""
_TRIES: Final = 3
_RETRY_S: Final = 0.5
SOONEST_S: Final = 0.2


class Segments:
    """The bytes of a playlist's segments.

    Args:
        load: gives the current playlist; raises SourceError or TimeoutError.
        fetch: gets the bytes of a place.
        first: the first version of the playlist.
        behind: number of the last segment that an earlier session of a live stream read.
    """

    def __init__(
        self, load: Callable[[], Playlist], fetch: Fetch, first: Playlist, behind: int | None = None
    ) -> None:
        self._load, self._fetch, self._playlist = load, fetch, first
        self.is_live = not first.has_end or behind is not None
        self.last_number = behind
        """Of the last segment that was started."""
        self.missing = 0
        """Segments that could not be fetched completely."""
        self.problem = ""
        """Why the last of these failed."""
        self._is_continuous = False
        self._loaded_s = time.monotonic()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End `pieces` soon; may be called from any thread."""
        self._stopped.set()

    def pieces(self) -> Generator[bytes, None, None]:
        """Bytes, with `NEW_PART` at discontinuities."""
        has_begun, init, continuity = False, None, Continuity()
        for segment in self._segments():
            is_new = not self._is_continuous or segment.is_discontinuous or segment.init != init
            init = segment.init
            continuity.begin_segment()
            for piece in self._bytes_of(segment, is_new):
                if is_new and has_begun:
                    yield NEW_PART
                    continuity.begin_part()
                is_new, has_begun = False, True
                if joined := continuity.joined(piece):
                    yield joined
            if rest := continuity.rest():
                yield rest

    def _segments(self) -> Iterator[Segment]:
        number = self._first_number(self.last_number)
        while not self._stopped.is_set():
            playlist = self._playlist
            for segment in playlist.segments:
                if segment.number < number:
                    continue
                if self._stopped.is_set():
                    return
                if segment.number > number and number:
                    self._miss(segment.number - number, "they had been removed before they were read")
                number = segment.number + 1
                self.last_number = segment.number
                yield segment
            if playlist.has_end:
                return
            self._reload(number)
            segments = self._playlist.segments
            if segments and segments[-1].number + len(segments) + 1 < number:  # the sender was restarted
                number, self._is_continuous = self._first_number(None), False

    def _first_number(self, behind: int | None) -> int:
        """Number of the segment to start with."""
        segments = self._playlist.segments
        if not self.is_live or not segments:
            return segments[0].number if segments else 0
        number = segments[-FROM_THE_END:][0].number
        if behind is not None and segments[-1].number + len(segments) >= behind:
            return max(number, behind + 1)
        return number

    def _bytes_of(self, segment: Segment, with_init: bool) -> Iterator[bytes]:
        """The bytes of a segment; counts it as missing if it is incomplete."""
        self._is_continuous = False
        if segment.is_missing:
            self._miss(1, "the sender does not have it")
            return
        places = [segment.init, segment.place] if with_init and segment.init else [segment.place]
        for tries_left in reversed(range(_TRIES if self.is_live else 1)):
            got_bytes = 0
            try:
                for place in places:
                    for piece in self._fetch(place):
                        if self._stopped.is_set():
                            return
                        got_bytes += len(piece)
                        yield piece
                self._is_continuous = True
                if not got_bytes:
                    self._miss(1, "it is empty")
                return
            except (SourceError, TimeoutError) as error:
                problem = str(error) or "nothing more of it arrived"
            if got_bytes or not tries_left or self._stopped.wait(_RETRY_S):
                self._miss(1, f"{segment.place.name}: {problem}")
                return

    def _miss(self, count: int, problem: str) -> None:
        self.missing, self.problem, self._is_continuous = self.missing + count, problem, False

    def _reload(self, number: int) -> None:
        """Wait for a playlist that has a segment from `number` on, was restarted, or has ended."""
        before = self._playlist
        longest_s = max(SOONEST_S, before.longest_s)
        last_s = before.segments[-1].duration_s if before.segments else 0.0
        wait_s = min(last_s or longest_s, longest_s)
        while not self._stopped.wait(max(SOONEST_S, self._loaded_s + wait_s - time.monotonic())):
            self._loaded_s, wait_s = time.monotonic(), longest_s / 2
            try:
                playlist = self._load()
            except (SourceError, TimeoutError) as error:
                self.problem = str(error) or "the playlist does not arrive"
                continue
            numbers = [segment.number for segment in playlist.segments]
            if playlist.has_end or (numbers and not number - len(numbers) - 1 <= numbers[-1] < number):
                self._playlist = playlist
                return
