"""Pictures come as they are to be shown, in whichever of the eight ways a file or a stream states."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from clips import all_frames
from numpy.typing import NDArray

from perception.imaging.orientation import UPRIGHT, Orientation
from perception.sources.decoding.image_file import ImageFile, read_image_bgr
from perception.sources.video import VideoSource

WH = (64, 48)
EIGHT = [(degrees, mirrored) for degrees in (0, 90, 180, -90) for mirrored in (False, True)]
Image = NDArray[np.uint8]
AS_EXIF: dict[int, Callable[[Image], Image]] = {
    1: lambda image: image,
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: np.swapaxes(image, 0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(np.swapaxes(image, 0, 1), 2),
    8: np.rot90,
}


def quarters_bgr(wh: tuple[int, int] = WH) -> Image:
    """(H, W, 3): another colour in every quarter."""
    corners = np.array([[(250, 20, 20), (20, 250, 20)], [(20, 20, 250), (230, 230, 230)]], np.uint8)
    return np.asarray(cv2.resize(corners, wh, interpolation=cv2.INTER_NEAREST), np.uint8)


def same_quarters(image: Image, expected: Image) -> bool:
    """Whether two pictures are of one size, and of the same colours in the middle of their quarters."""
    if image.shape != expected.shape:
        return False
    height, width = expected.shape[:2]
    middles = np.ix_([height // 4, height * 3 // 4], [width // 4, width * 3 // 4])
    return bool(np.abs(image[middles].astype(int) - expected[middles]).max() < 40)


def write_video(
    file: Path, codec: str = "libx264", turn: tuple[int, bool] | None = None, bits: str | None = None
) -> Path:
    """Two pictures of `quarters_bgr`, turned in the container, or by a filter of the stream's bits."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = WH
        stream.pix_fmt = "yuv420p" if codec != "mjpeg" else "yuvj420p"
        if turn:
            stream.set_display_rotation(turn[0], hflip=turn[1])
        pictures = [av.VideoFrame.from_ndarray(quarters_bgr(), format="bgr24") for _ in range(2)]
        packets = [packet for picture in [*pictures, None] for packet in stream.encode(picture)]
        if bits:
            bit_filter = BitStreamFilterContext(bits, in_stream=stream)
            packets = [filtered for packet in packets for filtered in bit_filter.filter(packet)]
        for packet in packets:
            container.mux(packet)
    return file


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize(("degrees", "mirrored"), EIGHT)
def test_a_display_matrix_is_applied_whole(tmp_path: Path, suffix: str, degrees: int, mirrored: bool) -> None:
    frame = all_frames(VideoSource(write_video(tmp_path / f"clip.{suffix}", turn=(degrees, mirrored))))[0]

    turned = np.rot90(quarters_bgr(), degrees // 90)
    assert same_quarters(frame.image_bgr, np.fliplr(turned) if mirrored else turned)


@pytest.mark.parametrize(
    ("bits", "exif"),
    [
        ("flip=horizontal", 2),
        ("flip=vertical", 4),
        ("rotate=90", 8),
        ("rotate=180", 3),
        ("rotate=-90", 6),
    ],
)
def test_a_stream_may_state_it_by_itself(tmp_path: Path, bits: str, exif: int) -> None:
    file = write_video(tmp_path / "clip.h264", bits=f"h264_metadata=display_orientation=insert:{bits}")

    frames = all_frames(VideoSource(file))

    assert len(frames) == 2
    assert all(same_quarters(frame.image_bgr, AS_EXIF[exif](quarters_bgr())) for frame in frames)


def test_it_may_change_in_mid_stream(tmp_path: Path) -> None:
    turn = "h264_metadata=display_orientation=insert:"
    parts = [
        write_video(tmp_path / f"{number}.h264", bits=bits).read_bytes()
        for number, bits in enumerate([None, turn + "flip=horizontal", turn + "rotate=90"])
    ]
    file = tmp_path / "joined.h264"
    file.write_bytes(b"".join(parts))

    frames = all_frames(VideoSource(file))

    expected = [AS_EXIF[exif](quarters_bgr()) for exif in (1, 1, 2, 2, 8, 8)]
    assert [frame.frame_wh for frame in frames] == [WH] * 4 + [WH[::-1]] * 2
    assert all(same_quarters(frame.image_bgr, card) for frame, card in zip(frames, expected, strict=True))


def test_a_frame_that_was_asked_is_held_by_nobody_more_than_before(tmp_path: Path) -> None:
    with av.open(str(write_video(tmp_path / "clip.mp4", turn=(90, False)))) as container:
        frame = next(container.decode(video=0))

    before = sys.getrefcount(frame)
    turn = Orientation().of(frame)

    assert turn != UPRIGHT
    assert sys.getrefcount(frame) == before


@pytest.mark.parametrize("matrix", [[0] * 9, [65536, 0, 0, 0, 0, 0, 0, 0, 1 << 30]])
def test_a_matrix_that_leaves_nothing_of_the_picture_is_not_applied(
    tmp_path: Path, matrix: list[int]
) -> None:
    file = tmp_path / "clip.mkv"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height = WH
        stream.set_display_matrix(matrix)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(quarters_bgr(), format="bgr24")))
        container.mux(stream.encode(None))

    assert same_quarters(all_frames(VideoSource(file))[0].image_bgr, quarters_bgr())


def exif(orientation: int, order: str) -> bytes:
    """A TIFF directory of one entry, as EXIF is written."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0)


def with_exif(kind: str, orientation: int, order: str = "<") -> bytes:
    """`quarters_bgr` as an image file that states how it is to be shown."""
    block = exif(orientation, order)
    if kind == "tiff":
        return turned_tiff(orientation, order)
    data = cv2.imencode(f".{kind}", quarters_bgr())[1].tobytes()
    if kind == "jpg":
        block = b"Exif\0\0" + block
        return data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]
    if kind == "png":
        chunk = b"eXIf" + block
        head_bytes = 8 + 25
        chunk = struct.pack(">I", len(block)) + chunk + struct.pack(">I", zlib.crc32(chunk))
        return data[:head_bytes] + chunk + data[head_bytes:]
    picture = data[data.index(b"VP8", 12) :]
    wh = b"".join((side - 1).to_bytes(3, "little") for side in WH)
    chunks = b"WEBPVP8X" + struct.pack("<II", 10, 8) + wh + picture
    chunks += b"EXIF" + struct.pack("<I", len(block)) + block
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def turned_tiff(orientation: int, order: str) -> bytes:
    image_rgb = quarters_bgr()[:, :, ::-1]
    strip = image_rgb.tobytes()
    sizes_at = 8 + len(strip)
    shorts = {256: WH[0], 257: WH[1], 259: 1, 262: 2, 274: orientation, 277: 3, 278: WH[1]}
    entries = {
        **{tag: struct.pack(order + "HHIHH", tag, 3, 1, value, 0) for tag, value in shorts.items()},
        258: struct.pack(order + "HHII", 258, 3, 3, sizes_at),
        273: struct.pack(order + "HHII", 273, 4, 1, 8),
        279: struct.pack(order + "HHII", 279, 4, 1, len(strip)),
    }
    file = io.BytesIO()
    file.write(b"II*\0" if order == "<" else b"MM\0*")
    file.write(struct.pack(order + "I", sizes_at + 6) + strip + struct.pack(order + "HHH", 8, 8, 8))
    file.write(struct.pack(order + "H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)))
    file.write(bytes(4))
    return file.getvalue()


@pytest.mark.parametrize("orientation", AS_EXIF)
@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tiff"])
def test_an_image_is_upright_by_its_exif(tmp_path: Path, kind: str, orientation: int) -> None:
    file = tmp_path / f"image.{kind}"
    for order in "<>":
        file.write_bytes(with_exif(kind, orientation, order))

        assert same_quarters(read_image_bgr(file), AS_EXIF[orientation](quarters_bgr()))


@pytest.mark.parametrize("orientation", AS_EXIF)
@pytest.mark.parametrize("kind", ["png", "webp"])
def test_so_is_every_picture_of_an_animation(tmp_path: Path, kind: str, orientation: int) -> None:
    animation = cv2.Animation()
    opaque = np.full((*WH[::-1], 1), 255, np.uint8)
    animation.frames = [np.dstack([image, opaque]) for image in (quarters_bgr(), quarters_bgr() // 2)]
    animation.durations = np.array([100, 100])
    data = cv2.imencodeanimation(f".{kind}", animation)[1].tobytes()
    block = exif(orientation, ">")
    if kind == "png":
        chunk = b"eXIf" + block
        chunk = struct.pack(">I", len(block)) + chunk + struct.pack(">I", zlib.crc32(chunk))
        data = data[:33] + chunk + data[33:]
    else:
        data = b"RIFF" + struct.pack("<I", len(data) + len(block)) + data[8:]
        data += b"EXIF" + struct.pack("<I", len(block)) + block
    file = tmp_path / f"image.{kind}"
    file.write_bytes(data)

    image = ImageFile(file)

    assert image.pictures == 2
    assert same_quarters(image.picture(0).image_bgr, AS_EXIF[orientation](quarters_bgr()))
    assert same_quarters(image.picture(1).image_bgr, AS_EXIF[orientation](quarters_bgr() // 2))


@pytest.mark.parametrize("orientation", AS_EXIF)
def test_so_is_what_is_left_of_a_damaged_jpeg(tmp_path: Path, orientation: int) -> None:
    noise = np.random.default_rng(0).integers(0, 60, (480, 640, 3), np.uint8)
    whole_bgr = np.asarray(cv2.add(quarters_bgr((640, 480)) // 2, noise), np.uint8)
    data = cv2.imencode(".jpg", whole_bgr)[1].tobytes()
    block = b"Exif\0\0" + exif(orientation, "<")
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]
    file = tmp_path / "image.jpg"
    file.write_bytes(data[: len(data) * 4 // 5])

    picture = ImageFile(file).picture()

    assert picture.is_damaged
    expected = AS_EXIF[orientation](whole_bgr)
    has_come = AS_EXIF[orientation](np.repeat([True, False], [200, 280])[:, None].repeat(640, axis=1))
    assert picture.image_bgr.shape == expected.shape
    assert np.abs(picture.image_bgr[has_come].astype(int) - expected[has_come]).mean() < 25


@pytest.mark.parametrize("orientation", [2, 5, 6])
def test_so_is_a_jpeg_in_a_video(tmp_path: Path, orientation: int) -> None:
    file = tmp_path / "clip.mjpeg"
    file.write_bytes(with_exif("jpg", orientation) * 3)

    frames = all_frames(VideoSource(file))

    assert len(frames) == 3
    assert same_quarters(frames[-1].image_bgr, AS_EXIF[orientation](quarters_bgr()))
