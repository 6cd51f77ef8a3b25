"""A node that is not ours, by rclpy: python rclpy_client.py listen|publish …; it prints JSON lines."""

from __future__ import annotations

import argparse
import array
import hashlib
import json
import math
import sys
import time
from importlib import import_module
from typing import Any

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

QOS = {
    "sensor": QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT),
    "reliable": QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE),
    "latched": QoSProfile(
        depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
    ),
}


def message_class(type_name: str) -> Any:
    package, _, name = type_name.partition("/msg/")
    return getattr(import_module(f"{package}.msg"), name)


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def stamp_ns(message: Any) -> int | None:
    header = getattr(message, "header", None)
    return None if header is None else header.stamp.sec * 10**9 + header.stamp.nanosec


def listen(node: Node, arguments: argparse.Namespace) -> None:
    """Print every message of the topics, each `name,type,qos`, for some seconds."""

    def take(topic: str, message: Any) -> None:
        seen: dict[str, Any] = {"topic": topic, "at_ns": time.time_ns(), "stamp_ns": stamp_ns(message)}
        for name in ("encoding", "height", "width", "step", "format", "point_step", "range_max"):
            if hasattr(message, name):
                seen[name] = getattr(message, name)
        if hasattr(message, "header"):
            seen["frame_id"] = message.header.frame_id
        if hasattr(message, "ranges"):
            seen["ranges"] = [value if math.isfinite(value) else str(value) for value in message.ranges]
        if hasattr(message, "fields"):
            seen["fields"] = [(field.name, field.offset, field.datatype) for field in message.fields]
            points = np.frombuffer(message.data, np.float32).reshape(-1, message.point_step // 4)
            seen["points"] = int(np.isfinite(points[:, :3]).all(axis=1).sum())
        if hasattr(message, "info"):
            seen |= {"width": message.info.width, "height": message.info.height}
            seen["free"] = int((np.asarray(message.data) == 0).sum())
        data = getattr(message, "data", b"")
        if isinstance(data, str):
            seen["text"] = data
        else:
            seen["sha"] = hashlib.sha256(bytes(data)).hexdigest()
        say(**seen)

    for text in arguments.topics:
        topic, type_name, qos = text.split(",")
        node.create_subscription(
            message_class(type_name), topic, lambda message, topic=topic: take(topic, message), QOS[qos]
        )
    say(ready=True)
    until_s = time.monotonic() + arguments.seconds
    while time.monotonic() < until_s:
        rclpy.spin_once(node, timeout_sec=0.1)


def publish(node: Node, arguments: argparse.Namespace) -> None:
    """Publish grey pictures that become brighter, with the time as their stamps."""
    from sensor_msgs.msg import Image
    from std_msgs.msg import String

    kind = Image if arguments.type == "image" else String
    publisher = node.create_publisher(kind, arguments.topic, QOS["sensor"])
    say(ready=True)
    began_s, number = time.monotonic(), 0
    while time.monotonic() < began_s + arguments.seconds:
        if kind is Image:
            level = 40 + number % 150
            pixels = np.full((arguments.height, arguments.width, 3), level, np.uint8)
            pixels[::2, ::3] += 30
            message = Image(
                height=arguments.height,
                width=arguments.width,
                encoding="bgr8",
                step=3 * arguments.width,
            )
            message.data = array.array("B", pixels.tobytes())  # of bytes each is checked
            now_ns = time.time_ns() + round(1e9 * arguments.clock_ahead_s)
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(now_ns, 10**9)
            message.header.frame_id = "front"
        else:
            message = String(data=str(number))
        publisher.publish(message)
        number += 1
        time.sleep(max(0.0, began_s + number / arguments.rate - time.monotonic()))


def main() -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    listening = commands.add_parser("listen")
    listening.add_argument("seconds", type=float)
    listening.add_argument("topics", nargs="+")
    listening.set_defaults(act=listen)
    publishing = commands.add_parser("publish")
    publishing.add_argument("seconds", type=float)
    publishing.add_argument("topic")
    publishing.add_argument("--type", default="image")
    publishing.add_argument("--rate", type=float, default=25.0)
    publishing.add_argument("--width", type=int, default=64)
    publishing.add_argument("--height", type=int, default=48)
    publishing.add_argument("--clock-ahead-s", type=float, default=0.0)
    publishing.set_defaults(act=publish)
    arguments = parser.parse_args()
    rclpy.init(args=[])
    node = Node(f"client_{arguments.act.__name__}")
    try:
        arguments.act(node, arguments)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
