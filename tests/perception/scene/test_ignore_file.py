"""Masks of what is ignored, as people draw them: PNG, YAML and JSON; every mistake is one line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from perception.cli_config import SettingsError
from perception.scene.ignore_file import load_ignore_file

WH = (64, 36)


def bottom(wh: tuple[int, int] = WH) -> NDArray[np.uint8]:
    """White in the lowest quarter."""
    mask = np.zeros((wh[1], wh[0]), np.uint8)
    mask[wh[1] * 3 // 4 :] = 255
    return mask


def png(tmp_path: Path, image: NDArray[Any]) -> Path:
    file = tmp_path / "mask.png"
    assert cv2.imwrite(str(file), image)
    return file


def drawn(tmp_path: Path, text: str, name: str = "mask.yaml") -> Path:
    file = tmp_path / name
    file.write_text(text)
    return file


def refusal(file: Path, frame_wh: tuple[int, int] = WH) -> str:
    with pytest.raises(SettingsError) as caught:
        load_ignore_file(file).fitted(frame_wh)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert "\n" not in message
    return message


def test_white_of_a_png_is_ignored(tmp_path: Path) -> None:
    mask = load_ignore_file(png(tmp_path, bottom())).fitted(WH)

    np.testing.assert_array_equal(mask.pixels, bottom())
    assert (mask.share, mask.contents) == (0.25, "what mask.png has")


@pytest.mark.parametrize("kind", ["colour", "alpha", "sixteen bits", "smooth edges", "two ids"])
def test_png_may_be_of_any_kind(kind: str, tmp_path: Path) -> None:
    mask = bottom()
    images: dict[str, NDArray[Any]] = {
        "colour": cv2.merge([mask] * 3),
        "alpha": cv2.merge([mask] * 3 + [np.full_like(mask, 255)]),
        "sixteen bits": mask.astype(np.uint16) * 257,
        "smooth edges": np.where(np.arange(36)[:, None] == 27, 180, mask)[:, : WH[0]].astype(np.uint8),
        "two ids": np.where(mask > 0, 245, 5).astype(np.uint8),
    }
    if kind == "smooth edges":
        images[kind][27, 40:] = 255

    np.testing.assert_array_equal(load_ignore_file(png(tmp_path, images[kind])).pixels, mask)


@pytest.mark.parametrize("wh", [(128, 72), (192, 108), (960, 540)])
def test_mask_of_another_size_is_scaled_if_its_shape_is_the_same(wh: tuple[int, int], tmp_path: Path) -> None:
    mask = load_ignore_file(png(tmp_path, bottom(wh))).fitted(WH)

    np.testing.assert_array_equal(mask.pixels, bottom())
    np.testing.assert_array_equal(load_ignore_file(png(tmp_path, bottom())).fitted(wh).pixels, bottom(wh))


def test_size_may_be_rounded(tmp_path: Path) -> None:
    assert load_ignore_file(png(tmp_path, bottom((1920, 1080)))).fitted((854, 480)).frame_wh == (854, 480)


def test_pixel_that_is_partly_ignored_is_ignored(tmp_path: Path) -> None:
    fine = np.zeros((72, 128), np.uint8)
    fine[71, 127] = 255

    mask = load_ignore_file(png(tmp_path, fine)).fitted(WH)

    assert np.argwhere(mask.pixels).tolist() == [[35, 63]]


@pytest.mark.parametrize("name", ["mask.yaml", "mask.yml", "mask.json"])
def test_polygons_are_drawn_in_the_pixels_of_their_picture(name: str, tmp_path: Path) -> None:
    drawing = {
        "frame_wh": [64, 36],
        "polygons": [[[0, 27], [64, 27], [64, 36], [0, 36]], [[10, 4], [20, 4], [20, 8]]],
    }

    mask = load_ignore_file(drawn(tmp_path, json.dumps(drawing), name)).fitted(WH)

    np.testing.assert_array_equal(mask.pixels[27:], 255)
    assert mask.pixels[26].max() == mask.pixels[3].max() == 0
    assert mask.pixels[5, 18] == 255
    assert mask.pixels[7, 12] == 0


def test_polygons_in_yaml_may_be_written_in_lines(tmp_path: Path) -> None:
    text = "frame_wh: 128x72\npolygons:\n  - - [0, 54]\n    - [128, 54]\n    - [128, 72]\n    - [0, 72]\n"

    np.testing.assert_array_equal(load_ignore_file(drawn(tmp_path, text)).fitted(WH).pixels, bottom())


def test_example_in_the_readme_is_a_mask(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[3] / "perception" / "README.md").read_text()
    (example,) = re.findall(r"```yaml\n(frame_wh:.*?)```", readme, re.DOTALL)

    mask = load_ignore_file(drawn(tmp_path, example)).fitted((1280, 720))

    assert 0.1 < mask.share < 0.2
    assert mask.pixels[719, [0, 1279]].tolist() == [255, 255]


@pytest.mark.parametrize("frame_wh", [(64, 48), (36, 64), (65, 30)])
def test_mask_of_another_shape_is_refused(frame_wh: tuple[int, int], tmp_path: Path) -> None:
    message = refusal(png(tmp_path, bottom()), frame_wh)

    assert "64x36" in message
    assert f"{frame_wh[0]}x{frame_wh[1]}" in message


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("photograph", "is no mask"),
        ("class map", "ignores nothing"),
        ("black", "ignores nothing"),
        ("white", "ignores 100.0% of the picture"),
        ("nearly white", "of the picture"),
        ("jpeg", "is no PNG"),
        ("text", "is no PNG"),
        ("empty", "is no PNG"),
        ("cut off", "cut off or damaged"),
        ("missing", "No such file"),
        ("folder", "is a folder"),
    ],
)
def test_what_is_no_mask_is_one_line(kind: str, why: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images: dict[str, NDArray[np.uint8]] = {
        "photograph": random.integers(0, 255, (36, 64, 3), np.uint8),
        "class map": random.integers(0, 4, (36, 64), np.uint8),
        "black": np.zeros((36, 64), np.uint8),
        "white": np.full((36, 64), 255, np.uint8),
        "nearly white": np.where(np.arange(36 * 64).reshape(36, 64) < 20, 0, 255).astype(np.uint8),
        "cut off": random.integers(0, 2, (36, 64), np.uint8) * 255,
    }
    file = png(tmp_path, images.get(kind, bottom()))
    match kind:
        case "jpeg":
            file.write_bytes(cv2.imencode(".jpg", bottom())[1].tobytes())
        case "text":
            file.write_text("bonnet")
        case "empty":
            file.write_bytes(b"")
        case "cut off":
            file.write_bytes(file.read_bytes()[:60])
        case "missing":
            file.unlink()
        case "folder":
            file = tmp_path

    assert why in refusal(file)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("polygons: [[[0, 0], [1, 1], [2, 0]]]", "has no frame_wh"),
        ("frame_wh: [64, 36]", "has no polygons"),
        ("frame_wh: [64, 36]\npolygons: []", "ignores nothing"),
        ("frame_wh: [64]\npolygons: []", "frame_wh"),
        ("frame_wh: [0, 36]\npolygons: [[[0, 0], [1, 1], [2, 0]]]", "must be above 0"),
        ("frame_wh: [90000, 90000]\npolygons: [[[0, 0], [1, 1], [2, 0]]]", "megapixels"),
        ("frame_wh: [64, 36]\npolygons: [[[0, 0], [10, 10]]]", "polygon 1 has 2 points"),
        (
            "frame_wh: [64, 36]\npolygons: [[[0, 0], [9, 9], [9, 0]], [[0, 0], [80, 9], [9, 0]]]",
            "polygon 2 .*outside",
        ),
        ("frame_wh: [64, 36]\npolygons: [[[0, 0], [9, -1], [9, 0]]]", r"\[9, -1\], outside"),
        ("frame_wh: [64, 36]\npolygons: [[[0, 0], [.nan, 1], [9, 0]]]", "polygons"),
        ("frame_wh: [64, 36]\npolygons: [[[0, 0], [a, 1], [9, 0]]]", "line 2.*polygons"),
        ("frame_wh: [64, 36]\npolygons: [[0, 0], [9, 1], [9, 0]]", "polygons"),
        ("frame_wh: [64, 36]\npolygons: [[[0, 0, 0], [9, 1, 0], [9, 0, 0]]]", "polygons"),
        ("frame_wh: [64, 36]\npolygns: [[[0, 0], [9, 1], [9, 0]]]", "polygons"),
        ("frame_wh: [64, 36]\npolygons: [[[0, 0], [64, 0], [64, 36], [0, 36]]]", "ignores 100.0%"),
        ("{frame_wh: [64, 36]", "cannot be read"),
        ("- 1", "name: value"),
    ],
)
def test_drawing_that_cannot_be_used_is_one_line(text: str, why: str, tmp_path: Path) -> None:
    assert re.search(why, refusal(drawn(tmp_path, text)))
