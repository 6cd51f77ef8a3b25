"""The bytes of a playlist's segments in their order; of a live one also those that are still to come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from perception.sources.playlist.continuity import Continuity
from perception.sources.playlist.parts import Place, Playlist, Segment
from perception.sources.source import SourceError

FROM_THE_END: Final = 3
"""Segments that a live stream begins with, as RFC 8216 has it: time enough for the next one to come."""
NEW_PART: Final = b""
"""Stands before what does not go on from the bytes before: another encoding, or behind what is missing."""
_TRIES: Final = 3
_TRIED_AGAIN_S: Final = 0.5
SOONEST_S: Final = 0.2
_PIECE_BYTES: Final = 1 << 16


class Readable(Protocol):
    """What is used of an open file; raises SourceError or TimeoutError where it breaks off."""

    def read(self, size_bytes: int, /) -> bytes: ...
    def close(self) -> None: ...


class Segments:
    """The bytes of a playlist's segments.

    Args:
        load: gives the playlist as it is now.
        fetch: opens the bytes of a place. Both raise SourceError or TimeoutError.
        first: the playlist as it was found.
        behind: number of the last segment that an earlier session of a live stream read.
    """

    def __init__(
        self,
        load: Callable[[], Playlist],
        fetch: Callable[[Place], Readable],
        first: Playlist,
        behind: int | None = None,
    ) -> None:
        self._load, self._fetch, self._playlist = load, fetch, first
        self.is_live = not first.has_end or behind is not None
        self.last_number = behind
        """Of the segment that was begun last."""
        self.missing = 0
        """Segments that could not be had, or not whole."""
        self.problem = ""
        """What was wrong with the last of these."""
        self._goes_on = False
        self._asked_s = time.monotonic()  # when the playlist was asked for last
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End `pieces` soon; may be called from any thread."""
        self._stopped.set()

    def pieces(self) -> Iterator[bytes]:
        """Bytes, and `NEW_PART` between those that do not go on from each other."""
        has_begun, init, continuity = False, None, Continuity()
        for segment in self._segments():
            is_new = not self._goes_on or segment.is_discontinuous or segment.init != init
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
                    self._miss(segment.number - number, "they were gone before they were read")
                number = segment.number + 1
                self.last_number = segment.number
                yield segment
            if playlist.has_end:
                return
            self._reload(number)
            segments = self._playlist.segments
            if segments and segments[-1].number + len(segments) + 1 < number:  # the sender began anew
                number, self._goes_on = self._first_number(None), False

    def _first_number(self, behind: int | None) -> int:
        """Of the segment to begin with."""
        segments = self._playlist.segments
        if not self.is_live or not segments:
            return segments[0].number if segments else 0
        number = segments[-FROM_THE_END:][0].number
        if behind is not None and segments[-1].number + len(segments) >= behind:
            return max(number, behind + 1)
        return number

    def _bytes_of(self, segment: Segment, with_init: bool) -> Iterator[bytes]:
        """Also notes whether all came."""
        self._goes_on = False
        if segment.is_missing:
            self._miss(1, "the sender has none")
            return
        places = [segment.init] * (with_init and segment.init is not None) + [segment.place]
        for tries_left in reversed(range(_TRIES if self.is_live else 1)):
            got_bytes = 0
            try:
                for place in places:
                    assert place is not None
                    for piece in self._read(place):
                        got_bytes += len(piece)
                        yield piece
                self._goes_on = True
                if not got_bytes:
                    self._miss(1, "it is empty")
                return
            except (SourceError, TimeoutError) as error:
                problem = str(error) or "nothing more came of it"
            if got_bytes or not tries_left or self._stopped.wait(_TRIED_AGAIN_S):
                self._miss(1, f"{segment.place.name}: {problem}")
                return

    def _read(self, place: Place) -> Iterator[bytes]:
        file = self._fetch(place)
        try:
            while not self._stopped.is_set() and (piece := file.read(_PIECE_BYTES)):
                yield piece
        finally:
            file.close()

    def _miss(self, count: int, problem: str) -> None:
        self.missing, self.problem, self._goes_on = self.missing + count, problem, False

    def _reload(self, number: int) -> None:
        """Wait for a playlist that has a segment from `number` on, begins anew, or has its end."""
        before = self._playlist
        longest_s = max(SOONEST_S, before.longest_s)
        last_s = before.segments[-1].duration_s if before.segments else 0.0
        wait_s, asked_s = min(last_s or longest_s, longest_s), self._asked_s
        while not self._stopped.wait(max(SOONEST_S, asked_s + wait_s - time.monotonic())):
            asked_s = self._asked_s = time.monotonic()
            wait_s = longest_s / 2
            try:
                playlist = self._load()
            except (SourceError, TimeoutError) as error:
                self.problem = str(error) or "the playlist does not come"
                continue
            numbers = [segment.number for segment in playlist.segments]
            if playlist.has_end or (numbers and not number - len(numbers) - 1 <= numbers[-1] < number):
                self._playlist = playlist
                return
