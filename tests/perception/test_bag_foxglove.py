"""Foxglove's pictures and video in bags, in ROS's encoding, protobuf and JSON; video in pictures of ROS."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bags import (
    COMPRESSED,
    TOPIC,
    compressed,
    image,
    pictures_bgr,
    read_all,
    read_until_error,
    stamp_ns_of,
    video,
    write_bag,
)
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import DESCRIPTOR as TIMESTAMP
from mcap.writer import Writer
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from perception.frame import Frame
from perception.ros.types import definition
from perception.sources.source import SourceError

S, B, F = (
    FieldDescriptorProto.TYPE_STRING,
    FieldDescriptorProto.TYPE_BYTES,
    FieldDescriptorProto.TYPE_FIXED32,
)
FIELDS = {
    "CompressedVideo": [("frame_id", 2, S), ("data", 3, B), ("format", 4, S)],
    "CompressedImage": [("frame_id", 4, S), ("data", 2, B), ("format", 3, S)],
    "RawImage": [
        *(("frame_id", 7, S), ("width", 2, F), ("height", 3, F)),
        *(("encoding", 4, S), ("step", 5, F), ("data", 6, B)),
    ],
}
"""By type: name, number and kind, but for the timestamp, which is the first."""
Values = Callable[[int, NDArray[np.uint8]], dict[str, Any]]
"""Of the fields of a numbered message."""


def schema_of(kind: str) -> FileDescriptorSet:
    """The type's definition, before the one that it needs."""
    files = FileDescriptorSet()
    file = files.file.add(name=f"foxglove/{kind}.proto", package="foxglove", syntax="proto3")
    file.dependency.append(TIMESTAMP.name)
    message: DescriptorProto = file.message_type.add(name=kind)
    message.field.add(
        name="timestamp",
        number=1,
        type=FieldDescriptorProto.TYPE_MESSAGE,
        type_name=".google.protobuf.Timestamp",
        label=FieldDescriptorProto.LABEL_OPTIONAL,
    )
    for name, number, form in FIELDS[kind]:
        message.field.add(name=name, number=number, type=form, label=FieldDescriptorProto.LABEL_OPTIONAL)
    TIMESTAMP.CopyToProto(files.file.add())
    return files


def write_messages(
    path: Path, name: str, form: str, schema: bytes, encoding: str, messages: list[bytes]
) -> Path:
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start(profile="", library="another's")
        channel = writer.register_channel(TOPIC, encoding, writer.register_schema(name, form, schema))
        for number, data in enumerate(messages):
            writer.add_message(channel, stamp_ns_of(number), data, stamp_ns_of(number))
        writer.finish()
    return path


def write_protobuf(path: Path, kind: str, values: Values, count: int = 4) -> Path:
    schema = schema_of(kind)
    pool = DescriptorPool()
    for file in reversed(schema.file):
        pool.Add(file)
    new = GetMessageClass(pool.FindMessageTypeByName(f"foxglove.{kind}"))
    messages = []
    for number, bgr in enumerate(pictures_bgr(count)):
        message = new(frame_id="camera", **values(number, bgr))
        seconds, nanoseconds = divmod(stamp_ns_of(number), 1_000_000_000)
        message.timestamp.seconds, message.timestamp.nanos = seconds, nanoseconds
        messages.append(message.SerializeToString())
    name = f"foxglove.{kind}"
    return write_messages(path, name, "protobuf", schema.SerializeToString(), "protobuf", messages)


def jpeg(number: int, bgr: NDArray[np.uint8]) -> dict[str, Any]:
    return {"data": cv2.imencode(".jpg", bgr)[1].tobytes(), "format": "jpeg"}


def raw(number: int, bgr: NDArray[np.uint8]) -> dict[str, Any]:
    height, width = bgr.shape[:2]
    data = np.ascontiguousarray(bgr[..., ::-1]).tobytes()
    return {"width": width, "height": height, "encoding": "rgb8", "step": 3 * width, "data": data}


def h264() -> Values:
    store = get_typestore(Stores.ROS2_HUMBLE)
    make = video("libx264", "h264", COMPRESSED)

    def values(number: int, bgr: NDArray[np.uint8]) -> dict[str, Any]:
        return {"data": bytes(make(store, number, bgr)[1].data), "format": "h264"}

    return values


def check(frames: list[Frame], count: int = 4, tolerance: int = 12) -> None:
    assert [frame.time_ns for frame in frames] == [stamp_ns_of(it) - stamp_ns_of(0) for it in range(count)]
    for frame, bgr in zip(frames, pictures_bgr(count), strict=True):
        assert np.median(np.abs(frame.image_bgr.astype(int) - bgr.astype(int))) <= tolerance


@pytest.mark.parametrize(
    ("kind", "values", "tolerance"),
    [("CompressedVideo", h264(), 12), ("CompressedImage", jpeg, 12), ("RawImage", raw, 0)],
    ids=["video", "compressed", "raw"],
)
def test_protobuf_is_read_by_the_definition_in_the_bag(
    kind: str, values: Values, tolerance: int, tmp_path: Path
) -> None:
    check(read_all(str(write_protobuf(tmp_path / "a.mcap", kind, values))), tolerance=tolerance)


def test_json_is_read(tmp_path: Path) -> None:
    messages = []
    for number, bgr in enumerate(pictures_bgr()):
        seconds, nanoseconds = divmod(stamp_ns_of(number), 1_000_000_000)
        values = jpeg(number, bgr)
        values["data"] = base64.b64encode(values["data"]).decode()
        messages.append(json.dumps({"timestamp": {"sec": seconds, "nsec": nanoseconds}, **values}).encode())
    name = "foxglove.CompressedImage"

    check(
        read_all(
            str(
                write_messages(
                    tmp_path / "a.mcap", name, "jsonschema", b'{"type": "object"}', "json", messages
                )
            )
        )
    )


def test_messages_in_json_that_are_none_are_left_out(tmp_path: Path) -> None:
    good = jpeg(0, pictures_bgr(1)[0])
    whole = {"timestamp": {"sec": 5, "nsec": 0}, **good, "data": base64.b64encode(good["data"]).decode()}
    others: list[Any] = [
        *(b"", b"[]", b"{}", b"nul", b"[" * 100_000, b'{"data": 5}', b'{"timestamp": 7, "data": ""}'),
        *(json.dumps({**whole, "timestamp": {"sec": "x"}}).encode(), json.dumps({"data": "!"}).encode()),
    ]
    messages = [data for other in others for data in (json.dumps(whole).encode(), other)]
    bag = write_messages(
        tmp_path / "a.mcap", "foxglove.CompressedImage", "jsonschema", b"{}", "json", messages
    )

    assert read_until_error(bag) == (len(others), "")


def test_protobuf_whose_definition_is_rubbish_says_so(tmp_path: Path) -> None:
    name = "foxglove.CompressedImage"
    bag = write_messages(tmp_path / "a.mcap", name, "protobuf", b"\x00\xff\x17", "protobuf", [b"abc"] * 3)

    with pytest.raises(SourceError, match="none of its 3 messages has a picture; the first: message 0: "):
        read_all(str(bag))


@pytest.mark.parametrize("kind", ["RawImage", "CompressedImage"])
def test_types_of_foxglove_in_ros_are_read(kind: str, tmp_path: Path) -> None:
    name = f"foxglove_msgs/msg/{kind}"
    store = get_typestore(Stores.ROS2_HUMBLE)
    fields = definition(name)
    store.register(get_types_from_msg(fields, name))
    messages = []
    for number, bgr in enumerate(pictures_bgr()):
        time = store.types["builtin_interfaces/msg/Time"](*divmod(stamp_ns_of(number), 1_000_000_000))
        values = (raw if kind == "RawImage" else jpeg)(number, bgr)
        values["data"] = np.frombuffer(values["data"], np.uint8)
        message = store.types[name](timestamp=time, frame_id="camera", **values)
        messages.append(bytes(store.serialize_cdr(message, name)))

    check(
        read_all(str(write_messages(tmp_path / "a.mcap", name, "ros2msg", fields.encode(), "cdr", messages)))
    )


@pytest.mark.parametrize(
    ("codec", "form"), [("libx264", "h264"), ("libx265", "h265"), ("libx265", "hevc"), ("libx264", "H264")]
)
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_video_in_compressed_images(codec: str, form: str, storage: str, tmp_path: Path) -> None:
    check(read_all(str(write_bag(tmp_path / "drive", video(codec, form, COMPRESSED), storage))))


def test_jpeg_of_a_bag_is_handed_on_as_it_is(tmp_path: Path) -> None:
    made: list[bytes] = []

    def kept(store: Any, number: int, bgr: NDArray[np.uint8]) -> tuple[str, Any]:
        type_name, message = compressed(".jpg", "jpeg")(store, number, bgr)
        made.append(message.data.tobytes())
        return type_name, message

    assert [frame.jpeg for frame in read_all(str(write_bag(tmp_path / "drive", kept)))] == made
    of_png = read_all(str(write_bag(tmp_path / "png", compressed(".png", "png"))))
    assert {frame.jpeg for frame in of_png} == {None}


def test_first_picture_that_is_damaged_is_no_message_without_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def torn(store: Any, number: int, bgr: NDArray[np.uint8]) -> tuple[str, Any]:
        type_name, message = compressed(".jpg", "jpeg")(
            store, number, np.asarray(np.random.default_rng(1).integers(0, 255, (240, 320, 3)), np.uint8)
        )
        if number == 0:
            message.data = message.data[: len(message.data) // 2]
        return type_name, message

    frames = read_all(str(write_bag(tmp_path / "drive", torn)))

    assert [frame.is_damaged for frame in frames] == [True, False, False, False]
    assert not caplog.records


def test_empty_messages_and_topics_are_nothing(tmp_path: Path) -> None:
    fields = definition(COMPRESSED).encode()
    bag = write_messages(tmp_path / "a.mcap", COMPRESSED, "ros2msg", fields, "cdr", [])
    assert read_until_error(bag)[1].endswith("a.mcap#/camera/image: contains no message")

    write_messages(bag, COMPRESSED, "ros2msg", fields, "cdr", [b""] * 3)
    assert "none of its 3 messages has a picture" in read_until_error(bag)[1]

    def empty(store: Any, number: int, bgr: NDArray[np.uint8]) -> tuple[str, Any]:
        type_name, message = image("bgr8")(store, number, bgr)
        message.data = message.data[: 0 if number % 2 else None]
        return type_name, message

    assert read_until_error(write_bag(tmp_path / "drive", empty, "sqlite3")) == (2, "")
