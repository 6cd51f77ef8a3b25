from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from perception.frame import CameraState, EngineState, Frame, Prediction
from perception.imaging.yuv import Yuv420, YuvMatrix, yuv_to_bgr_matrix
from perception.labels import ALTERNATIVE, BACKGROUND, COLOURS_RGB, DIRECT, DRIVABLE, LABELS_OF_TWO
from perception.sinks.overlay import Canvas, banner_text, draw_overlay, status_text, tint_areas, yuv_of

WH = (320, 180)


def _class_map() -> NDArray[np.uint8]:
    class_map = np.full((90, 160), BACKGROUND, np.uint8)
    class_map[50:80, 40:80] = DIRECT
    class_map[50:80, 80:120] = ALTERNATIVE
    return class_map


def _prediction(
    pixels: NDArray[np.uint8] | Yuv420,
    camera_state: CameraState = CameraState.OK,
    camera_reason: str | None = None,
    engine_state: EngineState = EngineState.OK,
) -> Prediction:
    frame = Frame("cam", 123, 1_000_000_000, 0, pixels, "000123")
    return Prediction(
        *(frame, _class_map(), (0.1, 0.1, 0.8), "model", engine_state, "CPUExecutionProvider"),
        camera_state=camera_state,
        camera_reason=camera_reason,
        published_ns=1_034_000_000,
    )


def _canvas(wh: tuple[int, int], matrix: YuvMatrix = "bt601") -> Canvas:
    halves = 2 if wh[0] % 2 == 0 and wh[1] % 2 == 0 else 1
    chroma = [np.zeros((wh[1] // halves, wh[0] // halves), np.uint8) for _ in range(2)]
    return Canvas(np.zeros((wh[1], wh[0]), np.uint8), *chroma, matrix)


def _bgr_at(canvas: Canvas, x: int, y: int) -> NDArray[np.float64]:
    halves = canvas.y.shape[0] // canvas.u.shape[0]
    u, v = canvas.u[y // halves, x // halves], canvas.v[y // halves, x // halves]
    bgr = yuv_to_bgr_matrix(canvas.matrix) @ np.array([canvas.y[y, x], u, v, 1.0])
    return np.clip(bgr, 0, 255)


@pytest.mark.parametrize("grey", [0, 128, 255])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_areas_are_distinguished_on_a_black_and_on_a_white_road(grey: int, matrix: YuvMatrix) -> None:
    canvas = _canvas(WH, matrix)

    draw_overlay(canvas, _prediction(np.full((WH[1], WH[0], 3), grey, np.uint8)))

    direct, alternative = _bgr_at(canvas, 120, 130), _bgr_at(canvas, 200, 130)
    assert direct[0] > direct[2] + 40
    assert alternative[2] > alternative[0] + 40
    assert np.abs(_bgr_at(canvas, 20, 60) - grey).max() <= 3


def _prediction_of_two(pixels: NDArray[np.uint8]) -> Prediction:
    class_map = np.full((90, 160), BACKGROUND, np.uint8)
    class_map[50:80, 40:120] = DRIVABLE
    return replace(_prediction(pixels), class_map=class_map, shares=(0.2, 0.8), labels=LABELS_OF_TWO)


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_area_of_a_network_of_two_classes_has_a_colour_of_its_own(grey: int) -> None:
    canvas, plain = _canvas(WH), np.full((WH[1], WH[0], 3), grey, np.uint8)

    draw_overlay(canvas, _prediction_of_two(plain))

    drivable = _bgr_at(canvas, 120, 130)
    assert drivable[1] > drivable[0] + 20  # green, where direct is blue and alternative orange
    assert drivable[1] > drivable[2] + 40
    assert np.abs(_bgr_at(canvas, 20, 60) - grey).max() <= 3


def test_legend_names_the_classes_of_the_network_and_no_others() -> None:
    black = np.zeros((WH[1], WH[0], 3), np.uint8)
    three, two = _canvas(WH), _canvas(WH)

    draw_overlay(three, replace(_prediction(black), class_map=np.full((90, 160), BACKGROUND, np.uint8)))
    draw_overlay(two, replace(_prediction_of_two(black), class_map=np.full((90, 160), BACKGROUND, np.uint8)))

    def colours(canvas: Canvas) -> set[tuple[int, int]]:
        plate = np.s_[:30, 110:]
        return set(zip(canvas.u[plate].ravel().tolist(), canvas.v[plate].ravel().tolist(), strict=True))

    def chroma(label: int) -> tuple[int, int]:
        return yuv_of(COLOURS_RGB[label], "bt601")[1:]

    assert {chroma(DIRECT), chroma(ALTERNATIVE)} < colours(three)
    assert chroma(DRIVABLE) not in colours(three)
    assert chroma(DRIVABLE) in colours(two)
    assert not colours(two) & {chroma(DIRECT), chroma(ALTERNATIVE)}


@pytest.mark.parametrize("wh", [(321, 181), (320, 181), (322, 182), (16, 8), (3, 5), (1, 1)])
def test_any_size_can_be_drawn_on(wh: tuple[int, int]) -> None:
    canvas = _canvas(wh)

    draw_overlay(canvas, _prediction(np.full((wh[1], wh[0], 3), 90, np.uint8), CameraState.DEGRADED, "dark"))

    assert canvas.y.any()


@pytest.mark.parametrize("wh", [(320, 180), (321, 181)])
def test_colour_lies_where_the_area_is(wh: tuple[int, int]) -> None:
    canvas = _canvas(wh)

    tint_areas(canvas, _class_map())

    places = []
    for plane in (canvas.y, canvas.u, canvas.v):
        rows, columns = np.nonzero(plane)
        ends = (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1)
        places.append(np.array(ends) * canvas.y.shape[0] / plane.shape[0])
    for place in places:
        np.testing.assert_allclose(place, [80, 240, 100, 160], atol=2)


def test_planes_of_an_odd_size_are_drawn_on_at_full_chroma() -> None:
    wh, half_wh = (321, 181), (161, 91)
    planes = [
        np.full((h, w), value, np.uint8) for (w, h), value in ((wh, 90), (half_wh, 100), (half_wh, 140))
    ]
    canvas = _canvas(wh)

    draw_overlay(canvas, _prediction(Yuv420(*planes)))

    assert (canvas.y[60, 20], canvas.u[60, 20], canvas.v[60, 20]) == (90, 100, 140)


def test_frame_of_another_size_is_resized_to_the_canvas() -> None:
    canvas = _canvas(WH)

    draw_overlay(canvas, _prediction(np.full((360, 640, 3), 200, np.uint8)))

    np.testing.assert_allclose(_bgr_at(canvas, 20, 60), 200, atol=3)


def test_frame_itself_is_not_drawn_on() -> None:
    planes = [np.full(shape, 90, np.uint8) for shape in ((180, 320), (90, 160), (90, 160))]
    for plane in planes:
        plane.flags.writeable = False

    draw_overlay(_canvas(WH), _prediction(Yuv420(*planes)))

    assert all((plane == 90).all() for plane in planes)


@pytest.mark.parametrize(
    "state", [CameraState.BLOCKED, CameraState.FROZEN, CameraState.STALE, CameraState.LOST]
)
def test_no_view_of_the_road_gives_a_red_banner_and_no_mask(state: CameraState) -> None:
    canvas = _canvas(WH)

    prediction = _prediction(np.full((WH[1], WH[0], 3), 128, np.uint8), state, "lens covered")
    draw_overlay(canvas, prediction)

    banner = _bgr_at(canvas, 318, 2)
    assert banner[2] > 150
    assert banner[:2].max() < 40
    assert np.abs(_bgr_at(canvas, 120, 130) - 128).max() <= 3
    assert banner_text(prediction) == f"NO MASK - camera {state}: lens covered"


@pytest.mark.parametrize("state", [EngineState.SUSPECT, EngineState.STALLED])
@pytest.mark.parametrize(
    ("camera_state", "addition"), [(CameraState.OK, ""), (CameraState.DEGRADED, "; camera degraded: dark")]
)
def test_engine_that_gives_no_mask_gives_a_red_banner(
    camera_state: CameraState, addition: str, state: EngineState
) -> None:
    canvas = _canvas(WH)
    pixels = np.full((WH[1], WH[0], 3), 128, np.uint8)
    prediction = _prediction(pixels, camera_state, "dark" if addition else None, state)
    prediction = replace(prediction, engine_reason="constant logits")

    draw_overlay(canvas, prediction)

    assert _bgr_at(canvas, 318, 2)[2] > 150
    assert np.abs(_bgr_at(canvas, 120, 130) - 128).max() <= 3
    assert banner_text(prediction) == f"NO MASK - engine {state}: constant logits{addition}"


def test_poor_view_gives_a_banner_and_the_mask() -> None:
    canvas = _canvas(WH)

    prediction = _prediction(np.full((WH[1], WH[0], 3), 128, np.uint8), CameraState.DEGRADED, "dark")
    draw_overlay(canvas, prediction)

    assert _bgr_at(canvas, 318, 2)[2] > 150
    assert _bgr_at(canvas, 120, 130)[0] > _bgr_at(canvas, 120, 130)[2] + 40
    assert banner_text(prediction) == "camera degraded: dark"


def test_status_names_age_states_and_frame() -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)

    assert status_text(_prediction(pixels)) == "age 34 ms  camera ok  engine ok  frame 123"
    assert "engine fallback (CPUExecutionProvider)" in status_text(
        _prediction(pixels, engine_state=EngineState.FALLBACK)
    )


@pytest.mark.parametrize("colour_rgb", COLOURS_RGB.values())
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_colour_survives_the_way_to_yuv_and_back(colour_rgb: tuple[int, int, int], matrix: YuvMatrix) -> None:
    bgr = yuv_to_bgr_matrix(matrix) @ np.array([*yuv_of(colour_rgb, matrix), 1.0])

    np.testing.assert_allclose(bgr[::-1], colour_rgb, atol=2)
