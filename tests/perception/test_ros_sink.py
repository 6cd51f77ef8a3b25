"""The sink `--ros`: topics of a run, what is encoded and what is not, and how it fails."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from child_processes import children
from zenoh_router import free_router, session, tokens, wait_until

from perception.frame import CameraState, Frame, NoFrameRecord, Prediction
from perception.labels import DIRECT
from perception.node import main
from perception.ros.settings import RosSettings
from perception.ros.types import typestore
from perception.sinks.registry import SINKS
from perception.sinks.ros import build_ros
from perception.sinks.rotation import RecordingPolicy
from perception.sinks.sink import Sink, SinkError
from perception.sources.source import SourceInfo

INFO = SourceInfo("cam", True, (64, 48), 25.0)
MASKS = "7/drivable/class_map/sensor_msgs::msg::dds_::Image_/*"


def prediction(frame_id: int = 0) -> Prediction:
    frame = Frame("cam", frame_id, 5, 40, np.full((48, 64, 3), 90, np.uint8), f"{frame_id:06d}")
    return Prediction(frame, np.full((12, 16), DIRECT, np.uint8), (1.0, 0.0, 0.0), "model")


def opened(router: str, info: SourceInfo = INFO, **settings: Any) -> Sink:
    sink = build_ros(RosSettings(enabled=True, domain=7, zenoh=router, **settings), RecordingPolicy(), info)
    sink.open(info)
    return sink


def test_masks_reach_a_subscriber_and_outages_have_none() -> None:
    router, masks, states = free_router(), [], []
    with session("router", listen=router), session("client", connect=router) as client:
        sink = opened(router)

        def write_until_there(seen: list[Any]) -> bool:
            sink.write(prediction())
            return bool(seen)

        for topic, seen in (("7/drivable/state/**", states), (MASKS, masks)):  # so every mask has its state
            client.declare_subscriber(topic, seen.append)
            wait_until(lambda seen=seen: write_until_there(seen))  # type: ignore[misc]
        before = len(states)
        sink.write(NoFrameRecord("cam", (64, 48), 40, None, CameraState.LOST, "gone"))
        sink.write(prediction(1))
        wait_until(lambda: len(states) >= before + 2)
        sink.close()

    assert len(masks) < len(states)
    mask = typestore().deserialize_cdr(masks[0].payload.to_bytes(), "sensor_msgs/msg/Image")
    assert (mask.width, mask.height, set(mask.data)) == (16, 12, {DIRECT})


def test_what_nobody_subscribes_to_is_not_encoded() -> None:
    router = free_router()
    with session("router", listen=router):
        sink = opened(router)
        lost = prediction()
        object.__setattr__(lost, "class_map", None)  # whoever encodes it fails

        sink.write(lost)
        sink.close()

    assert sink.issue is None


def test_named_topics_alone_are_offered() -> None:
    router = free_router()
    with session("router", listen=router), session("client", connect=router) as client:
        sink = opened(router, prefix="/front", topics=("state", "class_map"))
        wait_until(lambda: len(tokens(client)) == 3)
        found = {token[9] for token in tokens(client) if "MP" in token}
        sink.close()

    assert found == {"%front%state", "%front%class_map"}


def test_topic_that_there_is_not_is_one_line() -> None:
    with pytest.raises(SinkError) as raised:
        opened(free_router(), topics=("mask",))

    assert str(raised.value).startswith(
        "ros: there is no topic /drivable/mask; ros.topics takes class_map, confi"
    )


def test_process_that_was_killed_is_an_error_of_the_sink_which_can_be_opened_again() -> None:
    router = free_router()
    with session("router", listen=router), session("client", connect=router) as client:
        before = set(children())
        sink = opened(router)
        (process,) = set(children()) - before
        os.kill(process, signal.SIGKILL)

        def write_until_it_fails() -> bool:
            sink.write(prediction())
            return False

        with pytest.raises(SinkError, match=r"^ros: the process that publishes has ended$"):
            wait_until(write_until_it_fails)
        sink.close()
        again = opened(router)
        wait_until(lambda: any("MP" in token for token in tokens(client)))
        again.close()


def test_option_alone_turns_it_on() -> None:
    kind = SINKS["ros"]

    assert kind.option == "--ros"
    assert kind.target_of(RosSettings()) is None
    assert kind.target_of(RosSettings(enabled=True)) is not None


def test_recording_ends_with_one_line_where_no_router_answers(
    tmp_path: Path, make_classifier: Callable[..., Path], only_error_line: Callable[[str], str]
) -> None:
    router = free_router()
    arguments = ["synthetic", "--synthetic.wh", "64x48", "--max-frames", "2", "--model"]
    arguments += [str(make_classifier((64, 48))), "--jsonl", str(tmp_path / "r.jsonl")]

    status = main([*arguments, "--ros", "--ros.zenoh", router])

    assert status == 1
    assert f"ros: no router of rmw_zenoh answers at {router}" in only_error_line("drivable-node")


def test_run_publishes_and_ends_well(tmp_path: Path, make_classifier: Callable[..., Path]) -> None:
    router, masks = free_router(), []
    with session("router", listen=router), session("client", connect=router) as client:
        client.declare_subscriber(MASKS, masks.append)
        arguments = ["synthetic", "--synthetic.wh", "64x48", "--max-frames", "20", "--realtime", "--model"]
        arguments += [str(make_classifier((64, 48))), "--no-health"]
        status = main([*arguments, "--ros", "--ros.zenoh", router, "--ros.domain", "7"])

    assert status == 0
    assert len(masks) >= 10
