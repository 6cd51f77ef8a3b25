"""OpenVINO's Model API on a video, as its own demos run it. Run by path, in an environment of its own.

    python -m venv baseline && baseline/bin/pip install openvino-model-api onnx
    baseline/bin/python model_api_run.py FILE.onnx VIDEO FRAMES WARM_UP_FRAMES

It imports nothing of drivable: the library wants an OpenCV that clashes with ours. The last line of its
output is JSON; what goes wrong is the last line of its errors.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2

PACKAGES = ("openvino-model-api", "openvino", "opencv-python-headless", "numpy")


def main() -> None:
    """Play the warm-up, then the frames, and print how long those took: wall and CPU time, all threads."""
    file, video = Path(sys.argv[1]), sys.argv[2]
    frames, warm_up_frames = int(sys.argv[3]), int(sys.argv[4])
    pipeline = make_pipeline(file)
    play(pipeline, video, warm_up_frames)
    cpu_before_s, before_s = time.process_time(), time.monotonic()
    played = play(pipeline, video, frames)
    wall_s = time.monotonic() - before_s
    values = {
        "fps": played / wall_s,
        "frames": played,
        "versions": {name: version(name) for name in PACKAGES},
        "wall_s": wall_s,
        "cpu_s": time.process_time() - cpu_before_s,
    }
    print(json.dumps(values), flush=True)


def make_pipeline(file: Path) -> Any:
    """An AsyncPipeline of the plain graph on the CPU, tuned for throughput.

    It puts resize and normalisation into the graph, and reads the latter from the file. Only the class
    map is asked for: the scores at the frame's size, which the library gives unless asked not to, would
    cost it time that nobody else spends.
    """
    # With it, the mere import of openvino reports to others; without it, the package takes a stub of its own.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    from model_api.adapters import OpenvinoAdapter, create_core  # type: ignore[import-not-found]
    from model_api.models import SegmentationModel  # type: ignore[import-not-found]
    from model_api.pipelines import AsyncPipeline  # type: ignore[import-not-found]

    settings: dict[str, Any] = {"PERFORMANCE_HINT": "THROUGHPUT"}
    adapter = OpenvinoAdapter(create_core(), str(file), device="CPU", plugin_config=settings)
    model = SegmentationModel(adapter, {"return_soft_prediction": False}, preload=False)
    if len(model.params.mean_values) != 3:
        sys.exit(f"{file}: does not say how its input is normalised; make it with --target plain")
    return AsyncPipeline(model)


def play(pipeline: Any, video: str, frames: int) -> int:
    """Class map of every frame, in order; a video that is too short is rewound and played again."""
    capture = cv2.VideoCapture(video)
    submitted = taken = 0
    while taken < frames:
        if pipeline.callback_exceptions:
            raise pipeline.callback_exceptions[0]
        found = pipeline.get_result(taken)
        if found is not None:
            taken += 1
        elif submitted == frames:
            pipeline.await_all()
        elif pipeline.is_ready():
            pipeline.submit_data(next_frame(capture, video), submitted)
            submitted += 1
        else:
            pipeline.await_any()
    capture.release()
    return taken


def next_frame(capture: cv2.VideoCapture, video: str) -> Any:
    """(H, W, 3) uint8 BGR."""
    read, image = capture.read()
    if not read:
        capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
        read, image = capture.read()
    if not read:
        sys.exit(f"{video}: OpenCV reads no frame of it; name another video")
    return image


if __name__ == "__main__":
    main()
