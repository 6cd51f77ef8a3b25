"""The process that publishes to ROS 2: what comes through, and what a hang or crash in it costs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from child_processes import children

from perception.ros.network import Network, Publishing, RosError, Topic
from perception.ros.publisher import RosPublisher
from perception.system.time_limits import ROS_GRACE_S, ROS_TAKE_LIMIT_S

LIMIT_S = 20.0  # a process takes its time to start where the machine is busy
IMAGE = Topic("/drivable/class_map", "sensor_msgs/msg/Image", "RIHS01_0")
STATE = Topic("/drivable/state", "diagnostic_msgs/msg/DiagnosticArray", "RIHS01_1")


class Script:
    """A network that writes what is published to a file, or does what middleware should not."""

    description = "a script"

    def __init__(self, file: str, does: str) -> None:
        self.file, self.does = Path(file), does
        if does == "refuse":
            raise RosError("ros: nobody answers")

    def advertise(self, topic: Topic) -> None:
        if self.does == "lack" and topic == STATE:
            raise RosError(f"{topic.type_name} is not installed")

    def publish(self, topic: str, data: bytes) -> None:
        if self.does == "hang":
            time.sleep(3600)
        if self.does == "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.does == "raise":
            raise ZeroDivisionError("of some\nlibrary")
        with self.file.open("a") as log:
            log.write(f"{topic} {len(data)} {sum(data)}\n")

    def subscribed(self) -> list[str]:
        return [IMAGE.name] if self.file.exists() else []

    def close(self) -> None:
        with self.file.open("a") as log:
            log.write("closed\n")


@dataclass(frozen=True)
class ScriptedNetwork(Network):
    file: str = ""
    does: str = ""

    def publishing(self) -> Publishing:
        return Script(self.file, self.does)


NewPublisher = Callable[..., RosPublisher]


@pytest.fixture
def new_publisher(tmp_path: Path) -> Iterator[NewPublisher]:
    made: list[RosPublisher] = []

    def make(does: str = "") -> RosPublisher:
        network = ScriptedNetwork("/drivable", 0, file=str(tmp_path / "published"), does=does)
        made.append(RosPublisher(network, [IMAGE, STATE]))
        return made[-1]

    yield make
    for publisher in made:
        publisher.close(0.0)


def assert_no_child_is_left() -> None:
    until_s = time.monotonic() + LIMIT_S
    while (left := children()) and time.monotonic() < until_s:
        time.sleep(0.01)  # a process that was killed takes a moment
    assert left == []


def test_messages_of_any_size_arrive_in_order_and_before_the_end(
    new_publisher: NewPublisher, tmp_path: Path
) -> None:
    publisher = new_publisher()
    messages = [b"", b"\1", b"\2" * 65_536, b"\3" * 3_000_001]

    for data in messages:
        publisher.publish(IMAGE.name, data)
    publisher.close(LIMIT_S)

    log = (tmp_path / "published").read_text().splitlines()
    assert log == [*(f"{IMAGE.name} {len(data)} {sum(data)}" for data in messages), "closed"]
    assert_no_child_is_left()


def test_who_subscribes_is_known_soon(new_publisher: NewPublisher, tmp_path: Path) -> None:
    publisher = new_publisher()
    before = publisher.subscribed()

    (tmp_path / "published").touch()
    until_s = time.monotonic() + LIMIT_S
    while not (after := publisher.subscribed()) and time.monotonic() < until_s:
        time.sleep(0.01)

    assert (before, after) == (frozenset(), {IMAGE.name})


def test_topic_of_a_type_that_is_not_installed_is_left_out_with_a_warning(
    new_publisher: NewPublisher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = new_publisher("lack")

    publisher.publish(STATE.name, b"1")
    publisher.publish(IMAGE.name, b"2")
    publisher.close(LIMIT_S)

    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [
        "ros: /drivable/state is left out: diagnostic_msgs/msg/DiagnosticArray is not installed"
    ]
    assert (tmp_path / "published").read_text() == f"{IMAGE.name} 1 {ord('2')}\nclosed\n"


def test_network_that_cannot_be_entered_is_one_line_and_leaves_no_process(
    new_publisher: NewPublisher,
) -> None:
    with pytest.raises(RosError, match=r"^ros: nobody answers$"):
        new_publisher("refuse")

    assert_no_child_is_left()


@pytest.mark.parametrize(
    ("does", "why"),
    [
        ("die", r"^ros: the process that publishes has ended$"),
        ("raise", r"^ros: ZeroDivisionError: of some library$"),
    ],
)
def test_middleware_that_fails_is_an_error_of_the_next_message(
    new_publisher: NewPublisher, does: str, why: str
) -> None:
    publisher = new_publisher(does)
    until_s = time.monotonic() + LIMIT_S

    def publish_until_it_fails() -> None:
        while time.monotonic() < until_s:
            publisher.publish(IMAGE.name, bytes(100_000))
            publisher.subscribed()

    with pytest.raises(RosError, match=why):
        publish_until_it_fails()

    assert_no_child_is_left()


@pytest.mark.slow
def test_middleware_that_hangs_is_given_up_with_its_process(new_publisher: NewPublisher) -> None:
    publisher = new_publisher("hang")
    publisher.publish(IMAGE.name, b"1")
    began_s = time.monotonic()

    with pytest.raises(RosError, match="accepted nothing for"):
        publisher.publish(IMAGE.name, bytes(3_000_000))  # more than a socket holds

    assert time.monotonic() - began_s < ROS_TAKE_LIMIT_S + 2.0
    assert_no_child_is_left()


def test_end_waits_for_a_hang_no_longer_than_its_limit(new_publisher: NewPublisher) -> None:
    publisher = new_publisher("hang")
    publisher.publish(IMAGE.name, b"1")
    began_s = time.monotonic()

    publisher.close()

    assert time.monotonic() - began_s < ROS_GRACE_S + 1.0
    assert_no_child_is_left()
