"""Bags that others wrote, as recordings: every form, every encoding, what is refused, and what is cut off."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from perception.frame import Frame
from perception.imaging.yuv import Yuv420
from perception.sources import SourceSettings, build_source
from perception.sources.source import EndOfSource, SourceError

WH = (64, 48)
RATE_HZ = 20
TOPIC = "/camera/image"
FIRST_NS = 1_700_000_000_000_000_000
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
VIDEO = "foxglove_msgs/msg/CompressedVideo"
VIDEO_FIELDS = "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n"

Maker = Callable[[Any, int, NDArray[np.uint8]], tuple[str, Any]]


def pictures_bgr(count: int = 4) -> list[NDArray[np.uint8]]:
    """(H, W, 3) each: a moving edge, in colours that every encoding holds."""
    pictures = []
    for number in range(count):
        picture = np.full((WH[1], WH[0], 3), (40, 90, 160), np.uint8)
        picture[:, : 8 + 8 * number] = (200, 60, 30)
        pictures.append(picture)
    return pictures


def stamp_ns_of(number: int) -> int:
    return FIRST_NS + round(number * 1e9 / RATE_HZ)


def header(store: Any, stamp_ns: int, seq: int | None = None) -> Any:
    time = store.types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 1_000_000_000))
    first = () if seq is None else (seq,)
    return store.types["std_msgs/msg/Header"](*first, time, "camera")


def packed(encoding: str, bgr: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
    """The bytes of an encoding, and of one row."""
    width = bgr.shape[1]
    match encoding:
        case "bgr8":
            return bgr, 3 * width
        case "rgb8":
            return np.asarray(bgr[..., ::-1]), 3 * width
        case "bgra8":
            return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2BGRA), np.uint8), 4 * width
        case "mono8":
            return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), np.uint8), width
        case "yuv422":
            return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_UYVY), np.uint8), 2 * width
        case "yuv422_yuy2":
            return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_YUY2), np.uint8), 2 * width
    i420 = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420), np.uint8)
    height = bgr.shape[0]
    chroma = i420[height:].reshape(2, -1)
    return np.concatenate([i420[:height].ravel(), chroma.T.ravel()]), width  # nv12


def image(encoding: str) -> Maker:
    def make(store: Any, number: int, bgr: NDArray[np.uint8], stamp_ns: int | None = None) -> tuple[str, Any]:
        data, step = packed(encoding, bgr)
        seq = number if "seq" in store.types["std_msgs/msg/Header"].__dataclass_fields__ else None
        head = header(store, stamp_ns_of(number) if stamp_ns is None else stamp_ns, seq)
        height, width = bgr.shape[:2]
        data = np.ascontiguousarray(data).ravel()
        return IMAGE, store.types[IMAGE](head, height, width, encoding, 0, step, data)

    return make


def compressed(suffix: str, form: str) -> Maker:
    def make(store: Any, number: int, bgr: NDArray[np.uint8]) -> tuple[str, Any]:
        _, data = cv2.imencode(suffix, bgr)
        seq = number if "seq" in store.types["std_msgs/msg/Header"].__dataclass_fields__ else None
        head = header(store, stamp_ns_of(number), seq)
        return COMPRESSED, store.types[COMPRESSED](head, form, np.asarray(data, np.uint8))

    return make


def video(codec: str, form: str) -> Maker:
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height = WH
    encoder.pix_fmt, encoder.framerate = "yuv420p", RATE_HZ
    encoder.options = {
        "tune": "zerolatency",
        "preset": "ultrafast",
        "x265-params": "log-level=none:bframes=0",
    }

    def make(store: Any, number: int, bgr: NDArray[np.uint8]) -> tuple[str, Any]:
        frame = av.VideoFrame.from_ndarray(bgr, "bgr24").reformat(format="yuv420p")
        frame.pts = number
        data = b"".join(bytes(packet) for packet in encoder.encode(frame))
        stamp = store.types["builtin_interfaces/msg/Time"](*divmod(stamp_ns_of(number), 1_000_000_000))
        return VIDEO, store.types[VIDEO](stamp, "camera", np.frombuffer(data, np.uint8), form)

    return make


def write_bag(
    path: Path, make: Maker, form: str = "mcap", topics: Sequence[str] = (TOPIC,), count: int = 4
) -> Path:
    """A bag by rosbags' own writers; gives what to open."""
    store = get_typestore(Stores.ROS1_NOETIC if form == "ros1" else Stores.ROS2_HUMBLE)
    if form != "ros1":
        store.register(get_types_from_msg(VIDEO_FIELDS, VIDEO))
    messages = [make(store, number, bgr) for number, bgr in enumerate(pictures_bgr(count))]
    type_name = messages[0][0]
    if form == "ros1":
        path = path.with_suffix(".bag")
        with Writer1(path) as one:
            to = [one.add_connection(topic, type_name, typestore=store) for topic in topics]
            for number, (_, message) in enumerate(messages):
                for connection in to:
                    data = store.serialize_ros1(message, type_name)
                    one.write(connection, stamp_ns_of(number) + 5_000_000, data)
        return path
    plugin = StoragePlugin.SQLITE3 if form == "sqlite3" else StoragePlugin.MCAP
    with Writer2(path, version=9, storage_plugin=plugin) as two:
        places = [two.add_connection(topic, type_name, typestore=store) for topic in topics]
        for number, (_, message) in enumerate(messages):
            for place in places:
                two.write(place, stamp_ns_of(number) + 5_000_000, store.serialize_cdr(message, type_name))
    if form == "folder":
        return path
    return next(path.glob("*.db3" if form == "sqlite3" else "*.mcap")) if form != "sqlite3" else path


def read_all(spec: str, **settings: Any) -> list[Frame]:
    source = build_source(spec, SourceSettings(**settings))
    source.open()
    frames = []
    try:
        while True:
            frames.append(source.read())
    except EndOfSource:
        return frames
    finally:
        source.close()


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

    with pytest.raises(SourceError, match=r"cut\.mcap: (has no index, as it was cut|ends before its end)"):
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
    with pytest.raises(SourceError, match="has messages of std_msgs/msg/String, which are no pictures"):
        read_all(f"{bag}#{TOPIC}")


def test_files_of_a_bag_are_inputs(tmp_path: Path) -> None:
    from perception.sources.registry import SOURCES, Spec

    folder = write_bag(tmp_path / "drive", image("bgr8"), "folder")
    spec = Spec.of(f"{folder}#{TOPIC}")

    assert spec.kind == "bag"
    assert {file.name for file in SOURCES["bag"].files(spec.text)} >= {"drive", "metadata.yaml", "drive.mcap"}
    shutil.rmtree(folder)
