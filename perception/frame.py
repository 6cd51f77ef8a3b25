"""What flows through the node: a Frame or NoFrameRecord from the source, a Prediction or that to sinks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from perception.imaging.letterbox import SQUARE, PixelAspect, nearest
from perception.imaging.yuv import Yuv420, bgr_from_yuv
from perception.labels import LABELS, LABELS_OF_TWO
from perception.provenance.trace import Trace


@dataclass(frozen=True, eq=False)  # by identity: comparing pixels is for those who mean to
class Frame:
    """One picture of the road, and when it was taken. Frames are equal only if they are the same object."""

    source_id: str
    frame_id: int
    """Counts up from 0; a gap is a frame that was dropped."""
    captured_ns: int
    """`time.monotonic_ns()` at capture: ages are measured from here."""
    time_ns: int
    """The frame's own time since the first frame: the timestamp in a recording."""
    pixels: NDArray[np.uint8] | Yuv420
    """(H, W, 3) BGR, or the decoder's planes."""
    name: str
    """Stem for files about this frame: the image's name, or the frame id."""
    is_damaged: bool = False
    """The decoder or the driver says that parts of the picture are not what the camera saw."""
    missed_before: int = 0
    """Frames that the camera took since the one before and nobody got: gaps in its own sequence numbers, and
    images that could not be read."""
    pixel_aspect: PixelAspect = SQUARE
    """Width and height of a pixel (sample aspect ratio): the shape that is meant is that much wider."""

    @property
    def frame_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        if isinstance(self.pixels, Yuv420):
            return self.pixels.frame_wh
        return self.pixels.shape[1], self.pixels.shape[0]

    @cached_property
    def image_bgr(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 BGR at full size; converted once, and only if somebody asks."""
        return bgr_from_yuv(self.pixels) if isinstance(self.pixels, Yuv420) else self.pixels


class CameraState(StrEnum):
    """What the camera's picture is worth."""

    OK = "ok"
    DEGRADED = "degraded"
    BLOCKED = "blocked"
    FROZEN = "frozen"
    STALE = "stale"
    LOST = "lost"


class EngineState(StrEnum):
    """What the network's output is worth."""

    OK = "ok"
    FALLBACK = "fallback"
    """It runs elsewhere than it was asked to; its masks are good."""
    SUSPECT = "suspect"
    """It gave an output that tells nothing of the frame, such as the same for every pixel: no mask."""
    STALLED = "stalled"
    """It is at one frame for too long: no mask, and records without a frame at the nominal rate."""


CAMERA_SEES = frozenset({CameraState.OK, CameraState.DEGRADED})
"""States of the camera that a mask may be published in."""
ENGINE_SEES = frozenset({EngineState.OK, EngineState.FALLBACK})
"""States of the engine that a mask may be published in."""


@dataclass(frozen=True)
class Certainty:
    """How sure the network is of a frame."""

    mean: float | None
    """Mean probability of the class found in the direct area, 0 to 1; in the drivable area where the network
    does not tell lanes apart. None where there is no such area."""
    p5: float | None
    """The probability that all but the least sure twentieth of that area reaches; None without one."""
    ood_score: float | None
    """Share of the validation frames whose drivable area the network was surer of; near 1 the frame is unlike
    what it was trained on, or has no such area. None where the model's file does not tell how sure it was."""


@dataclass(frozen=True, eq=False)
class ImageStats:
    """What one frame looks like, whatever it shows; luma runs from 0 (black) to 255 (white).

    Structure is how much a block of the picture differs from a smooth one, in luma: about 1 to 4 is sensor
    noise alone, 20 to 130 is a road by day. A part's structure is that of its most structured blocks.
    """

    brightest_luma: float
    """Mean of the brightest of 16x9 blocks."""
    darkest_luma: float
    """Level that all but the darkest hundredth of the picture exceeds."""
    saturated_share: float
    """Share of the picture that is as good as white."""
    fingerprint: int
    """Checksum of pixels at full resolution: equal only where the content is the same to the bit."""
    block_luma: NDArray[np.float32]
    """(9, 16) mean of every block."""
    sharpness: float | None = None
    """Fine detail over coarse detail: 0.25 is pure blur, about 0.6 to 1.2 is a sharp picture of a road. None
    where the frame is too small to tell."""
    structure: float | None = None
    """Of the whole picture; None where the frame is too small to tell."""
    part_structure: dict[str, float] = field(default_factory=dict)
    """Of the left, right, top and bottom part; empty where the frame is too small to tell."""
    block_structure: NDArray[np.float32] | None = None
    """(9, 16) of every block; None where the frame is too small to tell."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """Where the vehicle can drive, for one frame."""

    frame: Frame
    class_map: NDArray[np.uint8]
    """(h, w) uint8 class ids, as `labels.IDS` has them, over the whole frame, at most at the network's
    resolution."""
    shares: tuple[float, ...]
    """Share of the frame's area per class, in the order of `labels`."""
    model_id: str
    engine_state: EngineState = EngineState.OK
    provider: str = ""
    provider_nodes: Mapping[str, int] = field(default_factory=dict)
    """Nodes of the graph by what runs them, as of `Engine.nodes`."""
    engine_reason: str | None = None
    """Of `SUSPECT` and `STALLED`."""
    camera_state: CameraState = CameraState.OK
    camera_reason: str | None = None
    published_ns: int = 0
    """`time.monotonic_ns()` when it was handed to the sinks."""
    stage_ns: dict[str, int] = field(default_factory=dict)
    """Time spent in each stage."""
    labels: tuple[str, ...] = LABELS
    """The classes that the network tells apart: `LABELS` or `LABELS_OF_TWO`."""
    confidence: NDArray[np.uint8] | None = None
    """(h, w) uint8 probability of the class found, 255 is certain, over the whole frame; coarser than
    `class_map` where the graph ends at logits: read it with `confidence_at`. None where nobody tells it."""
    certainty: Certainty | None = None
    image_stats: ImageStats | None = None
    """What the frame looks like; None where nobody looked."""
    trace: Trace | None = None
    """What made it, and when by UTC; None before it is published, and where nobody asked for it."""

    @property
    def named_shares(self) -> dict[str, float]:
        """Share of the frame's area by class, and of `drivable`: of both lanes where those are told apart."""
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
        """From capture to publication."""
        return (self.published_ns - self.captured_ns) / 1e6

    @property
    def has_mask(self) -> bool:
        """Whether the camera saw the road and the network what is on it: else there is no mask to show."""
        return self.withheld_by is None

    @property
    def withheld_by(self) -> str | None:
        """What keeps the mask back, such as "camera stale" or "engine suspect"; None if nothing does."""
        if self.engine_state not in ENGINE_SEES:
            return f"engine {self.engine_state}"
        return None if self.camera_state in CAMERA_SEES else f"camera {self.camera_state}"

    @property
    def captured_ns(self) -> int:
        """`time.monotonic_ns()` at capture."""
        return self.frame.captured_ns

    def class_map_at(self, to_wh: tuple[int, int]) -> NDArray[np.uint8]:
        """(H, W) class map at another size; every pixel keeps the class found at its centre."""
        if (self.class_map.shape[1], self.class_map.shape[0]) == to_wh:
            return self.class_map
        return nearest(self.class_map, to_wh)


@dataclass(frozen=True)
class NoFrameRecord:
    """No fresh frame, or no fresh prediction: what is published at the nominal rate instead of silence."""

    source_id: str
    frame_wh: tuple[int, int] | None
    """Width and height in pixels of the frames that are missing; None before they are known."""
    time_ns: int
    """The source's own time: that of the last frame, or of the start of the run, and what passed since."""
    captured_ns: int | None
    """`time.monotonic_ns()` of the last frame; None before the first."""
    camera_state: CameraState
    """`STALE` or `LOST`; as it was last, where the engine is `STALLED`."""
    camera_reason: str | None
    model_id: str = ""
    engine_state: EngineState = EngineState.OK
    provider: str = ""
    provider_nodes: Mapping[str, int] = field(default_factory=dict)
    """Nodes of the graph by what runs them, as of `Engine.nodes`."""
    engine_reason: str | None = None
    published_ns: int = 0
    """`time.monotonic_ns()` when it was handed to the sinks."""
    trace: Trace | None = None
    """As of a prediction; its capture is the last frame's."""
    pixel_aspect: PixelAspect = SQUARE
    """As of the frames that are missing."""

    has_mask: ClassVar[bool] = False

    @property
    def age_ms(self) -> float | None:
        """Of the last frame at publication; None before the first."""
        return None if self.captured_ns is None else (self.published_ns - self.captured_ns) / 1e6


SourceItem = Frame | NoFrameRecord
"""What a pipeline takes from its source."""

OutputItem = Prediction | NoFrameRecord
"""What sinks are given."""
