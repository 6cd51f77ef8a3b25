"""Decodes a bag's messages by real rclpy, those of installed types: python decode_by_rclpy.py FILE FOLDER.

The folder has the package mcap. It prints the number of messages by topic, in JSON.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from importlib import import_module
from typing import Any

sys.path.append(sys.argv[2])

from mcap.reader import make_reader
from rclpy.serialization import deserialize_message, serialize_message


def class_of(type_name: str) -> Any:
    """The class that ROS generated; None if its package is not installed."""
    package, _, name = type_name.partition("/msg/")
    try:
        return getattr(import_module(f"{package}.msg"), name)
    except ModuleNotFoundError:
        return None


decoded, differing = Counter[str](), Counter[str]()
with open(sys.argv[1], "rb") as bag:
    for schema, channel, message in make_reader(bag).iter_messages():
        assert schema is not None
        if (kind := class_of(schema.name)) is not None:
            made = deserialize_message(message.data, kind)
            decoded[channel.topic] += 1
            again = deserialize_message(serialize_message(made), kind)
            differing[channel.topic] += again != made
print(json.dumps({"decoded": decoded, "differing": sum(differing.values())}))
