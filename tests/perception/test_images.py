from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from perception.frame import Frame
from perception.sources.images import ImagesSource
from perception.sources.pacing import Looped
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


def test_sizes_may_differ_and_the_first_one_is_reported(tmp_path: Path) -> None:
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


@pytest.fixture
def night_run(tmp_path: Path) -> Path:
    """Six images, of which the first, the third and the last cannot be read, and what lies beside images."""
    for number in (2, 4, 5):
        cv2.imwrite(str(tmp_path / f"{number}.png"), colour())
    (tmp_path / "1.png").write_bytes(b"")
    (tmp_path / "3.png").write_bytes((tmp_path / "2.png").read_bytes()[:60])
    (tmp_path / "6.jpg").symlink_to("/proc/self/mem")  # a file whose bytes nobody gets
    for name in ("Thumbs.db", ".DS_Store", "._2.png", "desktop.ini"):
        (tmp_path / name).write_bytes(b"no image")
    return tmp_path


def test_images_that_cannot_be_read_are_reported_counted_and_passed_over(
    night_run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = ImagesSource(str(night_run), rate_hz=1.0)

    frames = play(source)

    assert [(frame.frame_id, frame.name, frame.missed_before) for frame in frames] == [
        (1, "2", 1),
        (3, "4", 1),
        (4, "5", 0),
    ]
    assert [frame.time_ns for frame in frames] == [1_000_000_000, 3_000_000_000, 4_000_000_000]
    assert (source.unreadable, source.decode_errors) == (3, 3)
    lines = caplog.messages
    assert lines[0] == f"{night_run / '1.png'}: is empty; it is left out"
    assert lines[1].startswith(f"{night_run / '3.png'}: is corrupt")
    assert lines[2].startswith(f"{night_run / '6.jpg'}: cannot be read: ")


def test_image_that_cannot_be_read_is_reported_once_however_often_it_comes(
    night_run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = Looped(ImagesSource(str(night_run)))
    source.open()

    names = [source.read().name for _ in range(7)]

    assert names == ["2", "4", "5", "2_1", "4_1", "5_1", "2_2"]
    assert len(caplog.messages) == 3
    assert source.counts().unreadable == 3


def test_nothing_but_bad_images_is_one_line_at_open(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("1.jpg", "2.jpg", "3.png"):
        (tmp_path / name).write_bytes(b"hello")

    with pytest.raises(SourceError) as caught:
        ImagesSource(str(tmp_path)).open()

    assert str(caught.value) == (
        f"{tmp_path}: none of its 3 images can be read; "
        f"{tmp_path / '1.jpg'}: is corrupt, or not an image that can be read"
    )
    assert caplog.messages == []


def test_damaged_image_is_a_frame_and_marked(tmp_path: Path) -> None:
    texture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "1.jpg"), texture)
    cv2.imwrite(str(tmp_path / "2.jpg"), texture)
    cut = tmp_path / "2.jpg"
    cut.write_bytes(cut.read_bytes()[:-2000])
    source = ImagesSource(str(tmp_path))

    frames = play(source)

    assert [frame.is_damaged for frame in frames] == [False, True]
    assert (source.unreadable, source.decode_errors) == (0, 1)


def test_pages_of_one_file_are_frames(tmp_path: Path) -> None:
    file = tmp_path / "scan.tif"
    cv2.imwritemulti(str(file), [colour(bgr=(shade, 0, 0)) for shade in (10, 20, 30)])
    source = ImagesSource(str(file))

    info = source.open()
    frames = play(source)

    assert info.description == "3 pictures in one file"
    assert [(frame.name, int(frame.image_bgr[0, 0, 0])) for frame in frames] == [
        ("scan_0", 10),
        ("scan_1", 20),
        ("scan_2", 30),
    ]


def test_files_with_several_pictures_among_others_give_their_first_and_it_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.tif", "b.tif"):
        cv2.imwritemulti(str(tmp_path / name), [colour(bgr=(shade, 0, 0)) for shade in (10, 20, 30)])

    frames = play(ImagesSource(str(tmp_path)))

    assert [(frame.name, int(frame.image_bgr[0, 0, 0])) for frame in frames] == [("a", 10), ("b", 10)]
    assert caplog.messages == [
        f"{tmp_path / 'a.tif'}: contains 3 pictures; only the first is used, as in all such files"
    ]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is empty"),
        (b"hello", "is corrupt"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "is a Git LFS pointer; `git lfs"),
        (b"<!DOCTYPE html><html>404", "is a web page"),
        (b"GIF89a and so on", r"is actually a GIF; convert it, or give it alone"),
        (b"\0\0\0\x20ftypisom and so on", r"is actually a video; convert it, or give it alone"),
    ],
)
def test_a_file_that_is_no_image_is_an_error_at_open(tmp_path: Path, data: bytes, problem: str) -> None:
    (tmp_path / "a.png").write_bytes(data)

    with pytest.raises(SourceError, match=rf"a\.png: {problem}"):
        ImagesSource(str(tmp_path)).open()


def test_floats_are_refused_for_they_have_no_fixed_scale(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.tif"), np.ones((8, 8, 3), np.float32))

    with pytest.raises(SourceError, match=r"a\.tif: has float32 pixels"):
        ImagesSource(str(tmp_path)).open()


def test_nothing_to_play_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")

    with pytest.raises(SourceError, match="contains no image"):
        ImagesSource(str(tmp_path)).open()
    with pytest.raises(SourceError, match="matches no image"):
        ImagesSource(str(tmp_path / "*.png")).open()


def test_images_of_one_name_are_distinguished_by_their_folders(tmp_path: Path) -> None:
    for trip in ("a", "b/c"):
        (tmp_path / trip).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / trip / "0001.png"), colour())

    frames = play(ImagesSource(str(tmp_path / "**" / "*.png")))

    assert [frame.name for frame in frames] == ["a/0001", "b/c/0001"]
    assert [frame.name for frame in play(ImagesSource(str(tmp_path / "a" / "*")))] == ["0001"]


def test_links_that_lead_back_give_no_image_twice(tmp_path: Path) -> None:
    (tmp_path / "trips" / "a").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "trips" / "a" / "1.png"), colour())
    (tmp_path / "trips" / "a" / "back").symlink_to("..")
    (tmp_path / "trips" / "all").symlink_to(tmp_path)
    (tmp_path / "trips" / "b").symlink_to("a")

    frames = play(ImagesSource(f"{tmp_path}/trips/**/*.png"))

    assert [frame.name for frame in frames] == ["a/1", "b/1"]
    assert len(play(ImagesSource(f"{tmp_path}/trips/all/trips/**/*.png"))) == 2


def test_images_of_kinds_that_are_not_read_are_reported(tmp_path: Path) -> None:
    for name in ("1.png", "2.gif", "3.JP2", "4.mp4", "1.txt", ".5.gif"):
        cv2.imwrite(str(tmp_path / "1.png"), colour())
        (tmp_path / name).touch()

    info = ImagesSource(str(tmp_path)).open()

    assert info.description == "1 image (2.gif and 2 more left out: unsupported format)"


def test_folder_of_kinds_that_are_not_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "1.gif").touch()

    with pytest.raises(SourceError, match=r"contains no image .* \(1\.gif left out: unsupported format\)"):
        ImagesSource(str(tmp_path)).open()


def test_folder_of_folders_says_how_to_name_what_is_in_them(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    cv2.imwrite(str(tmp_path / "a" / "1.png"), colour())

    with pytest.raises(SourceError, match=r"contains no image .*; to include subfolders: .*/\*\*/\*\.jpg"):
        ImagesSource(str(tmp_path)).open()


def test_images_of_one_name_in_one_folder_are_all_played(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), colour())

    assert [frame.name for frame in play(ImagesSource(str(tmp_path)))] == ["a", "a", "b"]
