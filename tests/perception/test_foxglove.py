"""Foxglove's WebSocket protocol on the page's port: who gets what, and what it costs if nobody wants it."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording import LIVE, predicted
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from perception.frame import OutputItem
from perception.metrics.histogram import Histogram
from perception.ros.messages import RosEncoder
from perception.ros.settings import RosSettings
from perception.ros.types import typestore
from perception.web.foxglove import SUBPROTOCOLS, Foxglove
from perception.web.pictures import Pictures
from perception.web.server import Endpoints, Served

TOKEN = "secret"
LATCHED = "/drivable/labels"
Message = tuple[int, bytes]
"""Number of the subscription, and CDR."""


class Node:
    """A node whose outputs the test publishes."""

    def __init__(self, token: str | None = None) -> None:
        self.endpoints = Endpoints("127.0.0.1:0", (), token)
        self.pictures = Pictures(LIVE)
        foxglove = Foxglove(LIVE, self.pictures, self.endpoints.viewing, RosSettings(frame_id="front"))
        route = foxglove.route()
        self.endpoints.start([Served(None, _never, Histogram(), {}, self.pictures, [route])])
        self.published = 0

    def publish(self) -> None:
        self.pictures.record(predicted(self.published))
        self.published += 1

    def client(self, query: str = "", origin: Any = None, spoken: tuple[str, ...] = SUBPROTOCOLS) -> Any:
        url = f"ws://127.0.0.1:{self.endpoints.port}/{query}"
        return connect(url, subprotocols=spoken, origin=origin, max_size=None, proxy=None)  # type: ignore[arg-type]


def _never() -> Any:
    raise AssertionError("nobody asks for the health")


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.endpoints.close()


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many messages were encoded, by topic."""
    counts: Counter[str] = Counter()
    encode = RosEncoder.encode

    def counted(self: RosEncoder, output: OutputItem, topics: Any = None) -> Any:
        counts.update(topics)
        return encode(self, output, topics)

    monkeypatch.setattr(RosEncoder, "encode", counted)
    return counts


def channels(client: ClientConnection) -> dict[str, int]:
    """Numbers by topic, from what a server says first."""
    info, advertised = json.loads(client.recv(5)), json.loads(client.recv(5))
    assert (info["op"], info["capabilities"], advertised["op"]) == ("serverInfo", [], "advertise")
    return {channel["topic"]: channel["id"] for channel in advertised["channels"]}


def ask(client: ClientConnection, **request: Any) -> None:
    client.send(json.dumps(request))


def subscribe(client: ClientConnection, topic: str, number: int = 7) -> None:
    channel = channels(client)[topic]
    ask(client, op="subscribe", subscriptions=[{"id": number, "channelId": channel}])


def received(client: ClientConnection, limit_s: float = 5.0) -> Message:
    data = client.recv(limit_s)
    assert isinstance(data, bytes)
    opcode, number, _ = struct.unpack_from("<BIQ", data)
    assert opcode == 1
    return number, data[13:]


def frame_id(message: Message) -> int:
    """Of a message that is a record."""
    text = typestore().deserialize_cdr(message[1], "std_msgs/msg/String").data
    return int(json.loads(text)["frame_id"])


@pytest.mark.parametrize("spoken", [SUBPROTOCOLS, SUBPROTOCOLS[1:], SUBPROTOCOLS[::-1]])
def test_both_names_of_the_protocol_are_spoken_and_the_newer_first(
    node: Node, spoken: tuple[str, ...]
) -> None:
    with node.client(spoken=spoken) as client:
        assert client.subprotocol == (SUBPROTOCOLS[0] if SUBPROTOCOLS[0] in spoken else SUBPROTOCOLS[1])
        assert {"/drivable/class_map", "/drivable/record", LATCHED} <= set(channels(client))


@pytest.mark.parametrize("spoken", [("rosbridge",), None])
def test_other_protocols_are_refused(node: Node, spoken: Any) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        node.client(spoken=spoken)

    assert refusal.value.response.status_code == 400
    assert b"foxglove.websocket.v1" in refusal.value.response.body


def test_only_topics_with_subscribers_are_encoded_and_once_for_all(node: Node, encoded: Counter[str]) -> None:
    with node.client() as one, node.client() as other:
        subscribe(one, "/drivable/record", 1)
        subscribe(other, "/drivable/record", 2)
        node.publish()
        first, second = received(one), received(other)

    assert (first[0], second[0]) == (1, 2)
    assert first[1] == second[1]
    assert frame_id(first) == 0
    assert encoded == {"/drivable/record": 1}


def test_nothing_is_encoded_while_nobody_subscribes(node: Node, encoded: Counter[str]) -> None:
    with node.client() as client:
        topics = channels(client)
        node.publish()
        ask(client, op="subscribe", subscriptions=[{"id": 1, "channelId": topics["/drivable/state"]}])
        assert received(client)[0] == 1
        ask(client, op="unsubscribe", subscriptionIds=[1])
        ask(client, op="subscribe", subscriptions=[{"id": 2, "channelId": topics[LATCHED]}])
        assert received(client)[0] == 2
        node.publish()
        with pytest.raises(TimeoutError):
            client.recv(0.1)

    assert encoded["/drivable/state"] == 1


def test_latched_topic_is_sent_to_a_newcomer(node: Node) -> None:
    with node.client() as client:
        subscribe(client, LATCHED)
        number, data = received(client)

    labels = typestore().deserialize_cdr(data, "vision_msgs/msg/LabelInfo")
    assert number == 7
    assert labels.header.frame_id == "front"
    assert [it.class_name for it in labels.class_map][:2] == ["direct", "alternative"]


def test_slow_client_gets_the_newest_and_no_backlog(node: Node) -> None:
    picture = replace(predicted(0), class_map=np.zeros((720, 1280), np.uint8))
    with node.client() as client:
        topics = channels(client)
        both = topics["/drivable/class_map"], topics["/drivable/record"]
        ask(client, op="subscribe", subscriptions=[{"id": it, "channelId": it} for it in both])
        for number in range(40):  # 37 MB, of which it takes nothing
            node.pictures.record(replace(picture, frame=replace(picture.frame, frame_id=number)))
            time.sleep(0.01)

        seen = []
        while not seen or seen[-1] < 39:
            message = received(client)
            if message[0] == topics["/drivable/record"]:
                seen.append(frame_id(message))

    assert seen == sorted(set(seen))
    assert len(seen) < 30


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[]",
        "{}",
        "[" * 50_000,
        '{"op": "subscribe"}',
        '{"op": "subscribe", "subscriptions": [{"id": 1, "channelId": 99}]}',
        '{"op": "subscribe", "subscriptions": [{"id": -1, "channelId": 1}]}',
        '{"op": "subscribe", "subscriptions": [{"id": Infinity, "channelId": 1}]}',
        '{"op": "advertise", "channels": []}',
        b"\x01\x00\x00\x00\x00",
    ],
    ids=lambda text: str(text)[:30],
)
def test_what_cannot_be_done_is_answered_and_the_client_stays(node: Node, text: Any) -> None:
    with node.client() as client:
        topics = channels(client)
        client.send(text)
        status = json.loads(client.recv(5))
        ask(client, op="subscribe", subscriptions=[{"id": 1, "channelId": topics["/drivable/record"]}])
        node.publish()
        assert frame_id(received(client)) == 0

    assert (status["op"], status["level"]) == ("status", 1)


def test_token_and_origin_decide_who_may_look() -> None:
    node = Node(TOKEN)

    def answer(query: str = "", origin: Any = None) -> int:
        try:
            with node.client(query, origin) as client:
                channels(client)
                return 101
        except InvalidStatus as refusal:
            return refusal.response.status_code

    try:
        assert answer() == 401
        assert answer("?token=other") == 401
        assert answer(f"?token={TOKEN}") == 101
        assert answer(f"?token={TOKEN}", "https://app.foxglove.dev") == 101
        assert answer("", "https://app.foxglove.dev") == 403
    finally:
        node.endpoints.close()


@pytest.mark.parametrize(
    ("origin", "is_let_in"),
    [("file://", True), ("null", False), ("https://app.foxglove.dev", False), ("http://evil.example", False)],
)
def test_pages_of_other_sites_may_not_look_without_a_token(node: Node, origin: Any, is_let_in: bool) -> None:
    if is_let_in:
        with node.client(origin=origin) as client:
            assert channels(client)
    else:
        with pytest.raises(InvalidStatus):
            node.client(origin=origin)


def test_missing_package_is_named_in_the_log_once(
    node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    typestore.cache_clear()
    monkeypatch.setitem(sys.modules, "rosbags.typesys", None)

    for _ in range(2):
        with pytest.raises(InvalidStatus) as refusal:
            node.client()

    assert caplog.text.count("pip install 'drivable[foxglove]'") == 1

    assert refusal.value.response.status_code == 501
    assert b"pip install 'drivable[foxglove]'" in refusal.value.response.body


HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.parametrize("spoken", SUBPROTOCOLS)
def test_client_of_foxglove_reads_every_topic(tmp_path: Path, spoken: str) -> None:
    source = ["synthetic", "--synthetic.wh", "[320, 180]", "--realtime", "--model", "rt_s-int8"]
    command = [sys.executable, "-m", "perception.node", *source, "--http", "0"]
    log = tmp_path / "log"
    with log.open("wb") as to, subprocess.Popen(command, stdout=to, stderr=to) as node:
        try:
            port = _until(lambda: _port(log.read_text()))
            client = ["node", str(HERE / "foxglove_client.mjs"), f"ws://127.0.0.1:{port}/", spoken, "60"]
            said = subprocess.run(client, capture_output=True, text=True, timeout=60, check=False)
        finally:
            node.terminate()
    lines = [json.loads(line) for line in said.stdout.splitlines()]
    messages = {line["topic"]: line for line in lines if line["kind"] == "message"}

    assert not [line for line in lines if line["kind"] in ("error", "status")], said.stdout[:1000]
    assert len(lines) >= 61, said.stderr
    assert node.returncode == 0
    for name in ("class_map", "confidence"):
        image = messages[f"/drivable/{name}"]
        assert (image["width"], image["height"], image["values"]) == (320, 180, 320 * 180)
    assert messages["/drivable/image/compressed"]["head"] == [0xFF, 0xD8]
    assert messages["/drivable/overlay/compressed"]["head"] == [0xFF, 0xD8]
    assert messages[LATCHED]["classes"] == 4
    assert messages["/drivable/outlines"]["rings"] > 0
    assert messages["/drivable/state"]["statuses"] == 2
    assert messages["/drivable/record"]["record"]["frame_wh"] == [320, 180]


def _port(log: str) -> str:
    _, _, behind = log.partition(" on port ")
    return behind.split("\n")[0] if "\n" in behind else ""


def _until(value: Callable[[], str], limit_s: float = 30.0) -> str:
    end_s = time.monotonic() + limit_s
    while not (found := value()):
        assert time.monotonic() < end_s, "still nothing"
        time.sleep(0.05)
    return found
