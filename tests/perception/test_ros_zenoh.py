"""ROS 2 over Zenoh: what a plain Zenoh client sees and gets, by the published layout of rmw_zenoh."""

from __future__ import annotations

import struct
import time
from typing import Any

import pytest
import zenoh
from zenoh_router import free_router, session, tokens, wait_until

from perception.ros.network import Network, RosError, Topic
from perception.ros.publisher import RosPublisher

IMAGE = Topic("/front/drivable/class_map", "sensor_msgs/msg/Image", "RIHS01_00ab")
LABELS = Topic("/front/drivable/labels", "vision_msgs/msg/LabelInfo", "RIHS01_00cd", is_latched=True)


def network(router: str, **values: Any) -> Network:
    return Network("/front/drivable", 7, router, **values)


def test_plain_subscriber_gets_messages_with_number_time_and_publisher() -> None:
    router, got = free_router(), []
    with session("router", listen=router), session("client", connect=router) as client:
        publisher = RosPublisher(network(router), [IMAGE])
        before = publisher.subscribed()
        client.declare_subscriber("7/front/drivable/class_map/*/*", got.append)
        wait_until(publisher.subscribed)
        for number in range(3):
            publisher.publish(IMAGE.name, bytes([number]) * 300_000)
        wait_until(lambda: len(got) == 3)
        publisher.close()

    assert before == frozenset()
    assert [sample.payload.to_bytes() for sample in got] == [bytes([n]) * 300_000 for n in range(3)]
    assert str(got[0].key_expr) == ("7/front/drivable/class_map/sensor_msgs::msg::dds_::Image_/RIHS01_00ab")
    assert str(got[0].encoding) == "application/cdr"
    numbers, times_ns, lengths, gids = zip(
        *(struct.unpack("<qqB16s", sample.attachment.to_bytes()) for sample in got), strict=True
    )
    assert numbers == (1, 2, 3)
    assert all(abs(time.time_ns() - at_ns) < 60e9 for at_ns in times_ns)
    assert set(lengths) == {16}
    assert len(set(gids)) == 1


def test_topics_are_found_with_type_quality_and_one_publisher() -> None:
    router = free_router()
    with session("router", listen=router), session("client", connect=router) as client:
        publisher = RosPublisher(network(router), [IMAGE, LABELS])
        wait_until(lambda: len(tokens(client)) == 3)
        found = tokens(client)
        publisher.close()
        wait_until(lambda: not tokens(client))

    zid = found[0][2]
    node = ["@ros2_lv", "7", zid, "0"]
    end = ["%", "%front", "drivable"]
    assert sorted(found) == [
        [*node, "0", "NN", *end],
        [
            *(*node, "1", "MP", *end, "%front%drivable%class_map"),
            *("sensor_msgs::msg::dds_::Image_", "RIHS01_00ab", "2::,5:,:,:,,"),
        ],
        [
            *(*node, "2", "MP", *end, "%front%drivable%labels"),
            *("vision_msgs::msg::dds_::LabelInfo_", "RIHS01_00cd", ":1:,1:,:,:,,"),
        ],
    ]


def test_reliable_topic_says_so() -> None:
    router = free_router()
    with session("router", listen=router), session("client", connect=router) as client:
        publisher = RosPublisher(network(router, is_reliable=True), [IMAGE])
        wait_until(lambda: len(tokens(client)) == 2)
        found = tokens(client)
        publisher.close()

    assert [token[-1] for token in found if "MP" in token] == ["::,5:,:,:,,"]


def test_robot_of_humble_finds_keys_without_checksums() -> None:
    router, got = free_router(), []
    with session("router", listen=router), session("client", connect=router) as client:
        publisher = RosPublisher(network(router, has_hashes=False), [IMAGE])
        client.declare_subscriber(
            "7/front/drivable/class_map/sensor_msgs::msg::dds_::Image_/TypeHashNotSupported", got.append
        )
        wait_until(publisher.subscribed)
        publisher.publish(IMAGE.name, b"1")
        wait_until(lambda: got)
        publisher.close()

    assert [sample.payload.to_bytes() for sample in got] == [b"1"]


def test_late_subscriber_gets_the_last_message_of_a_latched_topic() -> None:
    router, got = free_router(), []
    with session("router", listen=router), session("client", connect=router) as client:
        publisher = RosPublisher(network(router), [LABELS])
        publisher.publish(LABELS.name, b"labels")
        wait_until(lambda: len(tokens(client)) == 2)
        history = zenoh.ext.HistoryConfig(detect_late_publishers=True)
        subscriber = zenoh.ext.declare_advanced_subscriber(
            client, "7/front/drivable/labels/**", got.append, history=history
        )
        wait_until(lambda: got)
        subscriber.undeclare()
        publisher.close()

    assert [sample.payload.to_bytes() for sample in got] == [b"labels"]


def test_router_that_does_not_answer_is_one_line() -> None:
    router = free_router()

    with pytest.raises(
        RosError, match=rf"^ros: no router of rmw_zenoh answers at {router}: Unable to connect [^\n]*$"
    ):
        RosPublisher(network(router), [IMAGE])


def test_live_node_waits_for_a_router_and_finds_it_again() -> None:
    router, got = free_router(), []
    publisher = RosPublisher(network(router, must_answer=False), [IMAGE, LABELS])
    publisher.publish(LABELS.name, b"labels")

    for number in range(2):
        with session("router", listen=router), session("client", connect=router) as client:
            client.declare_subscriber("7/front/drivable/class_map/*/*", got.append)
            wait_until(lambda: any("MP" in token for token in tokens(client)))
            wait_until(publisher.subscribed)
            publisher.publish(IMAGE.name, bytes([number]))
            wait_until(lambda: got)
        assert got.pop().payload.to_bytes() == bytes([number])
    publisher.close()
