"""A connection to an MQTT broker that comes back by itself, and on which nothing piles up."""

from __future__ import annotations

import logging
import random
import ssl
from dataclasses import dataclass
from hashlib import sha256
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from perception.sinks.sink import SinkError
from perception.sources.network.address import ESCAPES, Address
from perception.sources.network.tls import TlsSettings, untrusted
from perception.sources.source import SourceError
from perception.system.error_text import text_of
from perception.system.redaction import redacted_url
from perception.system.time_limits import MQTT_CLOSE_LIMIT_S, MQTT_OPEN_LIMIT_S

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo
    from paho.mqtt.reasoncodes import ReasonCode

log = logging.getLogger(__name__)

PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
KEEP_ALIVE_S: Final = 10
"""Without a sign of life for one and a half times as long the broker publishes the last will."""
FIRST_PAUSE_S: Final = 0.5
"""Before another attempt; twice as long each time, up to `LONGEST_PAUSE_S`."""
LONGEST_PAUSE_S: Final = 10.0
_WAKE_S: Final = 0.5
_FOR_NOW: Final = "Server unavailable"


@dataclass(frozen=True)
class BrokerAddress:
    """A broker, and the topic below which all is published."""

    server: Address
    topic: str
    name: str
    """The address for messages, without the password."""

    @classmethod
    def of(cls, url: str) -> BrokerAddress:
        """Parse `mqtt(s)://[user:password@]host[:port]/topic`.

        Raises:
            ValueError: if it is none; the message quotes none of it, as it may be a mistyped password.

        Example:
            >>> address = BrokerAddress.of("mqtt://ann:secret@broker/fleet/7")
            >>> address.server.origin, address.topic, address.name
            (('mqtt', 'broker', 1883), 'fleet/7', 'mqtt://ann:***@broker/fleet/7')
        """
        try:
            server = Address.of(url, PORTS)
        except SourceError as error:
            raise ValueError(str(error)) from None
        topic = unquote(urlsplit(server.bare_url).path).strip("/")
        if server.may_be_cut:
            raise ValueError(f"there is an at sign after the host; {ESCAPES}")
        if not topic:
            raise ValueError("no topic after the host, as in mqtt://broker/fleet/7")
        if "?" in url or "#" in url or any(sign in topic for sign in "+#\0"):
            raise ValueError("a topic contains neither + nor #, and ? is written %3F")
        return cls(server, topic, redacted_url(url))


class BrokerConnection:
    """A connection that a thread keeps up: after a loss it connects again, for as long as it takes.

    Every message has QoS 0. As long as the connection holds none is lost, and on a new one the sender says
    what holds then; with QoS 1 the broker would get, after an outage, states that hold no more. At most one
    message of each topic waits to be sent, so that a broker that takes nothing costs no memory.

    Args:
        address: of the broker.
        tls: how the certificate of `mqtts://` is verified.
        last_will: what the broker publishes, retained, when the connection breaks: topic and text.
        asked_by: topic on which others ask for a snapshot.

    Raises:
        SinkError: if the package is not installed, or the file of authorities cannot be read.
    """

    def __init__(
        self, address: BrokerAddress, tls: TlsSettings, last_will: tuple[str, str], asked_by: str
    ) -> None:
        self._address, self._asked_by = address, asked_by
        self._client = _client(address, tls)
        self._client.will_set(last_will[0], last_will[1], qos=1, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        # that there is one keeps `publish` from writing in the caller's thread
        self._client.on_socket_register_write = lambda *_: None
        self._lock = Lock()
        self._in_flight: dict[str, MQTTMessageInfo] = {}
        self._is_connected = False
        self._refusal: str | None = None
        self._answered, self._is_closing = Event(), Event()
        self._is_over = False
        self._thread = Thread(target=self._keep_up, name="mqtt", daemon=True)
        self.connects = 0
        """How often the broker accepted the connection."""
        self.problem: str | None = f"no answer within {MQTT_OPEN_LIMIT_S:g} s"
        """Why there is no connection; None while there is one."""
        self.is_refused = False
        """Whether another attempt is pointless as long as nobody changes a setting here or there."""
        self.is_asked = Event()
        """Somebody asked for a snapshot."""

    def open(self) -> None:
        """Begin; wait until the broker has answered or cannot be reached, or for the limit."""
        self._thread.start()
        self._answered.wait(MQTT_OPEN_LIMIT_S)

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Publish; False if there is no connection, or the topic's last message still waits to be sent."""
        with self._lock:
            if not self._can_send(topic):
                return False
            sent = self._client.publish(topic, payload, qos=0, retain=retain)
            if sent.rc != 0:  # lost this very moment
                return False
            self._in_flight[topic] = sent
            return True

    def can_send(self, topic: str) -> bool:
        """Whether `send` would publish now."""
        with self._lock:
            return self._can_send(topic)

    def _can_send(self, topic: str) -> bool:
        before = self._in_flight.get(topic)
        return self._is_connected and (before is None or before.rc != 0 or before.is_published())

    def close(self, topic: str, last: bytes) -> str | None:
        """Publish a last message, retained, and hang up; why the broker has not got it, or None."""
        with self._lock:
            sent = self._client.publish(topic, last, qos=0, retain=True) if self._is_connected else None
        problem = self.problem
        if sent is not None:
            try:
                sent.wait_for_publish(MQTT_CLOSE_LIMIT_S)
                problem = None if sent.is_published() else "the broker accepts nothing"
            except RuntimeError:  # lost this very moment
                problem = "the connection was lost"
        self._is_closing.set()
        self._client.disconnect()
        self._thread.join(MQTT_CLOSE_LIMIT_S)
        self._is_over = True  # where the broker accepts nothing, or is just being looked up
        return problem

    def _keep_up(self) -> None:
        """Body of the thread."""
        pause_s = FIRST_PAUSE_S
        while not self._is_closing.is_set():
            problem = self._connection_ended_by()
            with self._lock:
                was_connected, self._is_connected = self._is_connected, False
            if self._is_closing.is_set():
                break
            self.problem = self._refusal or problem
            self._answered.set()
            if was_connected:
                pause_s = FIRST_PAUSE_S
                log.warning(f"mqtt: {self._address.name}: {self.problem}; trying again until it is back")
            # a whole fleet should not come back at the same moment
            self._is_closing.wait(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _connection_ended_by(self) -> str:
        """Connect, and read and write until that ends; the reason, in words."""
        from paho.mqtt.client import MQTT_ERR_SUCCESS, error_string

        self._refusal, self.is_refused = None, False
        try:
            status = self._client.reconnect()
            while status == MQTT_ERR_SUCCESS and not self._is_over:
                status = self._client.loop(_WAKE_S)
        except ssl.SSLCertVerificationError as error:
            self.is_refused = True
            return untrusted(error)
        except ssl.SSLError as error:
            return f"no TLS version in common ({error.reason or 'unknown'})"
        except (OSError, ValueError) as error:  # ValueError: a host name that cannot be one
            return getattr(error, "strerror", None) or text_of(error)
        return error_string(status).rstrip(".").lower()

    def _on_connect(self, client: Client, data: Any, flags: Any, reason: ReasonCode, _: Any) -> None:
        if reason.is_failure:
            self.is_refused = reason.getName() != _FOR_NOW
            hint = "; check its user and password" if self.is_refused else ""
            self._refusal = f"refused by the broker: {reason.getName().lower()}{hint}"
            return
        client.subscribe(self._asked_by)
        with self._lock:
            self._in_flight.clear()
            self._is_connected = True
            self.connects += 1
        self.problem = None
        self._answered.set()

    def _on_message(self, client: Client, data: Any, message: MQTTMessage) -> None:
        if not message.retain:  # one that is kept would be asked again with every connection
            self.is_asked.set()


class _ClosingSocket(ssl.SSLSocket):
    """Closes itself where its handshake fails; paho leaves that to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def _client(address: BrokerAddress, tls: TlsSettings) -> Client:
    try:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion
    except ImportError as error:
        raise SinkError(
            f"--mqtt needs a package that is not installed ({text_of(error)}); pip install 'drivable[mqtt]'"
        ) from error
    server = address.server
    # Of one name for each topic: a vehicle that comes back takes over from its own broken connection, whose
    # last will then comes before what it says, and not a quarter of a minute after.
    name = f"drivable-{sha256(address.topic.encode()).hexdigest()[:12]}"
    client = Client(CallbackAPIVersion.VERSION2, client_id=name)
    client.connect_timeout = MQTT_OPEN_LIMIT_S
    if server.userinfo:
        client.username_pw_set(server.user, server.password or None)
    if server.scheme == "mqtts":
        try:
            context = tls.context()
        except SourceError as error:
            raise SinkError(str(error)) from None
        context.sslsocket_class = _ClosingSocket
        client.tls_set_context(context)
    _, host, port = server.origin
    client.connect_async(host, port, KEEP_ALIVE_S)
    return client
