"""A robot's camera, the node and a subscriber, in processes of their own."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from lines import Line
from ros_nodes import CALIBRATION, LIMIT_S, ROS, client, node, utc_ns, wait_until
from ros_nodes import records as records_of
from zenoh_router import free_router, session

CAMERA: Final = "/camera/image_raw"
MASKS: Final = "/drivable/class_map"
RATE_HZ: Final = 25.0
ROUNDS: Final = 10
ROUND_S: Final = 3.0


def _camera(domain: int, seconds: float) -> Sequence[str]:
    return ["publish", str(seconds), CAMERA, "--rate", str(RATE_HZ), "--width", "640", "--height", "360"]


def _masks(domain: int, seconds: float, qos: str, *options: str) -> tuple[int, int, int, float]:
    """Masks that were published while a subscriber listened, those it got, wrong stamps, and age in ms."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        records = folder / "r.jsonl"
        stack.enter_context(client(domain, *_camera(domain, seconds + 4 * LIMIT_S)))
        stack.enter_context(
            node(
                *(domain, folder / "log", f"ros:{CAMERA}", "--model", "rt_s-int8", "--ros", *options),
                *("--jsonl", str(records), "--health.enabled", "false"),
            )
        )
        listener = stack.enter_context(
            client(domain, "listen", str(seconds + 2 * LIMIT_S), f"{MASKS},sensor_msgs/msg/Image,{qos}")
        )
        listener.wait_for(lambda one: bool(one.messages))
        first_ns = listener.messages[0]["stamp_ns"]
        time.sleep(seconds)
        last_ns = time.time_ns()
        time.sleep(1.0)
        got = {message["stamp_ns"]: message for message in listener.messages}
        made = [record for record in records_of(records) if record["mask"] is not None]
    stamps = [utc_ns(record["captured_utc"]) for record in made]
    among = [stamp for stamp in stamps if first_ns // 1000 <= stamp // 1000 <= last_ns // 1000]
    got_us = {stamp // 1000 for stamp in got}
    arrived = [stamp for stamp in among if stamp // 1000 in got_us]
    wrong = len(got_us - {stamp // 1000 for stamp in stamps})
    ages_ms = sorted((message["at_ns"] - stamp) / 1e6 for stamp, message in got.items())
    return len(among), len(arrived), wrong, ages_ms[round(0.9 * (len(ages_ms) - 1))]


def _masks_line(name: str, domain: int, seconds: float, qos: str, *options: str) -> Line:
    made, arrived, wrong, age_ms = _masks(domain, seconds, qos, *options)
    return Line.of_checks(
        name,
        f">= 99 % of masks of 640x360 at {RATE_HZ:g} Hz for {seconds:g} s; stamps are capture times",
        f"{arrived} of {made} masks, {wrong} with another stamp; age at the subscriber p90 {age_ms:.1f} ms",
        {
            "masks": arrived >= 0.99 * made,
            "rate": made >= 0.95 * RATE_HZ * seconds,
            "stamps": wrong == 0,
        },
    )


def best_effort() -> Line:
    """As sensors publish."""
    return _masks_line("a subscriber by rclpy and Fast DDS, best effort", 61, 60.0, "sensor")


def reliable() -> Line:
    """Publisher and subscriber are reliable."""
    return _masks_line("the same, reliable", 62, 20.0, "reliable", "--ros.reliable")


def killed_subscriber() -> Line:
    """Rounds with a subscriber that is killed, stopped, and with none."""
    domain = 63
    p90_ms: dict[str, list[float]] = {"none": [], "killed": [], "stopped": []}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        records = folder / "r.jsonl"
        stack.enter_context(client(domain, *_camera(domain, 600.0)))
        running = stack.enter_context(
            node(
                *(domain, folder / "log", f"ros:{CAMERA}", "--model", "rt_s-int8", "--ros"),
                *("--jsonl", str(records), "--health.enabled", "false"),
            )
        )
        until_s = time.monotonic() + LIMIT_S
        while not (records.exists() and len(records_of(records)) > RATE_HZ) and time.monotonic() < until_s:
            time.sleep(0.1)
        for _ in range(ROUNDS):
            p90_ms["none"].append(_p90_ms(records))
            for end, number in (("killed", signal.SIGKILL), ("stopped", signal.SIGSTOP)):
                with client(domain, "listen", "60", f"{MASKS},sensor_msgs/msg/Image,sensor") as listener:
                    listener.wait_for(lambda one: bool(one.messages))
                    os.kill(listener.pid, number)
                    p90_ms[end].append(_p90_ms(records))
        alive = running.poll() is None
    none_ms, killed_ms, stopped_ms = (statistics.median(p90_ms[end]) for end in ("none", "killed", "stopped"))
    limit_ms = max(1.1 * none_ms, none_ms + 2.0)
    return Line.of_checks(
        "subscriber killed or stopped",
        f"p90 age of the path <= 1.10 x or + 2 ms, medians of {ROUNDS} rounds",
        f"p90 {none_ms:.1f} ms without one, {killed_ms:.1f} ms after a kill, {stopped_ms:.1f} ms at a stop",
        {"killed": killed_ms <= limit_ms, "stopped": stopped_ms <= limit_ms, "node lives": alive},
    )


def _p90_ms(records: Path) -> float:
    """Age at publication over the next seconds."""
    before = len(records_of(records))
    time.sleep(ROUND_S)
    ages_ms = sorted(
        record["age_ms"] for record in records_of(records)[before:] if record["mask"] is not None
    )
    return float(ages_ms[round(0.9 * (len(ages_ms) - 1))]) if ages_ms else float("inf")


def camera_returns() -> Line:
    """The publisher of the camera dies, and another comes."""
    domain = 64
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        records = folder / "r.jsonl"
        first = stack.enter_context(client(domain, *_camera(domain, 600.0)))
        stack.enter_context(
            node(
                *(domain, folder / "log", f"ros:{CAMERA}", "--model", "rt_s-int8"),
                *("--jsonl", str(records), "--health.enabled", "false"),
            )
        )
        _wait_for_state(records, "ok")
        time.sleep(ROUND_S)  # the rate has to be known
        first.kill()
        stale_s = _wait_for_state(records, "stale")
        lost_s = _wait_for_state(records, "lost")
        stack.enter_context(client(domain, *_camera(domain, 600.0)))
        back_s = _wait_for_state(records, "ok")
    return Line.of_checks(
        "the camera's publisher is killed, and another one starts",
        "stale within 0.5 s, then lost; ok again within 6 s",
        f"stale after {stale_s:.2f} s, lost {lost_s:.2f} s later, ok {back_s:.2f} s after the other began",
        {"stale": stale_s <= 0.5, "ok": back_s <= 6.0},
    )


def _wait_for_state(records: Path, state: str) -> float:
    before_s = time.monotonic()
    while time.monotonic() - before_s < LIMIT_S:
        lines = records_of(records) if records.exists() else []
        if lines and lines[-1]["camera"]["state"] == state:
            return time.monotonic() - before_s
        time.sleep(0.02)
    raise TimeoutError(f"not {state} within {LIMIT_S:g} s")


def listed_over_zenoh() -> Line:
    """An independent tool looks at what the node announces to a router."""
    router = free_router()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        log = Path(name, "log")
        stack.enter_context(session("router", listen=router))
        options = ("--realtime", "--model", "rt_s-int8", "--ros", "--ros.zenoh", router)
        stack.enter_context(node(65, log, "synthetic", "--duration", "600", *options))
        wait_until(lambda: "ros: Zenoh through" in log.read_text())
        command = [str(ROS / "bin" / "zenoh-ros2"), "--router", router.removeprefix("tcp/"), "--no-daemon"]
        command += ["--timeout", "3", "--domain-id", "65", "topic", "list", "-t", "-v"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
    found = [line.removeprefix(" * ") for line in said.splitlines() if line.startswith(" * ")]
    return Line.of_checks(
        "none, over Zenoh: zenoh-ros2-sdk lists the topics",
        "every topic with its type and one publisher",
        f"{len(found)} topics, such as {found[0] if found else 'none'}",
        {
            "masks": f"{MASKS} [sensor_msgs/msg/Image] 1 publisher" in found,
            "labels": "/drivable/labels [vision_msgs/msg/LabelInfo] 1 publisher" in found,
        },
    )


def nav2_layer() -> Line:
    """What Nav2's semantic segmentation layer subscribes to, by a subscriber for each topic."""
    domain, seconds = 66, 30.0
    topics = {"class_map": "Image", "confidence": "Image", "points": "PointCloud2"}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        records, calibration = folder / "r.jsonl", folder / "camera.yaml"
        calibration.write_text(CALIBRATION)
        stack.enter_context(
            node(
                *(
                    domain,
                    folder / "log",
                    "synthetic:highway",
                    "--realtime",
                    "--loop",
                    "--model",
                    "rt_s-int8",
                ),
                *("--synthetic.wh", "640x360", "--synthetic.rate", str(RATE_HZ), "--health.enabled", "false"),
                *("--ros", "--calibration", str(calibration), "--jsonl", str(records)),
            )
        )
        listeners = [
            stack.enter_context(
                client(domain, "listen", "600", f"/drivable/{topic},sensor_msgs/msg/{kind},sensor")
            )
            for topic, kind in topics.items()
        ]
        for listener in listeners:
            listener.wait_for(lambda one: bool(one.messages))
        begin_ns = time.time_ns()
        time.sleep(seconds)
        end_ns = time.time_ns()
        time.sleep(1.0)
        by_stamp = [{message["stamp_ns"]: message for message in one.messages} for one in listeners]
    within = [{stamp for stamp in one if begin_ns <= stamp <= end_ns - 10**9} for one in by_stamp]
    together = set.intersection(*within)
    sizes = {(one[stamp]["width"], one[stamp]["height"]) for one in by_stamp for stamp in together}
    points = statistics.median([by_stamp[2][stamp]["points"] for stamp in together] or [0])
    return Line.of_checks(
        "what Nav2's semantic segmentation layer takes, each topic by a process of its own, best effort",
        f"mask, confidence and cloud of one size; >= 95 % of clouds have both of its stamp ({RATE_HZ:g} Hz)",
        f"{len(together)} of {len(within[2])} clouds; sizes {sorted(sizes)}; {points:.0f} points",
        {
            "together": len(together) >= 0.95 * len(within[2]) > 0,
            "rate": len(within[2]) >= 0.8 * RATE_HZ * (seconds - 1.0),
            "size": len(sizes) == 1,
            "points": points > 0,
        },
    )


SCENARIOS: Final[Mapping[str, Callable[[], Line]]] = {
    "best_effort": best_effort,
    "reliable": reliable,
    "killed_subscriber": killed_subscriber,
    "camera_returns": camera_returns,
    "listed_over_zenoh": listed_over_zenoh,
    "nav2_layer": nav2_layer,
}
