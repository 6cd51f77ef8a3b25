"""Peers are known by their signature, and take a frame as their authors meant it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.peers import PeerError, load_peer
from perception.frame import Frame
from perception.labels import BACKGROUND, DRIVABLE
from perception.models import model_file

MakePeer = Callable[..., Path]

BLACK_BGR, BLUE_BGR, GREEN_BGR, RED_BGR, DULL_RED_BGR = (
    *((0, 0, 0), (230, 0, 0), (0, 230, 0), (0, 0, 230)),
    (0, 0, 100),
)
TWO = ([[0, 0, 0]] * 2, [0.0, 0.0])


def bands(*colours_bgr: tuple[int, int, int], wh: tuple[int, int]) -> Frame:
    """A frame of vertical bands of equal width."""
    image_bgr = np.zeros((wh[1], wh[0], 3), np.uint8)
    width = wh[0] // len(colours_bgr)
    for index, colour_bgr in enumerate(colours_bgr):
        image_bgr[:, index * width : (index + 1) * width] = colour_bgr
    return Frame("test", 0, 0, 0, image_bgr, "0")


def test_network_with_drivable_and_lines_takes_rgb_divided_by_255(red_is_drivable: Path) -> None:
    peer = load_peer(red_is_drivable)

    prediction = peer(bands(RED_BGR, DULL_RED_BGR, BLUE_BGR, GREEN_BGR, wh=(64, 36)))

    assert peer.name == prediction.model_id == "red"
    expected = np.repeat([DRIVABLE, BACKGROUND, BACKGROUND, BACKGROUND], 16)
    np.testing.assert_array_equal(prediction.class_map, np.tile(expected, (36, 1)))
    assert prediction.shares == (0.25, 0.75)


def test_network_of_road_surface_takes_bgr_up_to_255_and_knows_road_and_marks(make_peer: MakePeer) -> None:
    # background by a constant, road by blue, curb by green, mark by red
    scores = ([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], [128.0, 0.0, 0.0, 0.0])
    peer = load_peer(make_peer("road", [1, 3, 512, 896], {"scores": scores}))

    prediction = peer(bands(BLACK_BGR, BLUE_BGR, GREEN_BGR, RED_BGR, wh=(896, 512)))

    expected = np.repeat([BACKGROUND, DRIVABLE, BACKGROUND, DRIVABLE], 224)
    np.testing.assert_array_equal(prediction.class_map, np.tile(expected, (512, 1)))
    assert "road surface" in peer.kind.note


def test_frame_of_another_size_is_stretched_to_the_networks(red_is_drivable: Path) -> None:
    prediction = load_peer(red_is_drivable)(bands(RED_BGR, BLUE_BGR, wh=(640, 360)))

    assert prediction.class_map.shape == (36, 64)
    at_frame = prediction.class_map_at((640, 360))
    assert (at_frame[:, :310] == DRIVABLE).all()
    assert (at_frame[:, 330:] == BACKGROUND).all()


@pytest.mark.parametrize(
    ("input_shape", "outputs"),
    [
        ([1, 3, 36, 64], {"da": TWO}),
        ([1, 3, 36, 64], {"da": TWO, "lines": TWO}),
        ([1, 3, 36, 64], {"da": ([[0, 0, 0]] * 3, [0.0] * 3), "ll": TWO}),
        ([1, 3, "height", "width"], {"da": TWO, "ll": TWO}),
        ([1, 3, 512, 896], {"scores": TWO}),
        ([1, 3, 256, 448], {"scores": ([[0, 0, 0]] * 4, [0.0] * 4)}),
    ],
)
def test_unknown_signature_is_refused_in_one_line_with_the_known_ones(
    input_shape: list[int | str], outputs: dict[str, object], make_peer: MakePeer
) -> None:
    file = make_peer("stranger", input_shape, outputs)

    with pytest.raises(PeerError) as refused:
        load_peer(file)

    line = str(refused.value)
    assert line.startswith(f"{file}: no peer that is known here: it takes images tensor(float)")
    assert "TwinLiteNet" in line
    assert "road-segmentation-adas-0001" in line
    assert "\n" not in line


def test_our_own_file_is_no_peer() -> None:
    with pytest.raises(PeerError, match=r"no peer that is known here: it takes frame tensor\(uint8\)"):
        load_peer(model_file("rt_m"))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match=r"nowhere\.onnx: the peer cannot be read: No such file"):
        load_peer(tmp_path / "nowhere.onnx")


def test_file_that_is_no_network_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a network")

    with pytest.raises(PeerError, match=r"text\.onnx: not a network that ONNX Runtime can load: "):
        load_peer(tmp_path / "text.onnx")
