"""From a frame to a prediction: the planes' short cut beside the reference, and logits to classes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from perception.contract import ModelContract
from perception.frame import EngineState, Frame, Prediction, Yuv420, YuvMatrix, bgr_from_yuv
from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT
from perception.letterbox import Letterbox
from perception.perceive import Perceiver, blank_input, class_shares, interpret, prepare
from perception.sources.drive import DriveRenderer

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
    prepare(make_frame(pixels), box, input_bgr)
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

    def test_planes_of_the_networks_own_size_give_the_reference_exactly(self, road_bgr: np.ndarray) -> None:
        pixels = planes_of(at_size(road_bgr, (640, 360)), "bt601")

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
    class_map = np.argmax(planes, axis=0).astype(np.uint8)
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

        np.testing.assert_array_equal(interpret(random_logits(), box), by_argmax(random_logits(), box))

    def test_first_class_wins_where_logits_are_equal(self) -> None:
        shape = (3, INPUT_WH[1] // STRIDE, INPUT_WH[0] // STRIDE)
        logits = np.random.default_rng(0).integers(0, 2, shape).repeat(4, 1)[:, : shape[1]].astype(np.float32)
        box = Letterbox.fit(INPUT_WH, INPUT_WH)

        np.testing.assert_array_equal(interpret(logits, box), by_argmax(logits, box))

    @pytest.mark.parametrize(
        ("logits", "winner"),
        [
            ((1, 1, 1), DIRECT),
            ((0, 1, 1), ALTERNATIVE),
            ((1, 0, 1), DIRECT),
            ((1, 1, 0), DIRECT),
            ((0, 0, 1), BACKGROUND),
            ((0, 1, 0), ALTERNATIVE),
            ((-3, -2, -1), BACKGROUND),
        ],
    )
    def test_winner_of_a_uniform_network_is_everywhere(self, logits: tuple[int, ...], winner: int) -> None:
        planes = np.array(logits, np.float32)[:, None, None].repeat(48, 1).repeat(80, 2)

        class_map = interpret(planes, Letterbox.fit((640, 360), INPUT_WH))

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
        class_map = interpret(random_logits(), Letterbox.fit(frame_wh, INPUT_WH))

        assert (class_map.shape[1], class_map.shape[0]) == class_map_wh
        assert class_map.dtype == np.uint8

    def test_padding_is_no_part_of_the_class_map(self) -> None:
        logits = np.zeros((3, 48, 80), np.float32)
        logits[BACKGROUND] = 1.0
        logits[DIRECT, :1] = 9.0  # the first 8 rows of the input, above the frame's own

        class_map = interpret(logits, Letterbox.fit((640, 360), INPUT_WH))

        assert (class_map == BACKGROUND).all()


class TestShares:
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

        prediction = Perceiver(FakeEngine())(frame)

        assert prediction.frame is frame
        assert (prediction.class_map == ALTERNATIVE).all()
        assert prediction.shares == (0.0, 1.0, 0.0)
        assert (prediction.model_id, prediction.provider, prediction.engine_state) == ("fake-1", "cpu", "ok")

    def test_every_step_is_timed(self) -> None:
        prediction = Perceiver(FakeEngine())(coloured((0, 0, 0)))

        assert list(prediction.stage_ns) == ["prepare", "infer", "interpret"]
        assert min(prediction.stage_ns.values()) >= 0

    def test_predictions_do_not_share_their_memory(self) -> None:
        perceive = Perceiver(FakeEngine())
        first = perceive(coloured((255, 0, 0)))

        second = perceive(coloured((0, 0, 255)))

        assert (first.class_map == DIRECT).all()
        assert (second.class_map == BACKGROUND).all()

    def test_frame_of_another_size_gets_its_own_place_and_clean_padding(self) -> None:
        engine = FakeEngine()
        perceive = Perceiver(engine)
        perceive(coloured((255, 0, 0), (640, 384)))

        prediction: Prediction = perceive(coloured((0, 0, 255), (360, 640)))

        assert prediction.class_map.shape == (384, 216)
        assert (engine.inputs[-1][:, :212] == PAD_BGR).all()

    def test_warm_up_runs_the_network_on_padding(self) -> None:
        engine = FakeEngine()

        Perceiver(engine).warm_up()

        (input_bgr,) = engine.inputs
        np.testing.assert_array_equal(input_bgr, blank_input(engine.contract))
        assert input_bgr.shape == (384, 640, 3)
        assert (input_bgr == PAD_BGR).all()
