"""Segments of a live playlist that moves on: none twice, none left out in silence, no wait without end."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Callable

import pytest

from perception.sources.playlist.continuity import Continuity
from perception.sources.playlist.feed import Ahead, Feed
from perception.sources.playlist.hls import playlist_of, variants_of
from perception.sources.playlist.parts import Place, Playlist, Segment
from perception.sources.playlist.play_clock import PlayClock
from perception.sources.playlist.segments import NEW_PART, Segments
from perception.sources.source import SourceError

MS = 1_000_000
SHORT_S = 0.01


@pytest.fixture(autouse=True)
def _asks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perception.sources.playlist.segments.SOONEST_S", 0.001)


def playlist(first: int, end: int, has_end: bool = False) -> Playlist:
    return Playlist(tuple(piece(number) for number in range(first, end)), has_end, SHORT_S)


def piece(number: int, **more: object) -> Segment:
    return Segment(number, Place(str(number)), SHORT_S, **more)  # type: ignore[arg-type]


def read(versions: list[Playlist | Exception], fetch: Callable[[Place], io.BytesIO], **more: int) -> Segments:
    """All versions one after another, and then the end; what was given stands in `.given`."""
    left = iter(versions[1:])

    def load() -> Playlist:
        version = next(left, Playlist((), True, SHORT_S))
        if isinstance(version, Exception):
            raise version
        return version

    assert isinstance(versions[0], Playlist)
    segments = Segments(load, fetch, versions[0], **more)
    segments.given = list(segments.pieces())  # type: ignore[attr-defined]
    return segments


def content(place: Place) -> io.BytesIO:
    return io.BytesIO(place.url.encode())


@pytest.mark.parametrize(
    ("versions", "given", "missing"),
    [
        ([playlist(0, 5, has_end=True)], "0 1 2 3 4", 0),
        ([playlist(0, 5), playlist(1, 6), playlist(1, 6), playlist(4, 8)], "2 3 4 5 6 7", 0),
        ([playlist(0, 2), playlist(0, 3)], "0 1 2", 0),
        ([playlist(0, 4), SourceError("500"), playlist(2, 5)], "1 2 3 4", 0),
        ([playlist(0, 4), playlist(6, 8)], "1 2 3 | 6 7", 2),
        (
            [playlist(0, 4), playlist(0, 3), playlist(1, 5)],
            "1 2 3 4",
            0,
        ),  # an old version, from another server
        (
            [playlist(50, 54), playlist(0, 3), playlist(1, 4)],
            "51 52 53 | 0 1 2 3",
            0,
        ),  # the sender was restarted
    ],
)
def test_segments_come_in_their_order_each_once(
    versions: list[Playlist | Exception], given: str, missing: int
) -> None:
    segments = read(versions, content)

    assert [data or b"|" for data in segments.given] == given.encode().split()  # type: ignore[attr-defined]
    assert segments.missing == missing


def test_what_was_live_and_has_ended_meanwhile_is_played_to_its_end() -> None:
    assert read([playlist(0, 7, has_end=True)], content, behind=4).given == [b"5", b"6"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("behind", "given"), [(4, "5 6"), (2, "4 5 6"), (6, ""), (90, "4 5 6")])
def test_a_session_goes_on_behind_the_last_one_without_what_was_seen(behind: int, given: str) -> None:
    segments = read([playlist(0, 7), playlist(0, 7, has_end=True)], content, behind=behind)

    assert segments.given == given.encode().split()  # type: ignore[attr-defined]


def test_a_segment_that_cannot_be_had_is_asked_for_again_and_then_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def fetch(place: Place) -> io.BytesIO:
        asked.append(place.url)
        if place.url == "1" or asked == ["0"]:
            raise SourceError("the server answers 404 Not Found")
        return content(place)

    segments = Segments(lambda: Playlist((), True, SHORT_S), fetch, playlist(0, 3))
    monkeypatch.setattr(threading.Event, "wait", lambda event, timeout_s=None: False)
    given = list(segments.pieces())

    assert given == [b"0", NEW_PART, b"2"]
    assert asked == ["0", "0", "1", "1", "1", "2"]
    assert (segments.missing, segments.problem) == (1, "1: the server answers 404 Not Found")


def test_a_gap_declared_by_the_sender_is_a_missing_segment() -> None:
    there = Playlist((piece(0), piece(1, is_missing=True), piece(2)), True, SHORT_S)

    segments = read([there], content)

    assert segments.given == [b"0", NEW_PART, b"2"]  # type: ignore[attr-defined]
    assert segments.missing == 1


def test_what_a_decoder_needs_comes_before_each_part() -> None:
    one, two = Place("init"), Place("other")
    there = (piece(0, init=one), piece(1, init=one), piece(2, init=two))
    there += (piece(3, init=two, is_discontinuous=True),)

    segments = read([Playlist(there, True, SHORT_S)], content)

    given = b"".join(data or b"|" for data in segments.given)  # type: ignore[attr-defined]
    assert given == b"init01|other2|other3"


def test_waiting_for_the_next_segment_ends_at_once() -> None:
    waits = Playlist((piece(0),), False, 1000.0)
    segments = Segments(lambda: waits, content, waits)
    ahead = Ahead(segments.pieces(), limit_s=10.0)
    assert next(ahead) == b"0"

    segments.stop()

    assert list(ahead) == []


def test_silence_is_reported_when_all_that_lay_ready_was_read() -> None:
    waits = Playlist((piece(0), piece(1)), False, 1000.0)
    feed = Feed(Segments(lambda: waits, content, waits), limit_s=10.0)
    feed.wait_up_to(0.02)

    assert [feed.read(9), feed.read(9)] == [b"0", b"1"]
    with pytest.raises(TimeoutError):
        feed.read(9)
    feed.close()
    assert feed.read(9) == b""


def test_a_live_stream_is_read_ahead_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perception.sources.playlist.feed.AHEAD_BYTES", 10)
    taken, is_full = itertools.count(), threading.Event()

    def pieces() -> object:
        for _ in range(100):
            if next(taken) == 11:
                is_full.set()
            yield b"x"

    ahead = Ahead(pieces(), limit_s=5.0)  # type: ignore[arg-type]
    assert is_full.wait(5)
    assert next(taken) <= 14
    assert b"".join(ahead) == b"x" * 100


def test_an_error_of_what_is_read_ahead_reaches_who_waits() -> None:
    def pieces() -> object:
        yield b"x"
        raise MemoryError("no room")

    ahead = Ahead(pieces(), limit_s=5.0)  # type: ignore[arg-type]

    assert next(ahead) == b"x"
    with pytest.raises(MemoryError, match="no room"):
        next(ahead)


def test_a_feed_ends_with_each_part_and_begins_again() -> None:
    there = Playlist((piece(0), piece(1), piece(2, is_discontinuous=True)), True, SHORT_S)
    feed = Feed(Segments(lambda: there, content, there), limit_s=1.0)

    assert [feed.read(1) for _ in range(4)] == [b"0", b"1", b"", b""]
    assert feed.has_part
    feed.next_part()
    assert [feed.read(1) for _ in range(2)] == [b"2", b""]
    assert not feed.has_part


@pytest.mark.parametrize(
    ("pts_ms", "ready_ms", "due_ms"),
    [
        ([0, 40, 80, 120], [0, 1, 2, 3], [0, 40, 80, 120]),  # all in one piece
        ([0, 40, 90, 1000], [0, 0, 0, 0], [0, 40, 90, 1000]),  # at the rate that they have
        ([0, 40, 80, 120], [0, 0, 500, 501], [0, 40, 500, 540]),  # nothing lay ready: put off from there on
        ([0, 40, 80, 120], [0, 0, 150, 150], [0, 40, 80, 120]),  # late by less
        ([0, 40, 9000, 9040], [0, 0, 0, 0], [0, 40, 80, 120]),  # over what is missing
        ([5000, 5040, 0, 40], [0, 0, 0, 0], [0, 40, 80, 120]),  # another clock
        ([None, None, None], [0, 0, 0], [0, 40, 80]),
    ],
)
def test_pictures_are_due_at_their_own_pace(
    pts_ms: list[int | None], ready_ms: list[int], due_ms: list[int]
) -> None:
    clock = PlayClock(25.0)
    pts = [None if at is None else at * MS for at in pts_ms]

    assert [clock.due_ns(at, ready * MS) // MS for at, ready in zip(pts, ready_ms, strict=True)] == due_ms


def test_a_playlist_is_live_by_what_it_says() -> None:
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n{}\n#EXTINF:4,\na.ts\n{}"

    assert not playlist_of(text.format("", ""), "http://a/b").has_end
    assert not playlist_of(text.format("#EXT-X-PLAYLIST-TYPE:EVENT", ""), "http://a/b").has_end
    assert playlist_of(text.format("#EXT-X-PLAYLIST-TYPE:VOD", ""), "http://a/b").has_end
    assert playlist_of(text.format("#EXT-X-PLAYLIST-TYPE:EVENT", "#EXT-X-ENDLIST"), "http://a/b").has_end


def test_a_playlist_is_read_with_ranges_gaps_and_beginnings() -> None:
    text = """#EXTM3U\r
#EXT-X-MEDIA-SEQUENCE:7
#EXT-X-KEY:METHOD=NONE
#EXT-X-MAP:URI="init.mp4",BYTERANGE="100@0"
#EXTINF:2.5,a title, with commas
#EXT-X-BYTERANGE:50@100
all.mp4
#EXTINF:2,
#EXT-X-BYTERANGE:30
all.mp4
#EXT-X-GAP
#EXT-X-DISCONTINUITY
#EXTINF:3,
/other/b.mp4?x=1
"""
    found = playlist_of(text, "https://host/road/list.m3u8?token=1")

    init, path = Place("https://host/road/init.mp4", 0, 100), "https://host/road/all.mp4"
    assert found.segments == (
        Segment(7, Place(path, 100, 150), 2.5, init),
        Segment(8, Place(path, 150, 180), 2.0, init),
        Segment(9, Place("https://host/other/b.mp4?x=1"), 3.0, init, is_discontinuous=True, is_missing=True),
    )
    assert (found.longest_s, found.has_end) == (3.0, False)


def test_variants_without_a_size_go_by_their_bits() -> None:
    text = "#EXTM3U\n" + "".join(
        f"#EXT-X-STREAM-INF:BANDWIDTH={rate}\n{rate}.m3u8\n" for rate in (1000, 9000)
    )

    assert [(variant.key, variant.offer.rank) for variant in variants_of(text, "http://a/")] == [
        ("http://a/1000.m3u8", 1000.0),
        ("http://a/9000.m3u8", 9000.0),
    ]


def ts_packet(pid: int, counter: int, has_payload: bool = True) -> bytes:
    return bytes([0x47, pid >> 8, pid & 0xFF, (0x10 if has_payload else 0x20) | counter]) + bytes(184)


def test_counters_that_restart_are_announced_and_continuous_ones_left() -> None:
    continuity = Continuity()
    before = ts_packet(256, 14) + ts_packet(256, 15) + ts_packet(257, 3)
    after = ts_packet(256, 7) + ts_packet(257, 4) + ts_packet(256, 8)

    continuity.begin_segment()
    given = continuity.joined(before[:100]) + continuity.joined(before[100:])
    continuity.begin_segment()
    joined = continuity.joined(after)

    assert given == before
    assert joined[188:] == after
    assert joined[:6] == bytes(
        [0x47, 1, 0, 0x26, 183, 0x80]
    )  # the counter before 7, and that it does not go on


def test_what_is_no_mpeg_ts_passes_as_it_is() -> None:
    continuity = Continuity()
    continuity.begin_segment()

    data = bytes(range(256)) * 3
    assert continuity.joined(data) + continuity.rest() == data
