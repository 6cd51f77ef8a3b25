"""ROS 2 over Zenoh, without ROS: in the layout of rmw_zenoh (Jazzy and later), through its router.

Keys, attachments and the tokens by which others find us are as its design describes them.
"""

from __future__ import annotations

import itertools
import json
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from threading import Condition
from typing import Any, Final

import zenoh
import zenoh.ext

from perception.ros.network import DEPTH, Message, Network, RosError, Topic
from perception.system.time_limits import ROS_LOOK_LIMIT_S

_NO_HASH: Final = "TypeHashNotSupported"
_ATTACHMENT: Final = struct.Struct("<qqB16s")
"""Number of the message, time in ns since 1970, and the publisher's id with its length."""
PATIENCE_US: Final = 40_000
"""For a slow link, before a message is dropped: Zenoh's own millisecond loses pictures on a busy machine."""
_ENCODING: Final = "application/cdr"


def mangled(name: str) -> str:
    """A name as it stands in tokens, where / divides the parts."""
    return name.replace("/", "%")


def demangled(name: str) -> str:
    """The name again."""
    return name.replace("%", "/")


def dds_type(type_name: str) -> str:
    """`sensor_msgs::msg::dds_::Image_` of `sensor_msgs/msg/Image`."""
    package, _, name = type_name.partition("/msg/")
    return f"{package}::msg::dds_::{name}_"


def ros_type(dds_name: str) -> str:
    """`sensor_msgs/msg/Image` of `sensor_msgs::msg::dds_::Image_`."""
    package, _, name = dds_name.partition("::msg::dds_::")
    return f"{package}/msg/{name.removesuffix('_')}"


class _OnNetwork:
    """A session with the router, in which our node is announced."""

    def __init__(self, network: Network) -> None:
        assert network.router is not None
        self._network = network
        config = zenoh.Config()
        config.insert_json5("mode", '"client"')
        config.insert_json5("connect/endpoints", json.dumps([network.router]))
        config.insert_json5("scouting/multicast/enabled", "false")
        config.insert_json5("timestamping/enabled", "true")  # which late subscribers of a latched topic need
        config.insert_json5(
            "transport/link/tx/queue/congestion_control/drop/wait_before_drop", str(PATIENCE_US)
        )
        try:
            self._session: Any = zenoh.open(config)
        except zenoh.ZError as error:
            why = str(error).partition(" at /")[0].rstrip("!. ")  # behind which a line of its source is named
            raise RosError(f"ros: no router of rmw_zenoh answers at {network.router}: {why}") from None
        self._zid, self._numbers = str(self._session.zid()), itertools.count()
        self._tokens = [self._token("NN")]
        self.description = f"Zenoh through {network.router}, domain {network.domain}"

    def close(self) -> None:
        """Leave the network."""
        self._session.close()

    def _token(self, kind: str, *of_topic: str) -> Any:
        """Announce the node (NN), or that it publishes (MP) or subscribes to (MS) a topic."""
        return self._session.liveliness().declare_token(self._token_key(kind, *of_topic))

    def _token_key(self, kind: str, *of_topic: str) -> str:
        namespace, name = self._network.namespace_and_name
        parts = ("@ros2_lv", self._network.domain, self._zid, 0, next(self._numbers), kind, "%")
        return "/".join(map(str, (*parts, mangled(namespace), name, *of_topic)))


@dataclass
class _Publisher:
    publisher: Any
    gid: bytes
    is_latched: bool
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))


class ZenohPublishing(_OnNetwork):
    """See `Publishing`."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self._publishers: dict[str, _Publisher] = {}

    def advertise(self, topic: Topic) -> None:
        """Offer a topic."""
        network = self._network
        type_hash = topic.type_hash if network.has_hashes else _NO_HASH
        key = f"{network.domain}{topic.name}/{dds_type(topic.type_name)}/{type_hash}"
        publisher: Any
        if topic.is_latched:
            qos = ":1:,1:,:,:,,"
            publisher = zenoh.ext.declare_advanced_publisher(
                *(self._session, key),
                encoding=_ENCODING,
                cache=zenoh.ext.CacheConfig(1),
                publisher_detection=True,
            )
        else:
            qos = f"{'' if network.is_reliable else '2'}::,{DEPTH}:,:,:,,"
            publisher = self._session.declare_publisher(
                key, encoding=_ENCODING, congestion_control=zenoh.CongestionControl.DROP
            )
        token = self._token_key("MP", mangled(topic.name), dds_type(topic.type_name), type_hash, qos)
        self._tokens.append(self._session.liveliness().declare_token(token))
        gid = blake2b(token.encode(), digest_size=16).digest()
        self._publishers[topic.name] = _Publisher(publisher, gid, topic.is_latched)

    def publish(self, topic: str, data: bytes) -> None:
        """Send CDR to who subscribes now."""
        to = self._publishers[topic]
        attachment = _ATTACHMENT.pack(next(to.numbers), time.time_ns(), len(to.gid), to.gid)
        to.publisher.put(data, attachment=attachment)

    def subscribed(self) -> list[str]:
        """Topics with subscribers, latched ones left out."""
        return [
            name
            for name, one in self._publishers.items()
            if not one.is_latched and one.publisher.matching_status.matching
        ]


class ZenohListening(_OnNetwork):
    """See `Listening`."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self._arrived = Condition()
        self._newest: Any = None
        self._subscriber: Any = None

    def published(self) -> Mapping[str, list[str]]:
        """Types of every topic that somebody publishes."""
        found: dict[str, list[str]] = {}
        tokens = f"@ros2_lv/{self._network.domain}/*/*/*/MP/**"
        for reply in self._session.liveliness().get(tokens, timeout=ROS_LOOK_LIMIT_S):
            if reply.ok is None:
                continue
            *_, name, dds_name, _, _ = str(reply.ok.key_expr).split("/")
            types = found.setdefault(demangled(name), [])
            if (type_name := ros_type(dds_name)) not in types:
                types.append(type_name)
        return found

    def subscribe(self, topic: str, type_name: str) -> None:
        """From now on `newest` gives the messages of this topic."""
        key = f"{self._network.domain}{topic}/{dds_type(type_name)}/*"
        self._subscriber = self._session.declare_subscriber(key, self._take)
        # some publish only while they know of a subscriber
        of_topic = mangled(topic), dds_type(type_name), _NO_HASH, "2::,1:,:,:,,"
        self._tokens.append(self._token("MS", *of_topic))

    def newest(self, timeout_s: float) -> Message | None:
        """The newest message that was not given yet, waited for; None if there is none in time."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._newest is not None, max(0.0, timeout_s))
            sample, self._newest = self._newest, None
        if sample is None:
            return None
        attachment = sample.attachment.to_bytes() if sample.attachment is not None else b""
        number = None
        if len(attachment) == _ATTACHMENT.size:
            number, *_ = _ATTACHMENT.unpack(attachment)
        return Message(sample.payload.to_bytes(), number)

    def _take(self, sample: Any) -> None:
        with self._arrived:
            self._newest = sample
            self._arrived.notify()
