"""Bags, read by packages of others: what is in them, at what times, and after a kill or on a full disk."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mcap.exceptions import EndOfFile
from mcap.reader import NonSeekingReader, make_reader
from mcap_ros2.decoder import DecoderFactory
from recording import LIVE, PERIOD_NS, RECORDED, predicted, write
from roads import calibrated_source, predicted_road
from rosbags.highlevel import AnyReader

from perception.frame import CameraState, Certainty, NoFrameRecord
from perception.node import main
from perception.provenance.identity import RunIdentity
from perception.provenance.trace import Tracer
from perception.provenance.utc import UtcClock
from perception.ros.types import TOPICS_IN_METRES
from perception.sinks import mcap_file
from perception.sinks.mcap import McapSettings, McapSink, build_mcap
from perception.sinks.rotation import RecordingPolicy, Rotate
from perception.sinks.sink import SinkError
from perception.sources.source import SourceInfo

UTC_NS = 1_700_000_000_000_000_000
CLOCK = UtcClock(lambda: 50_000_000, lambda: 50_000_000 + UTC_NS)
RUN = RunIdentity(model_sha256="0" * 64, settings_sha256="1" * 64)
EACH = ("image/compressed", "outlines", "state", "record")
MASKS = ("class_map", "confidence")


def opened(
    file: Path, info: SourceInfo = RECORDED, policy: RecordingPolicy | None = None, **settings: Any
) -> McapSink:
    sink = McapSink(McapSettings(mcap=str(file), **settings), policy)
    sink.open(info)
    return sink


def traced(frame_id: int, *, is_taken_now: bool) -> Any:
    """Captured at its time after 5 ms, published 30 ms later."""
    captured_ns = 5_000_000 + frame_id * PERIOD_NS
    made = predicted(frame_id)
    return replace(
        made,
        frame=replace(made.frame, captured_ns=captured_ns),
        confidence=np.full((48, 80), 200, np.uint8),
        trace=Tracer(RUN, is_taken_now, CLOCK).trace(captured_ns, captured_ns + 30_000_000),
    )


def messages(file: Path) -> Iterator[tuple[str, int, Any]]:
    """Topic without its prefix, log time and decoded message, by the package `mcap-ros2-support`."""
    with file.open("rb") as stream:
        for _, channel, message, decoded in make_reader(
            stream, decoder_factories=[DecoderFactory()]
        ).iter_decoded_messages():
            yield channel.topic.removeprefix("/drivable/"), message.log_time, decoded


def counts(file: Path) -> Counter[str]:
    return Counter(topic for topic, _, _ in messages(file))


def counts_of_cut(file: Path) -> Counter[str]:
    """Of what can be read of a file without its end."""
    found: Counter[str] = Counter()
    with file.open("rb") as stream, suppress(EndOfFile):
        for _, channel, _ in NonSeekingReader(stream).iter_messages(log_time_order=False):
            found[channel.topic.removeprefix("/drivable/")] += 1
    return found


def frame_ids(file: Path) -> list[int]:
    return [json.loads(message.data)["frame_id"] for topic, _, message in messages(file) if topic == "record"]


def stamp_ns(message: Any) -> int:
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


def test_run_writes_as_many_messages_as_records_for_every_reader(
    tmp_path: Path, make_classifier: Callable[..., Path]
) -> None:
    bag, lines = tmp_path / "run.mcap", tmp_path / "run.jsonl"
    arguments = [
        "synthetic",
        "--synthetic.wh",
        "64x48",
        "--max-frames",
        "12",
        "--no-health",
        "--mcap-overlay",
    ]

    status = main(
        [*arguments, "--model", str(make_classifier((64, 48))), "--mcap", str(bag), "--jsonl", str(lines)]
    )

    records = lines.read_text().splitlines()
    topics = (*EACH, *MASKS, "overlay/compressed")
    assert (status, len(records)) == (0, 12)
    assert counts(bag) == Counter({**dict.fromkeys(topics, 12), "labels": 1})
    assert [message.data for topic, _, message in messages(bag) if topic == "record"] == records
    with AnyReader([bag]) as reader:
        read = Counter(
            type(reader.deserialize(data, connection.msgtype)).__name__
            for connection, _, data in reader.messages()
        )
    assert read.total() == 12 * len(topics) + 1
    with bag.open("rb") as stream:
        reader_of_all = make_reader(stream)
        (metadata,) = [each.metadata for each in reader_of_all.iter_metadata()]
        assert reader_of_all.get_header().profile == "ros2"
    run = json.loads(records[0])["run"]
    assert metadata["run_id"] == run["run_id"]
    assert metadata["settings_sha256"].startswith(run["settings_sha256"])


def test_live_messages_are_stamped_with_capture_and_logged_when_published(tmp_path: Path) -> None:
    sink = opened(tmp_path / "a.mcap", LIVE, mcap_frame_id="front")
    for frame_id in range(3):
        sink.write(traced(frame_id, is_taken_now=True))
    sink.close()

    found = [
        (log_ns, message) for topic, log_ns, message in messages(tmp_path / "a.mcap") if topic == "state"
    ]
    captured_ns = [UTC_NS + 5_000_000 + frame_id * PERIOD_NS for frame_id in range(3)]
    assert [stamp_ns(message) for _, message in found] == captured_ns
    assert [log_ns for log_ns, _ in found] == [each + 30_000_000 for each in captured_ns]
    assert found[0][1].header.frame_id == "front"


def test_recording_is_played_at_its_own_pace_whenever_it_was_read(tmp_path: Path) -> None:
    sink = opened(tmp_path / "a.mcap")
    for frame_id, read_as in ((0, 0), (1, 100), (50, 101)):
        made = traced(read_as, is_taken_now=False)
        sink.write(replace(made, frame=replace(made.frame, time_ns=frame_id * PERIOD_NS)))
    sink.close()

    found = [
        (log_ns, message) for topic, log_ns, message in messages(tmp_path / "a.mcap") if topic == "state"
    ]
    assert [log_ns - found[0][0] for log_ns, _ in found] == [0, PERIOD_NS, 50 * PERIOD_NS]
    assert [stamp_ns(message) for _, message in found] == [log_ns for log_ns, _ in found]


def test_outage_has_its_state_and_no_mask(tmp_path: Path) -> None:
    sink = opened(tmp_path / "a.mcap", LIVE)
    sink.write(NoFrameRecord("cam", None, 40, None, CameraState.LOST, "gone"))
    sink.close()

    assert counts(tmp_path / "a.mcap") == {"outlines": 1, "state": 1, "record": 1, "labels": 1}


def test_picture_can_be_left_out_and_has_the_quality_that_is_asked_for(tmp_path: Path) -> None:
    for name, settings in {"low": {"mcap_quality": 10}, "high": {"mcap_quality": 95}}.items():
        sink = opened(tmp_path / f"{name}.mcap", **settings)
        sink.write(predicted(0))
        sink.close()
    sink = opened(tmp_path / "none.mcap", mcap_picture=False, mcap_overlay=True)
    sink.write(predicted(0))
    sink.close()

    low, high = (
        next(message for topic, _, message in messages(tmp_path / f"{name}.mcap") if topic == EACH[0])
        for name in ("low", "high")
    )
    picture = cv2.imdecode(np.frombuffer(high.data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert (high.format, picture.shape) == ("jpeg", (96, 160, 3))
    assert len(low.data) < len(high.data) / 2
    assert {"image/compressed", "overlay/compressed"} & set(counts(tmp_path / "none.mcap")) == {
        "overlay/compressed"
    }


def test_road_in_metres_is_in_the_bag_of_a_calibrated_camera_and_the_cloud_where_it_is_asked_for(
    tmp_path: Path,
) -> None:
    calibrated = calibrated_source(RECORDED)
    for name, info, settings in (
        ("without", RECORDED, {}),
        ("with", calibrated, {}),
        ("cloud", calibrated, {"mcap_points": True}),
    ):
        sink = opened(tmp_path / f"{name}.mcap", info, **settings)
        sink.write(predicted_road())
        sink.write(predicted_road(metres=None))
        sink.close()

    def in_metres(name: str) -> dict[str, int]:
        found = counts(tmp_path / f"{name}.mcap")
        return {topic: found[topic] for topic in TOPICS_IN_METRES if found[topic]}

    small = dict.fromkeys(("occupancy_grid", "scan"), 1)
    assert in_metres("without") == {}
    assert in_metres("with") == small
    assert in_metres("cloud") == small | {"points": 1}


def test_segments_are_readable_alone_and_hold_every_frame_once(tmp_path: Path) -> None:
    sink = opened(tmp_path / "a.mcap", policy=RecordingPolicy(Rotate(age_s=1.0)))
    for frame_id in range(60):
        sink.write(predicted(frame_id))
    sink.close()

    files = sorted(tmp_path.glob("*.mcap"))
    assert [file.name for file in files] == ["a-000001.mcap", "a-000002.mcap", "a-000003.mcap"]
    assert [counts(file)["labels"] for file in files] == [1, 1, 1]
    assert [number for file in files for number in frame_ids(file)] == list(range(60))


def test_bag_that_goes_on_is_a_new_file_and_an_earlier_one_is_kept(tmp_path: Path) -> None:
    for policy in (RecordingPolicy(), RecordingPolicy(append=True), RecordingPolicy()):
        sink = opened(tmp_path / "a.mcap", policy=policy)
        sink.write(predicted(0))
        sink.close()

    assert {file.name for file in tmp_path.glob("*.mcap")} == {"a.mcap", "a-000001.mcap", "a.1.mcap"}


def test_chunks_are_small_and_none_stays_open_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, file = opened(tmp_path / "a.mcap"), tmp_path / "a.mcap"
    for frame_id in range(30):
        sink.write(predicted(frame_id))
    on_disk = counts_of_cut(file)["record"]
    monkeypatch.setattr(mcap_file, "CHUNK_S", 0.0)
    sink.write(predicted(30))
    after_half_a_second = counts_of_cut(file)["record"]
    sink.close()

    assert 0 < on_disk < 30
    assert after_half_a_second == 31
    with file.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None
    assert len(summary.chunk_indexes) > 2
    assert max(chunk.uncompressed_size for chunk in summary.chunk_indexes) <= 256 * 1024


def test_message_larger_than_a_chunk_has_one_of_its_own(tmp_path: Path) -> None:
    sink = opened(tmp_path / "a.mcap")
    for frame_id in range(2):
        sink.write(predicted(frame_id, (800, 600)))
    sink.close()

    assert frame_ids(tmp_path / "a.mcap") == [0, 1]
    assert counts(tmp_path / "a.mcap")["class_map"] == 2


@pytest.mark.slow
def test_kill_loses_at_most_the_open_chunk(tmp_path: Path) -> None:
    file = tmp_path / "a.mcap"
    script = """
        import os, signal, sys
        from recording import RECORDED, predicted
        from perception.sinks.mcap import McapSettings, McapSink
        sink = McapSink(McapSettings(mcap=sys.argv[1]))
        sink.open(RECORDED)
        for frame_id in range(60):
            sink.write(predicted(frame_id))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(file)], env=os.environ | {"PYTHONPATH": path}
    )

    assert ended.returncode == -signal.SIGKILL
    whole = opened(tmp_path / "whole.mcap")
    for frame_id in range(60):
        whole.write(predicted(frame_id))
    whole.close()
    a_frame = (tmp_path / "whole.mcap").stat().st_size / 60
    assert counts_of_cut(file)["record"] >= 60 - 256 * 1024 / a_frame


@pytest.mark.parametrize("room_kb", [40, 300, 700])
def test_full_disk_leaves_a_whole_file_with_its_index(tmp_path: Path, room_kb: int) -> None:
    """The limit is that of a process on the size of its files, which stops a write as a full disk does."""
    sink, before = opened(tmp_path / "a.mcap"), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room_kb * 1000, before[1]))
    try:
        with pytest.raises(SinkError, match=r"^[^\n]*a\.mcap: cannot write a bag: File too large$"):
            write(sink, range(200))
        sink.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    if room_kb == 40:  # less than the first chunk
        assert counts(tmp_path / "a.mcap") == {}
        return
    found = frame_ids(tmp_path / "a.mcap")
    assert found == list(range(len(found)))
    assert 0.5 * room_kb * 1000 < (tmp_path / "a.mcap").stat().st_size <= room_kb * 1000


def test_error_of_the_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = opened(tmp_path / "a.mcap")

    def refuse(descriptor: int, data: bytes) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(SinkError, match=r"^[^\n]*a\.mcap: cannot write a bag: Input/output error$"):
        sink.write(predicted(0))


def test_layout_for_foxglove_names_what_is_in_a_bag(tmp_path: Path) -> None:
    sink = opened(tmp_path / "a.mcap", calibrated_source(RECORDED), mcap_points=True)
    certain = {"certainty": Certainty(0.9, 0.8, 0.5), "confidence": np.ones((6, 10), np.uint8)}
    sink.write(predicted_road(**certain))
    sink.close()
    found = list(messages(tmp_path / "a.mcap"))
    (state,) = [message for topic, _, message in found if topic == "state"]
    keys = {(index, pair.key) for index, status in enumerate(state.status) for pair in status.values}

    text = (Path(__file__).parents[2] / "configs" / "foxglove" / "drivable.json").read_text()
    layout = json.loads(text)
    panels = set(layout["configById"])

    assert set(re.findall(r"/drivable/([a-z_/]+)", text)) <= {topic for topic, _, _ in found}
    plotted = re.findall(r'status\[(\d)\]\.values\[:\]\{key==\\"(\w+)\\"\}', text)
    assert {(int(index), key) for index, key in plotted} <= keys
    assert len(plotted) == 5
    assert set(re.findall(r'"(\w+!\w+)"', json.dumps(layout["layout"]))) == panels


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"mcap_quality": 0}, "mcap_quality is 0; it must be from 1 to 100"),
        ({"mcap_prefix": "front"}, "mcap_prefix is 'front'; a ROS name is expected"),
    ],
)
def test_settings_that_no_bag_can_be_made_from(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        McapSettings(**settings)


def test_name_without_the_suffix_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"^run\.bag: a bag's name ends in \.mcap$"):
        build_mcap(McapSettings(mcap="run.bag"), RecordingPolicy(), LIVE)


def test_missing_package_is_one_line_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(
        SinkError, match=r"^a\.mcap: a bag needs the package mcap; pip install 'drivable\[mcap\]'"
    ):
        build_mcap(McapSettings(mcap="a.mcap"), RecordingPolicy(), LIVE)
