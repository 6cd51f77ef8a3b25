"""The network alone, from its input to its output: what everything around it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.engines import open_engine
from bench.meter import GPU_PROVIDERS, metered, times_ms
from bench.scenarios.node import decoded_frames, node_predictors
from bench.task import Task
from perception.imaging.letterbox import letterbox
from perception.inference.contract import ANY_SIZE, ModelContract
from perception.inference.engines import Engine
from perception.inference.zoo import model_file
from perception.system.cores import usable_cores

WARM_UP_FRAMES: Final = 10
PICTURES: Final = 8  # what the network sees makes no difference to its time, but for caches

Image = NDArray[np.uint8]
Infer = Callable[[Image], object]


def measure(task: Task) -> dict[str, Any]:
    """First one inference after the other with every core for each; then one core each, side by side.

    The second part has the engine and the count of workers that drivable-node takes for a recording; its
    frames a second are the most that any data path around this network can come to. The peak of memory
    holds both parts. An inference ends when its output is in the host's memory, so a GPU's time is whole;
    `host_device_bytes` is what a frame moves between the two.

    Options: `frames`, of each part.
    """
    frames = task.options["frames"]
    engine = open_engine(task.engine, model_file(task.model), task.provider, usable_cores())
    frames_bgr = [frame.image_bgr for frame in decoded_frames(task.source, PICTURES)]
    pictures = pictures_for(engine.contract, frames_bgr)
    infer = infer_of(engine)
    times_ms(infer, islice(cycle(pictures), WARM_UP_FRAMES))
    latencies_ms = times_ms(infer, islice(cycle(pictures), frames))
    del engine, infer
    engine, workers = node_predictors(task, is_live=False)
    infer = infer_of(engine)
    with ThreadPoolExecutor(len(workers), "worker") as pool:
        run_side_by_side(pool, len(workers), infer, pictures, WARM_UP_FRAMES * len(workers))
        with metered(engine.provider) as readings:
            run_side_by_side(pool, len(workers), infer, pictures, frames)
    return {
        "latencies_ms": latencies_ms,
        "fps": frames / readings["wall_s"],
        "frames": frames,
        "host_device_bytes": transfer_bytes(infer, pictures[0]) if engine.provider in GPU_PROVIDERS else None,
        **readings,
    }


def transfer_bytes(infer: Infer, picture: Image) -> int:
    """What goes to the device and comes back for one frame: the graph's input and its outputs."""
    given = infer(picture)
    outputs = given if isinstance(given, tuple) else (given,)
    return picture.nbytes + sum(np.asarray(output).nbytes for output in outputs)


def pictures_for(contract: ModelContract, frames_bgr: Sequence[Image]) -> list[Image]:
    """What the graph takes of these frames: network inputs, or whole frames of its size."""
    if contract.frame_wh is None:
        return [letterbox(frame_bgr, contract.input_wh, contract.pad_bgr)[0] for frame_bgr in frames_bgr]
    if contract.frame_wh == ANY_SIZE:
        return list(frames_bgr)
    return [np.asarray(cv2.resize(frame_bgr, contract.frame_wh), np.uint8) for frame_bgr in frames_bgr]


def run_side_by_side(
    pool: ThreadPoolExecutor, workers: int, infer: Infer, pictures: Sequence[Image], frames: int
) -> None:
    """So many inferences; each worker takes the next when it is free. Raises what an inference raised."""
    turns = iter(range(frames))  # one for all: taking the next of a range is one step for CPython

    def work() -> None:
        for turn in turns:
            infer(pictures[turn % len(pictures)])

    for job in [pool.submit(work) for _ in range(workers)]:
        job.result()


def infer_of(engine: Engine) -> Infer:
    """What runs the graph once, to its logits or its class map."""
    return engine.segment if engine.contract.output == "class_map" else engine.infer
