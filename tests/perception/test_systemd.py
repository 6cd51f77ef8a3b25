"""Notifications to systemd at a real socket: ready once masks are, alive while outputs are published."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from perception.cli.run import TICK_S
from perception.cli_config import parse
from perception.config import NodeConfig
from perception.frame import CameraState, EngineState
from perception.inference.engines.providers import cache_folder
from perception.system.time_limits import DRAIN_LIMIT_S
from perception.telemetry.counters import FrameCounters
from perception.telemetry.health import HealthReport, Phase, SinkHealth
from perception.telemetry.systemd import SystemdNotifier

STARTING = HealthReport(
    source_id="camera",
    model_id="rt_m-1",
    provider="cpu",
    engine_state=EngineState.OK,
    phase=Phase.RUNNING,
    camera_state=None,
    camera_reason=None,
    fresh_age_s=None,
    fresh_limit_s=0.1,
    record_age_s=0.0,
    record_limit_s=5.0,
)

FRESH = replace(STARTING, camera_state=CameraState.OK, fresh_age_s=0.03)
LOST = replace(FRESH, camera_state=CameraState.LOST, camera_reason="unplugged", fresh_age_s=3600.0)
STUCK = replace(FRESH, fresh_age_s=6.0, record_age_s=6.0)
WATCHDOG_S = 10.0


class Systemd:
    """The other end: a datagram socket, and the environment that names it."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1))
        self.socket.setblocking(False)
        self.environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": f"{WATCHDOG_S * 1e6:.0f}"}

    def heard(self) -> list[str]:
        """The lines that came since the last call."""
        lines: list[str] = []
        while True:
            try:
                lines += self.socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return lines


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    systemd = Systemd(str(tmp_path / "notify"))
    yield systemd
    systemd.socket.close()


@pytest.fixture
def pass_s(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A function that lets seconds pass."""
    now_ns = 1_000_000_000

    def let_pass(seconds: float) -> None:
        nonlocal now_ns
        now_ns += round(seconds * 1e9)

    monkeypatch.setattr("perception.telemetry.systemd.time.monotonic_ns", lambda: now_ns)
    return let_pass


PassS = Callable[[float], None]


def test_ready_is_sent_once_when_the_first_mask_is_fresh(systemd: Systemd) -> None:
    notifier = SystemdNotifier(environment=systemd.environment)

    notifier.tick(STARTING)
    notifier.tick(LOST)
    before = systemd.heard()
    for status in (FRESH, LOST, FRESH):
        notifier.tick(status)
    after = systemd.heard()

    assert "READY=1" not in before
    assert after.count("READY=1") == 1
    notifier.close()


def test_recording_is_ready_at_its_start(systemd: Systemd) -> None:
    notifier = SystemdNotifier(is_ready_at_start=True, environment=systemd.environment)

    notifier.tick(STARTING)

    assert systemd.heard()[0] == "READY=1"
    notifier.close()


def test_heartbeat_comes_at_half_the_time_of_the_watchdog(systemd: Systemd, pass_s: PassS) -> None:
    notifier = SystemdNotifier(environment=systemd.environment)
    beats = []

    for tick in range(60):
        notifier.tick(FRESH)
        beats += [tick * 0.5] * systemd.heard().count("WATCHDOG=1")
        pass_s(0.5)

    assert beats == [0.0, 5.0, 10.0, 15.0, 20.0, 25.0]
    notifier.close()


def test_node_that_reports_a_lost_camera_keeps_its_heartbeat(systemd: Systemd, pass_s: PassS) -> None:
    notifier = SystemdNotifier(environment=systemd.environment)
    notifier.tick(FRESH)
    systemd.heard()

    beats = 0
    for _ in range(60):
        pass_s(0.5)
        notifier.tick(LOST)
        beats += systemd.heard().count("WATCHDOG=1")

    assert beats == 6
    notifier.close()


@pytest.mark.parametrize("status", [STUCK, replace(LOST, dead_end="capture: no more restarts")])
def test_stuck_node_gets_no_heartbeat(status: HealthReport, systemd: Systemd, pass_s: PassS) -> None:
    notifier = SystemdNotifier(environment=systemd.environment)
    notifier.tick(FRESH)
    systemd.heard()

    pass_s(60)
    notifier.tick(status)

    heard = systemd.heard()
    assert "WATCHDOG=1" not in heard
    assert heard[0].startswith("STATUS=stuck: ")
    notifier.close()


def test_start_that_waits_for_its_camera_is_not_given_up(systemd: Systemd, pass_s: PassS) -> None:
    notifier = SystemdNotifier(environment=systemd.environment)
    extended_at_s = []

    for tick in range(121):
        notifier.tick(LOST)
        extended_at_s += [tick * 0.5] * systemd.heard().count("EXTEND_TIMEOUT_USEC=30000000")
        pass_s(0.5)

    assert extended_at_s[0] == 0
    assert extended_at_s[-1] == 60
    assert max(later - earlier for earlier, later in pairwise(extended_at_s)) < 30
    notifier.close()


@pytest.mark.parametrize("status", [STUCK, FRESH])
def test_start_gets_no_more_time_once_it_is_stuck_or_over(status: HealthReport, systemd: Systemd) -> None:
    notifier = SystemdNotifier(environment=systemd.environment)

    notifier.tick(status)

    assert not [line for line in systemd.heard() if line.startswith("EXTEND")]
    notifier.close()


def test_stopping_is_sent_once(systemd: Systemd) -> None:
    notifier = SystemdNotifier(environment=systemd.environment)
    notifier.tick(FRESH)

    for _ in range(3):
        notifier.tick(replace(FRESH, phase=Phase.STOPPING), is_stopping=True)

    assert systemd.heard().count("STOPPING=1") == 1
    notifier.close()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (FRESH, "masks are fresh, camera ok; 0 published; 0 dropped"),
        (
            replace(FRESH, camera_state=CameraState.DEGRADED, camera_reason="glare"),
            "masks are fresh, camera degraded (glare); 0 published; 0 dropped",
        ),
        (LOST, "no fresh mask: camera lost: unplugged; 0 published; 0 dropped"),
        (
            replace(FRESH, dead_end="no route to rtsp://ann:secret@camera/road"),
            "stuck: no route to rtsp://ann:***@camera/road; 0 published; 0 dropped",
        ),
        (
            replace(LOST, camera_reason="un\nplugged\n WATCHDOG=1"),
            "no fresh mask: camera lost: un plugged WATCHDOG=1; 0 published; 0 dropped",
        ),
        (
            replace(
                FRESH,
                frames=FrameCounters(9, 6, 0, {"newer frame": 2, "late": 1}, 0),
                engine_state=EngineState.FALLBACK,
                sinks={"jsonl": SinkHealth(issue="disk full"), "overlay": SinkHealth()},
            ),
            "masks are fresh, camera ok; 6 published; 3 dropped; engine fallback on cpu; jsonl failed",
        ),
    ],
)
def test_status_is_one_line_of_state(status: HealthReport, expected: str, systemd: Systemd) -> None:
    notifier = SystemdNotifier(environment=systemd.environment)

    notifier.tick(status)

    assert [line for line in systemd.heard() if line.startswith("STATUS=")] == [f"STATUS={expected}"]
    notifier.close()


def test_status_is_sent_when_the_state_changes_and_otherwise_every_five_seconds(
    systemd: Systemd, pass_s: PassS
) -> None:
    notifier = SystemdNotifier(environment=systemd.environment)
    sent_at_s = []

    for tick in range(20):
        notifier.tick(FRESH if tick < 3 else LOST)
        sent_at_s += [tick * 0.5] * sum(line.startswith("STATUS=") for line in systemd.heard())
        pass_s(0.5)

    assert sent_at_s == [0.0, 1.5, 6.5]
    notifier.close()


def test_abstract_socket_is_reached() -> None:
    systemd = Systemd(f"@drivable-test-{os.getpid()}")
    notifier = SystemdNotifier(environment=systemd.environment)

    notifier.tick(FRESH)

    assert "READY=1" in systemd.heard()
    notifier.close()
    systemd.socket.close()


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative"])
def test_without_a_socket_of_systemd_nothing_is_opened(address: str) -> None:
    descriptors = os.listdir("/proc/self/fd")

    notifier = SystemdNotifier(environment={"NOTIFY_SOCKET": address} if address else {})
    notifier.tick(FRESH)

    assert os.listdir("/proc/self/fd") == descriptors
    notifier.close()


@pytest.mark.parametrize(
    "watchdog",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "9000000", "WATCHDOG_PID": "1"},
    ],
)
def test_without_a_watchdog_for_this_process_there_is_no_heartbeat(
    watchdog: dict[str, str], systemd: Systemd
) -> None:
    notifier = SystemdNotifier(
        environment={"NOTIFY_SOCKET": systemd.environment["NOTIFY_SOCKET"], **watchdog}
    )

    notifier.tick(FRESH)

    heard = systemd.heard()
    assert "READY=1" in heard
    assert "WATCHDOG=1" not in heard
    notifier.close()


def test_message_that_nobody_reads_is_sent_later_and_blocks_nothing(systemd: Systemd, pass_s: PassS) -> None:
    notifier = SystemdNotifier(environment=systemd.environment)
    while True:  # until its queue is full
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
                other.setblocking(False)
                other.sendto(b"X=1", systemd.environment["NOTIFY_SOCKET"])
        except BlockingIOError:
            break

    notifier.tick(FRESH)
    before = systemd.heard()
    pass_s(0.5)
    notifier.tick(FRESH)

    assert set(before) == {"X=1"}
    assert {"READY=1", "WATCHDOG=1"} <= set(systemd.heard())
    notifier.close()


def test_socket_that_has_gone_is_no_error(systemd: Systemd) -> None:
    notifier = SystemdNotifier(environment=systemd.environment)
    Path(systemd.environment["NOTIFY_SOCKET"]).unlink()

    notifier.tick(FRESH)

    assert systemd.heard() == []
    notifier.close()
    notifier.close()


@pytest.fixture
def unit() -> dict[str, str]:
    """The settings of the shipped unit file; of those given twice the last."""
    lines = (Path(__file__).parents[2] / "configs/node/drivable-node.service").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line[:1].isalpha())


def test_unit_waits_for_messages_of_the_node_itself(unit: dict[str, str]) -> None:
    assert (unit["Type"], unit["NotifyAccess"]) == ("notify", "main")
    assert "AF_UNIX" in unit["RestrictAddressFamilies"].split()


def test_unit_lets_the_node_drain_before_it_is_killed(unit: dict[str, str]) -> None:
    assert float(unit["TimeoutStopSec"].removesuffix("s")) > DRAIN_LIMIT_S
    assert unit["KillMode"] == "mixed"


def test_unit_misses_no_heartbeat_between_two_ticks(unit: dict[str, str]) -> None:
    assert float(unit["WatchdogSec"].removesuffix("s")) / 2 > TICK_S


def test_unit_never_gives_up(unit: dict[str, str]) -> None:
    assert unit["StartLimitIntervalSec"] == "0"
    assert unit["Restart"] == "on-failure"


@pytest.mark.parametrize("name", ["node/service", "node/live"])
def test_shipped_settings_wait_for_a_camera_that_is_not_there_yet(name: str, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("source: rtsp://10.0.0.7/road\n")
    stubborn = tmp_path / "stubborn.yaml"
    stubborn.write_text("open_retries: 3\n")

    waits = parse(NodeConfig, "drivable-node", "", ["--config", name, "--config", str(own)])
    gives_up = parse(NodeConfig, "drivable-node", "", ["--config", name, "--config", str(stubborn)])

    assert (waits.open_retries, waits.source) == ("forever", "rtsp://10.0.0.7/road")
    assert gives_up.open_retries == 3


def test_unit_puts_no_address_on_the_command_line(unit: dict[str, str]) -> None:
    _, *arguments = unit["ExecStart"].split()

    assert arguments == ["--config", "node/service", "--config", "${CREDENTIALS_DIRECTORY}/node.yaml"]
    assert unit["LoadCredential"].startswith("node.yaml:")


@pytest.fixture
def for_gpu(unit: dict[str, str]) -> dict[str, str]:
    """The settings of the unit with the drop-in for GPUs."""
    lines = (Path(__file__).parents[2] / "configs/node/drivable-node-gpu.conf").read_text().splitlines()
    return unit | dict(line.split("=", 1) for line in lines if line[:1].isalpha())


def test_unit_for_a_gpu_keeps_tensorrts_engines_where_the_service_may_write(
    for_gpu: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, folder = for_gpu["Environment"].replace("%C", "/var/cache").split("=")
    monkeypatch.setenv(name, folder)

    assert cache_folder() == Path("/var/cache") / for_gpu["CacheDirectory"]


def test_unit_for_a_gpu_lets_cuda_make_code_and_gives_it_time_and_memory(
    unit: dict[str, str], for_gpu: dict[str, str]
) -> None:
    def number(text: str) -> int:
        return int("".join(letter for letter in text if letter.isdigit()))

    assert (unit["MemoryDenyWriteExecute"], for_gpu["MemoryDenyWriteExecute"]) == ("yes", "no")
    for name in ("MemoryMax", "TimeoutStartSec"):  # in G and in min, both of them
        assert number(for_gpu[name]) > number(unit[name])


def test_unit_and_its_drop_in_are_read_by_systemd_without_a_complaint(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    source = Path(__file__).parents[2] / "configs/node"
    unit = tmp_path / "drivable-node.service"
    text = (source / unit.name).read_text()
    unit.write_text(text.replace("/opt/drivable/bin/drivable-node", sys.executable))
    drop_in = tmp_path / "drivable-node.service.d" / "gpu.conf"
    drop_in.parent.mkdir()
    drop_in.write_text((source / "drivable-node-gpu.conf").read_text())

    complaints = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False
    ).stderr

    assert [line for line in complaints.splitlines() if str(tmp_path) in line or unit.name in line] == []
