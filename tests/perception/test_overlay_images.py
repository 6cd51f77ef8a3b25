from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from perception.frame import CameraState, Frame, NoFrameRecord, Prediction
from perception.labels import ALTERNATIVE, BACKGROUND, COLOURS_RGB, DIRECT
from perception.node import main
from perception.sinks.overlay_images import OverlayFolderSink, OverlayImageSink
from perception.sinks.overlay_sink import OverlaySettings
from perception.sinks.registry import Sinks
from perception.sinks.rotation import RecordingPolicy, Rotate
from perception.sinks.sink import SinkError
from perception.sources.source import SourceInfo

WH = (320, 180)
INFO = SourceInfo("cam", False, WH, 25.0)


def prediction(name: str = "street", frame_id: int = 0, wh: tuple[int, int] = WH) -> Prediction:
    class_map = np.full((90, 160), BACKGROUND, np.uint8)
    class_map[45:80, :70], class_map[45:80, 90:] = DIRECT, ALTERNATIVE
    image_bgr = np.full((wh[1], wh[0], 3), (60, 120, 200), np.uint8)
    frame = Frame("cam", frame_id, 0, frame_id * 40_000_000, image_bgr, name)
    return Prediction(frame, class_map, (0.25, 0.25, 0.5), "model")


def nearest_colour(pixel_bgr: np.ndarray) -> int:
    """The class whose colour has the hue of a pixel."""
    pixel = pixel_bgr[::-1].astype(float) - pixel_bgr.mean()
    colours = {index: np.array(rgb) - np.mean(rgb) for index, rgb in COLOURS_RGB.items()}
    return max(colours, key=lambda index: float(pixel @ colours[index] / np.linalg.norm(colours[index])))


@pytest.mark.parametrize("name", ["z.jpg", "z.jpeg", "z.png", "z.webp", "Z.JPG"])
def test_overlay_of_one_image_is_an_image(tmp_path: Path, name: str) -> None:
    file = tmp_path / "new" / name
    sink = OverlayImageSink(str(file))
    sink.claim()
    sink.open(INFO)

    sink.write(prediction())
    sink.close()

    image_bgr = cv2.imread(str(file))
    assert image_bgr is not None
    assert image_bgr.shape == (180, 320, 3)
    assert nearest_colour(image_bgr[120, 60]) == DIRECT
    assert nearest_colour(image_bgr[120, 260]) == ALTERNATIVE
    assert np.abs(image_bgr[50, 60].astype(int) - (60, 120, 200)).max() < 8
    assert sink.issue is None
    assert [path.name for path in file.parent.iterdir()] == [name]


def test_odd_sizes_and_pixels_that_are_not_square_are_drawn_as_they_are_meant(tmp_path: Path) -> None:
    one = prediction(wh=(161, 97))
    sink = OverlayImageSink(str(tmp_path / "z.png"))
    sink.open(INFO)

    sink.write(replace(one, frame=replace(one.frame, pixel_aspect=(2, 1))))
    sink.close()

    image_bgr = cv2.imread(str(tmp_path / "z.png"))
    assert image_bgr is not None
    assert image_bgr.shape == (97, 322, 3)


def test_second_frame_for_one_image_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    sink = OverlayImageSink(str(tmp_path / "z.jpg"))
    sink.open(INFO)
    sink.write(prediction())

    with pytest.raises(SinkError, match=r"z\.jpg: an image holds a single overlay; for more frames name a"):
        sink.write(prediction("next"))
    sink.close()

    assert cv2.imread(str(tmp_path / "z.jpg")) is not None


def test_recording_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"name a folder \(.*z/\) or a video \(.*z\.mp4\)"):
        Sinks(OverlaySettings(out=str(tmp_path / "z.jpg")), INFO).build_all()

    assert list(tmp_path.iterdir()) == []


def test_no_frame_leaves_no_image(tmp_path: Path) -> None:
    sink = OverlayImageSink(str(tmp_path / "z.jpg"))
    sink.open(INFO)

    sink.write(NoFrameRecord("cam", WH, 0, None, CameraState.LOST, "away"))
    sink.close()

    assert list(tmp_path.iterdir()) == []


def test_quality_is_jpegs_and_png_has_none(tmp_path: Path) -> None:
    sizes = []
    for quality in (20, 60, 100):
        sink = OverlayImageSink(str(tmp_path / f"{quality}.jpg"), quality)
        sink.open(INFO)
        sink.write(prediction())
        sink.close()
        sizes.append((tmp_path / f"{quality}.jpg").stat().st_size)

    assert sizes == sorted(sizes)
    assert sizes[2] > 1.5 * sizes[0]
    with pytest.raises(ValueError, match=r"z\.png: PNG is lossless; leave --quality out"):
        OverlaySettings(out=str(tmp_path / "z.png"), quality=50)


def test_folder_gets_an_image_a_frame_with_a_banner_where_there_is_no_mask(tmp_path: Path) -> None:
    sink = OverlayFolderSink(str(tmp_path / "o"))
    sink.claim()
    sink.open(INFO)

    sink.write(prediction("1"))
    sink.write(replace(prediction("2", 1), camera_state=CameraState.BLOCKED, camera_reason="dark"))
    sink.write(NoFrameRecord("cam", WH, 0, None, CameraState.LOST, "away"))
    sink.close()

    assert sorted(file.name for file in (tmp_path / "o").iterdir()) == ["1.jpg", "2.jpg"]
    banner_bgr = cv2.imread(str(tmp_path / "o" / "2.jpg"))[3, 300].astype(int)
    assert banner_bgr[2] - banner_bgr[:2].max() > 100


def test_overlays_of_an_earlier_run_are_set_aside_and_pictures_of_others_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("1", "2"):
        sink = OverlayFolderSink(str(tmp_path / "o"))
        sink.claim()
        sink.open(INFO)
        sink.write(prediction(name))
        sink.close()

    assert [file.name for file in (tmp_path / "o").iterdir()] == ["2.jpg"]
    assert [file.name for file in (tmp_path / "o.1").iterdir()] == ["1.jpg"]
    assert "1 overlay of an earlier run is kept in" in caplog.text
    cv2.imwrite(str(tmp_path / "o" / "holiday.jpg"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(SinkError, match=r"holiday\.jpg exists and is no overlay; name another folder"):
        OverlayFolderSink(str(tmp_path / "o")).claim()


def test_folder_rotates_and_keeps_the_newest(tmp_path: Path) -> None:
    sink = OverlayFolderSink(str(tmp_path / "o"), policy=RecordingPolicy(Rotate(age_s=0.1, keep=2)))
    sink.open(INFO)

    for number in range(12):
        sink.write(prediction(f"{number:03d}", number))
    sink.close()

    kept = sorted(file.name for file in (tmp_path / "o").rglob("*.jpg"))
    assert kept[-1] == "011.jpg"
    assert 0 < len(kept) < 9


@pytest.mark.parametrize("out", ["z.mp4", "z/"])
def test_name_tells_what_an_overlay_is(tmp_path: Path, out: str) -> None:
    (sink,) = Sinks(OverlaySettings(out=str(tmp_path) + "/" + out), INFO).build_all()

    assert sink.name == "overlay"


def test_name_that_tells_no_kind_of_overlay_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^z\.xyz: unknown kind of overlay; its name has to end in \.mp4"):
        OverlaySettings(out="z.xyz")


@pytest.mark.parametrize("factory", [OverlayImageSink, OverlayFolderSink])
def test_place_that_cannot_be_written_is_one_line(
    tmp_path: Path, factory: Callable[[str], OverlayImageSink | OverlayFolderSink]
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    sink = factory(str(tmp_path / "file" / "z.jpg"))

    with pytest.raises(SinkError, match=r"z\.jpg: cannot write .*; choose another"):
        sink.claim()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of two small images."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in (1, 2):
        cv2.imwrite(str(folder / f"{number}.png"), prediction().frame.image_bgr)
    return folder


def test_node_writes_an_image_for_one_image_and_says_so(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "z.jpg"

    assert main(["--source", str(images / "1.png"), "--out", str(out), "--model", "rt_s-int8"]) == 0

    assert np.shape(cv2.imread(str(out))) == (180, 320, 3)
    assert f"{out} (1 frame, " in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".ppm", ".gif", ".jp2"])
def test_image_that_is_read_as_a_video_is_one_image(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"a{suffix}"
    with av.open(str(source), "w", format="gif" if suffix == ".gif" else "image2") as container:
        codec = {".ppm": "ppm", ".gif": "gif", ".jp2": "jpeg2000"}[suffix]
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "bgr8" if suffix == ".gif" else "rgb24"
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 99, np.uint8)).reformat(format=stream.pix_fmt)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    assert main(["--source", str(source), "--out", str(tmp_path / "z.png"), "--model", "rt_s-int8"]) == 0

    assert np.shape(cv2.imread(str(tmp_path / "z.png"))) == (48, 64, 3)


def test_node_writes_a_folder_for_several_and_refuses_one_image(
    images: Path, tmp_path: Path, only_error_line: Callable[[str], str]
) -> None:
    arguments = ["--source", str(images), "--model", "rt_s-int8", "--out"]

    assert main([*arguments, f"{tmp_path / 'o'}/"]) == 0
    assert sorted(file.name for file in (tmp_path / "o").iterdir()) == ["1.jpg", "2.jpg"]

    assert main([*arguments, str(tmp_path / "z.jpg")]) == 1
    assert "z.jpg: an image holds a single overlay; for more frames name" in only_error_line("drivable-node")


def test_node_tells_the_size_of_folders_within_a_folder(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        shutil.copy(images / "1.png", tmp_path / name)
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "other").write_bytes(bytes(10**6))

    assert (
        main(["--source", f"{tmp_path}/[ab]/*.png", "--model", "rt_s-int8", "--out", f"{tmp_path}/o/"]) == 0
    )

    written = sorted((tmp_path / "o").rglob("*.jpg"))
    assert [file.relative_to(tmp_path / "o").as_posix() for file in written] == ["a/1.jpg", "b/1.jpg"]
    size = f"{sum(file.stat().st_size for file in written) / 1e3:.1f} kB"
    assert f"o (2 frames, {size})" in capsys.readouterr().err


def test_node_refuses_overlays_among_the_pictures_of_its_source(
    images: Path, tmp_path: Path, only_error_line: Callable[[str], str]
) -> None:
    before = sorted(images.iterdir())

    assert main(["--source", str(images), "--model", "rt_s-int8", "--out", f"{images}/"]) == 2

    assert "images is the source; name another folder with --out" in only_error_line("drivable-node")
    assert sorted(images.iterdir()) == before
