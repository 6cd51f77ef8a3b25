"""Pictures from a topic of ROS 2, as they are published."""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from typing import Final

from perception.frame import Frame
from perception.provenance.utc import UtcClock
from perception.ros.network import Listening, Message, Network, RosError
from perception.ros.pictures import PICTURE_TYPES, BrokenPictureError, PictureDecoder
from perception.ros.settings import RosSettings, is_name
from perception.sources.arrival import ArrivalClock
from perception.sources.counts import SourceCounts
from perception.sources.decoding.frame_times import CaptureTimes
from perception.sources.kind import Isolation, SourceKind, TypedSource, isolation_of
from perception.sources.rate import FALLBACK_RATE_HZ
from perception.sources.settings import SourceSettings
from perception.sources.source import Source, SourceError, SourceInfo

SCHEME: Final = "ros:"
PLAUSIBLE_NS: Final = 1_000_000_000
"""A stamp that is at most so old on arrival is of a clock that agrees with ours."""
_LOOK_S: Final = 0.1
"""Interval of looks for a topic that is not there yet."""
_LISTED: Final = 6


def stamp_ns(data: bytes) -> int:
    """`header.stamp` of a message in CDR that begins with a header; 0 if it is none."""
    if len(data) < 12:
        return 0
    seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return max(0, int(seconds)) * 1_000_000_000 + int(nanoseconds)


class StampClock:
    """Capture times on our monotonic clock, from the stamps in headers.

    Stamps in UTC are taken as they are, if the first is plausible. Those of any other clock (a simulation,
    a bag that is played, a machine without NTP) give the intervals alone, and stamps of zero nothing. Either
    clock may be set meanwhile.

    Args:
        utc: relates UTC to the monotonic clock.
    """

    def __init__(self, utc: UtcClock) -> None:
        self._utc = utc
        self._arrivals: ArrivalClock | None = None
        self._is_utc = False

    @property
    def kind(self) -> str:
        """What the stamps are, for the log."""
        if self._arrivals is None:
            return "without stamps"
        return "stamps in UTC" if self._is_utc else "stamps of another clock"

    def captured_ns(self, stamp_ns: int, received_ns: int) -> int:
        """Capture time of a picture; at most its arrival.

        Args:
            stamp_ns: of the header; 0 for none.
            received_ns: `time.monotonic_ns()` at arrival.
        """
        offset_ns = self._utc.tie().offset_ns
        if self._arrivals is None:
            if stamp_ns == 0:
                return received_ns
            self._is_utc = abs(received_ns + offset_ns - stamp_ns) <= PLAUSIBLE_NS
            self._arrivals = ArrivalClock(0 if self._is_utc else None)
        pts_ns = (stamp_ns - offset_ns if self._is_utc else stamp_ns) if stamp_ns else None
        return self._arrivals.captured_ns(pts_ns, received_ns)


class RosSource(Source):
    """The newest picture of a topic. Missed ones are counted by the publisher's numbers, if it gives them.

    Args:
        topic: with the / before it.
        settings: how the network is reached.
        open_timeout_s: limit for the topic to be there, and for its first picture.
        read_timeout_s: limit for every other picture.
        max_pixels: larger pictures are refused before they are decoded.
    """

    def __init__(
        self, topic: str, settings: RosSettings, open_timeout_s: float, read_timeout_s: float, max_pixels: int
    ) -> None:
        self._topic, self._name, self._settings = topic, f"{SCHEME}{topic}", settings
        self._open_timeout_s, self._read_timeout_s = open_timeout_s, read_timeout_s
        self._max_pixels = max_pixels
        self._network: Listening | None = None
        self._first: Frame | None = None
        self._decode_errors = 0

    def open(self) -> SourceInfo:
        """Find the topic, and take its first picture."""
        self.close()
        until_s = time.monotonic() + self._open_timeout_s
        self._decode_errors = self._frames = 0
        self._stamps, self._times = StampClock(UtcClock()), CaptureTimes()
        self._last_number: int | None = None
        try:
            self._network = Network.of(self._settings, must_answer=True).listening()
            type_name = self._type_of(self._network, until_s)
            self._decoder = PictureDecoder(type_name, self._name, self._max_pixels)
            self._network.subscribe(self._topic, type_name)
        except RosError as error:
            raise SourceError(f"{self._name}: {str(error).removeprefix('ros: ')}") from None
        first = self._first = self._next(until_s, self._open_timeout_s)
        description = f"{type_name}, {self._stamps.kind}, {self._network.description}"
        return SourceInfo(
            self._name, True, first.frame_wh, FALLBACK_RATE_HZ, description, rate_kind="assumed"
        )

    def read(self) -> Frame:
        """The newest picture; raises SourceError if there is none within `read_timeout_s`."""
        if self._network is None:
            raise SourceError(f"{self._name}: not open")
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return self._next(time.monotonic() + self._read_timeout_s, self._read_timeout_s)

    def close(self) -> None:
        """Leave the network."""
        network, self._network, self._first = self._network, None, None
        if network is not None:
            network.close()

    def counts(self) -> SourceCounts:
        """Pictures that could not be decoded."""
        return SourceCounts(self._decode_errors)

    def _type_of(self, network: Listening, until_s: float) -> str:
        """The topic's type, once somebody publishes it; raises SourceError."""
        while not (types := (published := network.published()).get(self._topic, [])):
            if time.monotonic() >= until_s:
                raise SourceError(f"{self._name}: nobody publishes this topic; {_pictures_among(published)}")
            time.sleep(_LOOK_S)
        for type_name in types:
            if type_name in PICTURE_TYPES:
                return type_name
        raise SourceError(
            f"{self._name}: is of the type {types[0]}, which holds no picture; {_pictures_among(published)}"
        )

    def _next(self, until_s: float, limit_s: float) -> Frame:
        """The newest picture; raises SourceError if none comes in time that can be decoded."""
        assert self._network is not None
        missed, problem = 0, ""
        while (left_s := until_s - time.monotonic()) > 0:
            message = self._network.newest(left_s)
            if message is None:
                continue
            received_ns = time.monotonic_ns()
            missed += self._missed_before(message)
            captured_ns = self._stamps.captured_ns(stamp_ns(message.data), received_ns)
            try:
                picture = self._decoder.decode(message.data)
            except BrokenPictureError as error:
                self._decode_errors += 1
                missed, problem = missed + 1, f" that can be decoded: {error}"
                continue
            self._decode_errors += picture.is_damaged
            frame_id, self._frames = self._frames, self._frames + 1
            return Frame(
                source_id=self._name,
                frame_id=frame_id,
                captured_ns=captured_ns,
                time_ns=self._times.time_ns(captured_ns),
                pixels=picture.pixels,
                name=f"{frame_id:06d}",
                is_damaged=picture.is_damaged,
                missed_before=missed,
                jpeg=picture.jpeg,
            )
        raise SourceError(f"{self._name}: no picture for {limit_s:g} s{problem}")

    def _missed_before(self, message: Message) -> int:
        """Pictures between this one and the one before, where their publisher numbers them."""
        last, self._last_number = self._last_number, message.number
        if last is None or message.number is None:
            return 0
        return max(0, message.number - last - 1)


def _pictures_among(published: Mapping[str, list[str]]) -> str:
    """The topics with pictures, for messages."""
    found = [name for name, types in sorted(published.items()) if PICTURE_TYPES & set(types)]
    if not found:
        return "no topic with pictures is published"
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    return f"pictures are on {', '.join(found[:_LISTED])}{more}"


def _claims(typed: TypedSource) -> str | None:
    if typed.scheme != "ros":
        return None
    topic = typed.text[len(SCHEME) :]
    if not (topic.startswith("/") and is_name(topic[1:])):
        raise SourceError(f"{typed.text}: is not a ROS topic; name one such as ros:/camera/image_raw")
    return f"{SCHEME}{topic}"


def _build(spec: str, settings: RosSettings, reading: SourceSettings) -> RosSource:
    return RosSource(
        spec.removeprefix(SCHEME),
        settings,
        reading.open_timeout_s,
        reading.read_timeout_s,
        reading.max_pixels,
    )


def _isolation(spec: str, settings: RosSettings, reading: SourceSettings) -> Isolation:
    """Refuses at once what would fail whenever it is opened again."""
    try:
        Network.of(settings, must_answer=True)
    except RosError as error:
        raise SourceError(f"{spec}: {str(error).removeprefix('ros: ')}") from None
    return isolation_of(_build, spec, settings, reading)


ROS: Final = SourceKind(
    settings=RosSettings,
    group="ros",
    form="ros:/camera/image_raw",
    claims=_claims,
    build=_build,
    is_live=lambda spec: True,
    isolation=_isolation,
)
