"""From a frame to a prediction: preprocess, infer, postprocess."""

from __future__ import annotations

import time
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.camera_health.image_stats import image_stats_of
from perception.frame import EngineState, Frame, NetworkOutput, NoFrameRecord, Prediction
from perception.imaging.letterbox import SQUARE, Letterbox, PixelAspect, in_square_pixels, nearest
from perception.imaging.yuv import Yuv420, bgr_from_yuv
from perception.inference.confidence import confidence_of, in_cells, logits_of_class_map
from perception.inference.contract import ModelContract
from perception.inference.engines import Engine
from perception.inference.ood import certainty_of
from perception.inference.suspicion import why_suspect
from perception.labels import ALTERNATIVE, BACKGROUND, DRIVABLE, IDS, LABELS


class Predictor:
    """Frame to Prediction, for one thread: it keeps its working memory between frames.

    Args:
        engine: runs the network; may be shared by threads.
        stats_every: measure the image statistics of every n-th frame, for camera health; 0 of none.
        leaves_mask: to a step that makes it of `network_output`: class map and shares are those of coarse
            cells, and there is no certainty, as nothing should be computed twice.
    """

    def __init__(self, engine: Engine, stats_every: int = 0, *, leaves_mask: bool = False) -> None:
        self._engine = engine
        self._stats_every, self._leaves_mask = stats_every, leaves_mask
        self._contract = engine.contract
        self._fits: tuple[tuple[int, int], PixelAspect] | None = None
        self._box = Letterbox.fit(self._contract.takes_wh, self._contract.input_wh)
        self._input_bgr = np.empty(0, np.uint8)
        self._planes = np.empty(0, np.float32)

    def __call__(self, frame: Frame) -> Prediction:
        """The drivable area in `frame`, with the duration of each step in `stage_ns`.

        If the network's output cannot depend on the frame, the prediction is `suspect` and has no mask.

        Raises:
            EngineError: if the graph takes only frames of another size, or its output is not finite.
        """
        shape = frame.frame_wh, frame.pixel_aspect
        if shape != self._fits:
            self._fit(*shape)
        output: NetworkOutput | None = None
        started_ns = time.monotonic_ns()
        if self._contract.output == "class_map":
            image_bgr = frame.image_bgr
            if frame.pixel_aspect != SQUARE:
                image_bgr = np.asarray(cv2.resize(image_bgr, self._box.frame_wh), np.uint8)
            preprocessed_ns = time.monotonic_ns()
            segmented = self._engine.segment(image_bgr)
            inferred_ns = time.monotonic_ns()
            suspicion = why_suspect(segmented[1], len(self._contract.labels))
            class_map, confidence = (inside(plane, self._box) for plane in segmented)
            if self._leaves_mask:
                output = self._output_of(class_map, confidence)
        else:
            preprocess(frame, self._box, self._input_bgr)
            preprocessed_ns = time.monotonic_ns()
            logits = self._engine.infer(self._input_bgr)
            inferred_ns = time.monotonic_ns()
            if self._leaves_mask:
                class_map, confidence = in_cells(logits, self._box, self._contract.labels)
                output = NetworkOutput(logits, self._box)
            else:
                class_map = postprocess(logits, self._box, self._planes)
                confidence = confidence_of(logits, self._box)
            suspicion = why_suspect(confidence, len(logits), logits)
        labels, certainty = self._contract.labels, None
        shares = class_shares(class_map, labels)
        if output is None:
            certainty = certainty_of(confidence, class_map, labels, self._contract.doubt_quantiles)
        postprocessed_ns = time.monotonic_ns()
        looks = self._stats_every > 0 and frame.frame_id % self._stats_every == 0
        image_stats = image_stats_of(frame) if looks else None
        return Prediction(
            frame=frame,
            class_map=class_map,
            shares=shares,
            model_id=self._contract.model_id,
            engine_state=EngineState.SUSPECT if suspicion else self._engine.state,
            provider=self._engine.provider,
            provider_nodes=self._engine.nodes,
            engine_reason=suspicion,
            stage_ns={
                "preprocess": preprocessed_ns - started_ns,
                "infer": inferred_ns - preprocessed_ns,
                "postprocess": postprocessed_ns - inferred_ns,
                **({"image_stats": time.monotonic_ns() - postprocessed_ns} if looks else {}),
            },
            labels=labels,
            confidence=confidence,
            image_stats=image_stats,
            certainty=certainty,
            doubt_quantiles=self._contract.doubt_quantiles,
            network_output=output,
        )

    def _output_of(self, class_map: NDArray[np.uint8], confidence: NDArray[np.uint8]) -> NetworkOutput:
        """What the graph's own class map, of the frame alone, stands for."""
        labels, content_wh = self._contract.labels, (class_map.shape[1], class_map.shape[0])
        logits = logits_of_class_map(class_map, confidence, labels)
        return NetworkOutput(logits, Letterbox.fit(content_wh, content_wh))

    def _fit(self, frame_wh: tuple[int, int], pixel_aspect: PixelAspect) -> None:
        """Place frames of this shape in the network's input."""
        self._fits = frame_wh, pixel_aspect
        if self._contract.output == "class_map":  # the graph has its own letterbox, for square pixels
            frame_wh, pixel_aspect = in_square_pixels(frame_wh, pixel_aspect), SQUARE
        self._box = Letterbox.fit(frame_wh, self._contract.input_wh, pixel_aspect)
        self._input_bgr = self._box.blank(self._contract.pad_bgr)
        self._planes = working_planes(self._box)

    def stamp_engine(self, record: NoFrameRecord) -> NoFrameRecord:
        """The record with the engine's name and state, which every record has."""
        engine, is_stalled = self._engine, record.engine_state is EngineState.STALLED
        return replace(
            record,
            model_id=self._contract.model_id,
            engine_state=record.engine_state if is_stalled else engine.state,
            provider=engine.provider,
            provider_nodes=engine.nodes,
        )

    def warm_up(self) -> None:
        """Run the network once on padding, so that the first frame is not the slowest."""
        blank = blank_input(self._contract)
        if self._contract.output == "class_map":
            self._engine.segment(blank)
        else:
            self._engine.infer(blank)


def blank_input(contract: ModelContract) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of padding at the size that the graph takes; `input_wh` if it takes any."""
    return Letterbox.fit(contract.takes_wh, contract.takes_wh).blank(contract.pad_bgr)


def preprocess(frame: Frame, box: Letterbox, input_bgr: NDArray[np.uint8]) -> None:
    """Resize the frame into the network's input.

    `cv2.resize` on BGR is the reference. A decoder's planes are resized first and converted at the small
    size, which gives the same picture (tested) in a third of the time.
    """
    if isinstance(frame.pixels, Yuv420):
        bgr_from_yuv(_resized(frame.pixels, box), into=input_bgr[box.rows, box.columns])
    else:
        box.place(frame.pixels, input_bgr)


def _resized(pixels: Yuv420, box: Letterbox) -> Yuv420:
    if pixels.frame_wh == box.content_wh:
        return pixels
    luma_wh = box.content_wh
    chroma_wh = ((luma_wh[0] + 1) // 2, (luma_wh[1] + 1) // 2)
    y, u, v = (
        np.asarray(cv2.resize(plane, wh, interpolation=box.interpolation), np.uint8)
        for plane, wh in ((pixels.y, luma_wh), (pixels.u, chroma_wh), (pixels.v, chroma_wh))
    )
    return Yuv420(y, u, v, pixels.matrix)


def postprocess(
    logits: NDArray[np.float32], box: Letterbox, planes: NDArray[np.float32] | None = None
) -> NDArray[np.uint8]:
    """The class of every pixel of the frame.

    Args:
        logits: (3, h, w) float32 over the whole input: direct, alternative, background; or (2, h, w):
            drivable, background.
        box: the frame's place in the input.
        planes: (2, input_h, input_w) float32 working memory, kept between frames: new memory is in no cache,
            which doubled the time when other stages ran in between. None allocates it.

    Returns:
        (H, W) uint8, each side that of the frame or of the frame inside the input, whichever is smaller. If
        logits are equal, background wins, then the first class.
    """
    first, second = working_planes(box) if planes is None else planes

    def enlarged(plane: NDArray[np.float32], into: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.resize(plane, box.input_wh, dst=into), np.float32)[box.rows, box.columns]

    # 255 & id gives the class id, and the maximum combines the two masks.
    if len(logits) == 2:
        drivable, background = enlarged(logits[0], first), enlarged(logits[1], second)
        ids = _masked(cv2.compare(background, drivable, cv2.CMP_LT), DRIVABLE)
    else:
        direct, alternative = enlarged(logits[0], first), enlarged(logits[1], second)
        ids = _masked(cv2.compare(alternative, direct, cv2.CMP_GT), ALTERNATIVE)
        drivable = np.maximum(direct, alternative, out=direct)
        background = enlarged(logits[2], second)
    # Background has the highest id, so it wins the maximum.
    cv2.max(ids, _masked(cv2.compare(background, drivable, cv2.CMP_GE), BACKGROUND), dst=ids)
    return _at_most_the_frame(ids, box)


def working_planes(box: Letterbox) -> NDArray[np.float32]:
    """(2, input_h, input_w) float32 working memory of `postprocess`."""
    width, height = box.input_wh
    return np.empty((2, height, width), np.float32)


def _masked(mask: cv2.typing.MatLike, class_id: int) -> NDArray[np.uint8]:
    """The class id where a mask is 255, in place."""
    ids = np.asarray(mask, np.uint8)
    return np.bitwise_and(ids, class_id, out=ids)


def inside(plane: NDArray[np.uint8], box: Letterbox) -> NDArray[np.uint8]:
    """(H, W) uint8 part of an (input_h, input_w) plane that the frame covers, sized like in `postprocess`."""
    return _at_most_the_frame(np.ascontiguousarray(plane[box.rows, box.columns]), box)


def _at_most_the_frame(plane: NDArray[np.uint8], box: Letterbox) -> NDArray[np.uint8]:
    (frame_w, frame_h), (width, height) = box.frame_wh, box.content_wh
    is_smaller = frame_w < width or frame_h < height
    return nearest(plane, (min(frame_w, width), min(frame_h, height))) if is_smaller else plane


def class_shares(class_map: NDArray[np.uint8], labels: tuple[str, ...] = LABELS) -> tuple[float, ...]:
    """Share of the area per class, in the order of the labels."""
    # as bytes: OpenCV counts them in half of numpy's time
    counts = [cv2.countNonZero((class_map == IDS[label]).view(np.uint8)) for label in labels]
    return tuple(count / class_map.size for count in counts)
