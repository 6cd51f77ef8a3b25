"""Bags by the writers of others, of pictures with a moving edge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count as counting
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from clips import all_frames, played
from mcap.writer import CompressionType, Writer
from numpy.typing import NDArray
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from perception.frame import Frame
from perception.sources import SourceSettings, build_source

WH = (64, 48)
RATE_HZ = 20
TOPIC = "/camera/image"
FIRST_NS = 1_700_000_000_000_000_000
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
VIDEO = "foxglove_msgs/msg/CompressedVideo"
VIDEO_FIELDS = "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n"

Channel = tuple[str, str, bytes, str]
"""Type, form of its definition, definition, and encoding of messages."""

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


def video(codec: str, form: str, type_name: str = VIDEO, keys_every: int = 12) -> Maker:
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height = WH
    encoder.pix_fmt, encoder.framerate, encoder.gop_size = "yuv420p", RATE_HZ, keys_every
    encoder.options = {
        "tune": "zerolatency",
        "preset": "ultrafast",
        "x265-params": f"log-level=none:bframes=0:keyint={keys_every}",
    }

    encoded = counting()

    def make(store: Any, number: int, bgr: NDArray[np.uint8]) -> tuple[str, Any]:
        frame = av.VideoFrame.from_ndarray(bgr, "bgr24").reformat(format="yuv420p")
        frame.pts = next(encoded)
        data = b"".join(bytes(packet) for packet in encoder.encode(frame))
        if type_name == COMPRESSED:
            head = header(store, stamp_ns_of(number))
            return COMPRESSED, store.types[COMPRESSED](head, form, np.frombuffer(data, np.uint8))
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
    path.parent.mkdir(exist_ok=True)
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
    return all_frames(build_source(spec, SourceSettings(**settings)))


def write_mcap(
    path: Path,
    profile: str = "ros2",
    compression: CompressionType = CompressionType.ZSTD,
    also: Sequence[Channel] = (),
    is_ros1: bool = False,
    count: int = 8,
    make: Maker | None = None,
    **options: Any,
) -> Path:
    """Of two pictures a chunk, by mcap's own writer."""
    store = get_typestore(Stores.ROS1_NOETIC if is_ros1 else Stores.ROS2_HUMBLE)
    with path.open("wb") as stream:
        writer = Writer(stream, compression=compression, **{"chunk_size": 16_000, **options})
        writer.start(profile=profile, library="another's")
        for name, form, definition, encoding in also:
            channel = writer.register_channel(
                f"/{name}", encoding, writer.register_schema(name, form, definition)
            )
            writer.add_message(channel, 1, b"{}", 1)
        definition = store.generate_msgdef(IMAGE, ros_version=1 if is_ros1 else 2)[0].encode()
        name, form = ("sensor_msgs/Image", "ros1msg") if is_ros1 else (IMAGE, "ros2msg")
        schema = writer.register_schema(name, form, definition)
        channel = writer.register_channel(TOPIC, "ros1" if is_ros1 else "cdr", schema)
        for number, bgr in enumerate(pictures_bgr(count)):
            _, message = (make or image("bgr8"))(store, number, bgr)
            data = store.serialize_ros1(message, IMAGE) if is_ros1 else store.serialize_cdr(message, IMAGE)
            writer.add_message(channel, stamp_ns_of(number), bytes(data), stamp_ns_of(number))
        writer.finish()
    return path


def read_until_error(path: Path) -> tuple[int, str]:
    """How many frames come, and what is said then; empty at the end."""
    return played(build_source(str(path), SourceSettings()))
