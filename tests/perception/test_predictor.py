"""From a frame to a prediction: the planes' short cut beside the reference, and logits to classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest

from perception.frame import EngineState, Frame, Prediction
from perception.imaging.letterbox import Letterbox
from perception.imaging.yuv import Yuv420, YuvMatrix, bgr_from_yuv
from perception.inference.contract import ModelContract
from perception.inference.engines import EngineError, OnnxEngine
from perception.inference.predictor import (
    Predictor,
    blank_input,
    class_shares,
    inside,
    postprocess,
    preprocess,
    working_planes,
)
from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT, DRIVABLE, LABELS, LABELS_OF_TWO
from perception.synthetic import DriveRenderer

INPUT_WH = (640, 384)
STRIDE = 8
PAD_BGR = (116, 116, 116)
SIZES_WH = [(1280, 720), (960, 540), (640, 360), (641, 359), (360, 640)]


@pytest.fixture(scope="module")
def road_bgr() -> np.ndarray:
    return DriveRenderer("day", (1280, 720)).render(10)[0]


def at_size(image_bgr: np.ndarray, wh: tuple[int, int]) -> np.ndarray:
    return np.asarray(cv2.resize(image_bgr, wh, interpolation=cv2.INTER_AREA), np.uint8)


def planes_of(image_bgr: np.ndarray, matrix: YuvMatrix) -> Yuv420:
    """4:2:0 planes of any size, odd ones too: converted with an edge doubled, and then cut."""
    height, width = image_bgr.shape[:2]
    even = cv2.copyMakeBorder(image_bgr, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    half_h, half_w = even.shape[0] // 2, even.shape[1] // 2
    i420 = np.asarray(cv2.cvtColor(even, cv2.COLOR_BGR2YUV_I420), np.uint8)
    u, v = i420[half_h * 2 :].reshape(2, half_h, half_w)
    return Yuv420(i420[:height, :width], u, v, matrix)


def make_frame(pixels: np.ndarray | Yuv420) -> Frame:
    return Frame("fake", 0, 0, 0, pixels, "000000")


def prepared(pixels: np.ndarray | Yuv420, wh: tuple[int, int]) -> np.ndarray:
    box = Letterbox.fit(wh, INPUT_WH)
    input_bgr = box.blank(PAD_BGR)
    preprocess(make_frame(pixels), box, input_bgr)
    return input_bgr


class TestPrepare:
    @pytest.mark.parametrize("matrix", ["bt601", "bt709"])
    @pytest.mark.parametrize("wh", SIZES_WH)
    def test_planes_give_the_picture_of_the_reference(
        self, road_bgr: np.ndarray, wh: tuple[int, int], matrix: YuvMatrix
    ) -> None:
        pixels = planes_of(at_size(road_bgr, wh), matrix)

        input_bgr = prepared(pixels, wh)

        reference_bgr = prepared(bgr_from_yuv(pixels), wh)
        difference = np.abs(input_bgr.astype(int) - reference_bgr)
        assert difference.mean() < 1.5  # of 255; measured 0 to 1.21

    @pytest.mark.parametrize("wh", SIZES_WH)
    def test_planes_leave_the_padding_as_it_is(self, road_bgr: np.ndarray, wh: tuple[int, int]) -> None:
        box = Letterbox.fit(wh, INPUT_WH)

        input_bgr = prepared(planes_of(at_size(road_bgr, wh), "bt601"), wh)

        input_bgr[box.rows, box.columns] = PAD_BGR
        assert (input_bgr == PAD_BGR).all()

    @pytest.mark.parametrize("matrix", ["bt601", "bt709"])
    def test_planes_of_the_networks_own_size_give_the_reference_exactly(
        self, road_bgr: np.ndarray, matrix: YuvMatrix
    ) -> None:
        pixels = planes_of(at_size(road_bgr, (640, 360)), matrix)

        np.testing.assert_array_equal(
            prepared(pixels, (640, 360)), prepared(bgr_from_yuv(pixels), (640, 360))
        )

    def test_planes_that_are_part_of_longer_rows_give_the_same(self, road_bgr: np.ndarray) -> None:
        whole = planes_of(at_size(road_bgr, (960, 540)), "bt601")
        padded = [np.pad(plane, ((0, 0), (0, 32))) for plane in (whole.y, whole.u, whole.v)]
        y, u, v = (plane[:, :-32] for plane in padded)
        for plane in (y, u, v):
            plane.flags.writeable = False

        np.testing.assert_array_equal(
            prepared(Yuv420(y, u, v, "bt601"), (960, 540)), prepared(whole, (960, 540))
        )

    @pytest.mark.parametrize("wh", SIZES_WH)
    def test_bgr_frame_is_the_reference_itself(self, road_bgr: np.ndarray, wh: tuple[int, int]) -> None:
        box = Letterbox.fit(wh, INPUT_WH)
        image_bgr = at_size(road_bgr, wh)
        reference_bgr = box.blank(PAD_BGR)
        box.place(image_bgr, reference_bgr)

        np.testing.assert_array_equal(prepared(image_bgr, wh), reference_bgr)


def by_argmax(logits: np.ndarray, box: Letterbox) -> np.ndarray:
    planes = [cv2.resize(plane, box.input_wh)[box.rows, box.columns] for plane in logits]
    # Background first, which wins where logits are equal.
    class_map = np.roll(np.arange(len(planes), dtype=np.uint8), 1)[np.argmax(np.roll(planes, 1, 0), axis=0)]
    if box.frame_wh[0] < box.content_wh[0]:
        class_map = cv2.resize(class_map, box.frame_wh, interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(class_map, np.uint8)


def random_logits(seed: int = 0) -> np.ndarray:
    shape = (3, INPUT_WH[1] // STRIDE, INPUT_WH[0] // STRIDE)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


class TestInterpret:
    @pytest.mark.parametrize("wh", [*SIZES_WH, (320, 180), (64, 48)])
    def test_class_map_is_the_argmax_of_the_resized_logits(self, wh: tuple[int, int]) -> None:
        box = Letterbox.fit(wh, INPUT_WH)

        np.testing.assert_array_equal(postprocess(random_logits(), box), by_argmax(random_logits(), box))

    @pytest.mark.parametrize("labels", [2, 3])
    def test_planes_to_work_in_change_nothing_and_no_map_lies_in_them(self, labels: int) -> None:
        box = Letterbox.fit((1280, 720), INPUT_WH)
        planes = working_planes(box)
        logits = random_logits()[:labels]

        first = postprocess(logits, box, planes)
        kept = first.copy()
        second = postprocess(logits[::-1].copy(), box, planes)

        np.testing.assert_array_equal(first, postprocess(logits, box))
        np.testing.assert_array_equal(first, kept)
        np.testing.assert_array_equal(second, postprocess(logits[::-1].copy(), box))

    @pytest.mark.parametrize("labels", [2, 3])
    def test_background_wins_where_logits_are_equal(self, labels: int) -> None:
        shape = (labels, INPUT_WH[1] // STRIDE, INPUT_WH[0] // STRIDE)
        logits = np.random.default_rng(0).integers(0, 2, shape).repeat(4, 1)[:, : shape[1]].astype(np.float32)
        box = Letterbox.fit(INPUT_WH, INPUT_WH)

        wanted = by_argmax(logits, box)
        ids = np.array([DRIVABLE, BACKGROUND] if labels == 2 else [DIRECT, ALTERNATIVE, BACKGROUND], np.uint8)
        np.testing.assert_array_equal(postprocess(logits, box), ids[wanted])

    @pytest.mark.parametrize(
        ("logits", "winner"),
        [
            ((1, 1, 1), BACKGROUND),
            ((0, 1, 1), BACKGROUND),
            ((1, 0, 1), BACKGROUND),
            ((1, 1, 0), DIRECT),
            ((0, 0, 1), BACKGROUND),
            ((0, 1, 0), ALTERNATIVE),
            ((-3, -2, -1), BACKGROUND),
        ],
    )
    def test_winner_of_a_uniform_network_is_everywhere(self, logits: tuple[int, ...], winner: int) -> None:
        planes = np.array(logits, np.float32)[:, None, None].repeat(48, 1).repeat(80, 2)

        class_map = postprocess(planes, Letterbox.fit((640, 360), INPUT_WH))

        assert (class_map == winner).all()

    @pytest.mark.parametrize(
        ("frame_wh", "class_map_wh"),
        [
            ((1280, 720), (640, 360)),
            ((3840, 2160), (640, 360)),
            ((640, 360), (640, 360)),
            ((641, 359), (640, 358)),
            ((360, 640), (216, 384)),
            ((320, 180), (320, 180)),
            ((63, 47), (63, 47)),
        ],
    )
    def test_class_map_has_the_frames_size_or_that_of_its_place_in_the_input(
        self, frame_wh: tuple[int, int], class_map_wh: tuple[int, int]
    ) -> None:
        class_map = postprocess(random_logits(), Letterbox.fit(frame_wh, INPUT_WH))

        assert (class_map.shape[1], class_map.shape[0]) == class_map_wh
        assert class_map.dtype == np.uint8

    def test_padding_is_no_part_of_the_class_map(self) -> None:
        logits = np.zeros((3, 48, 80), np.float32)
        logits[BACKGROUND] = 1.0
        logits[DIRECT, :1] = 9.0  # the first 8 rows of the input, above the frame's own

        class_map = postprocess(logits, Letterbox.fit((640, 360), INPUT_WH))

        assert (class_map == BACKGROUND).all()


class TestInterpretOfTwo:
    @pytest.mark.parametrize("wh", [*SIZES_WH, (320, 180), (64, 48)])
    def test_class_map_is_the_argmax_in_the_ids_of_two_classes(self, wh: tuple[int, int]) -> None:
        box = Letterbox.fit(wh, INPUT_WH)
        logits = random_logits()[:2]

        ids = np.array([DRIVABLE, BACKGROUND], np.uint8)
        np.testing.assert_array_equal(postprocess(logits, box), ids[by_argmax(logits, box)])

    @pytest.mark.parametrize(
        ("logits", "winner"), [((1, 1), BACKGROUND), ((0, 1), BACKGROUND), ((1, 0), DRIVABLE)]
    )
    def test_winner_is_everywhere_and_background_wins_a_tie(
        self, logits: tuple[int, int], winner: int
    ) -> None:
        planes = np.array(logits, np.float32)[:, None, None].repeat(48, 1).repeat(80, 2)

        assert (postprocess(planes, Letterbox.fit((640, 360), INPUT_WH)) == winner).all()


class TestInside:
    @pytest.mark.parametrize("wh", [*SIZES_WH, (320, 180), (63, 47)])
    def test_part_of_the_frame_has_the_size_that_interpret_gives(self, wh: tuple[int, int]) -> None:
        box = Letterbox.fit(wh, INPUT_WH)
        plane = np.random.default_rng(0).integers(0, 3, (INPUT_WH[1], INPUT_WH[0]), np.uint8)

        part = inside(plane, box)

        assert part.shape == postprocess(random_logits(), box).shape
        assert part.flags.c_contiguous

    def test_padding_is_cut_off(self) -> None:
        box = Letterbox.fit((360, 640), INPUT_WH)
        plane = np.full((INPUT_WH[1], INPUT_WH[0]), 7, np.uint8)
        plane[box.rows, box.columns] = 1

        assert (inside(plane, box) == 1).all()


class TestShares:
    def test_shares_of_two_classes_are_in_their_order(self) -> None:
        class_map = np.array([[DRIVABLE, BACKGROUND, BACKGROUND, BACKGROUND]], np.uint8)

        assert class_shares(class_map, LABELS_OF_TWO) == (0.25, 0.75)

    def test_shares_are_those_of_the_area(self) -> None:
        class_map = np.array([[DIRECT, ALTERNATIVE, BACKGROUND, BACKGROUND]], np.uint8)

        assert class_shares(class_map) == (0.25, 0.25, 0.5)

    @pytest.mark.parametrize("wh", [(640, 360), (63, 47), (1, 1)])
    def test_shares_sum_to_one(self, wh: tuple[int, int]) -> None:
        class_map = np.random.default_rng(1).integers(0, 3, (wh[1], wh[0]), np.uint8)

        assert sum(class_shares(class_map)) == pytest.approx(1.0)


class FakeEngine:
    """Gives the logits of the picture's own levels: the brightest channel is the class."""

    provider = "cpu"
    nodes: ClassVar = {"cpu": 1}
    state = EngineState.OK
    contract = ModelContract(
        "fake-1", ("direct", "alternative", "background"), INPUT_WH, PAD_BGR, STRIDE, "none", "Apache-2.0"
    )

    def __init__(self) -> None:
        self.inputs: list[np.ndarray] = []

    def infer(self, input_bgr: np.ndarray) -> np.ndarray:
        self.inputs.append(input_bgr.copy())
        return np.moveaxis(input_bgr[::STRIDE, ::STRIDE].astype(np.float32), 2, 0).copy()


def coloured(bgr: tuple[int, int, int], wh: tuple[int, int] = (1280, 720)) -> Frame:
    return make_frame(np.full((wh[1], wh[0], 3), bgr, np.uint8))


class TestPerceiver:
    def test_prediction_holds_the_frame_its_classes_and_who_said_so(self) -> None:
        frame = coloured((0, 255, 0))

        prediction = Predictor(FakeEngine())(frame)

        assert prediction.frame is frame
        assert (prediction.class_map == ALTERNATIVE).all()
        assert prediction.shares == (0.0, 1.0, 0.0)
        assert (prediction.model_id, prediction.provider, prediction.engine_state) == ("fake-1", "cpu", "ok")
        assert prediction.provider_nodes == {"cpu": 1}

    def test_every_step_is_timed(self) -> None:
        prediction = Predictor(FakeEngine())(coloured((0, 0, 0)))

        assert list(prediction.stage_ns) == ["preprocess", "infer", "postprocess"]
        assert min(prediction.stage_ns.values()) >= 0

    def test_predictions_do_not_share_their_memory(self) -> None:
        predict = Predictor(FakeEngine())
        first = predict(coloured((255, 0, 0)))

        second = predict(coloured((0, 0, 255)))

        assert (first.class_map == DIRECT).all()
        assert (second.class_map == BACKGROUND).all()

    def test_frame_of_another_size_gets_its_own_place_and_clean_padding(self) -> None:
        engine = FakeEngine()
        predict = Predictor(engine)
        predict(coloured((255, 0, 0), (640, 384)))

        prediction: Prediction = predict(coloured((0, 0, 255), (360, 640)))

        assert prediction.class_map.shape == (384, 216)
        assert (engine.inputs[-1][:, :212] == PAD_BGR).all()

    def test_warm_up_runs_the_network_on_padding(self) -> None:
        engine = FakeEngine()

        Predictor(engine).warm_up()

        (input_bgr,) = engine.inputs
        np.testing.assert_array_equal(input_bgr, blank_input(engine.contract))
        assert input_bgr.shape == (384, 640, 3)
        assert (input_bgr == PAD_BGR).all()

    def test_prediction_tells_how_sure_the_network_is_and_the_contracts_labels(self) -> None:
        frame = coloured((7, 7, 7))  # the same logit for every class: a third each
        frame.image_bgr[:, 640:] = (0, 255, 0)

        prediction = Predictor(FakeEngine())(frame)

        assert prediction.confidence is not None
        assert prediction.confidence.shape == (45, 80)  # the 640x360 of the frame, 8 pixels a cell
        assert (prediction.confidence[:, :39] == 85).all()
        assert (prediction.confidence[:, 41:] == 255).all()
        assert prediction.labels == LABELS

    def test_confidence_is_that_of_the_new_frame_when_its_size_changes(self) -> None:
        predict = Predictor(FakeEngine())
        predict(coloured((7, 7, 7), (640, 384)))

        prediction = predict(coloured((0, 0, 255), (360, 640)))

        assert prediction.confidence is not None
        assert prediction.confidence.shape == (48, 27)
        assert (prediction.confidence[:, 1:-1] == 255).all()

    def test_network_of_two_classes_tells_drivable(self) -> None:
        engine = FakeEngine()
        engine.contract = replace(engine.contract, labels=LABELS_OF_TWO)
        engine.infer = lambda input_bgr: FakeEngine.infer(engine, input_bgr)[:2]  # type: ignore[method-assign]

        prediction = Predictor(engine)(coloured((255, 0, 0)))

        assert (prediction.class_map == DRIVABLE).all()
        assert (prediction.labels, prediction.shares) == (LABELS_OF_TWO, (1.0, 0.0))
        assert prediction.confidence is not None
        assert (prediction.confidence == 255).all()


def outputs_of(logits: np.ndarray) -> Predictor:
    """A predictor whose network gives these logits for every frame."""
    engine = FakeEngine()
    engine.contract = replace(engine.contract, labels=LABELS if len(logits) == 3 else LABELS_OF_TWO)
    engine.infer = lambda input_bgr: logits  # type: ignore[method-assign]
    return Predictor(engine)


class TestSuspect:
    @pytest.mark.parametrize("labels", [2, 3])
    @pytest.mark.parametrize("values", [(0, 0, 0), (9, -9, -9), (-4, 0, 8)], ids=str)
    def test_logits_constant_over_the_picture_give_no_mask(
        self, values: tuple[int, ...], labels: int
    ) -> None:
        logits = np.array(values[-labels:], np.float32)[:, None, None].repeat(48, 1).repeat(80, 2)

        prediction = outputs_of(logits)(coloured((60, 120, 180)))

        assert (prediction.engine_state, prediction.has_mask) == ("suspect", False)
        assert prediction.engine_reason == "the network gave the same logits for every part of the frame"

    @pytest.mark.parametrize("labels", [2, 3])
    def test_certainty_at_chance_level_gives_no_mask(self, labels: int) -> None:
        prediction = outputs_of(random_logits()[:labels] * 0.05)(coloured((60, 120, 180)))

        assert (prediction.engine_state, prediction.has_mask) == ("suspect", False)
        assert prediction.engine_reason is not None
        assert f"of {labels} classes" in prediction.engine_reason

    @pytest.mark.parametrize("winner", [DIRECT, ALTERNATIVE, BACKGROUND])
    def test_picture_of_one_class_gives_its_mask(self, winner: int) -> None:
        logits = random_logits()
        logits[winner] += 20

        prediction = outputs_of(logits)(coloured((60, 120, 180)))

        assert (prediction.class_map == winner).all()
        assert (prediction.engine_state, prediction.engine_reason, prediction.has_mask) == ("ok", None, True)

    def test_state_recovers_with_the_next_good_output(self) -> None:
        logits = np.zeros((3, 48, 80), np.float32)
        predict = outputs_of(logits)
        before = predict(coloured((60, 120, 180)))
        logits[:] = 9 * random_logits()

        after = predict(coloured((60, 120, 180)))

        assert (before.engine_state, after.engine_state) == ("suspect", "ok")

    @pytest.mark.parametrize("level", [1, 85, 92, 200])
    def test_graph_of_class_maps_that_gives_one_confidence_is_suspect(
        self, level: int, make_classifier: Callable[..., Path]
    ) -> None:
        frame = coloured((level, 0, 0), (64, 48))

        prediction = Predictor(OnnxEngine(make_classifier((64, 48)), "cpu"))(frame)

        assert (prediction.engine_state, prediction.has_mask) == ("suspect", False)

    def test_graph_of_class_maps_that_is_certain_everywhere_is_not(
        self, make_classifier: Callable[..., Path]
    ) -> None:
        frame = coloured((0, 0, 255), (64, 48))

        prediction = Predictor(OnnxEngine(make_classifier((64, 48)), "cpu"))(frame)

        assert (prediction.engine_state, prediction.has_mask) == ("ok", True)


class TestClassMapGraph:
    @pytest.mark.parametrize("frame_wh", [(128, 72), (72, 128), (64, 48), (32, 20), (129, 71)])
    def test_class_map_and_confidence_are_the_frames_own_part(
        self, make_classifier: Callable[..., Path], frame_wh: tuple[int, int]
    ) -> None:
        predict = Predictor(OnnxEngine(make_classifier(frame_wh), "cpu"))
        box = Letterbox.fit(frame_wh, (64, 48))

        prediction = predict(coloured((10, 200, 0), frame_wh))

        size_wh = frame_wh if frame_wh[0] < box.content_wh[0] else box.content_wh
        assert prediction.class_map.shape == (size_wh[1], size_wh[0])
        assert (prediction.class_map == ALTERNATIVE).all()  # the padding is red, which is background
        assert prediction.confidence is not None
        assert prediction.confidence.shape == prediction.class_map.shape
        assert (prediction.confidence == 200).all()
        assert prediction.shares == (0.0, 1.0, 0.0)

    def test_class_stands_where_it_is_in_the_frame(self, make_classifier: Callable[..., Path]) -> None:
        predict = Predictor(OnnxEngine(make_classifier((128, 72)), "cpu"))
        frame = coloured((0, 0, 200), (128, 72))
        frame.image_bgr[36:, :64] = (250, 0, 0)

        prediction = predict(frame)

        expected = np.full((36, 64), BACKGROUND, np.uint8)
        expected[18:, :32] = DIRECT
        np.testing.assert_array_equal(prediction.class_map, expected)
        assert prediction.confidence is not None
        np.testing.assert_array_equal(prediction.confidence, np.where(expected == DIRECT, 250, 200))

    def test_two_classes(self, make_classifier: Callable[..., Path]) -> None:
        predict = Predictor(OnnxEngine(make_classifier((128, 72), two_classes=True), "cpu"))
        frame = coloured((0, 0, 200), (128, 72))
        frame.image_bgr[36:] = (250, 0, 0)

        prediction = predict(frame)

        assert (prediction.labels, prediction.shares) == (LABELS_OF_TWO, (0.5, 0.5))
        assert (prediction.class_map[18:] == DRIVABLE).all()
        assert (prediction.class_map[:18] == BACKGROUND).all()

    def test_planes_of_a_decoder_become_bgr_first(self, make_classifier: Callable[..., Path]) -> None:
        predict = Predictor(OnnxEngine(make_classifier((128, 72)), "cpu"))

        prediction = predict(make_frame(planes_of(np.full((72, 128, 3), (0, 200, 0), np.uint8), "bt709")))

        assert (prediction.class_map == ALTERNATIVE).all()
        assert list(prediction.stage_ns) == ["preprocess", "infer", "postprocess"]

    @pytest.mark.parametrize("frame_wh", [(128, 72), (0, 0)])
    def test_warm_up_runs_the_network_on_a_frame_of_its_size(
        self, make_classifier: Callable[..., Path], frame_wh: tuple[int, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engine = OnnxEngine(make_classifier(frame_wh), "cpu")
        segment, shapes = engine.segment, []
        monkeypatch.setattr(
            engine, "segment", lambda frame_bgr: (shapes.append(frame_bgr.shape), segment(frame_bgr))[1]
        )

        Predictor(engine).warm_up()

        assert shapes == [(72, 128, 3) if frame_wh == (128, 72) else (48, 64, 3)]

    def test_frame_of_another_size_is_an_error_that_says_what_to_do(
        self, make_classifier: Callable[..., Path]
    ) -> None:
        predict = Predictor(OnnxEngine(make_classifier((128, 72)), "cpu"))

        with pytest.raises(EngineError, match="takes only frames of 128x72, and this one is 64x48; export"):
            predict(coloured((0, 0, 0), (64, 48)))

    def test_graph_for_any_size_follows_the_source(self, make_classifier: Callable[..., Path]) -> None:
        predict = Predictor(OnnxEngine(make_classifier((0, 0)), "cpu"))

        for wh in ((128, 72), (64, 48), (128, 72)):
            box = Letterbox.fit(wh, (64, 48))
            shape = predict(coloured((0, 200, 0), wh)).class_map.shape
            assert shape == (box.content_wh[1], box.content_wh[0])


@pytest.mark.parametrize(("every", "looked_at"), [(0, []), (1, [0, 1, 2, 3, 4]), (2, [0, 2, 4])])
def test_camera_is_looked_at_as_often_as_asked(
    every: int, looked_at: list[int], make_classifier: Callable[..., Path]
) -> None:
    predict = Predictor(OnnxEngine(make_classifier(frame_wh=(160, 90))), every)
    pixels = np.full((90, 160, 3), (255, 0, 0), np.uint8)

    predictions = [predict(Frame("cam", number, 0, 0, pixels, "")) for number in range(5)]

    assert [number for number, it in enumerate(predictions) if it.image_stats is not None] == looked_at
