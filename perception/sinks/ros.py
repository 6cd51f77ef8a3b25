"""Topics of ROS 2: masks, pictures, state and records as they are published, for robots and their tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perception.frame import OutputItem
from perception.ros.network import Network, RosError, Topic
from perception.ros.settings import RosSettings
from perception.sinks.kind import SinkKind
from perception.sinks.rotation import RecordingPolicy
from perception.sinks.sink import Sink, SinkError
from perception.sources.source import SourceInfo

if TYPE_CHECKING:
    from perception.ros.publisher import RosPublisher


class RosSink:
    """Publishes what somebody subscribes to; nothing else is encoded.

    Args:
        settings: prefix, frame and topics.
        network: to publish on.
    """

    name, issue = "ros", None

    def __init__(self, settings: RosSettings, network: Network) -> None:
        self._settings, self._network = settings, network
        self._publisher: RosPublisher | None = None

    def open(self, info: SourceInfo, resumes: bool = False) -> None:
        """Enter the network, and offer the topics; raises SinkError."""
        from perception.ros.messages import RosEncoder
        from perception.ros.publisher import RosPublisher
        from perception.ros.types import type_hash

        settings = self._settings
        self._encoder = RosEncoder(
            *(info, settings.prefix, settings.frame_id), base_frame_id=settings.base_frame_id
        )
        latched = {message.topic: message for message in self._encoder.latched()}
        offered = _chosen(self._encoder.topics, settings)
        topics = [
            Topic(name, type_name, type_hash(type_name), name in latched)
            for name, type_name in offered.items()
        ]
        try:
            self._publisher = RosPublisher(self._network, topics)
            for name in latched.keys() & offered.keys():
                self._publisher.publish(name, latched[name].data)
        except RosError as error:
            raise SinkError(str(error)) from None

    def write(self, output: OutputItem) -> None:
        """Publish what is subscribed to; raises SinkError."""
        assert self._publisher is not None
        try:
            wanted = self._publisher.subscribed()
            for message in self._encoder.encode(output, wanted):
                self._publisher.publish(message.topic, message.data)
        except RosError as error:
            raise SinkError(str(error)) from None

    def close(self) -> None:
        """Leave the network."""
        if self._publisher is not None:
            self._publisher.close()


def _chosen(known: dict[str, str], settings: RosSettings) -> dict[str, str]:
    """Those of the topics that the settings name; raises SinkError for one that there is not."""
    chosen = [f"{settings.prefix}/{name}" for name in settings.topics] or list(known)
    if unknown := [name for name in chosen if name not in known]:
        names = ", ".join(name.removeprefix(f"{settings.prefix}/") for name in known)
        raise SinkError(f"ros: there is no topic {unknown[0]}; ros.topics takes {names}")
    return {name: known[name] for name in chosen}


def build_ros(settings: RosSettings, policy: RecordingPolicy, info: SourceInfo) -> Sink:
    """The sink for `settings`; raises SinkError if a package is not installed."""
    try:
        return RosSink(settings, Network.of(settings, must_answer=not info.is_live))
    except RosError as error:
        raise SinkError(str(error)) from None


ROS_SINK: Final = SinkKind(
    settings=RosSettings, group="ros", target="enabled", build=build_ros, is_on_disk=False
)
