"""RosSettings: what is published to ROS 2, and how its network is reached."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal

HIGHEST_DOMAIN: Final = 232
"""By the ports that DDS takes."""
_NAME: Final = re.compile(r"[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)
_ROUTER: Final = re.compile(r"(tcp|tls|quic|udp|ws)/\S+:\d+")


def is_name(text: str) -> bool:
    """Whether ROS takes it for a name without its first /, such as `camera/image_raw`."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True)
class RosSettings:
    """ROS 2: what is published, and how its network is reached, also for pictures from a topic."""

    enabled: bool = False
    """Publish masks, pictures, state and records as topics."""
    prefix: str = "/drivable"
    """Of the topics, and the name of the node."""
    topics: tuple[str, ...] = ()
    """Topics to publish, by their names below the prefix, such as class_map,state; by default all."""
    frame_id: str = "camera"
    """Coordinate frame of the camera, in the headers."""
    base_frame_id: str = "base_link"
    """The vehicle's, of what is in metres."""
    reliable: bool = False
    """Publish reliably, and not as sensors do (best effort)."""
    domain: int | None = None
    """By default that of ROS_DOMAIN_ID, or 0."""
    zenoh: Annotated[str, "tcp/HOST:PORT"] | None = None
    """Reach the network by this router of rmw_zenoh, as tcp/host:7447, and not by rclpy; where rclpy is not
    installed, the router of this machine is the default."""
    distro: Literal["newer", "humble"] = "newer"
    """Of the others, over Zenoh: those of humble know no checksums of types."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if not (self.prefix.startswith("/") and is_name(self.prefix[1:])):
            raise ValueError(
                f"ros.prefix is {self.prefix!r}; a ROS name is expected, such as /drivable or /front"
            )
        if wrong := [topic for topic in self.topics if not is_name(topic)]:
            raise ValueError(f"ros.topics holds {wrong[0]!r}; topics are named like class_map, without a /")
        if self.domain is not None and not 0 <= self.domain <= HIGHEST_DOMAIN:
            raise ValueError(f"ros.domain is {self.domain}; it must be from 0 to {HIGHEST_DOMAIN}")
        if self.zenoh is not None and not _ROUTER.fullmatch(self.zenoh):
            raise ValueError(f"ros.zenoh is {self.zenoh!r}; a router is expected, such as tcp/host:7447")

    @property
    def domain_id(self) -> int:
        """The number of the domain; raises ValueError if the one in ROS_DOMAIN_ID is none."""
        if self.domain is not None:
            return self.domain
        text = os.environ.get("ROS_DOMAIN_ID", "").strip() or "0"
        if not text.isdecimal() or int(text) > HIGHEST_DOMAIN:
            raise ValueError(f"ROS_DOMAIN_ID is {text!r}; it must be from 0 to {HIGHEST_DOMAIN}")
        return int(text)
