"""A bag as a recording: the pictures of one topic, by the time in their headers."""

from __future__ import annotations

import logging
import stat
import statistics
import time
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Final

from perception.frame import Frame
from perception.ros.pictures import COMPRESSED, IMAGE, BrokenPictureError, PictureDecoder
from perception.sources.bag.bag_file import BagFile
from perception.sources.bag.bag_message import PICTURES, VIDEO, BagMessage, BagTopic, lacking
from perception.sources.bag.bag_place import is_bag, place_of
from perception.sources.bag.camera_topics import cameras_among
from perception.sources.bag.video_messages import CODECS, VideoMessages
from perception.sources.counts import SourceCounts
from perception.sources.decoding.frame_times import FrameTimes
from perception.sources.decoding.image_size import MAX_PIXELS
from perception.sources.kind import SourceKind, TypedSource, mode_of
from perception.sources.rate import FALLBACK_RATE_HZ
from perception.sources.settings import SourceSettings
from perception.sources.source import EndOfSource, Source, SourceError, SourceInfo
from perception.system.plugins import NoSettings

log = logging.getLogger(__name__)

MARK: Final = "#"
"""Between a bag and a topic."""
RATE_OVER: Final = 30
"""Messages from whose times the rate is taken."""
LISTED: Final = 6


class BagSource(Source):
    """The pictures of one topic of a bag, in the order of recording.

    Times are those in the headers, from the first one on; of a topic whose first header has none, those of
    recording. A message without a picture is reported once, and counted in `missed_before` of the next frame.

    Args:
        path: of the bag.
        topic: which; None if it has only one with pictures.
        max_pixels: larger pictures are refused before they are decoded.
    """

    def __init__(self, path: Path, topic: str | None = None, max_pixels: int = MAX_PIXELS) -> None:
        self._path, self._wanted, self._max_pixels = path, topic, max_pixels
        self._place = path
        self._bag: BagFile | None = None
        self._first: Frame | None = None
        self._decode_errors = 0
        self._times = FrameTimes(1.0)

    def open(self) -> SourceInfo:
        """Open the bag and decode the topic's first picture; raises SourceError."""
        self.close()
        self._bag = BagFile(self._place)
        self._place = self._bag.place  # of the next round too, if an output is beside it by then
        try:
            return self._begin(self._bag)
        except BaseException:
            self.close()
            raise

    def read(self) -> Frame:
        """The next picture; a bag that is cut off gives all up to the cut, then SourceError."""
        if self._bag is None:
            raise SourceError(f"{self._path}: not open")
        first, self._first = self._first, None
        return first or self._next()

    def rewind(self) -> None:
        """Start over, with ids and times from 0; counters continue. Raises SourceError."""
        times, errors = self._times, self._decode_errors
        super().rewind()
        self._times.count_on(times)
        self._decode_errors += errors

    def close(self) -> None:
        """Close the bag."""
        bag, self._bag, self._first = self._bag, None, None
        if bag is not None:
            bag.close()

    def counts(self) -> SourceCounts:
        """Messages without a picture, damaged pictures and irregular times."""
        times = self._times
        return SourceCounts(
            self._decode_errors, clock_steps=times.clock_steps, strays=times.strays, gaps=times.gaps
        )

    def _begin(self, bag: BagFile) -> SourceInfo:
        topic = self._chosen(bag)
        name = f"{self._path}{MARK}{topic.name}"
        first, times_ns = _look_ahead(bag, topic)
        if first is None:
            raise SourceError(f"{name}: contains no message")
        if not first.problem and (fields := lacking(first.message, topic.type_name)):
            raise SourceError(f"{name}: {topic.type_name} has no {', '.join(fields)} in this bag")
        self._decoder = _decoder(
            topic.type_name, name, self._max_pixels, getattr(first.message, "format", "")
        )
        self._has_stamps = _stamp_ns(first.message) > 0
        rate_hz = _rate_hz(
            [stamp_ns or None if self._has_stamps else log_ns for stamp_ns, log_ns in times_ns]
        )
        self._times = FrameTimes(rate_hz)
        self._frames_read = self._missed = self._decode_errors = 0
        self._messages = bag.messages(topic)
        self._peeked: BagMessage | None = None
        self._cut: SourceError | None = None
        self._problem = ""
        try:
            self._first = self._next()
        except EndOfSource:
            none = f"none of its {self._frames_read} messages has a picture; the first: {self._problem}"
            raise SourceError(f"{name}: {none}") from None
        if self._problem:
            self._report()
        by = "stamps of their headers" if self._has_stamps else "times of recording, as headers have none"
        return SourceInfo(
            *(self._source_id, False, self._first.frame_wh, rate_hz),
            f"{topic.type_name} of {topic.name}, by the {by}",
            is_one_picture=topic.count == 1,
            frames_expected=topic.count,
        )

    @property
    def _source_id(self) -> str:
        return self._path.name

    def _chosen(self, bag: BagFile) -> BagTopic:
        topics = bag.topics
        listed = ", ".join(f"{it.name} ({it.count} {PICTURES[it.type_name]})" for it in topics) or "none"
        if not self._wanted:
            cameras = cameras_among(topics, bag.all_topics)
            if len(cameras) == 1:
                return cameras[0]
            names = [it.name for it in cameras or topics]
            likely = next((name for name in names if "image" in name), *names[:1]) if names else ""
            which = f"; name one, as {self._path}{MARK}{likely}" if names else _others(bag.all_topics)
            masks = "" if cameras or not topics else ", which are masks"
            raise SourceError(f"{self._path}: topics with pictures are {listed}{masks}{which}")
        if named := [topic for topic in topics if topic.name.strip("/") == self._wanted.strip("/")]:
            return max(named, key=lambda topic: topic.count)  # a topic may have had several types
        types = {name.strip("/"): type_name for name, type_name in bag.all_topics.items()}
        if type_name := types.get(self._wanted.strip("/")):
            raise SourceError(
                f"{self._path}: {self._wanted} has messages of {type_name}, which are not pictures; "
                f"topics with pictures are {listed}"
            )
        raise SourceError(
            f"{self._path}: there is no topic {self._wanted}; topics with pictures are {listed}"
        )

    def _next(self) -> Frame:
        while (message := self._take()) is not None:
            time_ns = self._times.time_ns(self._time_of(message), self._next_time_ns)
            frame_id, self._frames_read = self._frames_read, self._frames_read + 1
            if message.is_after_damage:
                self._lose_messages()
            try:
                if message.problem:
                    raise BrokenPictureError(message.problem)
                picture = self._decoder.picture(message.message)
            except BrokenPictureError as error:
                self._miss(frame_id, str(error))
                if isinstance(self._decoder, VideoMessages):
                    self._decoder.lose()
                continue
            missed, self._missed = self._missed, 0
            self._decode_errors += picture.is_damaged
            return Frame(
                source_id=self._source_id,
                frame_id=frame_id,
                captured_ns=time.monotonic_ns(),
                time_ns=time_ns,
                pixels=picture.pixels,
                name=f"{frame_id:06d}",
                is_damaged=picture.is_damaged,
                missed_before=missed,
                jpeg=picture.jpeg,
            )
        if self._cut is not None:
            raise self._cut
        raise EndOfSource

    def _lose_messages(self) -> None:
        """At least one is in a part of the bag that cannot be read."""
        self._missed += 1
        self._decode_errors += 1
        if isinstance(self._decoder, VideoMessages):
            self._decoder.lose()

    def _miss(self, frame_id: int, problem: str) -> None:
        self._missed += 1
        self._decode_errors += 1
        if not self._problem:
            self._problem = f"message {frame_id}: {problem}"
            if frame_id >= self._missed:  # else `open` says it
                self._report()

    def _report(self) -> None:
        log.warning(f"{self._source_id}: {self._problem}; it is left out, like others of its kind")

    def _take(self) -> BagMessage | None:
        message, self._peeked = self._peek(), None
        return message

    def _peek(self) -> BagMessage | None:
        """The next message; None at the end, and where the bag is cut off, which is then in `_cut`."""
        if self._peeked is None and self._cut is None:
            try:
                self._peeked = next(self._messages, None)
            except SourceError as error:
                self._cut = error
        return self._peeked

    def _time_of(self, message: BagMessage) -> int | None:
        """Nanoseconds, as in the header; None for one without a time among others that have one."""
        if not self._has_stamps:
            return message.log_ns
        return None if message.problem else (_stamp_ns(message.message) or None)

    def _next_time_ns(self) -> int | None:
        following = self._peek()
        return None if following is None else self._time_of(following)


def _decoder(type_name: str, name: str, max_pixels: int, form: str) -> PictureDecoder | VideoMessages:
    """For a topic, by the format that its first message states."""
    if type_name == VIDEO or (type_name == COMPRESSED and form.lower() in CODECS):
        return VideoMessages(name, max_pixels)
    return PictureDecoder(COMPRESSED if type_name.endswith("/CompressedImage") else IMAGE, name, max_pixels)


def _others(types: dict[str, str]) -> str:
    """Topics without pictures, for who looks for the right one."""
    listed = [f"{name} ({type_name})" for name, type_name in sorted(types.items())]
    more = f" and {len(listed) - LISTED} more" if len(listed) > LISTED else ""
    return f"; it has {', '.join(listed[:LISTED])}{more}" if listed else ""


def _look_ahead(bag: BagFile, topic: BagTopic) -> tuple[BagMessage | None, list[tuple[int, int]]]:
    """The first message that can be decoded, else the first; stamps and times of recording of some.

    Pictures of the others are not kept. Raises SourceError if the bag is damaged before its first message.
    """
    first: BagMessage | None = None
    times_ns: list[tuple[int, int]] = []
    try:
        for message in islice(bag.messages(topic), RATE_OVER):
            if first is None or (first.problem and not message.problem):
                first = message
                if not message.problem and lacking(message.message, topic.type_name):
                    break
            times_ns.append((_stamp_ns(message.message), message.log_ns))
    except SourceError:
        if first is None:
            raise
        # else reported where reading gets there
    return first, times_ns


def _stamp_ns(message: Any) -> int:
    """Of its header; 0 for none, and for a message that cannot be decoded."""
    if message is None:
        return 0
    stamp = message.timestamp if hasattr(message, "timestamp") else message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def _rate_hz(times_ns: list[int | None]) -> float:
    """By the median step."""
    known = [each for each in times_ns if each is not None]
    steps_ns = [later - earlier for earlier, later in pairwise(known) if later > earlier]
    return 1e9 / statistics.median(steps_ns) if steps_ns else FALLBACK_RATE_HZ


def _parts(name: str) -> tuple[str, str | None]:
    """A bag's path, and the topic behind it."""
    if mode_of(name):
        return name, None
    path, mark, topic = name.rpartition(MARK)
    return (path, topic) if mark else (name, None)


def _claims(typed: TypedSource) -> str | None:
    name, _ = _parts(typed.name)
    mode = mode_of(name)
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        return None
    return typed.name if is_bag(Path(name)) else None


def _build(spec: str, settings: NoSettings, reading: SourceSettings) -> BagSource:
    path, topic = _parts(spec)
    return BagSource(Path(path), topic, reading.max_pixels)


def _files(spec: str) -> list[Path]:
    path = Path(_parts(spec)[0])
    found = [path]
    for folder in {path, _place_or(path)}:
        if folder.is_dir():
            found += sorted(file for file in folder.iterdir() if file.is_file())
    return found


def _place_or(path: Path) -> Path:
    try:
        return place_of(path)
    except SourceError:  # said when it is opened
        return path


BAG: Final = SourceKind(
    settings=NoSettings, form="a bag (BAG#/topic)", claims=_claims, build=_build, files=_files
)
