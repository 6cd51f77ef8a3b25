"""Outputs as messages of ROS 2: what stands in them, and when there is none; and pictures out of messages."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from perception.frame import CameraState, Certainty, EngineState, Frame, NoFrameRecord, OutputItem, Prediction
from perception.imaging.yuv import Yuv420, bgr_from_yuv
from perception.labels import BACKGROUND, DIRECT
from perception.provenance.identity import RunIdentity
from perception.provenance.trace import Tracer
from perception.provenance.utc import UtcClock
from perception.ros.messages import RosEncoder
from perception.ros.pictures import BrokenPictureError, PictureDecoder
from perception.ros.types import definition, type_hash, typestore
from perception.scene.calibration import Calibration, Intrinsics
from perception.scene.settings import calibrated
from perception.sources.source import SourceError, SourceInfo

INFO = SourceInfo("cam", True, (64, 36), 25.0)
UTC_AHEAD_NS = 1_700_000_000_000_000_000
CLOCK = UtcClock(lambda: 50_000_000, lambda: 50_000_000 + UTC_AHEAD_NS)
RUN = RunIdentity(model_sha256="0" * 64, settings_sha256="1" * 64)
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"


def output(is_taken_now: bool = True, **values: Any) -> Prediction:
    class_map = np.full((9, 16), BACKGROUND, np.uint8)
    class_map[5:] = DIRECT
    image = np.random.default_rng(0).integers(0, 256, (36, 64, 3), np.uint8)
    frame = Frame("cam", 3, 5_000_000, 40, image, "000003")
    prediction = Prediction(
        *(frame, class_map, (0.4, 0.0, 0.6), "model"),
        published_ns=39_000_000,
        provider="cpu",
        confidence=np.full((9, 16), 200, np.uint8),
        trace=Tracer(RUN, is_taken_now, CLOCK).trace(5_000_000, 39_000_000),
    )
    return replace(prediction, **values)


def outage() -> NoFrameRecord:
    trace = Tracer(RUN, True, CLOCK).trace(None, 39_000_000)
    return NoFrameRecord(
        *("cam", None, 40, None, CameraState.LOST, "gone"), published_ns=39_000_000, trace=trace
    )


def decoded(of: OutputItem, **settings: str) -> dict[str, Any]:
    """The messages of an output by the end of their topic, decoded."""
    encoder = RosEncoder(INFO, **settings)
    return {
        message.topic.removeprefix("/drivable/"): typestore().deserialize_cdr(message.data, message.type_name)
        for message in encoder.encode(of)
    }


class Calibrated:
    """Of pictures of one size, twice as large as the frame's; of any other shape, none."""

    def at(self, frame_wh: tuple[int, int]) -> Calibration:
        matrix = np.array([[100.0, 0, 63.5], [0, 98.0, 35.5], [0, 0, 1]])
        distortion = np.array([-0.2, 0.01, 0, 0, 0.001])
        return Calibration(Intrinsics((128, 72), matrix, "plumb_bob", distortion)).scaled_to(frame_wh)


def test_camera_info_is_that_of_the_picture_where_the_camera_is_calibrated() -> None:
    is_so: Any = Calibrated()
    encoder = RosEncoder(calibrated(INFO, is_so), frame_id="front")
    topic = "/drivable/camera_info"
    made = output()

    (message,) = encoder.encode(made, [topic])
    info = typestore().deserialize_cdr(message.data, message.type_name)

    assert encoder.topics[topic] == "sensor_msgs/msg/CameraInfo"
    assert (info.width, info.height, info.distortion_model) == (64, 36, "plumb_bob")
    assert np.allclose(info.k, [50, 0, 31.5, 0, 49, 17.5, 0, 0, 1])
    assert np.allclose(info.p.reshape(3, 4)[:, :3], info.k.reshape(3, 3))
    assert np.allclose(info.d, [-0.2, 0.01, 0, 0, 0.001])
    assert (info.header.frame_id, stamp_ns(info)) == ("front", UTC_AHEAD_NS + 5_000_000)
    assert encoder.encode(outage(), [topic]) == []
    cut = replace(made, frame=replace(made.frame, pixels=np.zeros((48, 64, 3), np.uint8)))
    assert encoder.encode(cut, [topic]) == []
    assert topic not in RosEncoder(INFO).topics


def stamp_ns(message: Any) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def test_class_map_and_confidence_have_the_masks_size_and_capture_time() -> None:
    made = output()
    messages = decoded(made, frame_id="front")

    for name, plane in (("class_map", made.class_map), ("confidence", np.full((9, 16), 200))):
        message = messages[name]
        assert (message.encoding, message.width, message.height, message.step) == ("mono8", 16, 9, 16)
        assert (message.header.frame_id, stamp_ns(message)) == ("front", UTC_AHEAD_NS + 5_000_000)
        assert np.array_equal(message.data.reshape(9, 16), plane)


def test_pictures_are_jpeg_of_the_frames_size() -> None:
    messages = decoded(output())

    for name in ("image/compressed", "overlay/compressed"):
        assert messages[name].format == "jpeg"
        assert cv2.imdecode(messages[name].data, cv2.IMREAD_COLOR).shape == (36, 64, 3)


def test_jpeg_of_the_camera_is_handed_on_and_its_overlay_is_not() -> None:
    made = output()
    made = replace(made, frame=replace(made.frame, jpeg=b"as the camera gave it"))

    messages = decoded(made)

    assert messages["image/compressed"].data.tobytes() == b"as the camera gave it"
    assert cv2.imdecode(messages["overlay/compressed"].data, cv2.IMREAD_COLOR).shape == (36, 64, 3)


def test_record_is_the_line_of_the_records() -> None:
    line = json.loads(decoded(output())["record"].data)

    assert (line["schema"], line["frame_id"], line["camera"]["state"]) == (5, 3, "ok")


@pytest.mark.parametrize(
    ("values", "levels", "says"),
    [
        ({}, [0, 0], ["ok", "ok"]),
        ({"camera_state": CameraState.DEGRADED, "camera_reason": "dark"}, [1, 0], ["dark", "ok"]),
        ({"camera_state": CameraState.FROZEN}, [2, 0], ["frozen", "ok"]),
        ({"engine_state": EngineState.SUSPECT, "engine_reason": "flat"}, [0, 2], ["ok", "flat"]),
    ],
)
def test_state_has_a_level_and_a_reason_for_camera_and_engine(
    values: dict[str, Any], levels: list[int], says: list[str]
) -> None:
    camera, engine = decoded(output(**values))["state"].status

    assert (camera.name, engine.name) == ("drivable: camera", "drivable: engine")
    assert (camera.hardware_id, engine.hardware_id) == ("cam", "model")
    assert [camera.level, engine.level] == levels
    assert [camera.message, engine.message] == says


def test_state_has_the_shares_of_a_mask_and_without_one_none() -> None:
    def figures(of: OutputItem) -> dict[str, str]:
        return {pair.key: pair.value for status in decoded(of)["state"].status for pair in status.values}

    assert (figures(output())["direct_share"], figures(output())["drivable_share"]) == ("0.4000", "0.4000")
    assert figures(output(certainty=Certainty(0.9, 0.75, 0.5)))["certainty_p5"] == "0.7500"
    assert set(figures(outage())) == {"state", "age_ms", "provider"}


@pytest.mark.parametrize("of", [output(camera_state=CameraState.BLOCKED), outage()], ids=["blocked", "lost"])
def test_without_a_mask_there_is_neither_class_map_nor_confidence(of: OutputItem) -> None:
    assert {"class_map", "confidence"}.isdisjoint(decoded(of))


def test_outage_is_stamped_with_its_publication_and_stale() -> None:
    messages = decoded(outage())

    assert stamp_ns(messages["state"]) == UTC_AHEAD_NS + 39_000_000
    assert messages["state"].status[0].level == 3
    assert "image/compressed" not in messages


def test_recording_is_stamped_with_when_it_was_due_or_read() -> None:
    assert stamp_ns(decoded(output(is_taken_now=False))["class_map"]) == UTC_AHEAD_NS + 5_000_000


def test_outlines_are_closed_lines_round_the_areas_in_pixels_of_the_frame() -> None:
    (area,) = decoded(output())["outlines"].points

    corners = np.array([(point.x, point.y) for point in area.points])
    assert (area.type, area.outline_color.b > area.outline_color.r) == (area.LINE_LOOP, True)
    assert [corners.min(0).tolist(), corners.max(0).tolist()] == [[0, 20], [64, 36]]
    assert area.timestamp.sec * 10**9 + area.timestamp.nanosec == UTC_AHEAD_NS + 5_000_000


@pytest.mark.parametrize("of", [output(camera_state=CameraState.BLOCKED), outage()], ids=["blocked", "lost"])
def test_without_a_mask_outlines_are_empty_so_that_no_viewer_keeps_the_last(of: OutputItem) -> None:
    assert decoded(of)["outlines"].points == []


def test_what_nobody_wants_is_not_made() -> None:
    encoder = RosEncoder(INFO, "/front/road")

    assert [message.topic for message in encoder.encode(output(), {"/front/road/state"})] == [
        "/front/road/state"
    ]
    assert encoder.encode(output(), frozenset()) == []


def test_every_topic_is_announced_with_its_type() -> None:
    encoder = RosEncoder(INFO)

    made = {message.topic: message.type_name for message in [*encoder.encode(output()), *encoder.latched()]}
    assert made == encoder.topics


def test_labels_hold_for_the_whole_run() -> None:
    (message,) = RosEncoder(INFO).latched()
    labels = typestore().deserialize_cdr(message.data, message.type_name)

    assert message.topic == "/drivable/labels"
    assert [(one.class_id, one.class_name) for one in labels.class_map] == [
        (0, "direct"),
        (1, "alternative"),
        (2, "background"),
        (3, "drivable"),
    ]


def test_types_have_the_checksums_of_ros() -> None:
    """As ROS 2 Jazzy's `ros2 topic info --verbose` shows it."""
    assert type_hash("std_msgs/msg/String") == (
        "RIHS01_df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18"
    )
    assert definition("std_msgs/msg/String").split() == ["string", "data"]


WH = (8, 6)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(16, 236, shape, np.uint8)


def image(encoding: str, data: np.ndarray, step: int, wh: tuple[int, int] = WH) -> bytes:
    """A message as a camera's driver makes it."""
    types = typestore().types
    header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](1, 2), "front")
    message = types[IMAGE](header, wh[1], wh[0], encoding, 0, step, data.reshape(-1))
    return bytes(typestore().serialize_cdr(message, IMAGE))


def compressed(data: bytes, form: str = "bgr8; jpeg compressed bgr8") -> bytes:
    types = typestore().types
    header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](1, 2), "front")
    message = types[COMPRESSED](header, form, np.frombuffer(data, np.uint8))
    return bytes(typestore().serialize_cdr(message, COMPRESSED))


def pixels_of(data: bytes, type_name: str = IMAGE) -> np.ndarray:
    pixels = PictureDecoder(type_name, "ros:/camera", 10_000).decode(data).pixels
    return bgr_from_yuv(pixels) if isinstance(pixels, Yuv420) else pixels


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "channels", "order"),
    [
        ("bgr8", 3, [0, 1, 2]),
        ("rgb8", 3, [2, 1, 0]),
        ("bgra8", 4, [0, 1, 2]),
        ("rgba8", 4, [2, 1, 0]),
        ("mono8", 1, [0, 0, 0]),
    ],
)
def test_raw_picture_is_read_with_its_step(
    encoding: str, channels: int, order: list[int], padding: int
) -> None:
    pixels = noise(6, 8, channels)
    lines = np.pad(pixels.reshape(6, -1), ((0, 0), (0, padding)))

    assert np.array_equal(pixels_of(image(encoding, lines, lines.shape[1])), pixels[..., order])


@pytest.mark.parametrize(
    ("encoding", "shape", "code"),
    [
        ("yuv422", (6, 8, 2), cv2.COLOR_YUV2BGR_UYVY),
        ("yuv422_yuy2", (6, 8, 2), cv2.COLOR_YUV2BGR_YUYV),
        ("nv12", (9, 8), cv2.COLOR_YUV2BGR_NV12),
    ],
)
def test_yuv_is_read_as_opencv_reads_it(encoding: str, shape: tuple[int, ...], code: int) -> None:
    data = noise(*shape)
    data[..., 1::2] = 128  # so that it is no matter how chroma is halved
    data.reshape(-1)[shape[0] * shape[1] * (2 if len(shape) == 3 else 0) :] = 128
    if len(shape) == 2:
        data[6:] = 128
    elif encoding == "yuv422":
        data[..., 0], data[..., 1] = 128, noise(6, 8)
    expected = cv2.cvtColor(data, code)

    found = pixels_of(image(encoding, data, shape[1] * (2 if len(shape) == 3 else 1)))

    assert np.abs(found.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_compressed_picture_is_read_by_its_content(suffix: str) -> None:
    smooth = cv2.resize(noise(3, 4, 3), WH)
    _, data = cv2.imencode(suffix, smooth, [cv2.IMWRITE_JPEG_QUALITY, 100])

    found = pixels_of(compressed(data.tobytes()), COMPRESSED)

    assert np.abs(found.astype(int) - smooth).max() <= (40 if suffix == ".jpg" else 0)


@pytest.mark.parametrize(
    ("data", "type_name", "why"),
    [
        (image("bayer_rggb8", noise(6, 8), 8), IMAGE, "encoding 'bayer_rggb8' are not read; bgr8"),
        (image("bgr8", noise(600, 800, 3), 2400, (800, 600)), IMAGE, "more than 0.01 megapixels"),
        (compressed(b"\1" * 50, "16UC1; compressedDepth"), COMPRESSED, "format '16UC1; compressedDepth'"),
    ],
    ids=["encoding", "size", "format"],
)
def test_topic_that_cannot_be_read_is_one_line(data: bytes, type_name: str, why: str) -> None:
    with pytest.raises(SourceError, match=rf"^ros:/camera: [^\n]*{why}"):
        pixels_of(data, type_name)


@pytest.mark.parametrize(
    ("data", "type_name"),
    [
        (image("bgr8", noise(6, 8, 3)[:3], 24), IMAGE),
        (image("bgr8", noise(6, 8, 3), 24)[:40], IMAGE),
        (b"\0\1\0\0", COMPRESSED),
        (compressed(b""), COMPRESSED),
        (compressed(cv2.imencode(".png", noise(6, 8, 3))[1].tobytes()[:60]), COMPRESSED),
    ],
    ids=["short", "cut", "empty", "no picture", "half a picture"],
)
def test_broken_picture_is_not_the_end_of_the_topic(data: bytes, type_name: str) -> None:
    with pytest.raises(BrokenPictureError):
        pixels_of(data, type_name)
