"""The data of the node: Frame or NoFrameRecord from the source, Prediction or NoFrameRecord to the sinks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from perception.imaging.letterbox import SQUARE, Letterbox, PixelAspect, nearest
from perception.imaging.yuv import Yuv420, bgr_from_yuv
from perception.labels import LABELS, LABELS_OF_TWO
from perception.provenance.trace import Trace
from perception.scene.ignore_mask import IgnoreMask
from perception.scene.metres import Metres


@dataclass(frozen=True, eq=False)  # compared by identity, not by pixels
class Frame:
    """One picture of the road, and its time of capture."""

    source_id: str
    frame_id: int
    """Counts up from 0; a gap is a dropped frame, or those that `--every` leaves out."""
    captured_ns: int
    """`time.monotonic_ns()` at capture; ages are measured from it."""
    time_ns: int
    """The frame's own time since the first frame: the timestamp in a recording."""
    pixels: NDArray[np.uint8] | Yuv420
    """(H, W, 3) BGR, or the decoder's planes."""
    name: str
    """Stem of files for this frame: the image's name, or the frame id."""
    is_damaged: bool = False
    """The decoder or the driver reports that parts of the picture are damaged."""
    missed_before: int = 0
    """Frames lost since the previous one: gaps in the camera's sequence numbers, and unreadable images."""
    pixel_aspect: PixelAspect = SQUARE
    """Width and height of a pixel (sample aspect ratio)."""
    jpeg: bytes | None = None
    """The picture as the camera encoded it, whole, and of the size and orientation of `pixels`; None where it
    is not known, or gave no such JPEG."""

    @property
    def frame_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        if isinstance(self.pixels, Yuv420):
            return self.pixels.frame_wh
        return self.pixels.shape[1], self.pixels.shape[0]

    @cached_property
    def image_bgr(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 BGR at full size; converted once, on first access."""
        return bgr_from_yuv(self.pixels) if isinstance(self.pixels, Yuv420) else self.pixels


ShownTime = Literal["age", "time", "none"]
"""Which time means something to who looks at an output: the age of a live picture, the time of a recording,
or neither, as of a single image."""


class CameraState(StrEnum):
    """Whether the camera's picture can be used."""

    OK = "ok"
    DEGRADED = "degraded"
    BLOCKED = "blocked"
    FROZEN = "frozen"
    STALE = "stale"
    LOST = "lost"


class EngineState(StrEnum):
    """Whether the network's output can be used."""

    OK = "ok"
    FALLBACK = "fallback"
    """Another provider than requested runs it; its masks are valid."""
    SUSPECT = "suspect"
    """Its output cannot depend on the frame, for example the same for every pixel: no mask."""
    STALLED = "stalled"
    """It has worked on one frame for too long: no mask, and records without a frame at the nominal rate."""


CAMERA_SEES = frozenset({CameraState.OK, CameraState.DEGRADED})
"""Camera states in which masks are published."""
ENGINE_SEES = frozenset({EngineState.OK, EngineState.FALLBACK})
"""Engine states in which masks are published."""


@dataclass(frozen=True)
class Certainty:
    """Certainty of the network on a frame."""

    mean: float | None
    """Mean probability of the predicted class in the direct area, 0 to 1; in the drivable area for networks
    of two classes. None without such an area."""
    p5: float | None
    """5th percentile of that probability; None without such an area."""
    ood_score: float | None
    """Share of the validation frames with a higher confidence in the drivable area; near 1 the frame is
    unlike the training data, or has no such area. None if the model file lacks the figures to compare."""


@dataclass(frozen=True, eq=False)
class ImageStats:
    """Statistics of a frame's picture; luma is from 0 (black) to 255 (white).

    Structure is how much a block differs from a smooth one, in luma: about 1 to 4 is sensor noise, 20 to 130
    is a road by day. A part's structure is that of its most structured blocks.
    """

    brightest_luma: float
    """Mean of the brightest of 16x9 blocks."""
    darkest_luma: float
    """First percentile."""
    saturated_share: float
    """Share of nearly white pixels."""
    fingerprint: int
    """Checksum of pixels at full resolution, which differs unless the content is bit for bit the same."""
    block_luma: NDArray[np.float32]
    """(9, 16) mean of each block."""
    sharpness: float | None = None
    """Ratio of fine to coarse detail: 0.25 is pure blur, about 0.6 to 1.2 is a sharp picture of a road. None
    for frames that are too small."""
    structure: float | None = None
    """Of the whole picture; None for frames that are too small."""
    part_structure: dict[str, float] = field(default_factory=dict)
    """Of the left, right, top and bottom part; empty for frames that are too small."""
    block_structure: NDArray[np.float32] | None = None
    """(9, 16) of each block; None for frames that are too small."""


@dataclass(frozen=True, eq=False)
class NetworkOutput:
    """What the network found in one frame, for a step that makes the mask of several frames."""

    logits: NDArray[np.float32]
    """(labels, h, w) over the whole input; of graphs that give a class map, what leads to it in cells."""
    box: Letterbox
    """The frame's place in the input."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The drivable area in one frame."""

    frame: Frame
    class_map: NDArray[np.uint8]
    """(h, w) uint8 ids of `labels.IDS` over the whole frame, at most at the network's resolution."""
    shares: tuple[float, ...]
    """Share of the area per class, in the order of `labels`; of what is not ignored."""
    model_id: str
    engine_state: EngineState = EngineState.OK
    provider: str = ""
    provider_nodes: Mapping[str, int] = field(default_factory=dict)
    """Nodes of the graph by provider, as in `Engine.nodes`."""
    engine_reason: str | None = None
    """For `SUSPECT` and `STALLED`."""
    camera_state: CameraState = CameraState.OK
    camera_reason: str | None = None
    published_ns: int = 0
    """`time.monotonic_ns()` when it was passed to the sinks."""
    stage_ns: dict[str, int] = field(default_factory=dict)
    """Time spent in each stage."""
    labels: tuple[str, ...] = LABELS
    """The network's classes: `LABELS` or `LABELS_OF_TWO`."""
    confidence: NDArray[np.uint8] | None = None
    """(h, w) uint8 probability of the predicted class, 255 is certain, over the whole frame; coarser than
    `class_map` for graphs that end at logits: read it with `confidence_at`. None if unknown."""
    certainty: Certainty | None = None
    doubt_quantiles: tuple[float, ...] | None = None
    """The model contract's, which `certainty` is computed with."""
    ignore_mask: IgnoreMask | None = None
    """Where no road can be seen, in pixels of the frame: background in the class map, with no confidence."""
    image_stats: ImageStats | None = None
    """None if not measured."""
    metres: Metres | None = None
    """What is known in metres; None without a calibration of the camera, and without a mask."""
    trace: Trace | None = None
    """Its provenance; None before it is published, and in runs without traces."""
    shown_time: ShownTime = "time"
    network_output: NetworkOutput | None = None
    """Until the step `steady` has made the mask of it: so far the class map may be as coarse as `confidence`,
    and there is no `certainty`. None where nothing is smoothed."""

    @property
    def ignored(self) -> NDArray[np.bool_] | None:
        """(h, w) bool of the class map, True where no road can be seen; None if nothing is ignored."""
        if self.ignore_mask is None:
            return None
        height, width = self.class_map.shape
        return self.ignore_mask.at((width, height)) > 0

    @property
    def named_shares(self) -> dict[str, float]:
        """Share of the area by class; `drivable` is the sum of both lane classes if it has them."""
        named = dict(zip(self.labels, self.shares, strict=True))
        if self.labels != LABELS_OF_TWO:
            named["drivable"] = named["direct"] + named["alternative"]
        return named

    @property
    def source_id(self) -> str:
        """Short name of the source, without any password."""
        return self.frame.source_id

    @property
    def time_ns(self) -> int:
        """The frame's own time since the first frame."""
        return self.frame.time_ns

    @property
    def frame_wh(self) -> tuple[int, int]:
        """Width and height of the frame, in pixels."""
        return self.frame.frame_wh

    @property
    def pixel_aspect(self) -> PixelAspect:
        """Width and height of a pixel of the frame."""
        return self.frame.pixel_aspect

    @property
    def age_ms(self) -> float:
        """Time from capture to publication."""
        return (self.published_ns - self.captured_ns) / 1e6

    @property
    def has_mask(self) -> bool:
        """Whether camera and engine are in a state with valid masks."""
        return self.withheld_by is None

    @property
    def valid_metres(self) -> Metres | None:
        """`metres` where the mask that they are of is valid."""
        return self.metres if self.has_mask else None

    @property
    def withheld_by(self) -> str | None:
        """Why the mask is withheld, such as "camera stale" or "engine suspect"; None if it is not."""
        if self.engine_state not in ENGINE_SEES:
            return f"engine {self.engine_state}"
        return None if self.camera_state in CAMERA_SEES else f"camera {self.camera_state}"

    @property
    def captured_ns(self) -> int:
        """`time.monotonic_ns()` at capture."""
        return self.frame.captured_ns

    def class_map_at(self, to_wh: tuple[int, int]) -> NDArray[np.uint8]:
        """(H, W) class map resized by nearest pixels."""
        if (self.class_map.shape[1], self.class_map.shape[0]) == to_wh:
            return self.class_map
        return nearest(self.class_map, to_wh)


@dataclass(frozen=True)
class NoFrameRecord:
    """Published at the nominal rate while there is no fresh frame or no fresh prediction."""

    source_id: str
    frame_wh: tuple[int, int] | None
    """Width and height in pixels of the missing frames; None before they are known."""
    time_ns: int
    """The source's own time: that of the last frame, or of the start of the run, plus the time since."""
    captured_ns: int | None
    """`time.monotonic_ns()` of the last frame; None before the first."""
    camera_state: CameraState
    """`STALE` or `LOST`; the last one if the engine is `STALLED`."""
    camera_reason: str | None
    model_id: str = ""
    engine_state: EngineState = EngineState.OK
    provider: str = ""
    provider_nodes: Mapping[str, int] = field(default_factory=dict)
    """Nodes of the graph by provider, as in `Engine.nodes`."""
    engine_reason: str | None = None
    published_ns: int = 0
    """`time.monotonic_ns()` when it was passed to the sinks."""
    trace: Trace | None = None
    """Like a prediction's; its capture is that of the last frame."""
    pixel_aspect: PixelAspect = SQUARE
    """Of the missing frames."""
    shown_time: ShownTime = "time"

    has_mask: ClassVar[bool] = False
    valid_metres: ClassVar[None] = None

    @property
    def age_ms(self) -> float | None:
        """Of the last frame at publication; None before the first."""
        return None if self.captured_ns is None else (self.published_ns - self.captured_ns) / 1e6


SourceItem = Frame | NoFrameRecord
"""An item from a source."""

OutputItem = Prediction | NoFrameRecord
"""An item for sinks."""
