"""The library: `import perception`, a model, and its results."""

from __future__ import annotations

import doctest
import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
import supervision
from numpy.typing import NDArray
from roads import predicted_road

import perception
from perception import Result
from perception.frame import CameraState, EngineState, Frame, NoFrameRecord
from perception.imaging.yuv import Yuv420
from perception.node import main
from perception.synthetic import DriveRenderer

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((files("perception.sinks") / "record.schema.json").read_text())
MODEL = "rt_s-int8"
AREAS = ("direct", "alternative", "drivable")
OF_THE_RUN = ("captured_ns", "published_ns", "age_ms", "published_utc", "clock", "run")
"""What two records of one picture differ by."""


@pytest.fixture(scope="module")
def model() -> perception.Model:
    return perception.Model(MODEL, provider="cpu")


@pytest.fixture(scope="module")
def road_bgr() -> NDArray[np.uint8]:
    return DriveRenderer("highway", (640, 360)).render(30)[0]


@pytest.fixture
def road_png(tmp_path: Path, road_bgr: NDArray[np.uint8]) -> Path:
    file = tmp_path / "frame.png"
    assert cv2.imwrite(str(file), road_bgr)
    return file


def frame_of(pixels: NDArray[np.uint8] | Yuv420, **values: Any) -> Frame:
    return Frame("camera", 7, captured_ns=0, time_ns=0, pixels=pixels, name="7", **values)


@pytest.mark.parametrize("module", ["perception", "perception.node"])
def test_import_loads_nothing_that_takes_time(module: str) -> None:
    code = f"import {module}, sys; print(*(name.partition('.')[0] for name in sys.modules))"

    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert not {"numpy", "cv2", "av", "onnxruntime", "yaml", "torch"} & {*loaded.stdout.split()}


def test_library_lists_its_names_and_knows_no_others() -> None:
    assert {"Model", "Result", "SourceError", "EngineError"} <= set(dir(perception))
    with pytest.raises(AttributeError, match="has no attribute 'Modle'"):
        perception.Modle  # type: ignore[attr-defined]  # noqa: B018


def test_snippet_runs_as_a_user_writes_it(
    road_png: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    model = perception.Model(MODEL)
    result = model("frame.png")

    assert result.class_map is not None
    assert result.class_map.shape == (360, 640)
    assert result.direct is not None
    assert result.direct.dtype == np.bool_
    assert result.polygons("direct")
    assert result.shares["direct"] == pytest.approx(result.direct.mean(), abs=1e-3)
    assert result.confidence is not None
    assert result.confidence.shape == (360, 640)
    assert result.plot().shape == (360, 640, 3)
    assert result.save("out.jpg") == Path("out.jpg")
    assert result.to_dict()["frame_wh"] == [640, 360]
    assert len(result.to_supervision()) == 2


@pytest.mark.parametrize("module", ["result", "model"])
def test_examples_in_docstrings_run(module: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(f"perception.api.{module}"))

    assert failed == 0
    assert tried >= 5


def test_record_is_the_one_that_the_node_writes(
    model: perception.Model, road_png: Path, tmp_path: Path
) -> None:
    records = tmp_path / "r.jsonl"
    assert (
        main(["--source", str(road_png), "--model", MODEL, "--provider", "cpu", "--jsonl", str(records)]) == 0
    )
    by_node = json.loads(records.read_text())

    by_library = model(road_png).to_dict()

    jsonschema.validate(by_library, SCHEMA)
    for name in OF_THE_RUN:
        by_node.pop(name)
        by_library.pop(name)
    assert by_library == by_node


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_saved_overlay_shows_what_plot_shows(
    model: perception.Model, road_png: Path, tmp_path: Path, suffix: str
) -> None:
    result = model(road_png)

    saved = cv2.imread(str(result.save(tmp_path / "new" / f"overlay{suffix}")))

    assert saved is not None
    difference = np.abs(saved.astype(int) - result.plot())
    assert difference.mean() < (0.001 if suffix == ".png" else 4)
    assert np.abs(saved.astype(int) - cv2.imread(str(road_png))).mean() > 4


def test_saved_overlay_replaces_nothing_unasked(
    model: perception.Model, road_png: Path, tmp_path: Path
) -> None:
    result, file = model(road_png), tmp_path / "overlay.png"
    file.write_text("somebody's notes")

    result.save(file)
    result.save(file, overwrite=True)

    assert (tmp_path / "overlay.1.png").read_text() == "somebody's notes"
    assert {it.name for it in tmp_path.iterdir()} == {"frame.png", "overlay.png", "overlay.1.png"}


def test_overlay_is_not_saved_in_the_place_of_the_picture(model: perception.Model, road_png: Path) -> None:
    content = road_png.read_bytes()

    with pytest.raises(perception.SinkError, match="is the source picture itself"):
        model(road_png).save(road_png, overwrite=True)

    assert road_png.read_bytes() == content


def test_array_file_and_frame_give_the_same_map(
    model: perception.Model, road_png: Path, road_bgr: NDArray[np.uint8]
) -> None:
    backwards = np.ascontiguousarray(road_bgr[:, ::-1])[:, ::-1]

    maps = [model(it).class_map for it in (road_png, str(road_png), road_bgr, backwards, frame_of(road_bgr))]

    assert all(np.array_equal(maps[0], it) for it in maps[1:])


def test_one_model_may_be_called_by_several_threads(model: perception.Model) -> None:
    drive = DriveRenderer("city", (320, 180))
    pictures = [drive.render(30 * number)[0] for number in range(4)]
    alone = [model(picture).class_map for picture in pictures]

    with ThreadPoolExecutor(4) as pool:
        together = [result.class_map for result in pool.map(model, pictures * 3)]

    assert all(np.array_equal(one, other) for one, other in zip(alone * 3, together, strict=True))


@pytest.mark.parametrize("wh", [(640, 360), (1280, 720), (201, 133), (360, 640)])
@pytest.mark.parametrize("kind", ["bgr", "yuv"])
def test_arrays_have_the_frames_own_pixels(model: perception.Model, wh: tuple[int, int], kind: str) -> None:
    image_bgr = DriveRenderer("highway", wh).render(30)[0]
    half = (-(-wh[1] // 2), -(-wh[0] // 2))
    grey = Yuv420(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY), *np.full((2, *half), 128, np.uint8))  # type: ignore[arg-type]

    result = model(frame_of(image_bgr if kind == "bgr" else grey))

    shape = (wh[1], wh[0])
    assert result.image is not None
    assert result.image.shape == (*shape, 3)
    for array in (result.class_map, result.confidence, result.direct, result.alternative, result.drivable):
        assert array is not None
        assert array.shape == shape
    assert result.direct is not None
    assert result.drivable is not None
    assert np.array_equal(result.drivable, result.direct | result.alternative)
    for area in AREAS:
        for polygon in result.polygons(area) or ():
            assert all(0 <= x <= wh[0] and 0 <= y <= wh[1] for x, y in polygon["exterior"])


def test_picture_with_orientation_is_upright(model: perception.Model, tmp_path: Path) -> None:
    upright_bgr = DriveRenderer("highway", (640, 360)).render(30)[0]
    lying = np.ascontiguousarray(np.rot90(upright_bgr))
    jpeg = cv2.imencode(".jpg", lying, (cv2.IMWRITE_JPEG_QUALITY, 100))[1].tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    file = tmp_path / "lying.jpg"
    file.write_bytes(jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:])

    result, expected = model(file), model(upright_bgr)

    assert result.class_map is not None
    assert result.class_map.shape == (360, 640)
    assert (result.class_map == expected.class_map).mean() > 0.99


def test_pixels_that_are_not_square_keep_their_arrays_and_are_drawn_as_meant(model: perception.Model) -> None:
    image_bgr = DriveRenderer("highway", (720, 576)).render(30)[0]

    result = model(frame_of(image_bgr, pixel_aspect=(64, 45)))

    assert result.class_map is not None
    assert result.class_map.shape == (576, 720)
    assert result.plot().shape == (576, 1024, 3)
    polygons = result.polygons("direct")
    assert polygons
    assert max(x for polygon in polygons for x, _ in polygon["exterior"]) <= 720


def test_network_of_two_classes_tells_no_lanes_apart(make_classifier: Callable[..., Path]) -> None:
    blue_left = np.full((72, 128, 3), (0, 0, 200), np.uint8)
    blue_left[:, :64] = (200, 0, 0)

    result = perception.Model(make_classifier(two_classes=True), provider="cpu")(blue_left)

    assert (result.direct, result.alternative, result.polygons("direct")) == (None, None, None)
    assert result.drivable is not None
    assert result.drivable[:, :60].all()
    assert not result.drivable[:, 68:].any()
    assert set(result.shares) == {"drivable", "background"}
    assert result.polygons()
    assert list(result.to_supervision().data["class_name"]) == ["drivable"]


def test_damaged_picture_is_marked(model: perception.Model, road_bgr: NDArray[np.uint8]) -> None:
    result = model(frame_of(road_bgr, is_damaged=True))

    assert (result.camera_state, result.camera_reason) == (CameraState.DEGRADED, "damaged")
    assert result.has_mask


def outage() -> perception.Result:
    return perception.Result(
        NoFrameRecord("camera", (64, 48), 5_000_000_000, None, CameraState.LOST, "no frame for 2.0 s")
    )


def suspect(model: perception.Model, image_bgr: NDArray[np.uint8]) -> perception.Result:
    output: Any = model(image_bgr).output
    return perception.Result(
        replace(output, engine_state=EngineState.SUSPECT, engine_reason="the same everywhere")
    )


@pytest.mark.parametrize("is_outage", [True, False])
def test_without_a_mask_nothing_of_it_can_be_read(
    model: perception.Model, road_bgr: NDArray[np.uint8], is_outage: bool
) -> None:
    result = outage() if is_outage else suspect(model, road_bgr)

    assert not result.has_mask
    assert result.shares == {}
    assert [result.class_map, result.confidence, result.certainty] == [None] * 3
    assert [getattr(result, area) for area in AREAS] == [None] * 3
    assert [result.polygons(area) for area in AREAS] == [None] * 3
    assert len(result.to_supervision()) == 0
    assert result.to_dict()["mask"] is None
    assert "no mask" in repr(result)


def test_metres_are_those_of_the_prediction_and_none_without_a_mask() -> None:
    made = predicted_road()

    assert Result(made).metres is made.metres
    assert Result(replace(made, camera_state=CameraState.BLOCKED)).metres is None
    assert Result(made).to_dict()["metres"]["lane_width_m"]["value"] == 3.6


def test_outage_has_no_frame_and_is_drawn_as_a_banner(tmp_path: Path) -> None:
    result = outage()

    assert (result.frame, result.image, result.name, result.frame_id) == (None, None, None, None)
    assert (result.time_s, result.age_ms, result.camera_state) == (5.0, None, CameraState.LOST)
    drawn = result.plot()
    assert drawn.shape == (48, 64, 3)
    assert drawn[0, 0, 2] > 150 > 60 > drawn[30, 32].max()
    with pytest.raises(perception.SinkError, match=r"there is no frame to draw: no frame for 2\.0 s"):
        result.save(tmp_path / "out.jpg")
    assert list(tmp_path.iterdir()) == []


def test_outage_before_the_first_frame_is_drawn_too() -> None:
    record = NoFrameRecord("camera", None, 0, None, CameraState.LOST, "not there")

    assert perception.Result(record).plot().any()


@pytest.mark.parametrize("wh", [(640, 360), (333, 201)])
def test_mask_annotator_colours_exactly_the_masks_pixels(
    model: perception.Model, wh: tuple[int, int]
) -> None:
    image_bgr = DriveRenderer("highway", wh).render(30)[0]
    result = model(image_bgr)
    detections = result.to_supervision()
    colours = supervision.ColorPalette.from_hex(["#ff0000", "#00ff00"])

    painted = supervision.MaskAnnotator(colours, opacity=1.0).annotate(image_bgr.copy(), detections)

    expected = image_bgr.copy()
    expected[result.direct] = (0, 0, 255)
    expected[result.alternative] = (0, 255, 0)
    assert np.array_equal(painted, expected)
    assert list(detections.data["class_name"]) == ["direct", "alternative"]
    assert detections.class_id is not None
    assert detections.class_id.tolist() == [0, 1]
    assert detections.confidence is not None
    assert ((detections.confidence > 0.34) & (detections.confidence <= 1)).all()
    assert result.direct is not None
    rows, columns = np.nonzero(result.direct)
    assert detections.xyxy[0].tolist() == [columns.min(), rows.min(), columns.max(), rows.max()]


def test_picture_without_any_road_has_no_detections(make_classifier: Callable[..., Path]) -> None:
    red = np.full((72, 128, 3), (0, 0, 200), np.uint8)

    assert len(perception.Model(make_classifier(), provider="cpu")(red).to_supervision()) == 0


def test_without_supervision_one_line_says_what_to_install(
    model: perception.Model, road_bgr: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)

    with pytest.raises(ImportError, match=r"^supervision cannot be imported .*; pip install supervision$"):
        model(road_bgr).to_supervision()


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_array_that_is_no_picture_is_refused(model: perception.Model, picture: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match=r"^a picture is \(H, W, 3\) uint8 in BGR order, and this is"):
        model(picture)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        ("frame.pgn", "no such file or folder; did you mean frame.png?"),
        (".", "is not a single image; perception.open reads it frame by frame"),
        ("notes.png", "is corrupt, or not an image that can be read"),
        ("rtsp://user:secret@camera/road", "is not a single image; perception.open reads it frame by frame"),
    ],
)
def test_what_is_no_image_is_one_line(
    model: perception.Model, road_png: Path, monkeypatch: pytest.MonkeyPatch, picture: str, message: str
) -> None:
    monkeypatch.chdir(road_png.parent)
    (road_png.parent / "notes.png").write_text("notes")

    with pytest.raises(perception.SourceError) as refused:
        model(picture)

    assert message in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "settings", "kind", "message"),
    [
        ("rt_x", {}, FileNotFoundError, "the nearest is rt_s"),
        (MODEL, {"engin": "onnx"}, perception.SettingsError, "the nearest known one is engine"),
        (
            MODEL,
            {"realtime": True},
            perception.SettingsError,
            r"perception.open\(source, model, realtime=…\)",
        ),
        (MODEL, {"threads": -1}, perception.SettingsError, "threads is -1; 0 uses every core"),
        (MODEL, {"threads": object()}, perception.SettingsError, "a value of type object"),
        (MODEL, {"provider": "cuda"}, perception.EngineError, "provider cuda did not load"),
        (MODEL, {"http": 8080}, perception.SettingsError, "the command drivable-node alone"),
    ],
)
def test_model_that_cannot_be_had_is_one_line(
    name: str, settings: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as refused:
        perception.Model(name, **settings)

    assert "\n" not in str(refused.value)


def test_unknown_area_is_refused_with_the_known_ones(
    model: perception.Model, road_bgr: NDArray[np.uint8]
) -> None:
    with pytest.raises(ValueError, match="direct, alternative, drivable"):
        model(road_bgr).polygons("road")


def test_library_prints_nothing(
    model: perception.Model, road_png: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model(road_png).save(tmp_path / "out.jpg")

    assert capfd.readouterr() == ("", "")
