"""Metres in the overlay: marks along the lane, the panel with the road from above, and the words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from roads import calibrated, class_map_of, metres, predicted_road

from perception.frame import CameraState, Prediction
from perception.labels import COLOURS_RGB, DIRECT
from perception.scene.metres import Measured, Metres
from perception.sinks.overlay import draw_overlay
from perception.sinks.overlay_canvas import Canvas
from perception.sinks.overlay_marks import lane_borders_m
from perception.sinks.overlay_picture import draw_picture
from perception.sinks.overlay_text import ahead_text, road_words

SIZES = [(640, 360), (1280, 720), (3840, 2160), (960, 1280)]


def prediction(wh: tuple[int, int], known: Metres | None = None, **values: Any) -> Prediction:
    return predicted_road(known or metres(calibrated(wh)), **values)


def changed(with_metres: Prediction) -> NDArray[np.bool_]:
    """(H, W) where the overlay is another one than without metres."""
    before = draw_picture(replace(with_metres, metres=None))
    return np.asarray(np.abs(draw_picture(with_metres).astype(int) - before).max(axis=2) > 12)


@pytest.mark.parametrize("wh", SIZES)
def test_panel_lies_in_the_upper_half_and_marks_lie_on_the_lane(wh: tuple[int, int]) -> None:
    shown = prediction(wh)
    difference = changed(shown)

    width, height = wh
    upper, lower = difference[: height // 2], difference[height // 2 :]
    assert upper[:, : width * 2 // 3].mean() < 0.005  # nothing but the farthest marks
    assert upper[:, width * 2 // 3 :].any()
    assert 0 < lower.mean() < 0.03
    columns = np.flatnonzero(lower.any(axis=0))
    assert width * 0.1 < columns.min()
    assert upper.mean() < 0.2


def test_without_metres_or_a_mask_nothing_is_drawn() -> None:
    shown = prediction((640, 360))
    blocked = replace(shown, camera_state=CameraState.BLOCKED, camera_reason="dark")

    assert not changed(blocked).any()
    np.testing.assert_array_equal(
        draw_picture(replace(shown, metres=None)), draw_picture(replace(shown, metres=None))
    )


@pytest.mark.parametrize("wh", [(320, 180), (160, 96), (64, 48), (33, 21), (2, 2)])
def test_small_frame_has_no_panel(wh: tuple[int, int]) -> None:
    difference = changed(prediction(wh))

    assert not difference[: wh[1] // 3].any()


@pytest.mark.parametrize("known", [
    replace(metres(), lane=None, distance_ahead_m=None, right_alternative=None),
    replace(metres(), free_space=replace(metres().free_space, distance_m=np.full(121, np.nan))),
])  # fmt: skip
def test_what_is_not_known_is_left_out(known: Metres) -> None:
    shown = prediction((640, 360), known, class_map=class_map_of(metres()))

    assert changed(shown)[40:180, 540:].any()


def test_line_at_20_m_is_where_20_m_are_seen() -> None:
    wh = (1280, 720)
    known = metres(calibrated(wh))
    difference = changed(prediction(wh, known))

    assert known.ego_lane is not None
    (left_m,), (right_m,) = lane_borders_m(known.ego_lane, [20.0])
    for y_m in np.linspace(left_m - 0.2, right_m + 0.2, 7):
        u, v = known.image_of(np.array([[20.0, y_m]]))[0].round().astype(int)
        assert difference[v - 1 : v + 2, u].any()
    between = known.image_of(np.array([[15.0, (left_m + right_m) / 2]]))[0].round().astype(int)
    assert not difference[between[1] - 3 : between[1] + 4, between[0]].any()


def test_mark_farther_than_the_lane_is_free_is_not_drawn() -> None:
    wh = (1280, 720)
    near, far = metres(calibrated(wh), ahead_m=18.0), metres(calibrated(wh), ahead_m=32.0)

    row = round(far.image_of(np.array([[20.0, 0.0]]))[0][1])
    assert changed(prediction(wh, far))[row - 1 : row + 2, 560:720].any()
    assert not changed(prediction(wh, near))[row - 3 : row + 4, 560:720].any()


def test_panel_has_the_lane_in_its_colour_right_of_the_middle_for_a_vehicle_at_the_left() -> None:
    wh = (1280, 720)
    picture = draw_picture(prediction(wh, replace(metres(calibrated(wh), offset_m=1.0))))

    red, green, blue = COLOURS_RGB[DIRECT]
    panel = picture[64:330, 1100:].astype(int)
    is_lane = (np.abs(panel - (blue, green, red)).max(axis=2) < 70) & (panel[..., 0] > panel[..., 2] + 60)
    columns = np.flatnonzero(is_lane.any(axis=0)) + 1100
    difference = changed(prediction(wh))[64:330]
    plate = np.flatnonzero(difference[:, 1000:].mean(axis=0) > 0.5) + 1000
    assert len(columns) > 10
    assert (columns.min() + columns.max()) / 2 > (plate.min() + plate.max()) / 2 + 2


def test_planes_without_halved_chroma_are_drawn_on_too() -> None:
    wh = (641, 361)
    y, u, v = (np.zeros((wh[1], wh[0]), np.uint8) for _ in range(3))

    draw_overlay(Canvas(y, u, v, "bt709"), prediction((640, 360)))

    assert y.any()


def test_panel_stands_below_a_message_that_needs_the_whole_width() -> None:
    shown = prediction((360, 640), camera_state=CameraState.DEGRADED, camera_reason="x " * 60)
    difference = changed(shown)

    assert difference[130:320, 240:].any()
    assert not difference[:110].any()


def test_borders_of_a_lane_are_found_at_distances() -> None:
    lane = np.array([(5.0, 2.0), (25.0, 3.0), (25.0, -1.0), (5.0, -2.0)])

    left_m, right_m = lane_borders_m(lane, [5.0, 15.0])

    assert (left_m.tolist(), right_m.tolist()) == ([2.0, 2.5], [-2.0, -1.5])


def test_words_name_sides_and_standard_deviations() -> None:
    words = road_words(metres(offset_m=0.3, curvature_per_m=1 / 400))

    assert words == {
        "Free ahead": "32 ± 1 m",
        "In the lane": "0.3 ± 0.1 m left of the middle",
        "Lane width": "3.6 ± 0.1 m",
        "Heading": "along the lane",
        "Bend": "to the left, radius 400 m",
    }
    assert road_words(metres(offset_m=-0.3))["In the lane"] == "0.3 ± 0.1 m right of the middle"
    assert road_words(metres(offset_m=0.01))["In the lane"] == "in the middle"
    assert road_words(metres())["Bend"] == "straight"


def test_heading_to_the_right_is_said_so() -> None:
    known = metres()
    assert known.lane is not None
    lane = replace(known.lane, coefficients=np.array([0.0, 0.03, 0.0]))

    assert road_words(replace(known, lane=lane))["Heading"] == "1.7 ± 0.2° to the right"


def test_what_is_not_known_is_said_so() -> None:
    known = replace(metres(), lane=None, distance_ahead_m=None)

    assert set(road_words(known).values()) == {"not known"}
    assert ahead_text(known) == ""


def test_lane_that_is_free_as_far_as_can_be_measured_says_at_least() -> None:
    known = replace(metres(), distance_ahead_m=Measured(58.2, 7.1), is_ahead_open=True)

    assert ahead_text(known) == "over 50 m"
