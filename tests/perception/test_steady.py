"""The refine step `steady`: masks of several frames, and what they are never made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from perception.config import NodeConfig
from perception.frame import CameraState, EngineState, Frame, NetworkOutput, Prediction
from perception.imaging.letterbox import Letterbox
from perception.imaging.yuv import Yuv420
from perception.inference.confidence import confidence_of, in_cells, logits_of_class_map
from perception.inference.engines import OnnxEngine
from perception.inference.ood import certainty_of
from perception.inference.predictor import Predictor, class_shares, postprocess
from perception.inference.zoo import model_file
from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT, DRIVABLE, LABELS, LABELS_OF_TWO
from perception.node import main
from perception.refine import refine_steps
from perception.refine.steady import STEADY, Steady, SteadySettings, difference, thumbnail_of
from perception.sources.source import SourceInfo
from perception.synthetic import DriveRenderer

RATE_HZ = 25.0
WH = (64, 48)
VIDEO = SourceInfo("video", False, WH, RATE_HZ)
PERIOD_NS = round(1e9 / RATE_HZ)
DRIVE, WALL = 4.0, -0.5
"""Margins of drivable area, and of a background that smoothing evens out."""


def picture(seed: int = 0) -> np.ndarray:
    """(48, 64, 3) large patches of grey."""
    patches = np.random.default_rng(seed).integers(0, 255, (6, 8, 1), np.uint8)
    return np.repeat(np.asarray(cv2.resize(patches, WH, interpolation=cv2.INTER_NEAREST))[..., None], 3, 2)


def predicted(
    margin: float,
    index: int,
    *,
    time_ns: int | None = None,
    image: np.ndarray | None = None,
    box: Letterbox | None = None,
) -> Prediction:
    """One of a frame in which all is direct by this margin, as `Predictor` leaves it to the step."""
    box = box or Letterbox.fit(WH, WH)
    time_ns = index * PERIOD_NS if time_ns is None else time_ns
    frame = Frame("video", index, 0, time_ns, picture() if image is None else image, str(index))
    logits = np.zeros((3, 6, 8), np.float32)
    logits[0], logits[1] = margin, margin - 5
    coarse = np.full((6, 8), DIRECT, np.uint8)
    output = NetworkOutput(logits, box)
    return Prediction(frame, coarse, (1.0, 0.0, 0.0), "fake", network_output=output)


def is_drivable(prediction: Prediction) -> bool:
    """Of a mask that is the same everywhere."""
    (found,) = np.unique(prediction.class_map)
    return bool(found != BACKGROUND)


def test_flicker_is_evened_out_and_all_that_follows_from_the_mask_with_it() -> None:
    step = Steady(SteadySettings(), VIDEO)
    step(predicted(DRIVE, 0))

    steady = step(predicted(WALL, 1))

    assert steady.class_map.shape == (48, 64)
    assert is_drivable(steady)
    assert steady.shares == (1.0, 0.0, 0.0)
    assert steady.confidence is not None
    assert steady.confidence.shape == (6, 8)
    assert (steady.confidence < 255 * 0.9).all()
    assert steady.certainty is not None
    assert steady.certainty.mean == pytest.approx(steady.confidence.mean() / 255)
    assert steady.network_output is None
    assert {"steady", "postprocess"} <= set(steady.stage_ns)


@pytest.mark.parametrize(
    "after",
    [
        predicted(WALL, 1, time_ns=4 * PERIOD_NS),
        predicted(WALL, 20, time_ns=20 * PERIOD_NS),
        predicted(WALL, 1, time_ns=-1),
        predicted(WALL, 0, time_ns=PERIOD_NS),
        predicted(WALL, 1, image=picture(1)),
        predicted(WALL, 1, box=Letterbox.fit((64, 44), WH)),
    ],
    ids=["outage", "too old", "time goes back", "seek", "cut", "another size"],
)
def test_nothing_is_carried_over(after: Prediction) -> None:
    step = Steady(SteadySettings(), VIDEO)
    step(predicted(DRIVE, 0))

    assert not is_drivable(step(after))


def test_frames_that_the_node_left_out_are_no_outage() -> None:
    step = Steady(SteadySettings(), replace(VIDEO, rate_hz=60))  # three periods are 50 ms
    step(predicted(60.0, 0))

    assert is_drivable(step(predicted(WALL, 4, time_ns=66_666_667)))


@pytest.mark.parametrize(
    "blind",
    [
        replace(predicted(DRIVE, 1), camera_state=CameraState.BLOCKED),
        replace(predicted(DRIVE, 1), engine_state=EngineState.SUSPECT),
    ],
    ids=["camera", "engine"],
)
def test_nothing_is_carried_over_a_frame_without_a_mask(blind: Prediction) -> None:
    step = Steady(SteadySettings(), VIDEO)
    step(predicted(DRIVE, 0))

    withheld = step(blind)

    assert not withheld.has_mask
    assert withheld.class_map.shape == (48, 64)
    assert not is_drivable(step(predicted(WALL, 2)))


@pytest.mark.parametrize("info", [replace(VIDEO, are_stills=True), replace(VIDEO, is_one_picture=True)])
def test_pictures_that_do_not_follow_each_other_are_left_alone(info: SourceInfo) -> None:
    prediction = predicted(DRIVE, 0)

    assert STEADY.build(SteadySettings(), info)(prediction) is prediction


def test_switch_turns_it_off() -> None:
    on, off = NodeConfig(), NodeConfig(steady=SteadySettings(enabled=False))

    assert len(refine_steps(on, VIDEO)) == len(refine_steps(off, VIDEO)) + 1


@pytest.mark.parametrize(
    ("name", "value"), [("rise_ms", 0.0), ("fall_ms", float("inf")), ("cut", 0.0), ("island_share", 0.5)]
)
def test_settings_that_make_no_sense_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name} is "):
        SteadySettings(**{name: value})  # type: ignore[arg-type]


def test_prediction_without_what_the_network_gave_is_an_error() -> None:
    with pytest.raises(ValueError, match="carries no network output"):
        Steady(SteadySettings(), VIDEO)(replace(predicted(DRIVE, 0), network_output=None))


def test_islands_below_the_stated_share_of_the_picture_are_removed() -> None:
    prediction = predicted(-DRIVE, 0)
    assert prediction.network_output is not None
    prediction.network_output.logits[:2, 2, 3] = DRIVE

    for share, is_left in ((0.05, False), (0.01, True), (0.0, True)):
        steady = Steady(SteadySettings(island_share=share), VIDEO)(prediction)

        assert (steady.class_map != BACKGROUND).any() == is_left


@pytest.mark.parametrize("source_is_yuv", [False, True])
def test_first_frame_has_the_mask_of_that_frame_alone(source_is_yuv: bool) -> None:
    engine = OnnxEngine(model_file("rt_s-int8"), "cpu", 1)
    image_bgr, _ = DriveRenderer("city", (640, 360)).render(40)
    pixels: np.ndarray | Yuv420 = image_bgr
    if source_is_yuv:
        i420 = np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2YUV_I420), np.uint8)
        u, v = i420[360:].reshape(2, 180, 320)
        pixels = Yuv420(i420[:360], u, v, "bt601")
    frame = Frame("drive", 0, 0, 0, pixels, "0")
    alone = Predictor(engine)(frame)

    left = Predictor(engine, leaves_mask=True)(frame)
    steady = Steady(SteadySettings(island_share=0), VIDEO)(left)

    assert (left.certainty, left.class_map.shape) == (None, (45, 80))
    assert np.mean(steady.class_map == alone.class_map) > 0.9999
    assert steady.shares == pytest.approx(alone.shares, abs=1e-4)
    assert steady.confidence is not None
    assert alone.confidence is not None
    assert np.abs(steady.confidence.astype(int) - alone.confidence).max() <= 1
    assert steady.certainty is not None
    assert alone.certainty is not None
    assert steady.certainty.ood_score == pytest.approx(alone.certainty.ood_score, abs=0.01)


@pytest.mark.parametrize("labels", [LABELS, LABELS_OF_TWO])
def test_classes_in_cells_are_those_of_the_class_map(labels: tuple[str, ...]) -> None:
    small = np.random.default_rng(1).normal(size=(len(labels), 4, 5)).astype(np.float32)
    logits = np.stack([cv2.resize(plane, (20, 16)) for plane in small])
    box = Letterbox.fit((160, 120), (160, 128))

    ids, confidence = in_cells(logits, box, labels)

    np.testing.assert_array_equal(confidence, confidence_of(logits, box))
    middles = postprocess(logits, box)[4::8, 4::8]
    assert ids.shape == middles.shape
    assert np.mean(ids == middles) > 0.95


@pytest.mark.parametrize("labels", [LABELS, LABELS_OF_TWO])
def test_class_map_of_a_graph_comes_back_from_what_stands_for_its_logits(labels: tuple[str, ...]) -> None:
    class_map = np.full((96, 160), BACKGROUND, np.uint8)
    first, second = (DRIVABLE, DRIVABLE) if labels == LABELS_OF_TWO else (DIRECT, ALTERNATIVE)
    cv2.fillPoly(class_map, [np.array([[70, 20], [90, 20], [150, 95], [5, 95]])], (first,))
    cv2.fillPoly(class_map, [np.array([[90, 20], [97, 20], [159, 80], [159, 95], [150, 95]])], (second,))
    confidence = np.full(class_map.shape, 230, np.uint8)

    logits = logits_of_class_map(class_map, confidence, labels)

    box = Letterbox.fit((160, 96), (160, 96))
    assert logits.shape == (len(labels), 12, 20)
    assert np.mean(postprocess(logits, box) == class_map) > 0.98
    assert np.median(confidence_of(logits, box)) == pytest.approx(230, abs=1)


def test_graph_that_gives_class_maps_is_smoothed_too(make_classifier: Callable[..., Path]) -> None:
    predict = Predictor(OnnxEngine(make_classifier(WH), "cpu"), leaves_mask=True)
    step = Steady(SteadySettings(cut=9), VIDEO)  # colours that change all at once are one

    def seen(bgr: tuple[int, int, int], index: int) -> Prediction:
        image = np.zeros((48, 64, 3), np.uint8)
        image[:] = bgr
        image[:8] = (0, 0, 240)  # or the confidence is the same everywhere, which no network's is
        return step(predict(Frame("video", index, 0, index * PERIOD_NS, image, str(index))))

    first, flicker, gone = seen((0, 250, 0), 0), seen((0, 0, 130), 1), seen((0, 0, 130), 2)

    assert (first.class_map[12:] == ALTERNATIVE).all()
    assert (flicker.class_map[12:] == ALTERNATIVE).all()
    assert (gone.class_map == BACKGROUND).all()


def test_difference_of_pictures_tells_a_cut_from_driving_on_and_from_brightness() -> None:
    drive = DriveRenderer("city", (640, 360))
    before, after = (thumbnail_of(drive.render(index)[0]) for index in (50, 51))
    elsewhere = thumbnail_of(DriveRenderer("highway", (640, 360), seed=4).render(0)[0])
    brighter = thumbnail_of(np.asarray(cv2.add(drive.render(51)[0] // 2, 60), np.uint8))
    cut = SteadySettings().cut

    assert difference(before, after) < cut / 3
    assert difference(before, before) == 0
    assert difference(thumbnail_of(drive.render(51)[0] // 2), brighter) < cut / 3
    assert difference(before, elsewhere) > cut


def test_node_smooths_a_video_unless_it_is_turned_off(tmp_path: Path) -> None:
    given = ["synthetic:city", "--max-frames", "12", "--model", "rt_s-int8", "--synthetic.wh", "320x180"]
    maps = {}
    for name, more in {"on": [], "off": ["--no-steady"]}.items():
        assert main([*given, "--masks", str(tmp_path / name), *more]) == 0
        files = sorted((tmp_path / name).glob("*.png"))
        maps[name] = np.stack([cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in files])

    changes = {name: np.mean(it[1:] != it[:-1]) for name, it in maps.items()}
    assert maps["on"].shape == maps["off"].shape == (12, 180, 320)
    assert changes["on"] < 0.8 * changes["off"]
    assert np.mean(maps["on"] == maps["off"]) > 0.95


def test_class_map_shares_and_certainty_are_of_one_mask() -> None:
    engine = OnnxEngine(model_file("rt_s-int8"), "cpu", 1)
    predict, step = Predictor(engine, leaves_mask=True), Steady(SteadySettings(), VIDEO)
    drive = DriveRenderer("day", (640, 360), RATE_HZ)
    for index in range(4):
        frame = Frame("drive", index, 0, index * PERIOD_NS, drive.render(index)[0], str(index))
        steady = step(predict(frame))

    assert steady.confidence is not None
    assert steady.shares == class_shares(steady.class_map)
    quantiles = engine.contract.doubt_quantiles
    assert steady.certainty == certainty_of(steady.confidence, steady.class_map, LABELS, quantiles)
