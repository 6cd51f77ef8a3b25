"""Network: how ROS 2 is reached, by rclpy or over Zenoh, to publish and to listen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final, Protocol

from perception.ros.settings import RosSettings

DEPTH: Final = 5
"""Messages that are kept for a subscriber: as sensors have it."""
_LOCAL_ROUTER: Final = "tcp/localhost:7447"


class RosError(Exception):
    """ROS 2 cannot be reached, or has not what is expected: one line that says what and what to do."""


@dataclass(frozen=True)
class Topic:
    """One topic that is published."""

    name: str
    """With the / before it."""
    type_name: str
    """Such as `sensor_msgs/msg/Image`."""
    type_hash: str
    """RIHS01, which Zenoh has in its keys."""
    is_latched: bool = False
    """The last message is kept for subscribers that come later (reliable, transient local)."""


@dataclass(frozen=True)
class Message:
    """One message that has arrived."""

    data: bytes
    """CDR."""
    number: int | None
    """The publisher counts its messages; None if it does not."""


class Publishing(Protocol):
    """The network, for those who publish."""

    description: str

    def advertise(self, topic: Topic) -> None:
        """Offer a topic; raises RosError if its type is not installed."""
        ...

    def publish(self, topic: str, data: bytes) -> None:
        """Send CDR to who subscribes now."""
        ...

    def subscribed(self) -> list[str]:
        """Topics with subscribers, latched ones left out."""
        ...

    def close(self) -> None:
        """Leave the network."""
        ...


class Listening(Protocol):
    """The network, for those who listen."""

    description: str

    def published(self) -> Mapping[str, list[str]]:
        """Types of every topic that somebody publishes."""
        ...

    def subscribe(self, topic: str, type_name: str) -> None:
        """From now on `newest` gives the messages of this topic; raises RosError."""
        ...

    def newest(self, timeout_s: float) -> Message | None:
        """The newest message that was not given yet, waited for; None if there is none in time."""
        ...

    def close(self) -> None:
        """Leave the network."""
        ...


@dataclass(frozen=True)
class Network:
    """How ROS 2 is reached; may be sent to another process."""

    node: str
    """Full name of our node, such as `/front/drivable`."""
    domain: int
    router: str | None = None
    """Zenoh's; None for rclpy."""
    has_hashes: bool = True
    """Others know checksums of types."""
    is_reliable: bool = False
    must_answer: bool = True
    """A router that does not answer at the start is an error, and not waited for."""

    @classmethod
    def of(cls, settings: RosSettings, *, must_answer: bool) -> Network:
        """As the settings ask for it; raises RosError if it takes a package that is not installed."""
        if find_spec("rosbags") is None:
            raise RosError("ros: not installed; pip install 'drivable[ros]'")
        has_rclpy, has_zenoh = find_spec("rclpy") is not None, find_spec("zenoh") is not None
        router = settings.zenoh
        if router is None and not has_rclpy:
            router = _LOCAL_ROUTER
        if router is not None and not has_zenoh:
            missing = "" if settings.zenoh else "rclpy is not there: source ROS 2's setup.bash first, or "
            raise RosError(f"ros: {missing}pip install 'drivable[ros]' for Zenoh")
        try:
            domain = settings.domain_id
        except ValueError as error:
            raise RosError(f"ros: {error}") from None
        return cls(
            settings.prefix,
            domain,
            router,
            has_hashes=settings.distro != "humble",
            is_reliable=settings.reliable,
            must_answer=must_answer,
        )

    @property
    def namespace_and_name(self) -> tuple[str, str]:
        """Of the node, such as `/front` and `drivable`."""
        namespace, _, name = self.node.rpartition("/")
        return namespace or "/", name

    def publishing(self) -> Publishing:
        """Reach it to publish; raises RosError."""
        if self.router is None:
            from perception.ros.rclpy_network import RclpyPublishing

            return RclpyPublishing(self)
        from perception.ros.zenoh_network import ZenohPublishing

        return ZenohPublishing(self)

    def listening(self) -> Listening:
        """Reach it to listen; raises RosError."""
        if self.router is None:
            from perception.ros.rclpy_network import RclpyListening

            return RclpyListening(self)
        from perception.ros.zenoh_network import ZenohListening

        return ZenohListening(self)
