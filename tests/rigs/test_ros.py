"""ROS 2 with real rclpy and Fast DDS: a few seconds of what the rig does for a minute."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent / "ros"))

from ros_nodes import CALIBRATION, client, node, records, utc_ns, wait_until

pytestmark = pytest.mark.slow

CAMERA = "/camera/image_raw"
SMALL = ("--rate", "25", "--width", "320", "--height", "180")
TOPICS = (
    "/drivable/class_map,sensor_msgs/msg/Image",
    "/drivable/confidence,sensor_msgs/msg/Image",
    "/drivable/image/compressed,sensor_msgs/msg/CompressedImage",
    "/drivable/state,diagnostic_msgs/msg/DiagnosticArray",
    "/drivable/record,std_msgs/msg/String",
)


@pytest.mark.parametrize("qos", ["sensor", "reliable"])
def test_picture_by_rclpy_drives_the_node_and_rclpy_gets_what_it_publishes(tmp_path: Path, qos: str) -> None:
    domain = random.randrange(1, 100)
    line, log = tmp_path / "r.jsonl", tmp_path / "log"
    options = ["--model", "rt_s-int8", "--jsonl", str(line), "--no-health", "--ros"]
    options += ["--ros.reliable"] if qos == "reliable" else []
    with (
        client(domain, "publish", "60", CAMERA, *SMALL),
        node(domain, log, f"ros:{CAMERA}", *options) as process,
        client(domain, "listen", "60", *(f"{topic},{qos}" for topic in TOPICS)) as listener,
    ):
        listener.wait_for(lambda one: len(one.messages) >= 250)
    made = {utc_ns(record["captured_utc"]): record for record in records(line)}
    by_topic: dict[str, list[dict[str, object]]] = {}
    for message in listener.messages:
        by_topic.setdefault(str(message["topic"]), []).append(message)

    assert process.returncode == 0, log.read_text()
    assert sorted(by_topic) == sorted(topic.partition(",")[0] for topic in TOPICS)
    masks = by_topic["/drivable/class_map"]
    assert {(mask["encoding"], mask["width"], mask["height"]) for mask in masks} == {("mono8", 320, 180)}
    stamps = [int(str(mask["stamp_ns"])) // 1000 * 1000 for mask in masks]
    assert set(stamps) <= set(made)
    between = [stamp for stamp in made if stamps[0] <= stamp <= stamps[-1]]
    assert len(stamps) >= 0.99 * len(between)
    published = by_topic["/drivable/record"][0]["text"]
    assert published in line.read_text().splitlines()


IN_METRES = (
    "/drivable/points,sensor_msgs/msg/PointCloud2",
    "/drivable/occupancy_grid,nav_msgs/msg/OccupancyGrid",
    "/drivable/scan,sensor_msgs/msg/LaserScan",
    "/drivable/camera_info,sensor_msgs/msg/CameraInfo",
)


def test_mask_confidence_and_cloud_are_what_the_semantic_layer_of_nav2_wants(tmp_path: Path) -> None:
    domain = random.randrange(1, 100)
    file, log = tmp_path / "camera.yaml", tmp_path / "log"
    file.write_text(CALIBRATION)
    options = ["--model", "rt_s-int8", "--realtime", "--loop", "--synthetic.wh", "640x360", "--no-health"]
    options += ["--ros", "--calibration", str(file)]
    topics = (*TOPICS[:2], *IN_METRES)
    with (
        node(domain, log, "synthetic:highway", *options) as process,
        client(domain, "listen", "60", *(f"{topic},sensor" for topic in topics)) as listener,
    ):
        listener.wait_for(lambda one: sum(it["topic"].endswith("points") for it in one.messages) >= 8)
    assert process.returncode == 0, log.read_text()
    by_topic: dict[str, dict[int, dict[str, Any]]] = {}
    for message in listener.messages:
        by_topic.setdefault(message["topic"].removeprefix("/drivable/"), {})[message["stamp_ns"]] = message
    three = [by_topic[name] for name in ("class_map", "confidence", "points")]
    together = set.intersection(*(set(one) for one in three))

    assert sorted(by_topic) == sorted(topic.partition(",")[0].removeprefix("/drivable/") for topic in topics)
    assert len(together) >= 0.9 * min(len(one) for one in three)
    for stamp in together:
        sizes = {(one[stamp]["width"], one[stamp]["height"]) for one in three}
        assert sizes == {(640, 360)}
    cloud = by_topic["points"][max(together)]
    assert cloud["fields"] == [["x", 0, 7], ["y", 4, 7], ["z", 8, 7]]
    assert 1000 < max(one["points"] for one in by_topic["points"].values()) < 0.6 * 640 * 360
    frames = {name: {one["frame_id"] for one in seen.values()} for name, seen in by_topic.items()}
    on_the_ground = ("points", "occupancy_grid", "scan")
    assert all(
        found == {"base_link" if name in on_the_ground else "camera"} for name, found in frames.items()
    )
    assert max(one["free"] for one in by_topic["occupancy_grid"].values()) > 100
    assert {len(one["ranges"]) for one in by_topic["scan"].values()} != {0}


def test_node_goes_on_where_its_subscriber_is_killed_and_leaves_no_process(tmp_path: Path) -> None:
    domain = random.randrange(1, 100)
    line, log = tmp_path / "r.jsonl", tmp_path / "log"
    options = ["--model", "rt_s-int8", "--jsonl", str(line), "--no-health", "--ros"]
    with (
        client(domain, "publish", "60", CAMERA, *SMALL),
        node(domain, log, f"ros:{CAMERA}", *options) as process,
    ):
        with client(domain, "listen", "60", f"{TOPICS[0]},sensor") as listener:
            listener.wait_for(lambda one: len(one.messages) >= 5)
        before = len(records(line))
        wait_until(lambda: len(records(line)) >= before + 50)

    assert process.returncode == 0, log.read_text()
    assert "sink ros" in log.read_text()
    assert "restarts" not in log.read_text()


def test_topic_is_waited_for_and_lost_and_found(tmp_path: Path) -> None:
    domain = random.randrange(1, 100)
    line, log = tmp_path / "r.jsonl", tmp_path / "log"
    options = ["--model", "rt_s-int8", "--jsonl", str(line), "--no-health"]
    options += ["--open-retries", "forever", "--open-timeout", "2", "--read-timeout", "2"]

    def state() -> str:
        return records(line)[-1]["camera"]["state"] if records(line) else ""

    with node(domain, log, f"ros:{CAMERA}", *options) as process:
        wait_until(lambda: "nobody publishes this topic" in line.read_text() if line.exists() else False)
        assert state() == "lost"
        for _ in range(2):
            with client(domain, "publish", "60", CAMERA, *SMALL):
                wait_until(lambda: state() == "ok")
            wait_until(lambda: state() == "lost")

    assert process.returncode == 0, log.read_text()
