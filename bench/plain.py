"""The rival: the plain loop that most people write, kept small and readable.

cv2.VideoCapture, cv2.resize, float normalisation in numpy, ONNX Runtime with default options,
np.argmax, resize of the mask; for the overlay, boolean indexing and cv2.VideoWriter.
"""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort

from perception.labels import ALTERNATIVE, BACKGROUND, COLOURS_RGB, DIRECT

MEAN_BGR = np.array([116, 116, 116], np.float32)
STD_BGR = np.array([57.4, 57.4, 57.4], np.float32)


class PlainLoop:
    """One thread, one frame after the other."""

    def __init__(self, model: Path) -> None:
        """Load a graph of `drivable-export --target plain`: (1, 3, H, W) float32 in, logits out."""
        self._session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0]

    def run(self, video: Path, max_frames: int, overlay: Path | None) -> int:
        """Class map of every frame, and the overlay video if named; returns the count of frames.

        A video that is shorter than `max_frames` is rewound and played again.
        """
        height, width = self._input.shape[2:]
        capture = cv2.VideoCapture(str(video))
        writer: cv2.VideoWriter | None = None
        frames = 0
        while frames < max_frames:
            read, image = capture.read()
            if not read:
                capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
                continue
            frames += 1
            resized = cv2.resize(image, (width, height))
            normalised = (resized.astype(np.float32) - MEAN_BGR) / STD_BGR
            batch = np.ascontiguousarray(normalised.transpose(2, 0, 1)[None])
            logits = self._session.run(None, {self._input.name: batch})[0]
            small = np.argmax(logits[0], axis=0).astype(np.uint8)
            class_map = cv2.resize(small, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_NEAREST)
            if overlay is not None:
                for label in (DIRECT, ALTERNATIVE):
                    area, rgb = class_map == label, COLOURS_RGB[label]
                    image[area] = (0.5 * image[area] + 0.5 * np.array(rgb[::-1])).astype(np.uint8)
                if writer is None:
                    codec = cv2.VideoWriter.fourcc(*"mp4v")
                    size = (image.shape[1], image.shape[0])
                    writer = cv2.VideoWriter(str(overlay), codec, capture.get(cv2.CAP_PROP_FPS), size)
                writer.write(image)
            assert class_map.max() <= BACKGROUND
        capture.release()
        if writer is not None:
            writer.release()
        return frames


_loop: PlainLoop | None = None


def load(model: str) -> None:
    """Make the loop of this process."""
    global _loop
    _loop = PlainLoop(Path(model))


def measure_fps(video: str, frames: int, overlay: Path | None) -> float:
    """Frames per second of the loop that `load` made."""
    assert _loop is not None
    started_s = time.monotonic()
    played = _loop.run(Path(video), frames, overlay)
    return played / (time.monotonic() - started_s)
