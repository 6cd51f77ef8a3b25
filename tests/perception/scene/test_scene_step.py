"""The refine step: which predictions get metres, and what it is made from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flat_road import WH, camera, class_map

from perception.config import NodeConfig
from perception.frame import CameraState, Frame, Prediction
from perception.refine import refine_steps
from perception.refine.scene import Scene
from perception.scene.calibration import Calibration, CalibrationError
from perception.scene.calibration_file import save_calibration
from perception.scene.ignore_mask import IgnoreMask
from perception.scene.mount_memory import EVERY_NS
from perception.sources.source import SourceInfo

INFO = SourceInfo("road", False, WH, 30.0)


def prediction_of(classes: np.ndarray, time_ns: int = 0, wh: tuple[int, int] = WH) -> Prediction:
    frame = Frame("road", 0, 0, time_ns, np.zeros((wh[1], wh[0], 3), np.uint8), "0")
    return Prediction(frame, classes, (0.2, 0.0, 0.8), "net")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_calibration(tmp_path / "camera.yaml", camera())
    return tmp_path / "camera.yaml"


def step_of(config: NodeConfig, info: SourceInfo = INFO) -> Scene:
    (step,) = (it for it in refine_steps(config, info) if isinstance(it, Scene))
    return step


def test_without_a_calibration_there_is_no_step_and_nothing_in_metres() -> None:
    steps = refine_steps(NodeConfig(), INFO)

    assert not any(isinstance(step, Scene) for step in steps)
    assert prediction_of(class_map(camera())).metres is None


def test_calibrated_camera_gives_metres(file: Path) -> None:
    metres = step_of(NodeConfig(calibration=str(file)))(prediction_of(class_map(camera()))).metres

    assert metres is not None
    assert metres.lane_width_m is not None
    assert metres.lane_width_m.value == pytest.approx(3.6, abs=0.1)


def test_prediction_without_a_mask_has_no_metres(file: Path) -> None:
    blocked = replace(prediction_of(class_map(camera())), camera_state=CameraState.BLOCKED)

    assert step_of(NodeConfig(calibration=str(file)))(blocked).metres is None


def test_ignored_pixels_are_no_obstacle(file: Path) -> None:
    classes = class_map(camera())
    classes[300:] = 2
    pixels = np.zeros((360, 640), np.uint8)
    pixels[300:] = 255
    seen = replace(prediction_of(classes), ignore_mask=IgnoreMask(pixels, "bonnet"))

    metres = step_of(NodeConfig(calibration=str(file)))(seen).metres

    assert metres is not None
    assert metres.distance_ahead_m is not None
    assert metres.distance_ahead_m.value > 30


def test_calibration_without_a_mount_gives_nothing_and_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_calibration(tmp_path / "lens.yaml", Calibration(camera().intrinsics))
    step = step_of(NodeConfig(calibration=str(tmp_path / "lens.yaml")))

    for _ in range(3):
        assert step(prediction_of(class_map(camera()))).metres is None

    assert caplog.text.count("has no mount") == 1


def test_size_that_is_known_with_the_first_frame_only_is_taken_from_it(file: Path) -> None:
    step = step_of(NodeConfig(calibration=str(file)), replace(INFO, frame_wh=None, is_live=True))

    assert step(prediction_of(class_map(camera()))).metres is not None


def test_frames_of_another_shape_are_refused_in_one_line(file: Path) -> None:
    with pytest.raises(CalibrationError, match=r"camera\.yaml: .*640x480"):
        step_of(NodeConfig(calibration=str(file)), replace(INFO, frame_wh=(640, 480)))


def test_what_was_learnt_is_in_the_file_and_used_again(file: Path, tmp_path: Path) -> None:
    config = NodeConfig(calibration=str(file), mount_state=str(tmp_path / "mount.json"))
    step = step_of(config)
    nose_down = class_map(camera(), mount=replace(camera().mount, pitch_rad=0.012))  # type: ignore[type-var]
    for frame in range(600):
        step(prediction_of(nose_down, frame * EVERY_NS // 100))

    learnt = json.loads((tmp_path / "mount.json").read_text())["learnt"]["pitch_rad"]
    assert learnt == pytest.approx(0.012, abs=0.0015)
    first = step_of(config)(prediction_of(np.full((360, 640), 2, np.uint8))).metres
    assert first is not None
    assert first.mount.mount.pitch_rad == pytest.approx(learnt)


@pytest.mark.parametrize("setting", [{"mount_state": "m.json"}, {"lane_width_m": 3.6}])
def test_settings_of_a_calibrated_camera_want_a_calibration(setting: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="add --calibration"):
        NodeConfig(**setting)  # type: ignore[arg-type]


def test_lane_width_that_no_lane_has_is_refused() -> None:
    with pytest.raises(ValueError, match="2 to 6 m"):
        NodeConfig(calibration="c.yaml", lane_width_m=36)
