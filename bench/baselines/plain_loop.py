"""The plain loop that most people write, kept small and readable.

cv2.VideoCapture, cv2.resize, float normalisation in numpy, ONNX Runtime with default options,
np.argmax, resize of the mask; for the overlay, boolean indexing and cv2.VideoWriter.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from perception.inference.engines import EngineError
from perception.inference.engines.engine import one_line
from perception.labels import ALTERNATIVE, COLOURS_RGB, DIRECT
from perception.sources.source import SourceError

MEAN_KEY, STD_KEY = "model_info mean_values", "model_info scale_values"
"""Of the file's metadata: three levels each, in BGR, as drivable-export writes them."""


class PlainLoop:
    """One thread, one frame after the other."""

    def __init__(self, model: Path) -> None:
        """Load a graph of `drivable-export --target plain`: (1, 3, h, w) float32 in, logits out.

        Raises:
            EngineError: if it is none.
        """
        try:
            self._session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises several kinds, none with a base of its own
            raise EngineError(
                f"{model}: not a model that ONNX Runtime can load: {one_line(error)}"
            ) from error
        self._input = self._session.get_inputs()[0]
        if self._input.type != "tensor(float)" or list(self._input.shape[:2]) != [1, 3]:
            raise EngineError(
                f"{model}: takes {self._input.type} {self._input.shape}, not a plain float image; "
                f"make one with `drivable-export --target plain`"
            )
        metadata = self._session.get_modelmeta().custom_metadata_map
        self._mean_bgr, self._std_bgr = (_levels(metadata, key, model) for key in (MEAN_KEY, STD_KEY))

    def run(self, video: Path, max_frames: int, overlay: Path | None) -> int:
        """Class map of every frame, and the overlay video if named; returns the count of frames.

        A video that is shorter than `max_frames` is rewound and played again.

        Raises:
            SourceError: if OpenCV reads no frame of it.
        """
        height, width = self._input.shape[2:]
        capture = cv2.VideoCapture(str(video))
        writer: cv2.VideoWriter | None = None
        frames = 0
        was_rewound = False
        while frames < max_frames:
            read, image = capture.read()
            if not read:
                if was_rewound or frames == 0:
                    raise SourceError(f"{video}: OpenCV reads no frame of it; name another video")
                capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
                was_rewound = True
                continue
            was_rewound = False
            frames += 1
            resized = cv2.resize(image, (width, height))
            normalised = (resized.astype(np.float32) - self._mean_bgr) / self._std_bgr
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
        capture.release()
        if writer is not None:
            writer.release()
        return frames


def _levels(metadata: Mapping[str, str], key: str, model: Path) -> NDArray[np.float32]:
    try:
        levels = np.array([float(level) for level in metadata[key].split()], np.float32)
    except (KeyError, ValueError):
        levels = np.empty(0, np.float32)
    if levels.shape != (3,):
        raise EngineError(
            f"{model}: does not say how its input is normalised ({key!r} in its metadata); "
            f"make it with `drivable-export --target plain`"
        )
    return levels
