"""Int8 is measured on frames of every condition, chosen alike each time."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

pytest.importorskip("torch")

from export.calibration import QUANTILES, activation_quantiles, calibration_inputs

INPUT_WH, PAD_BGR = (64, 64), (116, 116, 116)


class Drives:
    """Frames whose blue says which they are; all but `nights` of them by day."""

    def __init__(self, days: int, nights: int, per_recording: int = 1) -> None:
        self._days, self._count, self._per_recording = days, days + nights, per_recording

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        level = 120 if index < self._days else 10
        image_bgr = np.full((36, 64, 3), level, np.uint8)
        image_bgr[..., 0] = index
        return image_bgr, np.zeros((36, 64), np.uint8)

    def name(self, index: int) -> str:
        return str(index)

    def recording(self, index: int) -> str:
        return f"{index // self._per_recording:04}"


def numbers(inputs: list[np.ndarray]) -> list[int]:
    """Which frames they were made of; rain changes them by little, the padding not at all."""
    return [int(image[32, 32, 0]) for image in inputs]


@pytest.mark.parametrize(
    ("days", "nights", "count", "chosen"),
    [
        (60, 60, 32, {"day": 12, "rendered rain": 4, "night": 16}),
        (100, 5, 32, {"day": 21, "rendered rain": 6, "night": 5}),
        (4, 60, 32, {"day": 3, "rendered rain": 1, "night": 28}),
        (20, 0, 8, {"day": 6, "rendered rain": 2}),
        (3, 2, 64, {"day": 3, "night": 2}),
        (1, 0, 1, {"day": 1}),
    ],
)
def test_day_night_and_rain_are_all_there_as_far_as_the_frames_have_them(
    days: int, nights: int, count: int, chosen: dict[str, int]
) -> None:
    inputs, conditions = calibration_inputs(Drives(days, nights), INPUT_WH, PAD_BGR, count)

    assert conditions == chosen
    assert list(conditions) == [name for name in ("day", "rendered rain", "night") if name in chosen]
    assert {image.shape for image in inputs} == {(64, 64, 3)}
    assert len(inputs) == sum(chosen.values())


def test_inputs_lie_in_the_order_of_their_conditions() -> None:
    inputs, conditions = calibration_inputs(Drives(60, 60), INPUT_WH, PAD_BGR, 32)

    assert all(number < 60 for number in numbers(inputs[: conditions["day"]]))
    assert all(number >= 60 for number in numbers(inputs[-conditions["night"] :]))


def test_rain_is_rendered_over_frames_of_the_day() -> None:
    inputs, conditions = calibration_inputs(Drives(20, 0), INPUT_WH, PAD_BGR, 8)

    dry, wet = inputs[: conditions["day"]], inputs[conditions["day"] :]
    assert all(len(np.unique(image[14:50, :, 1])) == 1 for image in dry)
    assert all(len(np.unique(image[14:50, :, 1])) > 1 for image in wet)


def test_same_frames_give_the_same_inputs() -> None:
    first, _ = calibration_inputs(Drives(60, 60), INPUT_WH, PAD_BGR, 32)
    second, _ = calibration_inputs(Drives(60, 60), INPUT_WH, PAD_BGR, 32)

    np.testing.assert_array_equal(np.stack(first), np.stack(second))


def test_no_recording_comes_twice_before_every_other_came_once() -> None:
    frames = Drives(60, 0, per_recording=10)

    inputs, conditions = calibration_inputs(frames, INPUT_WH, PAD_BGR, 3)  # looks at 12 frames of 6

    per_recording = Counter(number // 10 for number in numbers(inputs))
    assert conditions == {"day": 3}
    assert max(per_recording.values()) == 1


def test_frames_are_spread_over_all_recordings() -> None:
    inputs, _ = calibration_inputs(Drives(100, 0), INPUT_WH, PAD_BGR, 6)

    chosen = sorted(numbers(inputs[:5]))
    assert max(np.diff([0, *chosen, 100])) <= 50


def test_quantiles_are_those_of_each_frames_values() -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["frame"], ["upright"], perm=[0, 3, 1, 2]),
            helper.make_node("Cast", ["upright"], ["pixels"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Sub", ["pixels", "mean"], ["logits"]),
        ],
        "network",
        [helper.make_tensor_value_info("frame", onnx.TensorProto.UINT8, [1, 300, 400, 3])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1, 3, 300, 400])],
        [numpy_helper.from_array(np.float32(100), "mean")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model)
    random = np.random.default_rng(0)
    inputs = [random.integers(20, high, (300, 400, 3), np.uint8) for high in (200, 250)]

    found = activation_quantiles(model, ["pixels", "logits"], inputs)

    assert found["logits"].shape == (2, len(QUANTILES))
    np.testing.assert_allclose(found["pixels"][:, [0, -1]], [[20, 199], [20, 249]], atol=1)
    np.testing.assert_allclose(found["logits"], found["pixels"] - 100)
    assert (np.diff(found["logits"]) >= 0).all()
