"""ROS 2 by rclpy, as it is installed on the machine: whatever middleware that uses.

The context is our own, so that the program's signals, arguments and log stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.utilities import get_rmw_implementation_identifier

from perception.ros.network import DEPTH, Message, Network, RosError, Topic


class _OnNetwork:
    """A node on the network."""

    def __init__(self, network: Network) -> None:
        namespace, name = network.namespace_and_name
        self._context = Context()
        self._context.init(args=[], initialize_logging=False, domain_id=network.domain)
        self._node = Node(
            name,
            namespace=namespace,
            context=self._context,
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
            parameter_overrides=[Parameter("start_type_description_service", value=False)],
        )
        middleware = get_rmw_implementation_identifier()
        self.description = f"rclpy with {middleware}, domain {network.domain}"

    def close(self) -> None:
        """Leave the network."""
        self._node.destroy_node()
        self._context.try_shutdown()


class RclpyPublishing(_OnNetwork):
    """See `Publishing`."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self._is_reliable = network.is_reliable
        self._publishers: dict[str, Any] = {}
        self._latched: set[str] = set()

    def advertise(self, topic: Topic) -> None:
        """Offer a topic; raises RosError if its type is not installed."""
        qos = _qos(self._is_reliable)
        if topic.is_latched:
            qos = QoSProfile(
                depth=1,
                reliability=ReliabilityPolicy.RELIABLE,
                durability=DurabilityPolicy.TRANSIENT_LOCAL,
            )
            self._latched.add(topic.name)
        kind = _message_class(topic.type_name)
        self._publishers[topic.name] = self._node.create_publisher(kind, topic.name, qos)

    def publish(self, topic: str, data: bytes) -> None:
        """Send CDR to who subscribes now."""
        self._publishers[topic].publish(data)

    def subscribed(self) -> list[str]:
        """Topics with subscribers, latched ones left out."""
        return [
            name
            for name, publisher in self._publishers.items()
            if name not in self._latched and publisher.get_subscription_count()
        ]


class RclpyListening(_OnNetwork):
    """See `Listening`."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._newest: Message | None = None

    def published(self) -> Mapping[str, list[str]]:
        """Types of every topic that somebody publishes."""
        known = self._node.get_topic_names_and_types()
        return {name: types for name, types in known if self._node.count_publishers(name)}

    def subscribe(self, topic: str, type_name: str) -> None:
        """From now on `newest` gives the messages of this topic; raises RosError."""
        kind = _message_class(type_name)
        publishers = self._node.get_publishers_info_by_topic(topic)
        # where they offer it, as DDS loses pictures that do not fit into its shared memory
        is_reliable = all(one.qos_profile.reliability == ReliabilityPolicy.RELIABLE for one in publishers)
        self._node.create_subscription(kind, topic, self._take, _qos(is_reliable, depth=1), raw=True)

    def newest(self, timeout_s: float) -> Message | None:
        """The newest message that was not given yet, waited for; None if there is none in time."""
        self._executor.spin_once(timeout_sec=max(0.0, timeout_s))
        newest, self._newest = self._newest, None
        return newest

    def close(self) -> None:
        """Leave the network."""
        self._executor.shutdown()
        super().close()

    def _take(self, data: bytes, info: Mapping[str, Any]) -> None:
        self._newest = Message(data, info.get("publication_sequence_number"))


def _qos(is_reliable: bool, depth: int = DEPTH) -> QoSProfile:
    reliability = ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT
    return QoSProfile(depth=depth, reliability=reliability)


def _message_class(type_name: str) -> Any:
    """The class of a type; raises RosError if it is not installed."""
    package, _, name = type_name.partition("/msg/")
    try:
        kind = getattr(import_module(f"{package}.msg"), name)
        kind.__class__.__import_type_support__()
    except (ImportError, AttributeError, OSError) as error:
        raise RosError(f"{type_name} is not installed ({' '.join(str(error).split())})") from None
    return kind
