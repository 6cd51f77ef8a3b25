"""Pictures from a topic of ROS 2: what is a topic, capture times from stamps, what comes over a network."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
from zenoh_router import free_router, session

from perception.config import NodeConfig
from perception.provenance.utc import UtcClock
from perception.ros.settings import RosSettings
from perception.ros.types import typestore
from perception.sources.registry import Spec, build_source
from perception.sources.ros import RosSource, StampClock
from perception.sources.source import SourceError

S = 1_000_000_000
UTC_AHEAD_NS = 1_700_000_000 * S
LIMIT_S = 20.0


class Clocks:
    """Monotonic clock and UTC, which may be set."""

    def __init__(self) -> None:
        self.now_ns, self.ahead_ns = 100 * S, UTC_AHEAD_NS

    def utc(self) -> UtcClock:
        return UtcClock(lambda: self.now_ns, lambda: self.now_ns + self.ahead_ns)


@pytest.mark.parametrize(
    "typed", ["ros:/camera/image_raw", " ros:/camera/image_raw ", "ROS:/camera/image_raw"]
)
def test_topic_is_a_live_source(typed: str) -> None:
    spec = Spec.of(typed)

    assert spec == ("ros", "ros:/camera/image_raw")
    assert spec.is_live()


@pytest.mark.parametrize(
    "typed", ["ros:camera", "ros://robot/camera", "ros:", "ros:/a b", "ros:/7", "ros:/a//b"]
)
def test_what_is_no_topic_is_one_line(typed: str) -> None:
    with pytest.raises(SourceError, match=r"is not a ROS topic; name one such as ros:/camera/image_raw$"):
        Spec.of(typed)


def captured_s(clock: StampClock, clocks: Clocks, stamps: list[tuple[float, float]]) -> list[float]:
    """Seconds of capture by stamps in UTC and the delays with which they arrive."""
    found = []
    for stamp_s, delay_s in stamps:
        clocks.now_ns = round((100 + stamp_s + delay_s) * S)
        ns = clock.captured_ns(round((100 + stamp_s) * S) + UTC_AHEAD_NS, clocks.now_ns)
        found.append(round(ns / S - 100, 6))
    return found


def test_stamp_in_utc_is_the_capture_time_with_all_of_its_delay() -> None:
    clocks = Clocks()
    clock = StampClock(clocks.utc())

    assert captured_s(clock, clocks, [(0.0, 0.05), (0.04, 0.06), (0.08, 0.04)]) == [0.0, 0.04, 0.08]
    assert clock.kind == "stamps in UTC"


def test_utc_that_is_set_here_moves_no_capture_time() -> None:
    clocks = Clocks()
    clock = StampClock(clocks.utc())
    for number in range(20):
        clocks.now_ns = 100 * S + number * S // 25
        if number == 10:
            clocks.ahead_ns += 3600 * S
        stamp_ns = clocks.now_ns - S // 100 + clocks.ahead_ns

        assert clock.captured_ns(stamp_ns, clocks.now_ns) == clocks.now_ns - S // 100


@pytest.mark.parametrize("ahead_s", [-86400.0, 5.0, -1.6e9], ids=["a bag", "another machine", "a simulation"])
def test_stamps_of_another_clock_give_the_intervals(ahead_s: float) -> None:
    clocks = Clocks()
    clock = StampClock(clocks.utc())
    found = []
    for number, delay_s in enumerate([0.0, 0.02, 0.0, 0.03]):
        clocks.now_ns = round((100 + number * 0.04 + delay_s) * S)
        stamp_s = 100 + number * 0.04 + ahead_s
        ns = clock.captured_ns(round(stamp_s * S) + UTC_AHEAD_NS, clocks.now_ns)
        found.append(ns / S - 100)

    assert found == pytest.approx([0.0, 0.04, 0.08, 0.12], abs=0.001)
    assert clock.kind == "stamps of another clock"


def test_stamps_of_zero_count_as_arrival() -> None:
    clock = StampClock(Clocks().utc())

    assert [clock.captured_ns(0, at_ns) for at_ns in (5 * S, 6 * S)] == [5 * S, 6 * S]
    assert clock.kind == "without stamps"


class Camera:
    """A robot's camera on Zenoh, in the layout of rmw_zenoh: grey pictures, with the time as their stamps."""

    def __init__(
        self, client: Any, topic: str = "/camera/image_raw", type_name: str = "sensor_msgs/msg/Image"
    ):
        package, _, name = type_name.partition("/msg/")
        dds_type = f"{package}::msg::dds_::{name}_"
        self._publisher = client.declare_publisher(f"7{topic}/{dds_type}/RIHS01_0")
        mangled = topic.replace("/", "%")
        key = f"@ros2_lv/7/{client.zid()}/0/1/MP/%/%/camera/{mangled}/{dds_type}/RIHS01_0/2::,5:,:,:,,"
        self._token = client.liveliness().declare_token(key)
        self._number = 0

    def publish(self, level: int, wh: tuple[int, int] = (64, 48), encoding: str = "mono8") -> int:
        """The stamp of the picture."""
        types, stamp_ns = typestore().types, time.time_ns()
        stamp = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, S))
        header = types["std_msgs/msg/Header"](stamp, "front")
        pixels = np.full(wh[0] * wh[1], level, np.uint8)
        message = types["sensor_msgs/msg/Image"](header, wh[1], wh[0], encoding, 0, wh[0], pixels)
        self._number += 1
        attachment = struct.pack("<qqB16s", self._number, stamp_ns, 16, b"")
        data = bytes(typestore().serialize_cdr(message, "sensor_msgs/msg/Image"))
        self._publisher.put(data, attachment=attachment)
        return stamp_ns

    @contextmanager
    def runs(self, level: int = 50) -> Iterator[None]:
        """Publishes at 50 Hz meanwhile."""
        is_over = threading.Event()

        def run() -> None:
            while not is_over.wait(0.02):
                self.publish(level)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()


@pytest.fixture
def robot() -> Iterator[tuple[str, Any]]:
    """A router, and a client of it."""
    router = free_router()
    with ExitStack() as stack:
        stack.enter_context(session("router", listen=router))
        yield router, stack.enter_context(session("client", connect=router))


NewSource = Callable[..., RosSource]


@pytest.fixture
def new_source(robot: tuple[str, Any]) -> Iterator[NewSource]:
    sources: list[RosSource] = []

    def make(topic: str = "/camera/image_raw", open_timeout_s: float = LIMIT_S) -> RosSource:
        settings = RosSettings(domain=7, zenoh=robot[0])
        sources.append(RosSource(topic, settings, open_timeout_s, 0.3, 100_000))
        return sources[-1]

    yield make
    for source in sources:
        source.close()


def test_newest_picture_comes_with_its_stamp_and_what_was_missed(
    robot: tuple[str, Any], new_source: NewSource
) -> None:
    camera = Camera(robot[1])
    source = new_source()
    with camera.runs():
        info = source.open()
    time.sleep(0.1)
    source.read()
    while True:  # what came meanwhile
        try:
            source.read()
        except SourceError:
            break
    stamps_ns = [camera.publish(level) for level in (10, 20, 30)]
    time.sleep(0.1)
    frame = source.read()

    assert (info.source_id, info.is_live, info.frame_wh) == ("ros:/camera/image_raw", True, (64, 48))
    assert info.description.startswith("sensor_msgs/msg/Image, stamps in UTC, Zenoh through tcp/127.0.0.1:")
    assert frame.image_bgr[0, 0].tolist() == [30, 30, 30]
    assert frame.missed_before == 2
    age_ns = time.time_ns() - stamps_ns[-1] - (time.monotonic_ns() - frame.captured_ns)
    assert abs(age_ns) < 5_000_000


def test_silence_is_one_line(robot: tuple[str, Any], new_source: NewSource) -> None:
    camera = Camera(robot[1])
    source = new_source()
    with camera.runs():
        source.open()
    source.read()

    def read_on() -> None:
        while True:
            source.read()

    with pytest.raises(SourceError, match=r"^ros:/camera/image_raw: no picture for 0.3 s$"):
        read_on()


def test_topic_that_nobody_publishes_is_one_line_with_those_that_there_are(
    robot: tuple[str, Any], new_source: NewSource
) -> None:
    camera = Camera(robot[1])

    with pytest.raises(SourceError) as raised:
        new_source("/camera/imag", open_timeout_s=1.0).open()

    assert camera is not None
    assert str(raised.value) == (
        "ros:/camera/imag: nobody publishes this topic; pictures are on /camera/image_raw"
    )


def test_topic_without_pictures_is_one_line(robot: tuple[str, Any], new_source: NewSource) -> None:
    camera = Camera(robot[1], "/chatter", "std_msgs/msg/String")

    with pytest.raises(SourceError) as raised:
        new_source("/chatter").open()

    assert camera is not None
    assert str(raised.value) == (
        "ros:/chatter: is of the type std_msgs/msg/String, which holds no picture; "
        "no topic with pictures is published"
    )


def test_picture_that_cannot_be_read_is_one_line(robot: tuple[str, Any], new_source: NewSource) -> None:
    camera = Camera(robot[1])
    is_over = threading.Event()

    def run() -> None:
        while not is_over.wait(0.02):
            camera.publish(1, encoding="bayer_rggb8")

    thread = threading.Thread(target=run)
    thread.start()
    try:
        with pytest.raises(SourceError, match="pictures of encoding 'bayer_rggb8' are not read"):
            new_source().open()
    finally:
        is_over.set()
        thread.join()


@pytest.mark.parametrize(
    ("missing", "settings", "line"),
    [
        (
            {"rclpy", "zenoh"},
            RosSettings(),
            "ros:/camera: rclpy is not there: source ROS 2's setup.bash first, or pip install "
            "'drivable[ros]' for Zenoh",
        ),
        (
            {"zenoh"},
            RosSettings(zenoh="tcp/robot:7447"),
            "ros:/camera: pip install 'drivable[ros]' for Zenoh",
        ),
        ({"rosbags"}, RosSettings(), "ros:/camera: not installed; pip install 'drivable[ros]'"),
    ],
)
def test_package_that_is_missing_is_one_line_at_once(
    missing: set[str], settings: RosSettings, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perception.ros import network

    found = network.find_spec
    monkeypatch.setattr(network, "find_spec", lambda name: None if name in missing else found(name))

    with pytest.raises(SourceError) as raised:
        build_source("ros:/camera", NodeConfig(ros=settings, open_retries="forever"))

    assert str(raised.value) == line


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"prefix": "drivable"}, "ros.prefix is 'drivable'"),
        ({"prefix": "/7"}, "ros.prefix is '/7'"),
        ({"prefix": "/"}, "ros.prefix is '/'"),
        ({"topics": ("/class_map",)}, "ros.topics holds '/class_map'"),
        ({"domain": 233}, "ros.domain is 233"),
        ({"zenoh": "robot:7447"}, "ros.zenoh is 'robot:7447'"),
        ({"zenoh": "tcp/robot"}, "ros.zenoh is 'tcp/robot'"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        RosSettings(**values)


def test_domain_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "12")
    assert (RosSettings().domain_id, RosSettings(domain=3).domain_id) == (12, 3)

    monkeypatch.setenv("ROS_DOMAIN_ID", "many")
    with pytest.raises(ValueError, match="ROS_DOMAIN_ID is 'many'"):
        _ = RosSettings().domain_id
