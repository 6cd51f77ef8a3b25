"""Types of ROS 2 messages: as Jazzy has them, and those of other packages that are published here."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

_OF_OTHERS: Final = {
    "vision_msgs/msg/VisionClass": "uint16 class_id\nstring class_name\n",
    "vision_msgs/msg/LabelInfo": (
        "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold\n"
    ),
}
"""By name: the fields, as their packages define them."""


@cache
def typestore() -> Any:
    """Classes, definitions and encodings of every type."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    for name, fields in _OF_OTHERS.items():
        store.register(get_types_from_msg(fields, name))
    return store


def definition(type_name: str) -> str:
    """The fields of a type and of those in it, as `.msg` files and bags have them (ros2msg)."""
    return str(typestore().generate_msgdef(type_name, ros_version=2)[0])


def type_hash(type_name: str) -> str:
    """Checksum of a type (REP 2016), such as `RIHS01_df66…`."""
    return str(typestore().hash_rihs01(type_name))
