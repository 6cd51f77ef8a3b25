from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from perception.imaging.orientation import turn_by_avif
from perception.sources.decoding.image_file import ImageFile, read_image_bgr
from perception.sources.source import SourceError

LEFT_BGR, RIGHT_BGR = (40, 60, 180), (180, 90, 40)
# These two colours by four inks, stored the way that Adobe does it.
CMYK = (
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwADAgIDAgIDAwMDBAMDBAUIBQUEBAUKBwcGCAwKDAwLCgsLDQ4SEA0OEQ4LCxAWEBETFBUV"
    "FQwPFxgWFBgSFBUU/8AAFAgACAAQBEMRAE0RAFkRAEsRAP/EABcAAAMBAAAAAAAAAAAAAAAAAAAICQf/xAAUEAEAAAAAAAAAAAAA"
    "AAAAAAAA/9oADgRDAE0AWQBLAAA/AGLKURRVNIlqCuwf/9k="
)
YCCK = (
    "/9j/7gAOQWRvYmUAZAAAAAAC/9sAQwADAgIDAgIDAwMDBAMDBAUIBQUEBAUKBwcGCAwKDAwLCgsLDQ4SEA0OEQ4LCxAWEBETFBUV"
    "FQwPFxgWFBgSFBUU/8AAFAgACAAQBEMRAE0RAFkRAEsRAP/EABgAAAIDAAAAAAAAAAAAAAAAAAcIAAUJ/8QAFBABAAAAAAAAAAAA"
    "AAAAAAAAAP/aAA4EQwBNAFkASwAAPwAsCgVpqmuCRH6R/9k="
)
LARGE_WH = (480, 320)
PROGRESSIVE = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)


def picture(seed: int = 0, wh: tuple[int, int] = (96, 64)) -> NDArray[np.uint8]:
    """Texture that fills many bytes, whatever packs it."""
    noise = np.random.default_rng(seed).integers(0, 256, (wh[1] // 4, wh[0] // 4, 3), np.uint8)
    return np.asarray(cv2.resize(noise, wh, interpolation=cv2.INTER_CUBIC), np.uint8)


def packed(suffix: str, image: NDArray[np.generic], *parameters: int) -> bytes:
    return cv2.imencode(suffix, image, parameters)[1].tobytes()


def saved(folder: Path, name: str, content: bytes) -> Path:
    file = folder / name
    file.write_bytes(content)
    return file


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize("content", [CMYK, YCCK], ids=["CMYK", "YCCK"])
def test_four_inks_become_the_colours_meant(tmp_path: Path, content: str) -> None:
    image_bgr = read_image_bgr(saved(tmp_path, "a.jpg", base64.b64decode(content)))

    assert np.abs(image_bgr[4, 3].astype(int) - LEFT_BGR).max() < 8
    assert np.abs(image_bgr[4, 12].astype(int) - RIGHT_BGR).max() < 8


@pytest.mark.parametrize(
    ("bits", "colour", "palette"), [(8, 0, False), (8, 2, True), (1, 0, False), (4, 0, False), (2, 0, False)]
)
def test_png_of_few_bits_and_with_a_palette_is_read(
    tmp_path: Path, bits: int, colour: int, palette: bool
) -> None:
    levels = np.tile(np.arange(2 ** min(bits, 4), dtype=np.uint8), (16, 16))
    samples = np.unpackbits(levels[..., None], axis=-1)[..., 8 - bits :].reshape(16, -1)
    lines = np.packbits(samples, axis=1)
    rgb = np.stack([np.arange(16) * 16, 255 - np.arange(16) * 16, np.arange(16)], 1).astype(np.uint8)
    header = struct.pack(">IIBBBBB", levels.shape[1], 16, bits, 3 if palette else colour, 0, 0, 0)
    raw = b"".join(b"\0" + line.tobytes() for line in lines)
    colours = chunk(b"PLTE", rgb.tobytes()) if palette else b""
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + colours + chunk(b"IDAT", zlib.compress(raw))

    image_bgr = read_image_bgr(saved(tmp_path, "a.png", png + chunk(b"IEND", b"")))

    scale = 255 // (2**bits - 1)
    wanted = rgb[levels][..., ::-1] if palette else np.repeat(levels[..., None] * scale, 3, axis=2)
    np.testing.assert_array_equal(image_bgr, wanted)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif", ".avif"])
def test_content_and_not_the_name_decides_what_a_file_is(tmp_path: Path, suffix: str) -> None:
    image_bgr = read_image_bgr(
        saved(tmp_path, "a.jpg", packed(suffix, np.full((32, 48, 3), RIGHT_BGR, np.uint8)))
    )

    assert image_bgr.shape == (32, 48, 3)
    assert np.abs(image_bgr.astype(int) - RIGHT_BGR).max() < 8


def turned_avif(image: NDArray[np.uint8], properties: bytes) -> bytes:
    """With it in the place of its colours, and marked as what a reader must know."""
    content = packed(".avif", image).replace(b"\4\1\2\x83\4", b"\4\1\2\x83\x84", 1)
    at = content.find(b"colr") - 4
    length = int.from_bytes(content[at : at + 4], "big")
    rest = length - 4 - len(properties)
    boxes = b"\0\0\0\x09" + properties + rest.to_bytes(4, "big") + b"free" + bytes(rest - 8)
    return content[:at] + boxes + content[at + length :]


@pytest.mark.parametrize(
    ("properties", "shown"),
    [
        (b"irot\1", lambda image: np.rot90(image)),
        (b"irot\2", lambda image: np.rot90(image, 2)),
        (b"irot\3", lambda image: np.rot90(image, 3)),
        (b"imir\0", lambda image: image[::-1]),
        (b"imir\1", lambda image: image[:, ::-1]),
    ],
)
def test_avif_is_turned_as_its_own_properties_state(
    tmp_path: Path, properties: bytes, shown: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
) -> None:
    plain_bgr = read_image_bgr(saved(tmp_path, "plain.avif", packed(".avif", picture())))

    image_bgr = read_image_bgr(saved(tmp_path, "a.avif", turned_avif(picture(), properties)))

    assert image_bgr.shape == shown(plain_bgr).shape
    assert np.abs(image_bgr.astype(int) - shown(plain_bgr)).mean() < 8


def test_avif_that_is_turned_and_mirrored_is_turned_first() -> None:
    stored = np.arange(12, dtype=np.uint8).reshape(3, 4)

    turn = turn_by_avif(b"\0\0\0\x09irot\1\0\0\0\x09imir\0")

    assert turn is not None
    np.testing.assert_array_equal(turn.of_plane(stored), np.rot90(stored)[::-1])


@pytest.mark.parametrize("depth", [10, 12])
def test_avif_of_more_bits_is_as_bright_as_one_of_8(tmp_path: Path, depth: int) -> None:
    image = np.full((32, 48, 3), RIGHT_BGR, np.uint16) << (depth - 8)
    content = packed(".avif", image, cv2.IMWRITE_AVIF_DEPTH, depth)

    image_bgr = read_image_bgr(saved(tmp_path, "a.avif", content))

    assert np.abs(image_bgr.astype(int) - RIGHT_BGR).max() < 8


@pytest.mark.parametrize("parameters", [(), PROGRESSIVE], ids=["baseline", "progressive"])
@pytest.mark.parametrize("cut", [1, 2])
def test_jpeg_without_its_end_mark_is_whole(tmp_path: Path, parameters: tuple[int, ...], cut: int) -> None:
    content = packed(".jpg", picture(), *parameters)

    seen = ImageFile(saved(tmp_path, "a.jpg", content[:-cut])).picture()

    assert not seen.is_damaged
    np.testing.assert_array_equal(seen.image_bgr, read_image_bgr(saved(tmp_path, "b.jpg", content)))


@pytest.mark.parametrize("cut", [1, 9, 12])
def test_png_without_its_end_mark_is_whole(tmp_path: Path, cut: int) -> None:
    file = saved(tmp_path, "a.png", packed(".png", picture())[:-cut])

    np.testing.assert_array_equal(read_image_bgr(file), picture())


def damaged_jpegs() -> dict[str, bytes]:
    whole = packed(".jpg", picture(wh=LARGE_WH))
    middle = len(whole) // 2
    random = np.random.default_rng(3).integers(0, 256, 4096, np.uint8).tobytes()
    return {
        "cut at 60 %": whole[: len(whole) * 6 // 10],
        "cut at 95 %": whole[: len(whole) * 95 // 100],
        "a sector of zeros": whole[:middle] + bytes(4096) + whole[middle + 4096 :],
        "a sector of another file": whole[:middle] + random + whole[middle + 4096 :],
    }


@pytest.mark.parametrize("damage", damaged_jpegs())
def test_jpeg_with_missing_parts_is_damaged_and_keeps_the_rest(
    tmp_path: Path, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    file = saved(tmp_path, "a.jpg", damaged_jpegs()[damage])

    seen = ImageFile(file).picture()

    assert seen.is_damaged
    assert np.abs(seen.image_bgr[:16].astype(int) - picture(wh=LARGE_WH)[:16]).mean() < 20
    with pytest.raises(SourceError, match=r"a\.jpg: is corrupt: parts of the picture are missing"):
        read_image_bgr(file)
    assert capfd.readouterr().err == ""


def test_damaged_jpeg_is_upright_as_a_whole_one_is(tmp_path: Path) -> None:
    content = packed(".jpg", picture(wh=LARGE_WH))
    quarter_turn = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    segment = b"\xff\xe1" + struct.pack(">H", len(quarter_turn) + 2) + quarter_turn
    turned = content[:2] + segment + content[2:]

    seen = ImageFile(saved(tmp_path, "a.jpg", turned[: len(turned) * 6 // 10])).picture()

    assert seen.is_damaged
    whole_bgr = read_image_bgr(saved(tmp_path, "b.jpg", turned))
    assert seen.image_bgr.shape == whole_bgr.shape == (LARGE_WH[0], LARGE_WH[1], 3)
    assert np.abs(seen.image_bgr[:, -16:].astype(int) - whole_bgr[:, -16:]).mean() < 12


def test_flat_jpeg_whose_codes_are_zeros_is_whole(tmp_path: Path) -> None:
    content = packed(".jpg", np.zeros((512, 1024, 3), np.uint8), cv2.IMWRITE_JPEG_OPTIMIZE, 1)
    assert bytes(64) in content

    assert not ImageFile(saved(tmp_path, "a.jpg", content)).picture().is_damaged


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.jpg", b"", "is empty"),
        ("a.jpg", b"not a picture at all", "is corrupt, or not an image that can be read"),
        ("a.png", packed(".png", picture())[:-2000], "is corrupt: this PNG is cut off or damaged"),
        ("a.png", packed(".png", picture(wh=LARGE_WH))[: 33 + 8204], "is corrupt: this PNG is cut off"),
        ("a.tif", packed(".tif", picture())[:200], "is corrupt, or not an image that can be read"),
        ("a.bmp", packed(".bmp", picture())[:-2000], "is corrupt, or not an image that can be read"),
        ("a.webp", packed(".webp", picture())[:300], "is corrupt, or not an image that can be read"),
        ("a.avif", packed(".avif", picture())[:300], "is corrupt, or not an image that can be read"),
        ("a.jpg", packed(".jpg", picture())[:300], "is corrupt, or not an image that can be read"),
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is HEIC, which is not supported; convert it"),
    ],
)
def test_what_cannot_be_read_is_one_line_of_ours(
    tmp_path: Path, name: str, content: bytes, problem: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SourceError) as caught:
        read_image_bgr(saved(tmp_path, name, content))

    assert str(caught.value).startswith(f"{tmp_path / name}: {problem}")
    assert capfd.readouterr().err == ""


def test_damaged_profile_in_a_png_is_passed_over_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = packed(".png", picture())
    profile = chunk(b"iCCP", b"name\0\0" + zlib.compress(b"no profile")[:-3])

    image_bgr = read_image_bgr(saved(tmp_path, "a.png", content[:33] + profile + content[33:]))

    np.testing.assert_array_equal(image_bgr, picture())
    assert capfd.readouterr().err == ""


def animation(suffix: str) -> bytes:
    moving = cv2.Animation()
    moving.frames = [np.dstack([picture(seed), np.full((64, 96), 255, np.uint8)]) for seed in range(5)]
    moving.durations = np.full(5, 100, np.int32)
    return cv2.imencodeanimation(suffix, moving, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()


def pages() -> bytes:
    return cv2.imencodemulti(".tif", [picture(seed) for seed in range(5)])[1].tobytes()


@pytest.mark.parametrize("suffix", [".webp", ".png", ".tif"])
def test_every_picture_of_an_animation_or_a_tiff_is_read(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perception.sources.decoding.image_file.BATCH_BYTES", 2 * 96 * 64 * 4)
    content = pages() if suffix == ".tif" else animation(suffix)
    image = ImageFile(saved(tmp_path, f"a{suffix}", content))

    seen = [image.picture(index).image_bgr for index in range(image.pictures)]

    assert len(seen) == 5
    for seed, image_bgr in enumerate(seen):
        np.testing.assert_array_equal(image_bgr, picture(seed))


def tiff_of_grey(pages: list[tuple[int, int, bool]]) -> bytes:
    """Pages of one level each: side in pixels, level, and whether it is a smaller copy of another."""
    content = bytearray(struct.pack("<2sHI", b"II", 42, 8))
    for number, (side, level, is_reduced) in enumerate(pages):
        pixels_at = len(content) + 2 + 9 * 12 + 4
        tags = [(254, is_reduced), (256, side), (257, side), (258, 8), (259, 1), (262, 1)]
        tags += [(273, pixels_at), (278, side), (279, side * side)]
        following = pixels_at + side * side if number < len(pages) - 1 else 0
        content += struct.pack("<H", len(tags))
        content += b"".join(struct.pack("<HHII", tag, 4, 1, int(value)) for tag, value in tags)
        content += struct.pack("<I", following) + bytes([level]) * (side * side)
    return bytes(content)


def test_smaller_copies_in_a_tiff_are_no_pages(tmp_path: Path) -> None:
    content = tiff_of_grey([(16, 99, True), (64, 10, False), (32, 99, True), (64, 20, False)])
    image = ImageFile(saved(tmp_path, "a.tif", content))

    seen = [image.picture(index).image_bgr for index in range(image.pictures)]

    assert [(int(picture_bgr[0, 0, 0]), picture_bgr.shape[0]) for picture_bgr in seen] == [(10, 64), (20, 64)]


def test_animation_that_was_cut_off_is_one_line(tmp_path: Path) -> None:
    content = animation(".webp")
    image = ImageFile(saved(tmp_path, "a.webp", content[: len(content) * 7 // 10]))

    with pytest.raises(SourceError, match=r"a\.webp: its picture 2 of \d cannot be decoded"):
        image.picture(1)


def test_jpeg_that_carries_more_pictures_says_so_and_gives_the_first(tmp_path: Path) -> None:
    content = packed(".jpg", picture())
    tiff = b"II*\0" + struct.pack("<IHHHII", 8, 1, 0xB001, 4, 1, 2) + bytes(4)
    segment = b"MPF\0" + tiff
    marked = content[:2] + b"\xff\xe2" + struct.pack(">H", len(segment) + 2) + segment + content[2:]

    image = ImageFile(saved(tmp_path, "a.mpo", marked + content))

    assert (image.pictures, image.held) == (1, 2)
    np.testing.assert_array_equal(
        image.picture().image_bgr, read_image_bgr(saved(tmp_path, "b.jpg", content))
    )


@pytest.mark.parametrize("side", [0, 1], ids=["width", "height"])
@pytest.mark.parametrize(
    ("suffix", "at", "form"), [(".bmp", 18, "<i"), (".png", 16, ">I"), (".webp", 26, "<H")]
)
def test_picture_without_pixels_is_none(tmp_path: Path, suffix: str, at: int, form: str, side: int) -> None:
    content = bytearray(packed(suffix, picture(), *((cv2.IMWRITE_WEBP_QUALITY, 80) * (suffix == ".webp"))))
    struct.pack_into(form, content, at + side * struct.calcsize(form), 0)

    with pytest.raises(SourceError, match=rf"a{suffix}: is corrupt, or not an image"):
        ImageFile(saved(tmp_path, f"a{suffix}", bytes(content)))
