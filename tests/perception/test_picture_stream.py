"""Cameras that send pictures over HTTP, each in its own way: browsers show them all, and so does the node."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from perception.sources.network.picture_stream import PictureFinder
from perception.sources.source import SourceError
from perception.sources.stream import StreamSource

COUNT = 4
TYPE = b"multipart/x-mixed-replace; boundary=road"


def picture(index: int, suffix: str = ".jpg") -> bytes:
    """48 pixels high, and 64 + 16 times its index wide."""
    noise = np.random.default_rng(index).integers(0, 255, (48, 64 + 16 * index, 3), np.uint8)
    return cv2.imencode(suffix, cv2.GaussianBlur(noise, (5, 5), 0))[1].tobytes()


JPEGS = [picture(index) for index in range(COUNT)]
PNGS = [picture(index, ".png") for index in range(COUNT)]
_THUMBNAIL = b"\xff\xe1" + (len(JPEGS[1]) + 2).to_bytes(2, "big") + JPEGS[1]
HEADS = {
    "as libav has it": lambda data: (
        b"--road\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data)
    ),
    "image/jpg": lambda data: b"--road\r\nContent-Type: image/jpg\r\n\r\n",
    "Image/JPEG": lambda data: (
        b"--road\r\nCONTENT-TYPE: Image/JPEG; q=1\r\nContent-length:%d\r\n\r\n" % len(data)
    ),
    "no type": lambda data: b"--road\r\nContent-Length: %d\r\n\r\n" % len(data),
    "no head": lambda data: b"--road\r\n\r\n",
    "too short": lambda data: b"--road\r\nContent-Length: %d\r\n\r\n" % (len(data) // 2),
    "too long": lambda data: b"--road\r\nContent-Length: %d\r\n\r\n" % (len(data) * 3),
    "length of nothing": lambda data: b"--road\r\nContent-Length: \r\n\r\n",
    "LF alone": lambda data: b"--road\nContent-Type: image/jpeg\nContent-Length: %d\n\n" % len(data),
    "another boundary": lambda data: b"--elsewhere\r\nContent-Type: image/jpeg\r\n\r\n",
    "boundary without --": lambda data: b"road\r\nContent-Type: image/jpeg\r\n\r\n",
    "four dashes": lambda data: b"\r\n\r\n----road\r\nContent-Type: image/jpeg\r\n\r\n",
    "glued": lambda data: b"",
    "zeros behind": lambda data: b"\0" * 100 + b"\r\n--road\r\n\r\n",
    "more headers": lambda data: (
        b"--road\r\nX-Timestamp: 1.2\r\nContent-Type: image/pjpeg\r\nX-Motion: \xff\xfe\r\n\r\n"
    ),
}


def stream(head: Callable[[bytes], bytes], pictures: list[bytes] = JPEGS) -> bytes:
    return b"".join(head(data) + data + b"\r\n" for data in pictures)


@pytest.mark.parametrize("step_bytes", [1, 1000, 1 << 20])
@pytest.mark.parametrize("pictures", [JPEGS, PNGS], ids=["JPEG", "PNG"])
@pytest.mark.parametrize("which", HEADS)
def test_pictures_come_whole_whatever_stands_between_them(
    which: str, pictures: list[bytes], step_bytes: int
) -> None:
    data, finder = stream(HEADS[which], pictures), PictureFinder()

    found = [got for at in range(0, len(data), step_bytes) for got in finder.feed(data[at : at + step_bytes])]

    assert found == pictures
    assert finder.torn == 0


def test_a_picture_is_there_with_its_last_byte() -> None:
    finder, head = PictureFinder(), HEADS["no head"](b"")

    assert finder.feed(head + JPEGS[0][:-1]) == []
    assert finder.feed(JPEGS[0][-1:]) == [JPEGS[0]]


def test_a_thumbnail_within_a_picture_is_none_of_its_own() -> None:
    whole = JPEGS[0][:2] + _THUMBNAIL + JPEGS[0][2:]

    assert PictureFinder().feed(stream(HEADS["no head"], [whole, whole])) == [whole, whole]


@pytest.mark.parametrize("step_bytes", [1000, 1 << 20])
def test_previews_behind_a_picture_in_its_part_are_no_pictures(step_bytes: int) -> None:
    parts = [data + b"\0" * 10 + JPEGS[0] + JPEGS[1] for data in JPEGS]
    data, finder = stream(HEADS["as libav has it"], parts), PictureFinder()

    found = [got for at in range(0, len(data), step_bytes) for got in finder.feed(data[at : at + step_bytes])]

    assert found == JPEGS


@pytest.mark.parametrize("which", ["as libav has it", "no head", "glued"])
def test_pictures_without_an_end_marker_are_pictures(which: str) -> None:
    endless = [data[:-2] for data in JPEGS]
    finder = PictureFinder()

    found = finder.feed(stream(HEADS[which], endless))

    assert [got.rstrip(b"\r\n") for got in found] == endless[: len(found)]
    assert len(found) == (COUNT if which == "as libav has it" else COUNT - 1), (
        "the last one's end is not known"
    )


@pytest.mark.parametrize("which", ["as libav has it", "no head"])
def test_a_picture_that_breaks_off_is_left_out_and_counted(which: str) -> None:
    head, finder = HEADS[which], PictureFinder()
    data = stream(head, JPEGS[:2]) + head(JPEGS[2]) + JPEGS[2][: len(JPEGS[2]) // 2] + b"\r\n" + stream(head)

    assert finder.feed(data) == [*JPEGS[:2], *JPEGS]
    assert finder.torn == 1


def test_a_picture_without_an_end_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perception.sources.network.picture_stream.LARGEST_BYTES", 10_000)

    with pytest.raises(SourceError, match="a picture in its answer has no end within"):
        PictureFinder().feed(JPEGS[0][:-2] + b"\0" * 10_000)


Camera = Callable[..., str]


@pytest.fixture
def camera() -> Iterator[Camera]:
    """A function that starts a server, gives its address, and answers every request with the same."""
    listeners: list[socket.socket] = []

    def serve(listener: socket.socket, answer: bytes, ends: bool) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = listener.accept()[0]
                with client:
                    client.recv(1 << 16)
                    client.sendall(answer)
                    while not ends and client.recv(1 << 16):
                        pass

    def start(body: bytes, content_type: bytes = TYPE, head: bytes = b"", ends: bool = True) -> str:
        listeners.append(socket.create_server(("127.0.0.1", 0)))
        kind = b"Content-Type: " + content_type + b"\r\n" if content_type else b""
        answer = b"HTTP/1.1 200 OK\r\n" + kind + head + b"\r\n" + body
        threading.Thread(target=serve, args=(listeners[-1], answer, ends), daemon=True).start()
        return f"http://127.0.0.1:{listeners[-1].getsockname()[1]}/road"

    yield start
    for listener in listeners:
        listener.close()


def widths_of(url: str) -> tuple[list[int], str]:
    """Of the frames, and what ended them."""
    source, widths = StreamSource(url, 2.0, 0.5), list[int]()
    try:
        assert source.open().is_live
        while True:
            widths.append(source.read().frame_wh[0])
    except SourceError as error:
        return widths, str(error)
    finally:
        source.close()


def chunked(data: bytes) -> bytes:
    parts = [data[at : at + 777] for at in range(0, len(data), 777)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in [*parts, b""])


SAME = [JPEGS[1]] * COUNT
ODD = stream(HEADS["image/jpg"], SAME)


@pytest.mark.parametrize(
    ("body", "content_type", "head"),
    [
        pytest.param(ODD, TYPE, b"", id="image/jpg"),
        pytest.param(ODD.removeprefix(b"--road\r\n"), TYPE, b"", id="no first boundary"),
        pytest.param(ODD, b'Multipart/Mixed;boundary="--road"', b"", id="quoted boundary"),
        pytest.param(ODD, b"multipart/x-mixed-replace", b"", id="no boundary stated"),
        pytest.param(b"hello\r\n\r\n" + ODD, TYPE, b"", id="preamble"),
        pytest.param(chunked(ODD), TYPE, b"Transfer-Encoding: chunked\r\n", id="chunked"),
        pytest.param(ODD, b"image/jpeg", b"", id="called a picture"),
        pytest.param(ODD, b"", b"", id="called nothing"),
        pytest.param(b"".join(SAME), b"video/x-motion-jpeg", b"", id="glued"),
        pytest.param(stream(HEADS["no type"], [PNGS[1]] * COUNT), TYPE, b"", id="PNG"),
    ],
)
def test_a_camera_of_pictures_plays(body: bytes, content_type: bytes, head: bytes, camera: Camera) -> None:
    widths, problem = widths_of(camera(body, content_type, head))

    assert widths == [80] * COUNT
    assert "the stream ended after 4 frames" in problem


def test_pictures_are_handed_on_as_the_camera_encoded_them(camera: Camera) -> None:
    source = StreamSource(camera(ODD), 2.0, 0.5)
    source.open()

    assert [source.read().jpeg for _ in range(3)] == SAME[:3]
    source.close()


def test_nothing_is_open_before_its_first_picture(camera: Camera) -> None:
    silent = camera(b"--road\r\nContent-Type: text/plain\r\n\r\nhello\r\n", ends=False)
    ended = camera(b"--road\r\nContent-Type: text/plain\r\n\r\nhello\r\n")
    broken = camera(HEADS["no head"](b"") + JPEGS[0][:30] + b"\xff\xd9")

    problem = widths_of(silent)[1]
    assert re.search(r"no picture within 2(\.\d)? s in its answer; its parts are text/plain", problem)
    assert "its answer ends before a picture; its parts are text/plain" in widths_of(ended)[1]
    assert widths_of(broken)[0] == []


@pytest.mark.parametrize("pictures", [JPEGS, PNGS], ids=["jpeg", "png"])
def test_the_end_of_an_answer_within_a_picture_is_reported(pictures: list[bytes]) -> None:
    finder = PictureFinder()

    found = finder.feed(b"".join(pictures)[:-100]) + finder.finish()

    assert found == pictures[:-1]
    assert (finder.torn, finder.is_cut_off) == (1, True)


def test_the_last_of_pictures_without_end_markers_is_not_lost() -> None:
    without_ends = [data.removesuffix(b"\xff\xd9") for data in JPEGS]
    finder = PictureFinder()

    found = finder.feed(b"".join(without_ends)) + finder.finish()

    assert found == without_ends
    assert (finder.torn, finder.is_cut_off) == (0, False)
