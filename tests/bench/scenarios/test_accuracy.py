"""The scenario accuracy: its values, and what it makes of a node that errs under load."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bench.scenarios.accuracy import LOADED_FRAMES, digest, finds_the_same_under_load, measure
from bench.task import Task
from perception.frame import Frame, Prediction
from perception.inference.engines import OnnxEngine
from perception.inference.predictor import Predictor
from perception.inference.zoo import model_file
from perception.labels import BACKGROUND, DIRECT
from perception.metrics.segmentation import measure_accuracy
from perception.pipeline import RunError
from perception.synthetic import DriveRenderer
from train.data.decode import DataError
from train.data.layouts import AUTO, open_frames

Predict = Callable[[Frame], Prediction]


def predictor() -> Predictor:
    return Predictor(OnnxEngine(model_file("rt_s-int8"), "cpu", threads=1))


def of_data(data: Path, model: str = "rt_s-int8", **options: object) -> Task:
    defaults = {"data": str(data), "split": "test", "layout": AUTO, "label_map": None}
    return Task("accuracy", model, options={**defaults, **options})


def test_values_are_those_of_the_split(data: Path) -> None:
    values = measure(of_data(data, split="val"))

    measured = measure_accuracy(predictor(), open_frames(data, "val"))
    iou, two = measured.total.iou(), measured.drivable_or_not()
    assert (values["split"], values["frames"], values["recordings"]) == ("val", 4, 3)
    assert values["mean_iou"] == measured.total.mean_iou()
    assert values["interval"] == list(measured.mean_iou_interval())
    assert values["iou"] == dict(zip(measured.labels, iou, strict=True))
    assert values["boundary_iou"] == measured.mean_boundary_iou()
    assert values["calibration_error"] == measured.calibration_error()
    assert values["two_classes"]["mean_iou"] == two.total.mean_iou()
    assert values["two_classes"]["interval"] == list(two.mean_iou_interval())
    assert list(values["two_classes"]["iou"]) == ["drivable", "background"]
    assert list(values["conditions"]) == ["day", "night"]
    assert values["conditions"]["night"]["frames"] == 3
    assert values["same_under_load"] is True
    assert {"wall_s", "cpu_s", "busy_cores", "peak_memory_mb", "busy_cores_under_load"} < values.keys()
    json.dumps(values, allow_nan=False)


def test_network_of_two_classes_reports_two(data: Path, red_is_drivable: Path) -> None:
    values = measure(of_data(data, model=str(red_is_drivable), split="val"))

    assert values["iou"] == values["two_classes"]["iou"] == {"drivable": 1.0, "background": 1.0}
    assert (values["mean_iou"], values["boundary_iou"]) == (1.0, 1.0)
    assert values["calibration_error"] < 0.01
    assert values["same_under_load"] is True


def test_what_was_not_measured_is_null(data: Path) -> None:
    values = measure(of_data(data, split="test"))

    assert values["recordings"] == 1
    assert values["interval"] == values["two_classes"]["interval"] == [None, None]
    json.dumps(values, allow_nan=False)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"split": "vla"}, DataError, "no frames in split 'vla'"),
        ({"layout": "bddd"}, DataError, "bddd: no such layout"),
    ],
)
def test_bad_options_are_refused(
    data: Path, options: dict[str, object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        measure(of_data(data, **options))


class Numbered:
    """Frames that hold their own number, and a truth that nobody asks for."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return np.full((4, 6, 3), index % 256, np.uint8), np.zeros((4, 6), np.uint8)

    def recording(self, index: int) -> str:
        return "one"


def class_map_of(number: int) -> np.ndarray:
    class_map = np.full((4, 6), BACKGROUND, np.uint8)
    class_map.ravel()[number % 24] = DIRECT
    return class_map


def predicted(frame: Frame, class_map: np.ndarray) -> Prediction:
    return Prediction(frame, class_map, (0.0, 0.0, 1.0), "fake")


def right(frame: Frame) -> Prediction:
    return predicted(frame, class_map_of(int(frame.image_bgr[0, 0, 0])))


class TestUnderLoad:
    @staticmethod
    def is_same(count: int, predictors: list[Predict]) -> bool:
        digests = [digest(class_map_of(number)) for number in range(count)]
        return finds_the_same_under_load(Numbered(count), digests, predictors)

    @pytest.mark.parametrize("count", [1, 8, 21])
    @pytest.mark.parametrize("workers", [1, 3])
    def test_same_class_maps_are_the_same(self, count: int, workers: int) -> None:
        assert self.is_same(count, [right] * workers)

    def test_one_other_pixel_of_one_frame_is_not(self) -> None:
        def errs_on_the_last(frame: Frame) -> Prediction:
            number = int(frame.image_bgr[0, 0, 0])
            return predicted(frame, class_map_of(number + (number == 20)))

        assert not self.is_same(21, [errs_on_the_last])

    def test_worker_that_gives_another_frames_class_map_is_found(self) -> None:
        before = [class_map_of(0)]

        def gives_what_it_saw_before(frame: Frame) -> Prediction:
            before.append(class_map_of(int(frame.image_bgr[0, 0, 0])))
            return predicted(frame, before[-2])

        assert not self.is_same(8, [gives_what_it_saw_before])

    def test_class_map_of_another_shape_is_another(self) -> None:
        def turned(frame: Frame) -> Prediction:
            prediction = right(frame)
            return predicted(frame, prediction.class_map.reshape(6, 4))

        assert not self.is_same(8, [turned])

    def test_all_workers_are_at_work_at_once(self) -> None:
        together = threading.Barrier(3, timeout=20)

        def waits_for_the_others(frame: Frame) -> Prediction:
            together.wait()
            return right(frame)

        assert self.is_same(8, [waits_for_the_others] * 3)

    @pytest.mark.parametrize("workers", [1, 2])
    def test_every_frame_is_handed_out_once_a_worker_and_neighbours_differ(self, workers: int) -> None:
        seen: dict[int, int] = {}

        def notes(frame: Frame) -> Prediction:
            seen[frame.frame_id] = int(frame.name)
            return right(frame)

        finds_the_same_under_load(Numbered(10), [b""] * 10, [notes] * workers)

        in_order = [number for _, number in sorted(seen.items())]
        assert sorted(in_order) == sorted(workers * list(range(10)))
        assert all(one != other for one, other in pairwise(in_order))

    def test_large_split_is_seen_again_in_part(self) -> None:
        seen: set[str] = set()

        def notes(frame: Frame) -> Prediction:
            seen.add(frame.name)
            return right(frame)

        finds_the_same_under_load(Numbered(3 * LOADED_FRAMES), [b""] * 3 * LOADED_FRAMES, [notes])

        assert seen == {str(3 * number) for number in range(LOADED_FRAMES)}

    def test_error_of_a_worker_is_raised(self) -> None:
        def fails(frame: Frame) -> Prediction:
            raise RuntimeError("no such luck")

        with pytest.raises(RunError, match="predict-0: no such luck"):
            self.is_same(8, [fails])


class Roads(Numbered):
    """One picture of the road, another part of it each time."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self._road_bgr = DriveRenderer("day", (640, 360)).render(10)[0]

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return np.roll(self._road_bgr, 32 * index, axis=1), np.zeros((360, 640), np.uint8)


def test_networks_own_workers_agree_with_the_quiet_run() -> None:
    engine = OnnxEngine(model_file("rt_s-int8"), "cpu", threads=1)
    frames, predict = Roads(10), Predictor(engine)
    quiet = [predict(Frame("fake", index, 0, 0, frames[index][0], str(index))) for index in range(10)]
    digests = [digest(prediction.class_map) for prediction in quiet]

    assert len(set(digests)) == 10
    assert finds_the_same_under_load(frames, digests, [Predictor(engine) for _ in range(2)])
