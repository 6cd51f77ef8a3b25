"""A bag: pictures, masks, state and records as messages of ROS 2 in an MCAP file."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from perception import __version__
from perception.frame import OutputItem
from perception.ros.settings import is_name
from perception.sinks.claim import Claim
from perception.sinks.file_sink import FileSink
from perception.sinks.kind import SinkKind
from perception.sinks.naming import refuse_folder
from perception.sinks.open_file import OpenMode
from perception.sinks.rotation import RecordingPolicy, Segments
from perception.sinks.sink import Sink, SinkError
from perception.sources.source import SourceInfo
from perception.system.plugins import Checked

if TYPE_CHECKING:
    from perception.sinks.mcap_file import McapFile

SUFFIX: Final = ".mcap"
_PICTURE: Final = "image/compressed"
_OVERLAY: Final = "overlay/compressed"
_POINTS: Final = "points"


@dataclass(frozen=True)
class McapSettings(Checked):
    """A bag, for Foxglove, Rerun and ROS 2."""

    mcap: Annotated[str, "FILE.mcap"] | None = None
    """Bag to write; needs pip install 'drivable[mcap]'."""
    mcap_picture: bool = True
    """With the camera's pictures."""
    mcap_overlay: bool = False
    """With the overlay too."""
    mcap_points: bool = False
    """With the cloud of points too, where there is a calibration: 12 bytes for each pixel of the mask."""
    mcap_quality: int = 90
    """Quality of the pictures in the bag, 1 to 100, as JPEG."""
    mcap_prefix: str = "/drivable"
    """Of the topics in the bag."""
    mcap_frame_id: str = "camera"
    """Coordinate frame of the camera, in the headers of the bag's messages."""
    mcap_base_frame_id: str = "base_link"
    """The vehicle's, of what is in metres."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if self.mcap is not None:
            refuse_folder("mcap", self.mcap)
        if not 1 <= self.mcap_quality <= 100:
            raise ValueError(f"mcap_quality is {self.mcap_quality}; it must be from 1 to 100")
        if not (self.mcap_prefix.startswith("/") and is_name(self.mcap_prefix[1:])):
            raise ValueError(
                f"mcap_prefix is {self.mcap_prefix!r}; a ROS name is expected, such as /drivable or /front"
            )
        super().__post_init__()


class McapSink(FileSink["McapFile"]):
    """Writes the messages of every output, of `RosEncoder`'s topics.

    Messages are stamped with the frame's capture in UTC, and logged when they were published; of a recording
    both are the UTC of its first frame plus the frame's own time, so that it is played at its own pace.
    After a restart, and if it appends to an earlier run, it leaves the file alone and begins a numbered one.
    Memory: the messages of one output, a chunk, and the index.
    """

    name = "mcap"
    _noun = "a bag"
    _segments: Segments

    def __init__(self, settings: McapSettings, policy: RecordingPolicy | None = None) -> None:
        file = str(settings.mcap)
        super().__init__(file, Path(file), policy)
        self._settings = settings
        self._start_ns: int | None = None

    def _open(self, info: SourceInfo, resumes: bool) -> None:
        from perception.ros.messages import RosEncoder

        settings = self._settings
        self._info = info
        self._encoder = RosEncoder(
            *(info, settings.mcap_prefix, settings.mcap_frame_id, settings.mcap_quality),
            stamp_of=self._stamp_ns,
            base_frame_id=settings.mcap_base_frame_id,
        )
        is_wanted = {
            _PICTURE: settings.mcap_picture,
            _OVERLAY: settings.mcap_overlay,
            _POINTS: settings.mcap_points,
        }
        unwanted = {f"{settings.mcap_prefix}/{name}" for name, wanted in is_wanted.items() if not wanted}
        self._topics = {
            name: type_name for name, type_name in self._encoder.topics.items() if name not in unwanted
        }
        super()._open(info, resumes)

    def _make(self, path: Path, opening: OpenMode, claim: Claim) -> McapFile:
        from perception.sinks.mcap_file import McapFile

        return McapFile(path, opening, claim)

    def _write(self, output: OutputItem) -> None:
        segment = self._segment_at(output.time_ns)
        if segment is None:
            return
        messages = self._encoder.encode(output, self._topics)
        if not segment.has_begun:
            self._begin(segment, output)
            messages = [*self._encoder.latched(), *messages]
        log_ns = self._log_ns(output)
        for message in messages:
            segment.add(message.topic, message.data, log_ns, log_ns)
        segment.end_frame()
        if segment.error is not None:
            self.close()

    def _begin(self, segment: McapFile, output: OutputItem) -> None:
        from perception.ros.types import definition
        from perception.sinks.mcap_file import Topic

        run = asdict(output.trace.run) if output.trace else {}
        metadata = {name: "" if value is None else str(value) for name, value in run.items()}
        metadata |= {"source_id": output.source_id, "model_id": output.model_id}
        topics = [Topic(name, type_name, definition(type_name)) for name, type_name in self._topics.items()]
        segment.begin(f"drivable {__version__}", topics, metadata)

    def _stamp_ns(self, output: OutputItem) -> int:
        from perception.ros.messages import utc_stamp_ns

        if self._info.is_taken_now:
            return utc_stamp_ns(output)
        if self._start_ns is None:
            self._start_ns = utc_stamp_ns(output) - output.time_ns
        return self._start_ns + output.time_ns

    def _log_ns(self, output: OutputItem) -> int:
        if self._info.is_taken_now and output.trace:
            return output.trace.published_utc_ns
        return self._stamp_ns(output)


def build_mcap(settings: McapSettings, policy: RecordingPolicy, info: SourceInfo) -> Sink:
    """The sink for `settings.mcap`; raises SinkError for another suffix, or if a package is not installed."""
    file = str(settings.mcap)
    if Path(file).suffix.lower() != SUFFIX:
        raise SinkError(f"{file}: a bag's name ends in {SUFFIX}")
    for package in ("mcap", "rosbags", "zstandard"):
        if importlib.util.find_spec(package) is None:
            raise SinkError(f"{file}: a bag needs the package {package}; pip install 'drivable[mcap]'")
    return McapSink(settings, policy)


MCAP_SINK: Final = SinkKind(settings=McapSettings, target="mcap", build=build_mcap)
