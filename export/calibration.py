"""Calibration of int8: the choice of frames, and the quantiles of activations on them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from perception.imaging.letterbox import Bgr, letterbox
from perception.inference.engines.session import CPU, load_session
from perception.metrics.segmentation import LabelledFrames, condition_of
from train.data.augment import rain

QUANTILES: Final = (0.0, 1e-5, 1e-4, 1 - 1e-4, 1 - 1e-5, 1.0)
_READ_PER_CHOSEN: Final = 4
_DAYS_PER_RAIN: Final = 4
_SAMPLED_VALUES: Final = 1 << 17  # of one tensor and one frame; the largest have some six million


def calibration_inputs(
    frames: LabelledFrames, input_wh: tuple[int, int], pad_bgr: Bgr, count: int
) -> tuple[list[NDArray[np.uint8]], dict[str, int]]:
    """Network inputs spread over the recordings: half of them night frames if there are enough, some rain.

    The frames' brightness decides between day and night. No layout labels rain, so it is rendered over
    every fourth day frame, like in training; real rain is as frequent as in the data. The same frames
    give the same inputs.

    Returns:
        (input_h, input_w, 3) uint8 each, at most `count`; and the number of each condition, in the order
        of the inputs: day, rain, night.
    """
    images: dict[str, list[NDArray[np.uint8]]] = {"day": [], "night": []}
    for index in _spread(frames, min(len(frames), _READ_PER_CHOSEN * count)):
        image_bgr = frames[index][0]
        alike = images[condition_of(image_bgr)]
        if len(alike) < count:
            alike.append(image_bgr)
    nights = min(len(images["night"]), max(count // 2, count - len(images["day"])))
    days = images["day"][: count - nights]
    chosen = {
        "day": [image for place, image in enumerate(days) if (place + 1) % _DAYS_PER_RAIN],
        "rendered rain": [
            _in_rain(image, place) for place, image in enumerate(days[_DAYS_PER_RAIN - 1 :: _DAYS_PER_RAIN])
        ],
        "night": images["night"][:nights],
    }
    inputs = [letterbox(image, input_wh, pad_bgr)[0] for alike in chosen.values() for image in alike]
    return inputs, {condition: len(alike) for condition, alike in chosen.items() if alike}


def _in_rain(image_bgr: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        wet = rain(torch.from_numpy(image_bgr).permute(2, 0, 1))
    return np.ascontiguousarray(wet.permute(1, 2, 0).numpy())


def _spread(frames: LabelledFrames, count: int) -> list[int]:
    """Indices, one of each recording before a second of any, with recordings evenly spread by name."""
    recordings: dict[str, list[int]] = {}
    for index in range(len(frames)):
        recordings.setdefault(frames.recording(index), []).append(index)
    turns: dict[int, list[int]] = {}
    for name in sorted(recordings):
        for turn, index in enumerate(recordings[name]):
            turns.setdefault(turn, []).append(index)
    chosen: list[int] = []
    for turn in sorted(turns):
        missing = min(count - len(chosen), len(turns[turn]))
        chosen += [turns[turn][place * len(turns[turn]) // missing] for place in range(missing)]
    # Golden-ratio steps: any prefix of the list is evenly spread too.
    order = np.argsort((np.arange(len(chosen)) * 0.6180339887498949) % 1.0, kind="stable")
    return [chosen[place] for place in order]


def activation_quantiles(
    graph: onnx.ModelProto, tensors: Sequence[str], inputs_bgr: Sequence[NDArray[np.uint8]]
) -> dict[str, NDArray[np.float32]]:
    """(frames, quantiles) by tensor: the `QUANTILES` of its values in each frame.

    Large tensors are sampled at even steps along height and width: a hundred thousand values give the
    same quantiles as the millions of an early layer.

    Args:
        graph: with shapes for all `tensors`, static, and `frame` for its input.
    """
    watched = copy.deepcopy(graph)
    del watched.graph.output[:]
    values = {value.name: value for value in (*graph.graph.value_info, *graph.graph.output)}
    steps = {}
    for tensor in tensors:
        shape = [dim.dim_value for dim in values[tensor].type.tensor_type.shape.dim]
        steps[tensor] = max(1, round((np.prod(shape) / _SAMPLED_VALUES) ** 0.5)) if len(shape) == 4 else 1
        _watch(watched.graph, tensor, steps[tensor])
    session = load_session(watched.SerializeToString(), "the float graph", [CPU], threads=0)
    names = [output.name for output in watched.graph.output]
    by_frame = [
        [np.quantile(found, QUANTILES) for found in session.run(names, {"frame": image[np.newaxis]})]
        for image in inputs_bgr
    ]
    by_tensor = np.asarray(by_frame, np.float32).swapaxes(0, 1)
    return dict(zip(tensors, by_tensor, strict=True))


def _watch(graph: onnx.GraphProto, tensor: str, step: int) -> None:
    if step > 1:
        sampled = f"{tensor}/sampled"
        numbers = {"starts": [0, 0], "ends": [1 << 30] * 2, "axes": [2, 3], "steps": [step] * 2}
        inputs = [tensor]
        for name, values in numbers.items():
            inputs.append(f"{sampled}/{name}")
            graph.initializer.append(onnx.numpy_helper.from_array(np.array(values, np.int64), inputs[-1]))
        graph.node.append(onnx.helper.make_node("Slice", inputs, [sampled], name=sampled))
        tensor = sampled
    graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
