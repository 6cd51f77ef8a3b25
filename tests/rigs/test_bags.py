"""Bags, decoded by real rclpy: what the rig of bags does with whole runs and more readers."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.extend(str(Path(__file__).parent / folder) for folder in ("", "bags", "ros"))

from readers import rclpy
from recording import RECORDED, predicted

from perception.sinks.mcap import McapSettings, McapSink

pytestmark = pytest.mark.slow


def test_rclpy_decodes_every_message_of_an_installed_type(tmp_path: Path) -> None:
    bag = tmp_path / "a.mcap"
    sink = McapSink(McapSettings(mcap=str(bag), mcap_overlay=True))
    sink.open(RECORDED)
    for frame_id in range(20):
        sink.write(replace(predicted(frame_id), confidence=np.full((48, 80), 200, np.uint8)))
    sink.close()

    decoded, differing = rclpy(bag)

    topics = ("class_map", "confidence", "image/compressed", "overlay/compressed", "state", "record")
    assert decoded == {f"/drivable/{topic}": 20 for topic in topics}
    assert differing == 0
