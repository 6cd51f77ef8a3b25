"""Result: what is known of one frame, in pixels of that frame."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from perception.frame import CameraState, Certainty, EngineState, Frame, OutputItem, Prediction
from perception.imaging.polygons import Polygon, outlines
from perception.inference.confidence import confidence_at
from perception.labels import BACKGROUND, IDS
from perception.scene.metres import Metres
from perception.sinks.jsonl import record
from perception.sinks.overlay_images import OverlayImageSink
from perception.sinks.overlay_picture import draw_picture
from perception.sinks.rotation import RecordingPolicy
from perception.sinks.sink import SinkError
from perception.sources.source import SourceInfo

if TYPE_CHECKING:
    import supervision

AREAS = ("direct", "alternative", "drivable")


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """Where the vehicle can drive in one frame; or, of an outage, that there was no frame.

    Without a fresh view of the road there is no mask: then `has_mask` is False, and all that is read from the
    mask is None. `camera_state` and `engine_state` say why.

    Example:
        >>> import perception
        >>> from perception.synthetic import DriveRenderer
        >>> image_bgr, truth = DriveRenderer("highway", (640, 360)).render(0)
        >>> result = perception.Model("rt_s-int8")(image_bgr)
        >>> result.has_mask, result.class_map.shape, result.direct.dtype
        (True, (360, 640), dtype('bool'))
        >>> bool((result.direct & result.alternative).any()), sorted(result.shares)
        (False, ['alternative', 'background', 'direct', 'drivable'])
    """

    output: OutputItem
    """What the node's sinks would get."""

    def __repr__(self) -> str:
        """In one line, without any array."""
        states = f"camera {self.camera_state}, engine {self.engine_state}"
        shares = ", ".join(f"{name} {share:.1%}" for name, share in self.shares.items())
        return f"<Result {self.source_id} frame {self.frame_id}: {states}; {shares or 'no mask'}>"

    @property
    def frame(self) -> Frame | None:
        """The frame; None of an outage."""
        return self.output.frame if isinstance(self.output, Prediction) else None

    @property
    def image(self) -> NDArray[np.uint8] | None:
        """(H, W, 3) uint8 BGR, the frame; None of an outage. It is the frame's own: copy it to draw on it."""
        return None if self.frame is None else self.frame.image_bgr

    @property
    def frame_wh(self) -> tuple[int, int] | None:
        """Width and height of the frame in pixels; None before any is known."""
        return self.output.frame_wh

    @property
    def frame_id(self) -> int | None:
        """Counts up from 0, and a gap is a frame that was dropped; None of an outage."""
        return None if self.frame is None else self.frame.frame_id

    @property
    def name(self) -> str | None:
        """Stem for files about this frame: the image's name, or the frame id; None of an outage."""
        return None if self.frame is None else self.frame.name

    @property
    def source_id(self) -> str:
        """Short name of the source, without any password."""
        return self.output.source_id

    @property
    def time_s(self) -> float:
        """The source's own time since its first frame."""
        return self.output.time_ns / 1e9

    @property
    def age_ms(self) -> float | None:
        """From the capture of the frame, or of the last one, until this came out; None before the first."""
        return self.output.age_ms

    @property
    def camera_state(self) -> CameraState:
        """What the camera's picture is worth."""
        return self.output.camera_state

    @property
    def camera_reason(self) -> str | None:
        """Why it is not ok, in a few words."""
        return self.output.camera_reason

    @property
    def engine_state(self) -> EngineState:
        """What the network's output is worth."""
        return self.output.engine_state

    @property
    def engine_reason(self) -> str | None:
        """Why it gives no mask, in a few words."""
        return self.output.engine_reason

    @property
    def has_mask(self) -> bool:
        """Whether the camera saw the road and the network what is on it."""
        return self.output.has_mask

    @cached_property
    def class_map(self) -> NDArray[np.uint8] | None:
        """(H, W) uint8 class ids, as `perception.labels.IDS` has them; None without a mask."""
        prediction = self._seen
        return None if prediction is None else prediction.class_map_at(prediction.frame_wh)

    @property
    def direct(self) -> NDArray[np.bool_] | None:
        """(H, W) bool, the lane that the vehicle is in; None where the network does not separate lanes."""
        return self._mask("direct", self.class_map)

    @property
    def alternative(self) -> NDArray[np.bool_] | None:
        """(H, W) bool, lanes that it could take; None where the network does not separate lanes."""
        return self._mask("alternative", self.class_map)

    @property
    def drivable(self) -> NDArray[np.bool_] | None:
        """(H, W) bool, wherever it can drive; None without a mask."""
        return self._mask("drivable", self.class_map)

    @property
    def ignored(self) -> NDArray[np.bool_] | None:
        """(H, W) bool, where no road can be seen, such as on black bars; None where nothing is ignored."""
        mask = self.output.ignore_mask if isinstance(self.output, Prediction) else None
        return None if mask is None else mask.pixels > 0

    @cached_property
    def confidence(self) -> NDArray[np.uint8] | None:
        """(H, W) uint8 probability of the class found, 255 is certain; None without a mask."""
        prediction = self._seen
        if prediction is None or prediction.confidence is None:
            return None
        return confidence_at(prediction.confidence, prediction.frame_wh)

    @property
    def certainty(self) -> Certainty | None:
        """How sure the network is of the frame as a whole; None without a mask."""
        return None if self._seen is None else self._seen.certainty

    @property
    def metres(self) -> Metres | None:
        """The road in metres: distance ahead, lane, free space and grid, with standard deviations.

        None without a calibration of the camera (the setting `calibration`), and without a mask.
        """
        return None if self._seen is None else self._seen.metres

    @property
    def shares(self) -> dict[str, float]:
        """Share by class of the area that is not ignored, and `drivable`; empty without a mask."""
        return {} if self._seen is None else self._seen.named_shares

    def polygons(self, area: str = "drivable") -> list[Polygon] | None:
        """The outlines of an area, as records have them, in pixels of the frame.

        Args:
            area: direct, alternative or drivable.

        Returns:
            Each connected area with its `exterior` and `holes`, rings of [x, y]; None without a mask, and
            where the network does not separate lanes.

        Raises:
            ValueError: for another name.

        Example:
            >>> import perception
            >>> from perception.synthetic import DriveRenderer
            >>> image_bgr, truth = DriveRenderer("highway", (640, 360)).render(0)
            >>> polygon = perception.Model("rt_s-int8")(image_bgr).polygons("direct")[0]
            >>> sorted(polygon), all(0 <= x <= 640 and 0 <= y <= 360 for x, y in polygon["exterior"])
            (['exterior', 'holes'], True)
        """
        if area not in AREAS:
            raise ValueError(f"area is {area!r}; it must be one of {', '.join(AREAS)}")
        prediction = self._seen
        if prediction is None:
            return None
        mask = self._mask(area, prediction.class_map)
        return None if mask is None else outlines(mask.view(np.uint8), 1, prediction.frame_wh)

    def plot(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 BGR: the node's overlay, in the shape that is meant: with square pixels.

        Of an outage it is black, with the banner that says why.
        """
        return draw_picture(self.output)

    def save(
        self, file: str | os.PathLike[str], *, quality: int | None = None, overwrite: bool = False
    ) -> Path:
        """Write the overlay as an image, and give back its path.

        What is there already is set aside, as `out.1.jpg`, as the node does it.

        Args:
            file: ends in .jpg, .png or .webp.
            quality: 1 to 100, as of JPEG; without it 90.
            overwrite: replace what is there.

        Raises:
            SinkError: if it cannot be written, is the picture itself, or there is no frame to draw.
        """
        path = Path(file)
        if self.frame is None:
            raise SinkError(f"{path}: there is no frame to draw: {self.camera_reason or self.engine_reason}")
        if path.exists() and os.path.exists(self.source_id) and os.path.samefile(path, self.source_id):
            raise SinkError(f"{path}: is the source picture itself; choose another file")
        sink = OverlayImageSink(str(path), quality, RecordingPolicy(overwrite=overwrite))
        try:
            sink.open(SourceInfo(self.source_id, False, self.frame_wh, 1.0, is_one_picture=True))
            sink.write(self.output)
        finally:
            sink.close()
        return path

    def to_dict(self) -> dict[str, Any]:
        """The record of the frame, as `--jsonl` writes it: `perception/sinks/record.schema.json`.

        Example:
            >>> import json, perception
            >>> from perception.synthetic import DriveRenderer
            >>> image_bgr, truth = DriveRenderer("highway", (640, 360)).render(0)
            >>> record = perception.Model("rt_s-int8")(image_bgr).to_dict()
            >>> record["frame_wh"], record["camera"] == {"state": "ok", "reason": None}
            ([640, 360], True)
            >>> json.loads(json.dumps(record)) == record
            True
        """
        return record(self.output)

    def to_supervision(self) -> supervision.Detections:
        """The areas for `supervision` (pip install supervision), one entry for each class that is there.

        Entries have `xyxy`, `mask` (n, H, W) bool, `class_id`, `confidence` (mean over the area, 0 to 1) and
        `data["class_name"]`; there are none without a mask.

        Raises:
            ImportError: if supervision is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise ImportError(
                f"supervision cannot be imported ({error}); pip install supervision", name="supervision"
            ) from error
        if self._seen is None or self.class_map is None:
            return supervision.Detections.empty()
        there = [label for label in self._seen.labels if IDS[label] != BACKGROUND and self.shares[label]]
        if not there:
            return supervision.Detections.empty()
        masks = np.stack([self.class_map == IDS[label] for label in there])
        confidence = self.confidence
        return supervision.Detections(
            xyxy=supervision.mask_to_xyxy(masks).astype(np.float32),
            mask=masks,
            class_id=np.array([IDS[label] for label in there]),
            confidence=None
            if confidence is None
            else np.array([confidence[it].mean() / 255 for it in masks]),
            data={"class_name": np.array(there)},
        )

    @property
    def _seen(self) -> Prediction | None:
        """The prediction, if it has a mask."""
        return self.output if isinstance(self.output, Prediction) and self.output.has_mask else None

    def _mask(self, area: str, class_map: NDArray[np.uint8] | None) -> NDArray[np.bool_] | None:
        if self._seen is None or class_map is None:
            return None
        if area == "drivable":
            return np.asarray(class_map != BACKGROUND)
        return np.asarray(class_map == IDS[area]) if area in self._seen.labels else None
