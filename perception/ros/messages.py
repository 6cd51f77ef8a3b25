"""Published outputs as messages of ROS 2, in CDR: the same bytes for every network and for bags."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.frame import CameraState, EngineState, OutputItem, Prediction
from perception.imaging.polygons import area_rings
from perception.inference.confidence import confidence_at
from perception.labels import COLOURS_RGB, IDS
from perception.ros.metres_messages import laser_scan, occupancy_grid, point_cloud
from perception.ros.types import TOPICS, TOPICS_IN_METRES, typestore
from perception.scene.calibration import CalibrationError
from perception.scene.settings import CalibratedInfo
from perception.sinks.jsonl import record
from perception.sinks.overlay_picture import draw_picture
from perception.sources.source import SourceInfo
from perception.system.json_text import json_text

JPEG_QUALITY: Final = 90
_TYPES: Final = TOPICS | TOPICS_IN_METRES
_OK, _WARN, _ERROR, _STALE = range(4)
_CAMERA_LEVELS: Final = {
    CameraState.OK: _OK,
    CameraState.DEGRADED: _WARN,
    CameraState.BLOCKED: _ERROR,
    CameraState.FROZEN: _ERROR,
    CameraState.STALE: _STALE,
    CameraState.LOST: _STALE,
}
_ENGINE_LEVELS: Final = {
    EngineState.OK: _OK,
    EngineState.FALLBACK: _WARN,
    EngineState.SUSPECT: _ERROR,
    EngineState.STALLED: _STALE,
}
"""Of `diagnostic_msgs/msg/DiagnosticStatus`."""


@dataclass(frozen=True)
class RosMessage:
    """One message."""

    topic: str
    type_name: str
    """Such as `sensor_msgs/msg/Image`."""
    data: bytes
    """CDR, little endian, with its header."""
    stamp_ns: int
    """`header.stamp`, in UTC since 1970; of a message without a header the same."""


class RosEncoder:
    """Makes the messages of outputs.

    `header.stamp` is when the frame was captured, in UTC; of recordings when it was due or read, as in
    records; of an output without a frame when it was published. Class map and confidence have
    the size of the network's mask, which covers the whole frame: a quarter of a megabyte at most, where DDS
    loses larger messages. Without a mask there is neither. What is in metres has the vehicle's frame and the
    same stamp; there are such topics only of a calibrated camera, and messages only where metres are known.

    Args:
        info: of the source.
        prefix: of the topics.
        frame_id: of the headers: the camera's.
        jpeg_quality: of pictures that the camera did not give as JPEG, 1 to 100.
        stamp_of: gives `header.stamp` of an output instead.
        base_frame_id: the vehicle's frame.
    """

    def __init__(
        self,
        info: SourceInfo,
        prefix: str = "/drivable",
        frame_id: str = "camera",
        jpeg_quality: int = JPEG_QUALITY,
        stamp_of: Callable[[OutputItem], int] | None = None,
        base_frame_id: str = "base_link",
    ) -> None:
        self._info, self._prefix = info, prefix
        self._frame_id, self._base_frame_id = frame_id, base_frame_id
        self._jpeg_quality, self._stamp_of = jpeg_quality, stamp_of or utc_stamp_ns
        self._store = typestore()
        self._makers: dict[str, Callable[[OutputItem], Any]] = {
            "class_map": self._class_map,
            "confidence": self._confidence,
            "image/compressed": self._picture,
            **({"camera_info": self._camera_info} if isinstance(info, CalibratedInfo) else {}),
            "overlay/compressed": self._overlay,
            "outlines": self._outlines,
            "state": self._state,
            "record": self._record,
        }
        if isinstance(info, CalibratedInfo):
            self._makers |= {
                "occupancy_grid": self._occupancy_grid,
                "scan": self._scan,
                "points": self._points,
            }

    @property
    def topics(self) -> dict[str, str]:
        """Type of every topic that `encode` gives, and of those that `latched` gives."""
        made = {self._topic(name): _TYPES[name] for name in self._makers}
        return made | {message.topic: message.type_name for message in self.latched()}

    def latched(self) -> list[RosMessage]:
        """Messages that hold for the whole run."""
        classes = [self._new("vision_msgs/msg/VisionClass", number, name) for name, number in IDS.items()]
        stamp_ns = time.time_ns()
        labels = self._new(_TYPES["labels"], self._header(stamp_ns), classes, 0.0)
        return [self._message("labels", labels, stamp_ns)]

    def encode(self, output: OutputItem, topics: Collection[str] | None = None) -> list[RosMessage]:
        """The messages of one output.

        Args:
            topics: which are expected; nothing is done for the others. All by default.
        """
        messages = []
        for name, make in self._makers.items():
            if topics is not None and self._topic(name) not in topics:
                continue
            if (message := make(output)) is not None:
                messages.append(self._message(name, message, self._stamp_of(output)))
        return messages

    def _class_map(self, output: OutputItem) -> Any:
        if not isinstance(output, Prediction) or not output.has_mask:
            return None
        return self._image(output, output.class_map)

    def _confidence(self, output: OutputItem) -> Any:
        if not isinstance(output, Prediction) or not output.has_mask or output.confidence is None:
            return None
        height, width = output.class_map.shape
        return self._image(output, confidence_at(output.confidence, (width, height)))

    def _picture(self, output: OutputItem) -> Any:
        if not isinstance(output, Prediction):
            return None
        if output.frame.jpeg is not None:
            return self._compressed(output, np.frombuffer(output.frame.jpeg, np.uint8))
        return self._jpeg(output, output.frame.image_bgr)

    def _camera_info(self, output: OutputItem) -> Any:
        """Of the picture; none where the calibration is of pictures of another shape."""
        if not isinstance(self._info, CalibratedInfo) or not isinstance(output, Prediction):
            return None
        try:
            intrinsics = self._info.calibration.at(output.frame_wh).intrinsics
        except CalibrationError:
            return None
        width, height = intrinsics.frame_wh
        matrix = intrinsics.camera_matrix
        return self._new(
            *("sensor_msgs/msg/CameraInfo", self._header(self._stamp_of(output)), height, width),
            *(intrinsics.distortion_model, intrinsics.distortion, matrix.ravel(), np.eye(3).ravel()),
            *(np.column_stack([matrix, np.zeros(3)]).ravel(), 0, 0),
            self._new("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False),
        )

    def _overlay(self, output: OutputItem) -> Any:
        return self._jpeg(output, draw_picture(output))

    def _outlines(self, output: OutputItem) -> Any:
        """Without a mask none, so that no viewer keeps those of the frame before."""
        points = []
        if isinstance(output, Prediction) and output.has_mask:
            thickness_px = max(1.0, output.frame_wh[1] / 240)
            for name in output.labels:
                if (colour_rgb := COLOURS_RGB.get(IDS[name])) is None:
                    continue
                colour = self._new("foxglove_msgs/msg/Color", *(value / 255 for value in colour_rgb), 1.0)
                for area in area_rings(output.class_map, IDS[name], output.frame_wh):
                    points += [
                        self._outline(ring, colour, thickness_px, self._stamp_of(output)) for ring in area
                    ]
        return self._new("foxglove_msgs/msg/ImageAnnotations", [], points, [])

    def _outline(self, ring: NDArray[np.float64], colour: Any, thickness_px: float, stamp_ns: int) -> Any:
        corners = [self._new("foxglove_msgs/msg/Point2", x, y) for x, y in ring.tolist()]
        clear = self._new("foxglove_msgs/msg/Color", 0.0, 0.0, 0.0, 0.0)
        time, loop = self._time(stamp_ns), self._store.types["foxglove_msgs/msg/PointsAnnotation"].LINE_LOOP
        return self._new(
            *("foxglove_msgs/msg/PointsAnnotation", time, loop, corners, colour, [], clear, thickness_px)
        )

    def _state(self, output: OutputItem) -> Any:
        camera_says = output.camera_reason or output.camera_state.value
        engine_says = output.engine_reason or output.engine_state.value
        age = "" if output.age_ms is None else f"{output.age_ms:.1f}"
        statuses = [
            self._status(
                *(_CAMERA_LEVELS[output.camera_state], "camera", camera_says, output.source_id),
                {"state": output.camera_state.value, "age_ms": age},
            ),
            self._status(
                *(_ENGINE_LEVELS[output.engine_state], "engine", engine_says, output.model_id),
                {"state": output.engine_state.value, "provider": output.provider, **_figures(output)},
            ),
        ]
        return self._new(
            "diagnostic_msgs/msg/DiagnosticArray", self._header(self._stamp_of(output)), statuses
        )

    def _status(self, level: int, part: str, says: str, of: str, values: dict[str, str]) -> Any:
        pairs = [self._new("diagnostic_msgs/msg/KeyValue", name, value) for name, value in values.items()]
        name = f"{self._prefix[1:]}: {part}"
        return self._new("diagnostic_msgs/msg/DiagnosticStatus", level, name, says, of, pairs)

    def _record(self, output: OutputItem) -> Any:
        return self._new("std_msgs/msg/String", json_text(record(output)))

    def _occupancy_grid(self, output: OutputItem) -> Any:
        metres = output.valid_metres
        return metres and occupancy_grid(self._new, self._ground_header(output), metres)

    def _scan(self, output: OutputItem) -> Any:
        metres = output.valid_metres
        return metres and laser_scan(self._new, self._ground_header(output), metres)

    def _points(self, output: OutputItem) -> Any:
        if not isinstance(output, Prediction) or (metres := output.valid_metres) is None:
            return None
        height, width = output.class_map.shape
        header = self._ground_header(output)
        return point_cloud(self._new, header, metres, (width, height), output.frame_wh)

    def _image(self, output: OutputItem, plane: NDArray[np.uint8]) -> Any:
        height, width = plane.shape
        header = self._header(self._stamp_of(output))
        data = np.ascontiguousarray(plane).reshape(-1)
        return self._new("sensor_msgs/msg/Image", header, height, width, "mono8", 0, width, data)

    def _jpeg(self, output: OutputItem, image_bgr: NDArray[np.uint8]) -> Any:
        _, data = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, self._jpeg_quality])
        return self._compressed(output, np.asarray(data, np.uint8))

    def _compressed(self, output: OutputItem, data: NDArray[np.uint8]) -> Any:
        header = self._header(self._stamp_of(output))
        return self._new("sensor_msgs/msg/CompressedImage", header, "jpeg", data)

    def _header(self, stamp_ns: int) -> Any:
        return self._new("std_msgs/msg/Header", self._time(stamp_ns), self._frame_id)

    def _ground_header(self, output: OutputItem) -> Any:
        return self._new("std_msgs/msg/Header", self._time(self._stamp_of(output)), self._base_frame_id)

    def _time(self, stamp_ns: int) -> Any:
        return self._new("builtin_interfaces/msg/Time", *divmod(stamp_ns, 1_000_000_000))

    def _new(self, type_name: str, *fields: Any) -> Any:
        return self._store.types[type_name](*fields)

    def _message(self, name: str, message: Any, stamp_ns: int) -> RosMessage:
        type_name = _TYPES[name]
        data = bytes(self._store.serialize_cdr(message, type_name))
        return RosMessage(self._topic(name), type_name, data, stamp_ns)

    def _topic(self, name: str) -> str:
        return f"{self._prefix}/{name}"


def _figures(output: OutputItem) -> dict[str, str]:
    """Of a mask, for plots."""
    if not isinstance(output, Prediction) or not output.has_mask:
        return {}
    figures = {f"{name}_share": f"{share:.4f}" for name, share in output.named_shares.items()}
    if output.certainty is not None and output.certainty.p5 is not None:
        figures["certainty_p5"] = f"{output.certainty.p5:.4f}"
    return figures


def utc_stamp_ns(output: OutputItem) -> int:
    """When its frame was captured, in UTC; see `RosEncoder`."""
    if (trace := output.trace) is None:
        return time.time_ns()
    if not isinstance(output, Prediction):
        return trace.published_utc_ns
    return trace.captured_utc_ns or trace.tie.utc_ns(output.captured_ns)
