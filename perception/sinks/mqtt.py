"""State, records and snapshots to an MQTT broker, for fleets, dashboards and Home Assistant."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from perception.frame import OutputItem
from perception.provenance.utc import utc_text
from perception.sinks.jsonl import record
from perception.sinks.kind import SinkKind
from perception.sinks.mqtt_connection import BrokerAddress, BrokerConnection
from perception.sinks.overlay_picture import draw_picture, encode_picture
from perception.sinks.rotation import RecordingPolicy
from perception.sinks.sink import Sink, SinkError
from perception.sources.network.tls import CertificateSettings
from perception.sources.source import SourceInfo
from perception.system.json_text import json_text
from perception.system.redaction import redacted_url

log = logging.getLogger(__name__)

REASONS_HZ: Final = 1.0
"""How often a state is sent at most of which only the reason is another, or whether there are metres: most
reasons hold a time that runs."""


@dataclass(frozen=True)
class MqttSettings(CertificateSettings):
    """State, records and snapshots to an MQTT broker."""

    mqtt: Annotated[str, "mqtt(s)://HOST/TOPIC"] | None = None
    """Broker, as mqtt://[user:password@]host[:port]/topic; needs pip install 'drivable[mqtt]'."""
    mqtt_rate_hz: float = 5.0
    """Records a second at most, and snapshots; a change of state is sent at once."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if self.mqtt_rate_hz <= 0:
            raise ValueError(f"mqtt_rate_hz is {self.mqtt_rate_hz}; it must be above 0")
        if self.mqtt is not None:
            try:
                BrokerAddress.of(self.mqtt)
            except ValueError as error:
                raise ValueError(f"mqtt is {redacted_url(self.mqtt)}: {error}") from None
        super().__post_init__()


class Pace:
    """Lets through so many a second at most.

    Args:
        rate_hz: how many.
        clock_ns: monotonic.
    """

    def __init__(self, rate_hz: float, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._period_ns, self._clock_ns = round(1e9 / rate_hz), clock_ns
        self._due_ns = 0

    def is_due(self) -> bool:
        """Whether the next one may go now; it then counts as gone."""
        now_ns = self._clock_ns()
        late_ns = now_ns - self._due_ns
        if late_ns < 0:
            return False
        # by when it was due, so that 25 frames a second make 5 and not 4 records
        self._due_ns = (self._due_ns if late_ns < self._period_ns else now_ns) + self._period_ns
        return True


def state(output: OutputItem) -> dict[str, Any]:
    """What holds now, ready for JSON; while `online` is false, there is nothing in it but a reason."""
    return {
        "online": True,
        "source_id": output.source_id,
        "camera": {"state": output.camera_state, "reason": output.camera_reason},
        "engine": {
            "state": output.engine_state,
            "provider": output.provider,
            "reason": output.engine_reason,
        },
        "has_mask": output.has_mask,
        "has_metres": output.valid_metres is not None,
        "model_id": output.model_id,
        "published_utc": utc_text(output.trace.published_utc_ns) if output.trace else None,
    }


def offline(reason: str) -> str:
    """The state of a node that has gone."""
    return json_text({"online": False, "reason": reason})


class MqttSink:
    """Publishes `state`, retained, `record`, and on `snapshot/get` a `snapshot`, all below one topic.

    While the broker is away nothing is kept for it: when it is back, it gets what holds then.

    Args:
        address: of the broker.
        rate_hz: records a second at most.
        connection: to the broker, not yet open.
        must_answer: a broker that cannot be reached at the start is an error, and not waited for.
    """

    name = "mqtt"

    def __init__(
        self, address: BrokerAddress, rate_hz: float, connection: BrokerConnection, *, must_answer: bool
    ) -> None:
        self._address, self._connection, self._must_answer = address, connection, must_answer
        self._records, self._snapshots, self._reasons = Pace(rate_hz), Pace(rate_hz), Pace(REASONS_HZ)
        self._is_open = False
        self._connects = self._unsent = 0
        self._sent: tuple[object, ...] = ()
        self._sent_reasons: tuple[str | bool | None, ...] = ()
        self.issue: str | None = None

    def open(self, info: SourceInfo, resumes: bool = False) -> None:
        """Connect; raises SinkError if the broker refuses, or must answer and cannot be reached."""
        self._is_open = True
        self._connection.open()
        problem = self._connection.problem
        if problem is None:
            return
        if self._connection.is_refused or (self._must_answer and not resumes):
            raise SinkError(f"{self._address.name}: {problem}")
        log.warning(f"mqtt: {self._address.name}: {problem}; trying again until it answers")

    def write(self, output: OutputItem) -> None:
        """Publish what is due of it."""
        self._greet()
        self._send_state(output)
        if self._records.is_due():
            self._send_record(output)
        if self._connection.is_asked.is_set() and self._snapshots.is_due():
            self._send_snapshot(output)

    def close(self) -> None:
        """Publish that the run has ended, and hang up."""
        if not self._is_open:
            return
        self._is_open = False
        problem = self._connection.close(self._topic("state"), offline("ended").encode())
        if problem is not None:
            self.issue = (
                f"{self._address.name}: the end of the run could not be published: {problem}; "
                f"{self._unsent} records were not sent"
            )

    def _greet(self) -> None:
        """Note that the connection is another one than before, if it is."""
        connects = self._connection.connects
        if connects != self._connects:
            lost = f"; {self._unsent} records were not sent so far" if self._unsent else ""
            log.info(f"mqtt: {self._address.name}: connected{lost}")
            self._connects = connects

    def _send_state(self, output: OutputItem) -> None:
        now = (self._connects, output.camera_state, output.engine_state, output.has_mask)
        reasons = (output.camera_reason, output.engine_reason, output.valid_metres is not None)
        if now == self._sent and (reasons == self._sent_reasons or not self._reasons.is_due()):
            return
        if self._connection.send(self._topic("state"), json_text(state(output)).encode(), retain=True):
            self._sent, self._sent_reasons = now, reasons

    def _send_record(self, output: OutputItem) -> None:
        topic = self._topic("record")
        is_sent = False
        if self._connection.can_send(topic):  # asked first, because outlines take time
            is_sent = self._connection.send(topic, json_text(record(output)).encode())
        self._unsent += not is_sent

    def _send_snapshot(self, output: OutputItem) -> None:
        topic = self._topic("snapshot")
        if not self._connection.can_send(topic):
            return
        picture = encode_picture(draw_picture(output), ".jpg", None)
        if picture is not None and self._connection.send(topic, picture):
            self._connection.is_asked.clear()

    def _topic(self, name: str) -> str:
        return f"{self._address.topic}/{name}"


def build_mqtt(settings: MqttSettings, policy: RecordingPolicy, info: SourceInfo) -> Sink:
    """The sink for `settings.mqtt`; raises SinkError if the package is not installed."""
    address = BrokerAddress.of(str(settings.mqtt))
    connection = BrokerConnection(
        *(address, settings.tls),
        last_will=(f"{address.topic}/state", offline("lost")),
        asked_by=f"{address.topic}/snapshot/get",
    )
    return MqttSink(address, settings.mqtt_rate_hz, connection, must_answer=not info.is_live)


MQTT_SINK: Final = SinkKind(settings=MqttSettings, target="mqtt", build=build_mqtt, is_on_disk=False)
