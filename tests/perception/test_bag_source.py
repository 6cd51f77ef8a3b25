"""Bags that others wrote, as recordings: every form, every encoding, what is refused, and what is cut off."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bags import (
    COMPRESSED,
    FIRST_NS,
    IMAGE,
    RATE_HZ,
    TOPIC,
    WH,
    compressed,
    image,
    pictures_bgr,
    read_all,
    stamp_ns_of,
    video,
    write_bag,
)
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_typestore

from perception.imaging.yuv import Yuv420
from perception.sources import SourceSettings, build_source
from perception.sources.source import SourceError


@pytest.mark.parametrize("form", ["mcap", "folder", "sqlite3", "ros1"])
def test_bag_of_every_form_gives_its_pictures_at_their_times(form: str, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "drive", image("bgr8"), form)

    source = build_source(str(bag), SourceSettings())
    info = source.open()
    source.close()
    frames = read_all(str(bag))

    assert (info.is_live, info.frame_wh, info.frames_expected) == (False, WH, 4)
    assert info.rate_hz == pytest.approx(RATE_HZ)
    assert [frame.time_ns for frame in frames] == [round(number * 1e9 / RATE_HZ) for number in range(4)]
    assert all(map(np.array_equal, [frame.image_bgr for frame in frames], pictures_bgr()))


@pytest.mark.parametrize("encoding", ["bgr8", "rgb8", "bgra8", "mono8", "yuv422", "yuv422_yuy2", "nv12"])
def test_raw_pictures_are_what_was_written(encoding: str, tmp_path: Path) -> None:
    frames = read_all(str(write_bag(tmp_path / "drive", image(encoding))))

    for frame, bgr in zip(frames, pictures_bgr(), strict=True):
        wanted = bgr
        if encoding == "mono8":
            wanted = np.asarray(
                cv2.cvtColor(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8
            )
        if encoding == "nv12":
            assert isinstance(frame.pixels, Yuv420)
            luma = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420), np.uint8)[: WH[1]]
            assert np.array_equal(frame.pixels.y, luma)
        tolerance = 3 if encoding.startswith(("yuv", "nv")) else 0
        edge = 2 if tolerance else 0  # where chroma of two pixels mixes
        apart = np.abs(frame.image_bgr.astype(int) - wanted.astype(int)).max(axis=(0, 2))
        assert np.count_nonzero(apart > tolerance) <= edge


@pytest.mark.parametrize(
    ("suffix", "form", "tolerance"),
    [(".png", "png", 0), (".jpg", "jpeg", 12), (".jpg", "bgr8; jpeg compressed bgr8", 12)],
)
def test_compressed_pictures(suffix: str, form: str, tolerance: int, tmp_path: Path) -> None:
    frames = read_all(str(write_bag(tmp_path / "drive", compressed(suffix, form))))

    for frame, bgr in zip(frames, pictures_bgr(), strict=True):
        assert np.median(np.abs(frame.image_bgr.astype(int) - bgr.astype(int))) <= tolerance


@pytest.mark.parametrize(("codec", "form"), [("libx264", "h264"), ("libx265", "h265")])
def test_video_in_messages(codec: str, form: str, tmp_path: Path) -> None:
    frames = read_all(str(write_bag(tmp_path / "drive", video(codec, form))))

    assert [frame.frame_id for frame in frames] == [0, 1, 2, 3]
    for frame, bgr in zip(frames, pictures_bgr(), strict=True):
        assert np.median(np.abs(frame.image_bgr.astype(int) - bgr.astype(int))) <= 12


def test_topic_is_named_where_there_are_several(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "drive", image("bgr8"), topics=["/left/image_raw", "/right/image_raw"])

    assert len(read_all(f"{bag}#/right/image_raw")) == 4
    assert len(read_all(f"{bag}#left/image_raw")) == 4
    with pytest.raises(
        SourceError, match=r"/left/image_raw \(4 pictures\), .*; name one, as .*#/left/image_raw"
    ):
        read_all(str(bag))
    with pytest.raises(
        SourceError, match="there is no topic /rear; topics with pictures are /left/image_raw"
    ):
        read_all(f"{bag}#/rear")


def test_without_stamps_the_times_of_recording_count(tmp_path: Path) -> None:
    def unstamped(store: Any, number: int, bgr: NDArray[np.uint8]) -> tuple[str, Any]:
        type_name, message = image("bgr8")(store, number, bgr)
        message.header.stamp.sec = message.header.stamp.nanosec = 0
        return type_name, message

    bag = write_bag(tmp_path / "drive", unstamped)
    source = build_source(str(bag), SourceSettings())
    info = source.open()
    source.close()

    assert "times of recording" in info.description
    assert [frame.time_ns for frame in read_all(str(bag))] == [0, 50_000_000, 100_000_000, 150_000_000]


def test_stamp_that_goes_back_keeps_time_going(tmp_path: Path) -> None:
    def back(store: Any, number: int, bgr: NDArray[np.uint8]) -> tuple[str, Any]:
        type_name, message = image("bgr8")(store, number, bgr)
        message.header.stamp.sec -= 3600 * (number >= 2)
        return type_name, message

    times_ns = [frame.time_ns for frame in read_all(str(write_bag(tmp_path / "drive", back)))]

    assert times_ns == [0, 50_000_000, 100_000_000, 150_000_000]


def test_bag_that_is_cut_off_gives_what_it_has_and_then_an_error(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "drive", image("bgr8"), count=8)
    content = bag.read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(content[: content.rfind(b"\x89MCAP0\r\n") - 600])
    source = build_source(str(cut), SourceSettings())
    source.open()

    frames = []

    def read_on() -> None:
        while True:
            frames.append(source.read())

    with pytest.raises(SourceError, match=r"cut\.mcap: is incomplete: it was cut off"):
        read_on()
    source.close()

    assert len(frames) == 8


def test_loop_starts_over(tmp_path: Path) -> None:
    frames = read_all(str(write_bag(tmp_path / "drive", image("bgr8"))), loop=True, max_frames=10)

    assert [frame.frame_id for frame in frames] == list(range(10))
    assert [frame.time_ns for frame in frames] == [round(number * 1e9 / RATE_HZ) for number in range(10)]


def test_bag_without_pictures_says_so(tmp_path: Path) -> None:
    def text(store: Any, number: int, bgr: NDArray[np.uint8]) -> tuple[str, Any]:
        return "std_msgs/msg/String", store.types["std_msgs/msg/String"](str(number))

    bag = write_bag(tmp_path / "drive", text)

    with pytest.raises(SourceError, match="topics with pictures are none"):
        read_all(str(bag))
    with pytest.raises(SourceError, match="has messages of std_msgs/msg/String, which are not pictures"):
        read_all(f"{bag}#{TOPIC}")


def test_files_of_a_bag_are_inputs(tmp_path: Path) -> None:
    from perception.sources.registry import SOURCES, Spec

    folder = write_bag(tmp_path / "drive", image("bgr8"), "folder")
    spec = Spec.of(f"{folder}#{TOPIC}")

    assert spec.kind == "bag"
    assert {file.name for file in SOURCES["bag"].files(spec.text)} >= {"drive", "metadata.yaml", "drive.mcap"}
    shutil.rmtree(folder)


def node_bag(path: Path, cameras: Sequence[str] = (), picture: bool = True) -> Path:
    """With the topics of this node, below /drivable, and raw cameras."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    names = ["class_map", "confidence", "overlay/compressed", *(["image/compressed"] if picture else [])]
    with Writer2(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        of_text = writer.add_connection("/drivable/record", "std_msgs/msg/String", typestore=store)
        text = store.types["std_msgs/msg/String"]("{}")
        writer.write(of_text, FIRST_NS, store.serialize_cdr(text, "std_msgs/msg/String"))
        for topic in [*(f"/drivable/{name}" for name in names), *cameras]:
            make = compressed(".jpg", "jpeg") if topic.endswith("/compressed") else image("mono8")
            type_name = COMPRESSED if topic.endswith("/compressed") else IMAGE
            connection = writer.add_connection(topic, type_name, typestore=store)
            for number, bgr in enumerate(pictures_bgr()):
                data = store.serialize_cdr(make(store, number, bgr)[1], type_name)
                writer.write(connection, stamp_ns_of(number), data)
    return next(path.glob("*.mcap"))


@pytest.mark.parametrize(
    ("cameras", "chosen"),
    [([], "/drivable/image/compressed"), (["/front/image_raw"], "/front/image_raw")],
    ids=["its picture", "the camera it was made from"],
)
def test_bag_of_this_node_gives_its_camera_without_a_topic(
    cameras: list[str], chosen: str, tmp_path: Path
) -> None:
    source = build_source(str(node_bag(tmp_path / "drive", cameras)), SourceSettings())

    info = source.open()
    source.close()

    assert f" of {chosen}, " in info.description


def test_masks_are_a_source_only_by_their_name(tmp_path: Path) -> None:
    bag = node_bag(tmp_path / "drive", picture=False)

    assert len(read_all(f"{bag}#/drivable/class_map")) == 4
    with pytest.raises(SourceError, match=r"/drivable/class_map \(4 pictures\), .*, which are masks"):
        read_all(str(bag))


def test_several_cameras_beside_this_node_are_named_first(tmp_path: Path) -> None:
    bag = node_bag(tmp_path / "drive", ["/left/image_raw", "/right/image_raw"])

    with pytest.raises(SourceError, match=r"name one, as .*drive\.mcap#/left/image_raw"):
        read_all(str(bag))


def test_topics_named_like_masks_are_cameras_where_no_node_of_this_kind_was(tmp_path: Path) -> None:
    assert len(read_all(str(write_bag(tmp_path / "drive", image("mono8"), topics=["/tof/confidence"])))) == 4


def test_topics_of_this_node_are_those_that_it_publishes() -> None:
    from perception.ros.messages import RosEncoder
    from perception.ros.types import TOPICS, TOPICS_IN_METRES
    from perception.scene.settings import CalibratedInfo

    calibrated: Any = object()  # with which more topics are published
    info = CalibratedInfo("camera", True, WH, RATE_HZ, calibration=calibrated)
    published = RosEncoder(info, "/node").topics
    every = TOPICS | TOPICS_IN_METRES

    assert {f"/node/{name}": type_name for name, type_name in every.items()} == published


def test_opening_keeps_one_picture_of_those_whose_times_it_looks_at(tmp_path: Path) -> None:
    def large(store: Any, number: int, bgr: NDArray[np.uint8]) -> tuple[str, Any]:
        return image("bgr8")(store, number, np.full((500, 700, 3), number, np.uint8))

    bag = write_bag(tmp_path / "drive", large, count=25)
    source = build_source(str(bag), SourceSettings())

    tracemalloc.start()
    source.open()
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    source.close()

    assert peak_bytes < 10 * 500 * 700 * 3
