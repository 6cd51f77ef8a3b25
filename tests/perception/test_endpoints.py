"""The endpoints over real sockets: they report the status at each request, and no client can block them."""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as of_openmetrics
from prometheus_client.parser import text_string_to_metric_families as of_text

from perception.cli.log import command_log
from perception.frame import CameraState, EngineState
from perception.metrics.histogram import Histogram
from perception.provenance.identity import RunIdentity
from perception.provenance.kernel_time import Synchronisation
from perception.provenance.utc import ClockTie
from perception.sources.counts import SourceCounts
from perception.telemetry.counters import FrameCounters
from perception.telemetry.health import HealthReport, Memory, Phase, SinkHealth
from perception.web.address import EndpointsError, parse_address
from perception.web.connections import CONNECTIONS
from perception.web.server import Endpoints, Served

FRESH = HealthReport(
    source_id="rtsp://ann:***@camera/road",
    model_id="rt_m-1",
    provider="cpu",
    engine_state=EngineState.OK,
    phase=Phase.RUNNING,
    camera_state=CameraState.OK,
    camera_reason=None,
    fresh_age_s=0.03,
    fresh_limit_s=0.1,
    record_age_s=0.03,
    record_limit_s=5.0,
    frames=FrameCounters(
        *(100, 90, 1, {"newer frame": 7, "run ended": 1}, 1),
        withheld_by={"camera blocked": 1},
        missed=4,
    ),
    source=SourceCounts(decode_errors=3, io_errors=4, reconnect_attempts=6, reconnects=2, hangs=1, deaths=1),
    sinks={"jsonl": SinkHealth(dropped=5, restarts=1), "overlay": SinkHealth(issue="disk full")},
    memory=Memory(150_000_000, 160_000_000),
)
LOST = replace(FRESH, camera_state=CameraState.LOST, camera_reason="unplugged", fresh_age_s=9.0)
STUCK = replace(FRESH, fresh_age_s=6.0, record_age_s=6.0)


class Node:
    """A node whose status the test sets."""

    def __init__(self, status: Callable[[], HealthReport] | None = None, names: tuple[str, ...] = ()) -> None:
        self.reported: HealthReport | Exception = FRESH
        self.age, self.stages = Histogram(), {"infer": Histogram()}
        self.endpoints = Endpoints("127.0.0.1:0", names)
        self.endpoints.start([Served(None, status or self.status, self.age, self.stages)])

    def status(self) -> HealthReport:
        if isinstance(self.reported, Exception):
            raise self.reported
        return self.reported

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.endpoints.port), timeout=10)

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str, dict[str, str]]:
        """Status, body and headers of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.endpoints.port, timeout=10)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), dict(answer.getheaders())
        finally:
            connection.close()

    def say(self, request: bytes) -> bytes:
        """All that comes back for these bytes."""
        with self.connect() as connection:
            connection.sendall(request)
            return everything(connection)


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionResetError:  # it closed while something unread was on its way
        pass
    return received


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.endpoints.close()


def samples(text: str, parse: Callable[[str], Any] = of_text) -> dict[str, float]:
    """Value by sample, such as `name{label=value}`."""
    return {
        sample.name
        + "".join(f"{{{label}={value}}}" for label, value in sorted(sample.labels.items())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("status", "healthz", "readyz"),
    [
        (FRESH, (200, "ok\n"), (200, "ok\n")),
        (LOST, (200, "ok\n"), (503, "camera lost: unplugged\n")),
        (
            STUCK,
            (503, "nothing was published for 6.0 s\n"),
            (503, "no mask was published for 6.0 s\n"),
        ),
        (replace(FRESH, phase=Phase.STOPPING), (200, "ok\n"), (503, "stopping\n")),
        (
            replace(LOST, dead_end="capture: rtsp://ann:secret@camera/road is gone"),
            (503, "capture: rtsp://ann:***@camera/road is gone\n"),
            (503, "capture: rtsp://ann:***@camera/road is gone\n"),
        ),
    ],
    ids=["fresh", "camera lost", "stuck", "stopping", "dead end"],
)
def test_health_and_readiness_come_with_the_reason(
    status: HealthReport, healthz: tuple[int, str], readyz: tuple[int, str], node: Node
) -> None:
    node.reported = status

    assert node.ask("/healthz")[:2] == healthz
    assert node.ask("/readyz")[:2] == readyz


def test_every_answer_is_of_the_moment_it_is_asked_for(node: Node) -> None:
    statuses = []
    for status in (FRESH, LOST, FRESH):
        node.reported = status
        statuses.append(node.ask("/readyz")[0])

    assert statuses == [200, 503, 200]


def test_readiness_falls_while_the_data_path_is_stuck() -> None:
    published_s = time.monotonic()  # and then nothing more

    def status() -> HealthReport:
        age_s = time.monotonic() - published_s
        return replace(FRESH, fresh_age_s=age_s, record_age_s=age_s, fresh_limit_s=0.3)

    node = Node(status)

    before = node.ask("/readyz")[0]
    limit_s = time.monotonic() + 5
    while (after := node.ask("/readyz"))[0] == 200 and time.monotonic() < limit_s:
        continue

    assert before == 200
    assert after[:2] == (503, "no mask was published for 0.3 s\n")
    assert node.ask("/healthz")[0] == 200
    assert samples(node.ask("/metrics")[1])["drivable_last_mask_age_seconds"] >= 0.3
    node.endpoints.close()


def test_metrics_have_the_counts_and_states(node: Node) -> None:
    status, text, headers = node.ask("/metrics")

    values = samples(text)
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=")
    assert (
        values.items()
        >= {
            "drivable_frames_captured_total": 100,
            "drivable_frames_published_total": 90,
            "drivable_frames_withheld_total{reason=camera blocked}": 1,
            "drivable_frames_withheld_total{reason=camera lost}": 0,
            "drivable_frames_withheld_total{reason=engine suspect}": 0,
            "drivable_frames_dropped_total{reason=newer frame}": 7,
            "drivable_frames_dropped_total{reason=run ended}": 1,
            "drivable_frames_in_flight": 1,
            "drivable_frames_missed_total": 4,
            "drivable_decode_errors_total": 3,
            "drivable_io_errors_total": 4,
            "drivable_reconnect_attempts_total": 6,
            "drivable_reconnects_total": 2,
            "drivable_restarts_total{stage=reader}": 2,
            "drivable_restarts_total{stage=sink jsonl}": 1,
            "drivable_sink_dropped_total{sink=jsonl}": 5,
            "drivable_sink_up{sink=jsonl}": 1,
            "drivable_sink_up{sink=overlay}": 0,
            "drivable_camera_state{drivable_camera_state=ok}": 1,
            "drivable_camera_state{drivable_camera_state=lost}": 0,
            "drivable_engine_state{drivable_engine_state=ok}": 1,
            "drivable_engine_state{drivable_engine_state=fallback}": 0,
            "drivable_engine_state{drivable_engine_state=suspect}": 0,
            "drivable_engine_state{drivable_engine_state=stalled}": 0,
            "drivable_phase{drivable_phase=running}": 1,
            "drivable_alive": 1,
            "drivable_fresh": 1,
            "drivable_last_mask_age_seconds": 0.03,
            "drivable_last_record_age_seconds": 0.03,
            "drivable_memory_resident_bytes": 150e6,
            "drivable_memory_peak_bytes": 160e6,
            "drivable_node_info{model_id=rt_m-1}{provider=cpu}{source_id=rtsp://ann:***@camera/road}": 1,
        }.items()
    )


def test_metrics_fall_with_freshness(node: Node) -> None:
    node.reported = STUCK

    values = samples(node.ask("/metrics")[1])

    assert (values["drivable_fresh"], values["drivable_alive"]) == (0, 0)
    assert values["drivable_last_mask_age_seconds"] == 6.0


def test_metrics_have_the_versions_and_checksums_of_the_run(node: Node) -> None:
    run = RunIdentity(version="1.2", code_sha256="c0", model_sha256="ab", settings_sha256="5e")
    tie = ClockTie(0, 50, steps=2, synchronisation=Synchronisation(False))
    node.reported = replace(FRESH, run=run, clock=tie)

    values = samples(node.ask("/metrics")[1])

    labels = "{code_sha256=c0}{model_id=rt_m-1}{model_sha256=ab}{settings_sha256=5e}{version=1.2}"
    assert values[f"drivable_build_info{labels}"] == 1
    assert (values["drivable_utc_steps_total"], values["drivable_utc_synchronised"]) == (2, 0)


def test_what_is_not_known_yet_is_absent_and_not_zero(node: Node) -> None:
    node.reported = replace(FRESH, camera_state=None, fresh_age_s=None, memory=Memory())

    values = samples(node.ask("/metrics")[1])

    assert not {"drivable_last_mask_age_seconds", "drivable_memory_resident_bytes"} & values.keys()
    assert sum(value for name, value in values.items() if name.startswith("drivable_camera_state")) == 0


def test_ages_and_stage_times_are_histograms(node: Node) -> None:
    for duration_ms in (4, 12, 30, 30, 9000):
        node.age.add(duration_ms * 1_000_000)
    node.stages["infer"].add(8_000_000)
    node.stages["late one"] = Histogram()
    node.stages["late one"].add(1_000_000)

    values = samples(node.ask("/metrics")[1])

    age = {limit: values[f"drivable_frame_age_seconds_bucket{{le={limit}}}"] for limit in ("0.005", "0.015")}
    assert age == {"0.005": 1, "0.015": 2}
    assert values["drivable_frame_age_seconds_bucket{le=0.033}"] == 4
    assert values["drivable_frame_age_seconds_bucket{le=5.0}"] == 4
    assert (
        values["drivable_frame_age_seconds_bucket{le=+Inf}"]
        == values["drivable_frame_age_seconds_count"]
        == 5
    )
    assert values["drivable_frame_age_seconds_sum"] == pytest.approx(9.076)
    assert values["drivable_stage_seconds_count{stage=infer}"] == 1
    assert values["drivable_stage_seconds_count{stage=late one}"] == 1


def test_openmetrics_is_given_where_it_is_asked_for(node: Node) -> None:
    node.age.add(1)

    _, text, headers = node.ask("/metrics", Accept="application/openmetrics-text; version=1.0.0")

    assert headers["content-type"].startswith("application/openmetrics-text")
    assert samples(text, of_openmetrics)["drivable_frames_captured_total"] == 100


def test_head_gives_the_same_without_a_body(node: Node) -> None:
    node.reported = LOST

    status, body, headers = node.ask("/readyz", "HEAD")

    assert (status, body) == (503, "")
    assert headers["content-length"] == str(len("camera lost: unplugged\n"))


def test_query_changes_nothing(node: Node) -> None:
    assert node.ask("/healthz?verbose=1")[:2] == (200, "ok\n")


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET / HTTP/1.1", 404),
        (b"GET /metrics/ HTTP/1.1", 404),
        (b"GET /healthz/../../etc/passwd HTTP/1.1", 404),
        (b"GET /%2e%2e/etc/passwd HTTP/1.1", 404),
        (b"GET http://elsewhere/healthz HTTP/1.1", 404),
        (b"GET * HTTP/1.0", 404),
        (b"POST /healthz HTTP/1.1", 405),
        (b"DELETE /metrics HTTP/1.1", 405),
        (b"CONNECT a:1 HTTP/1.1", 405),
        (b"<script> /healthz HTTP/1.1", 400),
        (b"GET /healthz FTP/1.0", 400),
        (b"GET", 400),
        (b"\x16\x03\x01\x00\xa5\x01\x00", 400),
    ],
)
def test_anything_else_is_refused_without_an_echo(request_line: bytes, status: int, node: Node) -> None:
    answer = node.say(request_line + b"\r\nHost: localhost\r\n\r\n")

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert body.decode() == http.HTTPStatus(status).phrase + "\n"
    assert (b"allow: GET, HEAD" in head) == (status == 405)
    assert not any(name in head.lower() for name in (b"server:", b"python", b"uvicorn"))


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /healthz HTTP/1.1\r\nX: " + 9000 * b"x" + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n" + 2000 * b"X: x\r\n" + b"\r\n",
        b"GET /healthz HTTP/1.1\r\n" + 110 * b"X: x\r\n" + b"\r\n",
        b"GET /" + 9000 * b"x" + b" HTTP/1.1\r\n\r\n",
        9000 * b"x",
    ],
    ids=["long header", "many headers", "more headers than allowed", "long path", "no line end"],
)
def test_large_request_is_refused_and_closed(request_bytes: bytes, node: Node) -> None:
    answer = node.say(request_bytes)

    assert b" 200 " not in answer
    assert node.ask("/healthz")[0] == 200


def test_internal_error_is_logged_and_not_sent_to_the_client(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    node.reported = ValueError("no route to rtsp://ann:secret@camera/road")
    line = "drivable-node: http: ValueError: no route to rtsp://ann:***@camera/road\n"
    logged = ""

    with command_log("drivable-node"):
        answers = [node.ask(path)[:2] for path in ("/healthz", "/readyz", "/metrics")]
        until_s = time.monotonic() + 5
        while logged.count("\n") < 3 and time.monotonic() < until_s:  # a client has its answer before that
            logged += capsys.readouterr().err
            time.sleep(0.01)

    assert answers == 3 * [(500, "Internal Server Error\n")]
    assert logged == 3 * line


def test_clients_that_say_nothing_block_nobody_and_are_disconnected(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perception.web.connections.HTTP_READ_LIMIT_S", 0.5)
    silent = [node.connect() for _ in range(CONNECTIONS - 1)]
    silent[0].sendall(b"GET /heal")

    started_s = time.monotonic()
    status = node.ask("/healthz")[0]
    took_s = time.monotonic() - started_s
    received = [everything(connection) for connection in silent]

    assert status == 200
    assert took_s < 0.4
    assert set(received) == {b""}
    assert time.monotonic() - started_s < 5
    for connection in silent:
        connection.close()


def test_request_that_drips_in_has_no_more_time_than_any_other(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perception.web.connections.HTTP_READ_LIMIT_S", 0.3)
    has_gone = threading.Event()

    def drip(connection: socket.socket) -> None:
        try:
            while not has_gone.wait(0.02):
                connection.sendall(b"x")
        except OSError:
            pass

    with node.connect() as connection:
        started_s = time.monotonic()
        dripping = threading.Thread(target=drip, args=(connection,))
        dripping.start()
        everything(connection)
        took_s = time.monotonic() - started_s
        has_gone.set()
        dripping.join()

    assert 0.2 < took_s < 2


def test_client_that_takes_no_answer_is_disconnected(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perception.web.connections.HTTP_WRITE_LIMIT_S", 0.2)
    node.reported = replace(FRESH, sinks={f"{number} {200 * 'x'}": SinkHealth() for number in range(8_000)})

    with node.connect() as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        head = connection.recv(4096)
        time.sleep(1.0)
        received = head + everything(connection)

    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    assert len(received) < int(length[1])
    node.reported = FRESH
    assert node.ask("/healthz")[0] == 200


def test_for_one_client_more_than_allowed_the_oldest_is_disconnected(node: Node) -> None:
    silent = [node.connect() for _ in range(CONNECTIONS)]
    time.sleep(0.2)  # until the last of them has been taken

    started_s = time.monotonic()
    status = node.ask("/healthz")[0]
    received = everything(silent[0])
    took_s = time.monotonic() - started_s
    for connection in silent:
        connection.close()

    assert (status, received) == (200, b"")
    assert took_s < 2


def test_answers_come_beside_more_slow_clients_than_there_is_room_for(node: Node) -> None:
    has_ended = threading.Event()

    def drip() -> None:
        while not has_ended.is_set():
            try:
                with node.connect() as connection:
                    connection.sendall(b"GET /healthz HTTP/1.1\r\nX-a: ")
                    while not has_ended.wait(0.1):
                        connection.sendall(b"b")
            except OSError:
                has_ended.wait(0.02)

    dripping = [threading.Thread(target=drip) for _ in range(CONNECTIONS + 8)]
    for thread in dripping:
        thread.start()
    time.sleep(0.5)
    statuses = []
    for _ in range(60):
        try:
            statuses.append(node.ask("/healthz")[0])
        except (http.client.HTTPException, OSError):
            statuses.append(0)
        time.sleep(0.02)
    has_ended.set()
    for thread in dripping:
        thread.join()

    assert statuses.count(200) >= 57  # of 60; on a busy machine one may be slow itself


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9464", 200),
        ("[::1]:9464", 200),
        ("10.1.2.3", 200),
        ("localhost", 200),
        ("LOCALHOST.:80", 200),
        (socket.gethostname(), 200),
        ("node.fleet.example:9464", 200),
        ("attacker.example", 421),
        ("127.0.0.1.attacker.example", 421),
        ("attacker.example:127", 421),
        ("localhost@attacker.example", 421),
        ("127.0.0.1, attacker.example", 421),
        (":80", 421),
        ("[attacker.example]", 421),
    ],
)
def test_names_that_are_not_the_nodes_are_refused(host: str, status: int) -> None:
    node = Node(names=("node.fleet.example",))

    answer = node.say(f"GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    node.endpoints.close()

    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert (b"drivable_" in answer) == (status == 200)
    assert b"attacker" not in answer


def test_two_hosts_are_no_request(node: Node) -> None:
    answer = node.say(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: attacker.example\r\n\r\n")

    assert b" 400 " in answer
    assert b"drivable_" not in answer


def test_any_name_is_taken_if_the_user_says_so() -> None:
    node = Node(names=("*",))
    answer = node.ask("/healthz", Host="any.example")
    node.endpoints.close()

    assert answer[0] == 200


def test_closed_endpoints_listen_no_more_and_leave_their_port() -> None:
    node = Node()
    port = node.endpoints.port
    assert node.ask("/healthz")[0] == 200

    node.endpoints.close()
    node.endpoints.close()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    again = Endpoints(str(port))
    again.start([Served(None, node.status, node.age, node.stages)])
    again.close()


def test_ipv6_is_listened_on() -> None:
    endpoints = Endpoints("[::1]:0")
    try:
        endpoints.start([Served(None, lambda: FRESH, Histogram(), {})])
    except EndpointsError:
        pytest.skip("this machine has no IPv6 loopback interface")

    with socket.create_connection(("::1", endpoints.port), timeout=5) as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        answer = everything(connection)

    assert answer.endswith(b"\r\n\r\nok\n")
    endpoints.close()


@pytest.mark.parametrize(
    ("setting", "address"),
    [
        ("9464", ("127.0.0.1", 9464)),
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:9464", ("0.0.0.0", 9464)),
        ("[::1]:9464", ("::1", 9464)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_port_alone_is_on_the_loopback_interface(setting: str, address: tuple[str, int]) -> None:
    assert parse_address(setting) == address


@pytest.mark.parametrize(
    "setting", ["", "port", "65536", "-1", "127.0.0.1:", ":9464", "::1:9464", "a b:1", "http://a:9464", "1.5"]
)
def test_what_is_no_address_is_one_line(setting: str) -> None:
    with pytest.raises(EndpointsError, match="is not an address to listen on; give a port such as 9464"):
        Endpoints(setting)


def test_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(EndpointsError) as caught:
            Endpoints(str(port)).start([Served(None, lambda: FRESH, Histogram(), {})])

    failure = f"http 127.0.0.1:{port}: cannot listen there: Address already in use"
    assert str(caught.value) == f"{failure}; choose another port or interface"


def test_unknown_interface_is_one_line() -> None:
    with pytest.raises(
        EndpointsError, match=r"^http 192\.0\.2\.1:9464: cannot listen there: .*; choose another"
    ):
        Endpoints("192.0.2.1:9464").start([Served(None, lambda: FRESH, Histogram(), {})])
