"""State, records and snapshots by MQTT, to a broker that may refuse, stop, and come back."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from threading import Event
from threading import enumerate as threads
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
import trustme
from mosquitto import Broker, until
from recording import LIVE, PERIOD_NS, RECORDED, WH, predicted
from roads import predicted_road

from perception.frame import CameraState, NoFrameRecord, OutputItem
from perception.node import main
from perception.sinks import RecordingPolicy, SinkError
from perception.sinks.mqtt import MQTT_SINK, MqttSettings, MqttSink, Pace
from perception.sinks.mqtt_connection import BrokerAddress, BrokerConnection
from perception.sinks.sink import Sink
from perception.sources.network.tls import TlsSettings

PASSWORD = "hunter2"
LOST = NoFrameRecord("cam", WH, 0, None, CameraState.LOST, "no frame for 1.0 s")
SCHEMA = json.loads((files("perception.sinks") / "record.schema.json").read_text())
SYNTHETIC = ("synthetic", "--model", "rt_s-int8", "--synthetic.wh", "[320, 180]")


@pytest.mark.parametrize(
    ("url", "origin", "topic"),
    [
        ("mqtt://broker/car", ("mqtt", "broker", 1883), "car"),
        ("mqtts://broker/fleet/7/", ("mqtts", "broker", 8883), "fleet/7"),
        ("mqtt://ann:a%40b@[::1]:1884/car%3F", ("mqtt", "::1", 1884), "car?"),
    ],
)
def test_address_names_a_broker_and_a_topic(url: str, origin: tuple[str, str, int], topic: str) -> None:
    address = BrokerAddress.of(url)

    assert (address.server.origin, address.topic) == (origin, topic)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mqtt://broker", "no topic"),
        ("mqtt://broker/", "no topic"),
        (f"mqtt://ann:{PASSWORD}@broker/car/#", "neither + nor #"),
        (f"mqtt://ann:{PASSWORD}@broker/+/car", "neither + nor #"),
        (f"mqtt://ann:{PASSWORD}@broker/car?qos=1", "%3F"),
        (f"mqtt://ann:{PASSWORD}@broker:port/car", "port"),
        (f"mqtt://ann:{PASSWORD}/x@broker/car", "%2F"),
        (f"http://ann:{PASSWORD}@broker/car", "mqtt://"),
        (f"ann:{PASSWORD}@broker/car", "mqtt://"),
    ],
)
def test_address_that_is_none_is_one_line_without_the_password(
    url: str, problem: str, capfd: pytest.CaptureFixture[str]
) -> None:
    status = main([*SYNTHETIC, "--max-frames", "1", "--mqtt", url])

    said = capfd.readouterr().err
    assert status != 0
    assert len(said.splitlines()) == 1
    assert problem in said
    assert PASSWORD not in said


def test_pace_lets_five_of_25_frames_through_in_a_second() -> None:
    now_ns = [0]
    pace = Pace(5.0, lambda: now_ns[0])

    gone = []
    for number in range(50):
        now_ns[0] = 10**12 + number * PERIOD_NS + number % 3 * 1_000_000
        gone.append(pace.is_due())

    assert sum(gone) == 10


class FakeConnection:
    """Takes what it is sent while `problem` is None."""

    def __init__(self, problem: str | None = None, *, is_refused: bool = False) -> None:
        self.problem, self.is_refused = problem, is_refused
        self.connects = int(problem is None)
        self.is_asked = Event()
        self.sent: list[tuple[str, Any]] = []

    def open(self) -> None:
        pass

    def can_send(self, topic: str) -> bool:
        return self.problem is None

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        if self.problem is None:
            self.sent.append((topic, payload))
            assert retain == topic.endswith("/state")
        return self.problem is None

    def close(self, topic: str, last: bytes) -> str | None:
        self.send(topic, last, retain=True)
        return self.problem

    def of(self, topic: str) -> list[Any]:
        return [payload for name, payload in self.sent if name == f"car/{topic}"]


def sink_of(connection: FakeConnection, *, must_answer: bool = False) -> MqttSink:
    address = BrokerAddress.of("mqtt://ann:secret@broker/car")
    return MqttSink(address, 1000.0, connection, must_answer=must_answer)  # type: ignore[arg-type]


def states(connection: FakeConnection) -> list[Any]:
    return [json.loads(payload) for payload in connection.of("state")]


def test_state_is_sent_when_it_changes_and_at_the_end() -> None:
    sink = sink_of(connection := FakeConnection())
    sink.open(LIVE)

    for output in (predicted(0), predicted(1), LOST, LOST, predicted(2)):
        sink.write(output)
    sink.close()

    assert [it.get("camera", {}).get("state") for it in states(connection)] == ["ok", "lost", "ok", None]
    assert states(connection)[1]["camera"]["reason"] == "no frame for 1.0 s"
    assert states(connection)[-1] == {"online": False, "reason": "ended"}
    assert sink.issue is None


def test_reason_that_runs_is_sent_once_a_second() -> None:
    sink = sink_of(connection := FakeConnection())
    sink.open(LIVE)

    for number in range(20):
        sink.write(replace(LOST, camera_reason=f"no frame for {number} s"))

    assert len(connection.of("state")) == 2


def test_state_says_whether_metres_are_known_and_not_at_every_frame_where_that_changes() -> None:
    sink = sink_of(connection := FakeConnection())
    sink.open(LIVE)

    known = predicted_road()
    unknown = replace(known, metres=None)

    for number in range(20):
        sink.write(known if number % 2 else unknown)

    assert [it["has_metres"] for it in states(connection)] == [False, True]


def test_state_is_sent_again_on_a_new_connection() -> None:
    sink = sink_of(connection := FakeConnection())
    sink.open(LIVE)
    sink.write(predicted(0))

    connection.problem = "gone"
    sink.write(LOST)
    connection.problem, connection.connects = None, 2
    sink.write(LOST)
    sink.write(LOST)

    assert [it["camera"]["state"] for it in states(connection)] == ["ok", "lost"]


def test_record_is_that_of_the_schema() -> None:
    sink = sink_of(connection := FakeConnection())
    sink.open(LIVE)

    sink.write(predicted(7))

    (payload,) = connection.of("record")
    jsonschema.validate(json.loads(payload), SCHEMA)
    assert json.loads(payload)["frame_id"] == 7


def test_snapshot_is_sent_to_whoever_asks_and_once() -> None:
    sink = sink_of(connection := FakeConnection())
    sink.open(LIVE)
    sink.write(predicted(0))
    assert not connection.of("snapshot")

    connection.is_asked.set()
    sink.write(predicted(1))
    sink.write(predicted(2))

    (picture,) = connection.of("snapshot")
    assert cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape == (WH[1], WH[0], 3)


@pytest.mark.parametrize(
    ("is_refused", "must_answer", "ends"),
    [(True, False, True), (True, True, True), (False, True, True), (False, False, False)],
)
def test_live_run_waits_for_a_broker_that_is_away_and_for_none_that_refuses(
    is_refused: bool, must_answer: bool, ends: bool
) -> None:
    sink = sink_of(FakeConnection("away", is_refused=is_refused), must_answer=must_answer)

    if ends:
        with pytest.raises(SinkError, match=r"^mqtt://ann:\*\*\*@broker/car: away$"):
            sink.open(LIVE)
    else:
        sink.open(LIVE)
        sink.write(predicted(0))


def test_end_that_the_broker_did_not_get_is_an_issue_with_the_count() -> None:
    sink = sink_of(FakeConnection("away"))
    sink.open(LIVE)
    sink.write(predicted(0))

    sink.close()
    sink.close()

    assert sink.issue is not None
    assert "away" in sink.issue
    assert "1 records were not sent" in sink.issue


def test_recording_without_its_broker_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and nobody listens
        url = f"mqtt://ann:{PASSWORD}@127.0.0.1:{unused.getsockname()[1]}/car"
        status = main([*SYNTHETIC, "--max-frames", "3", "--mqtt", url, "--quiet"])

    said = capfd.readouterr().err
    assert status == 1
    assert len(said.splitlines()) == 1
    assert "Connection refused" in said
    assert PASSWORD not in said
    assert not [thread for thread in threads() if thread.name == "mqtt"]


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)

    with pytest.raises(SinkError, match=r"pip install 'drivable\[mqtt\]'"):
        MQTT_SINK.build(MqttSettings(mqtt="mqtt://broker/car"), RecordingPolicy(), LIVE)


def test_password_gets_out_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"mqtt://ann:{PASSWORD}@127.0.0.1:{unused.getsockname()[1]}/car"
        run = [*SYNTHETIC, "--max-frames", "3", "--mqtt", url, "--summary", "s.json", "--jsonl", "r.jsonl"]
        with pytest.raises(SystemExit):
            main([*run, "--print_config"])
        status = main([*run, "--realtime"])

    out, err = capfd.readouterr()
    written = [file.read_text() for file in tmp_path.iterdir()]
    assert status == 1  # the broker did not hear of the end
    assert "mqtt: mqtt://ann:***@127.0.0.1" in out
    assert "warning: mqtt: mqtt://ann:***@127.0.0.1" in err
    assert '"frame_id":2' in "".join(written)
    assert PASSWORD not in "\n".join([out, err, *written])


# From here on with Mosquitto.


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as broker:
        yield broker


def opened(url: str, info: Any = LIVE, **settings: Any) -> Sink:
    """The sink for an address, as a run opens it."""
    sink = MQTT_SINK.build(MqttSettings(mqtt=url, **settings), RecordingPolicy(), info)
    try:
        sink.open(info)
    except SinkError:
        sink.close()
        raise
    return sink


def fed(sink: Sink, output: OutputItem, holds: Callable[[], Any]) -> Any:
    """Write the same output at 100 Hz until something holds."""

    def write_and_look() -> Any:
        sink.write(output)
        return holds()

    return until(write_and_look)


def decoded(messages: list[bytes]) -> list[Any]:
    return [json.loads(message) for message in messages]


@pytest.mark.slow
def test_subscriber_of_another_kind_reads_all(broker: Broker) -> None:
    sink = opened(broker.url("fleet/7"))
    with broker.subscriber("fleet/7/#") as subscriber:
        fed(sink, predicted(3), lambda: len(subscriber.got("fleet/7/record")) >= 5)
        broker.publish("fleet/7/snapshot/get")
        (picture,) = fed(sink, predicted(4), lambda: subscriber.got("fleet/7/snapshot"))
        sink.close()
        until(lambda: {"online": False, "reason": "ended"} in decoded(subscriber.got("fleet/7/state")))
        records = decoded(subscriber.got("fleet/7/record"))

    for record in records:
        jsonschema.validate(record, SCHEMA)
    assert records[0]["frame_id"] == 3
    assert cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape == (WH[1], WH[0], 3)
    assert sink.issue is None
    assert not [thread for thread in threads() if thread.name == "mqtt"]


@pytest.mark.slow
def test_records_keep_to_their_rate_and_a_newcomer_gets_the_state(broker: Broker) -> None:
    sink = opened(broker.url("car"), mqtt_rate_hz=10)
    with broker.subscriber("car/#") as subscriber:
        fed(sink, predicted(0), lambda: subscriber.got("car/record"))
        before = len(subscriber.got("car/record"))
        end_s = time.monotonic() + 2.0
        fed(sink, predicted(1), lambda: time.monotonic() > end_s)
        sent = len(subscriber.got("car/record")) - before

    kept = broker.retained("car/state")
    sink.close()
    assert 18 <= sent <= 21
    assert kept is not None
    assert json.loads(kept)["camera"] == {"state": "ok", "reason": None}
    assert broker.retained("car/record") is None


@pytest.mark.slow
def test_broker_that_is_killed_and_comes_back_gets_what_holds_then(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    sink = opened(broker.url("car"))
    sink.write(predicted(0))
    until(lambda: broker.retained("car/state"))

    broker.kill()
    fed(sink, predicted(1), lambda: "trying again" in caplog.text)
    sink.write(LOST)
    broker.start()
    with broker.subscriber("car/#") as subscriber:
        fed(sink, LOST, lambda: subscriber.got("car/record", retained=False))

    kept = broker.retained("car/state")
    assert kept is not None
    assert json.loads(kept)["camera"]["state"] == "lost"
    sink.close()
    assert sink.issue is None
    assert caplog.text.count("trying again") == 1
    assert "records were not sent" in caplog.text


@pytest.mark.slow
def test_broker_that_takes_nothing_costs_neither_time_nor_memory(broker: Broker) -> None:
    address = BrokerAddress.of(broker.url("car"))
    connection = BrokerConnection(address, TlsSettings(), ("car/state", "lost"), "car/snapshot/get")
    connection.open()
    assert connection.problem is None
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        taken, longest_s = 0, 0.0
        for _ in range(100):
            before_s = time.monotonic()
            taken += connection.send("car/snapshot", bytes(20_000_000))  # more than the kernel holds
            longest_s = max(longest_s, time.monotonic() - before_s)
            time.sleep(0.005)
        before_s = time.monotonic()
        problem = connection.close("car/state", b"ended")
        closing_s = time.monotonic() - before_s
    finally:
        os.kill(broker.pid, signal.SIGCONT)

    assert taken == 1
    assert longest_s < 0.5
    assert problem == "the broker accepts nothing"
    assert closing_s < 3.0


@pytest.mark.slow
@pytest.mark.parametrize("info", [LIVE, RECORDED], ids=["live", "recorded"])
def test_password_that_the_broker_refuses_is_one_line(tmp_path: Path, info: Any) -> None:
    with (
        Broker(tmp_path, login=("ann", "right")) as broker,
        pytest.raises(
            SinkError,
            match=r"ann:\*\*\*@.*refused by the broker: not authorized; check its user and password",
        ),
    ):
        opened(broker.url("car", f"ann:{PASSWORD}"), info)


@pytest.mark.slow
def test_password_that_is_right_is_let_in(tmp_path: Path) -> None:
    with Broker(tmp_path, login=("ann", PASSWORD)) as broker:
        sink = opened(broker.url("car", f"ann:{PASSWORD}"))
        sink.write(predicted(0))

        assert until(lambda: broker.retained("car/state"))
        sink.close()


@pytest.mark.slow
def test_certificate_is_verified(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with Broker(tmp_path, authority=authority) as broker:
        for trusted in ({"tls_ca": str(tmp_path / "ca.pem")}, {"tls_insecure": True}):
            sink = opened(broker.url("car"), RECORDED, **trusted)
            sink.close()
            assert sink.issue is None

        with pytest.raises(SinkError, match=r"not trusted.*--tls-ca"):
            opened(broker.url("car"))
        with pytest.raises(SinkError, match=r"ca\.pem\.no: cannot be read"):
            opened(broker.url("car"), tls_ca=str(tmp_path / "ca.pem.no"))


@pytest.mark.slow
def test_plain_broker_where_tls_was_asked_is_one_line(broker: Broker) -> None:
    with pytest.raises(SinkError, match="Connection reset by peer"):
        opened(broker.url("car").replace("mqtt:", "mqtts:"), RECORDED)


def node(broker: Broker, topic: str, log: Path) -> subprocess.Popen[bytes]:
    """A live run of its own, whose state the broker has."""
    command = [sys.executable, "-m", "perception.node", *SYNTHETIC, "--realtime"]
    with log.open("wb") as to:
        process = subprocess.Popen([*command, "--mqtt", broker.url(topic)], stdout=to, stderr=to)
    until(lambda: (kept := broker.retained(f"{topic}/state")) and json.loads(kept)["online"], 60)
    return process


@pytest.mark.slow
def test_last_will_is_seen_after_sigkill(broker: Broker, tmp_path: Path) -> None:
    process = node(broker, "car", tmp_path / "log")
    with broker.subscriber("car/state") as subscriber:
        until(lambda: subscriber.got("car/state"))
        process.kill()
        process.wait()
        until(lambda: {"online": False, "reason": "lost"} in decoded(subscriber.got("car/state")))

    kept = broker.retained("car/state")
    assert kept is not None
    assert json.loads(kept) == {"online": False, "reason": "lost"}


@pytest.mark.slow
def test_run_that_is_stopped_says_that_it_ended(broker: Broker, tmp_path: Path) -> None:
    process = node(broker, "car", tmp_path / "log")

    process.terminate()

    assert process.wait(15) == 0, (tmp_path / "log").read_text()
    kept = broker.retained("car/state")
    assert kept is not None
    assert json.loads(kept) == {"online": False, "reason": "ended"}


@pytest.mark.slow
def test_node_that_comes_back_is_not_reported_lost_by_its_old_connection(
    broker: Broker, tmp_path: Path
) -> None:
    frozen = node(broker, "car", tmp_path / "log")  # as a machine whose power went: its connection stands
    os.kill(frozen.pid, signal.SIGSTOP)
    sink = opened(broker.url("car"))
    sink.write(LOST)
    until(lambda: json.loads(broker.retained("car/state") or b"{}").get("camera", {}).get("state") == "lost")

    frozen.kill()
    frozen.wait()

    time.sleep(1.0)
    kept = broker.retained("car/state")
    sink.close()
    assert kept is not None
    assert json.loads(kept)["online"]
