from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from perception.frame import CameraState, EngineState, Frame, NoFrameRecord, OutputItem, Prediction, ShownTime
from perception.imaging.yuv import Yuv420, YuvMatrix, yuv_to_bgr_matrix
from perception.labels import ALTERNATIVE, BACKGROUND, COLOURS_RGB, DIRECT, DRIVABLE, LABELS_OF_TWO
from perception.pipeline.policy import RunPolicy
from perception.sinks.overlay import Canvas, draw_overlay
from perception.sinks.overlay_areas import tint_areas
from perception.sinks.overlay_canvas import yuv_of
from perception.sinks.overlay_text import message_text, provider_text, time_text
from perception.sinks.overlay_writing import lines_of, text_px, text_shape, text_width_px
from perception.sources.source import SourceInfo

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


def _grey(wh: tuple[int, int]) -> NDArray[np.uint8]:
    return np.full((wh[1], wh[0], 3), 128, np.uint8)


def _no_frame_record(wh: tuple[int, int], reason: str) -> NoFrameRecord:
    return NoFrameRecord("cam", wh, 0, 0, CameraState.LOST, reason, published_ns=3_200_000_000)


def _is_red(bgr: NDArray[np.float64]) -> bool:
    return bool(bgr[2] > 150 and bgr[:2].max() < 40)


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


def test_key_names_the_classes_of_the_network_and_no_others() -> None:
    black = np.zeros((WH[1], WH[0], 3), np.uint8)
    three, two = _canvas(WH), _canvas(WH)

    draw_overlay(three, replace(_prediction(black), class_map=np.full((90, 160), BACKGROUND, np.uint8)))
    draw_overlay(two, replace(_prediction_of_two(black), class_map=np.full((90, 160), BACKGROUND, np.uint8)))

    def colours(canvas: Canvas) -> set[tuple[int, int]]:
        plate = np.s_[:20, 40:]
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
        scale = canvas.y.shape[0] / plane.shape[0]
        faintest = min(plane[round(130 / scale), round(x / scale)] for x in (120, 200))
        rows, columns = np.nonzero(plane > faintest / 2)
        ends = (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1)
        places.append(np.array(ends) * scale)
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
    ("state", "words"),
    [
        (CameraState.BLOCKED, "camera blocked"),
        (CameraState.FROZEN, "picture frozen"),
        (CameraState.STALE, "no new picture"),
        (CameraState.LOST, "camera lost"),
    ],
)
def test_no_view_of_the_road_gives_a_red_frame_and_no_mask(state: CameraState, words: str) -> None:
    canvas = _canvas(WH)

    prediction = _prediction(_grey(WH), state, "lens covered")
    draw_overlay(canvas, prediction)

    for x, y in ((160, 1), (1, 90), (318, 90), (160, 178)):
        assert _is_red(_bgr_at(canvas, x, y))
    assert np.abs(_bgr_at(canvas, 120, 130) - 128).max() <= 3
    assert message_text(prediction) == f"NO MASK – {words}: lens covered"


@pytest.mark.parametrize(
    ("state", "words"),
    [(EngineState.SUSPECT, "network output invalid"), (EngineState.STALLED, "network stalled")],
)
@pytest.mark.parametrize(
    ("camera_state", "addition"), [(CameraState.OK, ""), (CameraState.DEGRADED, "; poor view: dark")]
)
def test_engine_that_gives_no_mask_gives_a_red_frame(
    camera_state: CameraState, addition: str, state: EngineState, words: str
) -> None:
    canvas = _canvas(WH)
    prediction = _prediction(_grey(WH), camera_state, "dark" if addition else None, state)
    prediction = replace(prediction, engine_reason="constant logits")

    draw_overlay(canvas, prediction)

    assert _is_red(_bgr_at(canvas, 160, 1))
    assert np.abs(_bgr_at(canvas, 120, 130) - 128).max() <= 3
    assert message_text(prediction) == f"NO MASK – {words}: constant logits{addition}"


def test_poor_view_gives_an_amber_message_and_the_mask_and_nothing_red() -> None:
    canvas = _canvas(WH)

    prediction = _prediction(_grey(WH), CameraState.DEGRADED, "dark")
    draw_overlay(canvas, prediction)

    blue, green, red = _bgr_at(canvas, 14, 9)  # between the edge of its plate and the text
    assert red > 200
    assert green > 150
    assert blue < 60
    assert _bgr_at(canvas, 120, 130)[0] > _bgr_at(canvas, 120, 130)[2] + 40
    assert not any(_is_red(_bgr_at(canvas, x, y)) for x, y in ((160, 1), (1, 90), (318, 90), (160, 178)))
    assert message_text(prediction) == "Poor view: dark"


def test_nothing_is_said_when_all_is_well() -> None:
    prediction = _prediction(_grey(WH))

    assert message_text(prediction) == ""
    assert provider_text(prediction) == ""


def test_another_provider_than_requested_is_named() -> None:
    prediction = _prediction(_grey(WH), engine_state=EngineState.FALLBACK)

    assert provider_text(prediction) == "on CPU (fallback)"
    assert message_text(prediction) == ""


def test_outage_is_black_with_its_reason_and_says_no_age_of_a_picture_that_is_not_there() -> None:
    canvas = _canvas(WH)
    outage = _no_frame_record(WH, "no frame for 3.2 s; connection refused")

    draw_overlay(canvas, replace(outage, shown_time="age"))

    assert _is_red(_bgr_at(canvas, 160, 1))
    assert _bgr_at(canvas, 120, 130).max() <= 1
    assert message_text(outage) == "NO MASK – camera lost: no frame for 3.2 s; connection refused"
    assert time_text(replace(outage, shown_time="age")) == ""


@pytest.mark.parametrize(
    ("shown_time", "age_ms", "time_s", "text"),
    [
        ("age", 34, 12.3, "34 ms old"),
        ("age", 999.4, 12.3, "999 ms old"),
        ("age", 999.6, 12.3, "1.0 s old"),
        ("time", 34, 12.39, "00:12.3"),
        ("time", 34, 0, "00:00.0"),
        ("time", 34, 3599.99, "59:59.9"),
        ("time", 34, 3612.3, "1:00:12.3"),
        ("none", 34, 12.3, ""),
    ],
)
def test_live_picture_has_an_age_and_a_recording_its_time(
    shown_time: ShownTime, age_ms: float, time_s: float, text: str
) -> None:
    prediction = _prediction(_grey(WH))
    frame = replace(prediction.frame, time_ns=round(time_s * 1e9))
    published_ns = frame.captured_ns + round(age_ms * 1e6)

    shown = time_text(replace(prediction, frame=frame, published_ns=published_ns, shown_time=shown_time))

    assert shown == text


@pytest.mark.parametrize(
    ("info", "shown_time"),
    [
        (SourceInfo("cam", True, WH, 25.0), "age"),
        (SourceInfo("drive.mp4", True, WH, 25.0, is_replayed=True), "age"),
        (SourceInfo("drive.mp4", False, WH, 25.0), "time"),
        (SourceInfo("road.jpg", False, WH, 1.0, is_one_picture=True), "none"),
        (SourceInfo("trip/", False, WH, 10.0, are_stills=True), "none"),
    ],
)
def test_source_decides_which_time_is_shown(info: SourceInfo, shown_time: ShownTime) -> None:
    for output in (_prediction(_grey(WH)), _no_frame_record(WH, "no frame")):
        assert RunPolicy().finish(output, 2_000_000_000, info).shown_time == shown_time


@pytest.mark.parametrize("wh", [(640, 360), (1280, 720), (3840, 2160), (360, 640)])
def test_text_is_legible_and_quiet_at_any_size(wh: tuple[int, int]) -> None:
    canvas = _canvas(wh)
    black = Yuv420(
        *(np.full((wh[1] // n, wh[0] // n), value, np.uint8) for n, value in ((1, 16), (2, 128), (2, 128)))
    )

    draw_overlay(canvas, replace(_prediction(black), class_map=np.full((90, 160), BACKGROUND, np.uint8)))

    rows = np.flatnonzero((canvas.y > 180).any(axis=1))
    height_px = rows[-1] - rows[0] + 1
    assert height_px >= 10
    assert 1 / 60 < height_px / min(wh) < 1 / 20
    assert rows[-1] < wh[1] / 10  # nowhere near the road


def _states(wh: tuple[int, int]) -> list[OutputItem]:
    well = _prediction(_grey(wh))
    long = "a reason that goes on and on, and then on a little more, until no frame is wide enough for it"
    return [
        well,
        replace(well, shown_time="age", engine_state=EngineState.FALLBACK),
        replace(well, camera_state=CameraState.DEGRADED, camera_reason="dark"),
        replace(well, camera_state=CameraState.DEGRADED, camera_reason=long),
        replace(well, camera_state=CameraState.BLOCKED, camera_reason=long),
        _no_frame_record(wh, long * 5),
    ]


@pytest.mark.parametrize(
    "wh",
    [
        (640, 360),
        (90, 160),
        (160, 90),
        (91, 51),
        (321, 181),
        (40, 30),
        (16, 8),
        (3, 5),
        (1, 1),
        (2000, 20),
        (20, 2000),
    ],
)
def test_nothing_is_drawn_outside_the_frame(wh: tuple[int, int]) -> None:
    halves = 1 if wh[0] % 2 or wh[1] % 2 else 2
    around = [np.full((wh[1] // n + 40, wh[0] // n + 40), 77, np.uint8) for n in (1, halves, halves)]
    canvas = Canvas(*(plane[20:-20, 20:-20] for plane in around))

    for output in _states(wh):
        draw_overlay(canvas, output)

        for plane in around:
            outside = plane.copy()
            outside[20:-20, 20:-20] = 77
            assert (outside == 77).all()


@pytest.mark.parametrize("wh", [(640, 360), (160, 90), (90, 160), (40, 30)])
def test_mask_is_seen_below_any_message(wh: tuple[int, int]) -> None:
    canvas, silent = _canvas(wh), _canvas(wh)
    well, *_, long, _, _ = _states(wh)

    draw_overlay(silent, well)
    draw_overlay(canvas, long)

    below = np.s_[wh[1] * 2 // 3 :]
    np.testing.assert_array_equal(canvas.y[below], silent.y[below])


def test_message_that_is_too_long_ends_in_an_ellipsis() -> None:
    size_px = text_px((640, 360))

    lines = lines_of("one two three four five six seven eight nine ten", 100, size_px, 450, most=2)

    assert len(lines) == 2
    assert lines[-1].endswith("…")
    assert all(text_width_px(line, size_px, 450) <= 100 for line in lines)
    assert lines_of("one two", 100, size_px, 450, most=2) == ["one two"]


def test_text_of_other_alphabets_is_drawn() -> None:
    shapes = [text_shape(text, 24) for text in ("?", "ß", "道", "ж")]

    assert all(shape.any() for shape in shapes)
    assert len({shape.tobytes() for shape in shapes}) == len(shapes)


def test_threads_draw_the_same_text() -> None:
    texts = [(f"{number * 7} ms old", 10 + number % 40) for number in range(200)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda text: text_shape(*text), texts * 5))[-len(texts) :]
    text_shape.cache_clear()

    alone = [text_shape(*text) for text in texts]

    assert all(np.array_equal(one, other) for one, other in zip(together, alone, strict=True))


def test_edge_of_a_coarse_class_map_has_no_steps() -> None:
    canvas, coarse = _canvas((640, 360)), np.full((36, 64), BACKGROUND, np.uint8)
    for row in range(36):
        coarse[row, 10 + row :] = DIRECT  # steps of ten pixels of the frame
    canvas.y[:] = 16

    tint_areas(canvas, coarse)

    first = np.array([np.flatnonzero(canvas.y[row] > 40)[0] for row in range(60, 300)])
    assert np.abs(np.diff(first)).max() <= 3


def test_no_line_is_drawn_along_the_edge_of_the_frame() -> None:
    canvas, class_map = _canvas(WH), np.full((90, 160), DIRECT, np.uint8)

    tint_areas(canvas, class_map)

    assert len(np.unique(canvas.y)) == 1


@pytest.mark.parametrize("colour_rgb", COLOURS_RGB.values())
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_colour_survives_the_way_to_yuv_and_back(colour_rgb: tuple[int, int, int], matrix: YuvMatrix) -> None:
    bgr = yuv_to_bgr_matrix(matrix) @ np.array([*yuv_of(colour_rgb, matrix), 1.0])

    np.testing.assert_allclose(bgr[::-1], colour_rgb, atol=2)
