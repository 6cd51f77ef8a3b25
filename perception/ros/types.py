"""Types of ROS 2 messages: as Jazzy has them, and those of other packages that are published or read here."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

TOPICS: Final = {
    "class_map": "sensor_msgs/msg/Image",
    "confidence": "sensor_msgs/msg/Image",
    "image/compressed": "sensor_msgs/msg/CompressedImage",
    "camera_info": "sensor_msgs/msg/CameraInfo",
    "overlay/compressed": "sensor_msgs/msg/CompressedImage",
    "outlines": "foxglove_msgs/msg/ImageAnnotations",
    "state": "diagnostic_msgs/msg/DiagnosticArray",
    "record": "std_msgs/msg/String",
    "labels": "vision_msgs/msg/LabelInfo",
}
"""Type of every topic that is published, below its prefix."""
TOPICS_IN_METRES: Final = {
    "occupancy_grid": "nav_msgs/msg/OccupancyGrid",
    "scan": "sensor_msgs/msg/LaserScan",
    "points": "sensor_msgs/msg/PointCloud2",
}
"""The same of those that take a calibration. Others have topics of these names too."""
_OF_OTHERS: Final = {
    "vision_msgs/msg/VisionClass": "uint16 class_id\nstring class_name\n",
    "vision_msgs/msg/LabelInfo": (
        "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold\n"
    ),
    "foxglove_msgs/msg/Color": "float64 r\nfloat64 g\nfloat64 b\nfloat64 a\n",
    "foxglove_msgs/msg/Point2": "float64 x\nfloat64 y\n",
    "foxglove_msgs/msg/CircleAnnotation": (
        "builtin_interfaces/Time timestamp\nfoxglove_msgs/Point2 position\nfloat64 diameter\n"
        "float64 thickness\nfoxglove_msgs/Color fill_color\nfoxglove_msgs/Color outline_color\n"
    ),
    "foxglove_msgs/msg/PointsAnnotation": (
        "builtin_interfaces/Time timestamp\nuint8 UNKNOWN=0\nuint8 POINTS=1\nuint8 LINE_LOOP=2\n"
        "uint8 LINE_STRIP=3\nuint8 LINE_LIST=4\nuint8 type\nfoxglove_msgs/Point2[] points\n"
        "foxglove_msgs/Color outline_color\nfoxglove_msgs/Color[] outline_colors\n"
        "foxglove_msgs/Color fill_color\nfloat64 thickness\n"
    ),
    "foxglove_msgs/msg/TextAnnotation": (
        "builtin_interfaces/Time timestamp\nfoxglove_msgs/Point2 position\nstring text\nfloat64 font_size\n"
        "foxglove_msgs/Color text_color\nfoxglove_msgs/Color background_color\n"
    ),
    "foxglove_msgs/msg/RawImage": (
        "builtin_interfaces/Time timestamp\nstring frame_id\nuint32 width\nuint32 height\n"
        "string encoding\nuint32 step\nuint8[] data\n"
    ),
    "foxglove_msgs/msg/CompressedImage": (
        "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n"
    ),
    "foxglove_msgs/msg/CompressedVideo": (
        "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n"
    ),
    "foxglove_msgs/msg/ImageAnnotations": (
        "foxglove_msgs/CircleAnnotation[] circles\nfoxglove_msgs/PointsAnnotation[] points\n"
        "foxglove_msgs/TextAnnotation[] texts\n"
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
