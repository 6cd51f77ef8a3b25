from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from perception.frame import Frame
from perception.sources.images import ImagesSource
from perception.sources.source import EndOfSource, SourceError


def colour(wh: tuple[int, int] = (32, 24), bgr: tuple[int, int, int] = (30, 40, 200)) -> NDArray[np.uint8]:
    return np.full((wh[1], wh[0], 3), bgr, np.uint8)


def play(source: ImagesSource) -> list[Frame]:
    source.open()
    frames = []
    with contextlib.suppress(EndOfSource):
        while True:
            frames.append(source.read())
    source.close()
    return frames


def test_a_folder_is_played_in_natural_order_with_names_and_times(tmp_path: Path) -> None:
    for name in ("road_10.png", "road_2.jpg", "road_1.bmp", "Road_3.webp", "road_4.tif"):
        cv2.imwrite(str(tmp_path / name), colour())
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._road_5.jpg").write_bytes(b"left by a file manager")

    frames = play(ImagesSource(str(tmp_path), rate_hz=4.0))

    assert [frame.name for frame in frames] == ["road_1", "road_2", "Road_3", "road_4", "road_10"]
    assert [frame.frame_id for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.time_ns for frame in frames] == [0, 250_000_000, 500_000_000, 750_000_000, 1_000_000_000]


def test_a_glob_and_a_single_file_work_too(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.jpg"):
        cv2.imwrite(str(tmp_path / name), colour())

    assert [frame.name for frame in play(ImagesSource(str(tmp_path / "*.png")))] == ["a", "b"]
    assert [frame.name for frame in play(ImagesSource(str(tmp_path / "c.jpg")))] == ["c"]


def test_sizes_may_differ_and_the_first_one_is_told(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), colour((32, 24)))
    cv2.imwrite(str(tmp_path / "2.png"), colour((41, 23)))
    source = ImagesSource(str(tmp_path))

    assert source.open().frame_wh == (32, 24)
    assert [source.read().frame_wh, source.read().frame_wh] == [(32, 24), (41, 23)]


@pytest.mark.parametrize(
    ("image", "bgr"),
    [
        (np.full((24, 32), 77, np.uint8), (77, 77, 77)),
        (np.full((24, 32, 4), (30, 40, 200, 0), np.uint8), (30, 40, 200)),
        (np.full((24, 32), 257 * 50, np.uint16), (50, 50, 50)),
        (np.full((24, 32, 3), (0, 257, 65535), np.uint16), (0, 1, 255)),
        (np.full((24, 32, 4), (257 * 9, 257 * 8, 257 * 7, 0), np.uint16), (9, 8, 7)),
    ],
    ids=["grey", "alpha", "grey 16 bit", "16 bit", "alpha 16 bit"],
)
def test_every_kind_of_pixel_becomes_bgr_by_a_fixed_scale(
    tmp_path: Path, image: NDArray[np.uint8], bgr: tuple[int, int, int]
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), image)

    (frame,) = play(ImagesSource(str(tmp_path)))

    np.testing.assert_array_equal(frame.image_bgr, colour(bgr=bgr))


def test_exif_orientation_is_honoured(tmp_path: Path) -> None:
    jpeg = cv2.imencode(".jpg", colour((32, 24)))[1].tobytes()
    quarter_turn = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    segment = b"\xff\xe1" + (len(quarter_turn) + 2).to_bytes(2, "big") + quarter_turn
    (tmp_path / "phone.jpg").write_bytes(jpeg[:2] + segment + jpeg[2:])

    assert ImagesSource(str(tmp_path)).open().frame_wh == (24, 32)


def test_a_corrupt_image_is_named_after_those_before_it_were_given(tmp_path: Path) -> None:
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        cv2.imwrite(str(tmp_path / name), cv2.resize(np.eye(9, dtype=np.uint8) * 255, (64, 64)))
    cut = tmp_path / "2.jpg"
    cut.write_bytes(cut.read_bytes()[:-40])
    source = ImagesSource(str(tmp_path))
    source.open()

    assert source.read().name == "1"
    with pytest.raises(SourceError) as caught:
        source.read()
    assert str(caught.value) == f"{cut}: is corrupt, or not an image that can be read"


@pytest.mark.parametrize("data", [b"", b"hello"])
def test_a_file_that_is_no_image_is_an_error_at_open(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.png").write_bytes(data)

    with pytest.raises(SourceError, match=r"a\.png: is corrupt"):
        ImagesSource(str(tmp_path)).open()


def test_floats_are_refused_for_they_have_no_fixed_scale(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.tif"), np.ones((8, 8, 3), np.float32))

    with pytest.raises(SourceError, match=r"a\.tif: has float32 pixels"):
        ImagesSource(str(tmp_path)).open()


def test_nothing_to_play_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")

    with pytest.raises(SourceError, match="holds no image"):
        ImagesSource(str(tmp_path)).open()
    with pytest.raises(SourceError, match="matches no image"):
        ImagesSource(str(tmp_path / "*.png")).open()


def test_two_images_whose_masks_would_overwrite_each_other_are_refused(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), colour())

    with pytest.raises(SourceError, match="would have masks of the same name") as caught:
        ImagesSource(str(tmp_path)).open()
    assert str(tmp_path / "a.jpg") in str(caught.value)
    assert str(tmp_path / "a.png") in str(caught.value)
