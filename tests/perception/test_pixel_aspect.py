"""Pixels that are not square: from files and streams by way of the network's shape to the outputs."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from importlib.resources import files
from pathlib import Path

import av
import cv2
import jsonschema
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from clips import frames_of

from perception.camera_health.image_stats import image_stats_of
from perception.camera_health.monitor import HealthSettings, no_view, poor_view
from perception.frame import CameraState, Frame, NoFrameRecord, Prediction
from perception.imaging.letterbox import SQUARE, Letterbox, PixelAspect
from perception.imaging.yuv import Yuv420
from perception.inference.contract import ModelContract
from perception.inference.engines import EngineError, OnnxEngine
from perception.inference.predictor import Predictor
from perception.labels import BACKGROUND, DIRECT, LABELS
from perception.node import main
from perception.sinks.jsonl import record
from perception.sinks.overlay import Canvas, draw_overlay
from perception.sinks.video import OverlayVideoSink
from perception.sources.source import SourceInfo
from perception.sources.video import VideoSource
from perception.synthetic import DriveRenderer

PAL_16_9 = Fraction(64, 45)
SCHEMA = json.loads((files("perception.sinks") / "record.schema.json").read_text())


def played(file: Path) -> tuple[SourceInfo, list[Frame]]:
    source = VideoSource(file)
    return source.open(), list(frames_of(source, is_open=True))


def aspects(file: Path) -> list[PixelAspect]:
    return [frame.pixel_aspect for frame in played(file)[1]]


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "avi", "ts", "flv", "h264"])
def test_the_pixel_aspect_of_a_file_is_used(make_clip: Callable[..., Path], suffix: str) -> None:
    info, frames = played(make_clip(f"clip.{suffix}", 2, pixel_aspect=PAL_16_9))

    assert (info.frame_wh, info.pixel_aspect) == ((64, 48), (64, 45))
    assert {(frame.frame_wh, frame.pixel_aspect) for frame in frames} == {((64, 48), (64, 45))}
    assert "64x48 in pixels of 64:45 in " in info.description


def test_square_pixels_are_not_spoken_of(make_clip: Callable[..., Path]) -> None:
    info, frames = played(make_clip(frames=2))

    assert (info.pixel_aspect, frames[0].pixel_aspect) == (SQUARE, SQUARE)
    assert "pixels" not in info.description


@pytest.mark.parametrize(
    ("container", "codec", "expected"),
    [
        ((4, 3), PAL_16_9, (4, 3)),
        ((1, 1), PAL_16_9, (1, 1)),
        ((4, 3), None, (4, 3)),
        ((1, 1000), PAL_16_9, (64, 45)),
        ((1, 1000), None, (1, 1)),
        ((0, 1), PAL_16_9, (64, 45)),
        ((1001, 1000), PAL_16_9, (1001, 1000)),
        ((100_001, 100_000), PAL_16_9, (1, 1)),
    ],
)
def test_container_stands_above_codec_and_what_no_camera_has_is_not_believed(
    make_clip: Callable[..., Path],
    container: tuple[int, int],
    codec: Fraction | None,
    expected: PixelAspect,
) -> None:
    file = make_clip(frames=2, pixel_aspect=codec or Fraction(1))
    box = b"pasp" + struct.pack(">II", *((codec or Fraction(1)).as_integer_ratio()))
    data = file.read_bytes()
    assert data.count(box) == 1
    file.write_bytes(data.replace(box, b"pasp" + struct.pack(">II", *container)))

    assert aspects(file) == [expected] * 2


def test_an_implausible_one_is_reported(make_clip: Callable[..., Path]) -> None:
    info, frames = played(make_clip("clip.ts", 2, pixel_aspect=Fraction(1, 20)))

    assert frames[0].pixel_aspect == SQUARE
    assert "64x48 (implausible pixels of 1:20 ignored) in " in info.description


def with_bits(file: Path, bits: str) -> Path:
    """The same stream through a filter of its bits."""
    into = file.with_name("filtered" + file.suffix)
    with av.open(str(file)) as source, av.open(str(into), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        bit_filter = BitStreamFilterContext(bits, in_stream=stream)
        for packet in [*source.demux(stream), None]:
            for filtered in bit_filter.filter(packet) if packet is None or packet.size else []:
                filtered.stream = copy
                target.mux(filtered)
    return into


def test_it_may_change_in_mid_stream(make_clip: Callable[..., Path], tmp_path: Path) -> None:
    parts = []
    for stated in (PAL_16_9, Fraction(1), Fraction(16, 15)):
        parts.append(make_clip("clip.h264", 2, pixel_aspect=stated).read_bytes())
    file = tmp_path / "joined.h264"
    file.write_bytes(b"".join(parts))

    assert aspects(file) == [(64, 45)] * 2 + [(1, 1)] * 2 + [(16, 15)] * 2


@pytest.mark.parametrize(("rotation", "expected"), [(0, (4, 3)), (90, (3, 4)), (180, (4, 3)), (-90, (3, 4))])
def test_a_quarter_turn_turns_the_pixels(
    make_clip: Callable[..., Path], rotation: int, expected: PixelAspect
) -> None:
    assert aspects(make_clip(frames=2, rotation=rotation, pixel_aspect=Fraction(4, 3))) == [expected] * 2


@pytest.mark.parametrize("bits", ["crop_right=16:crop_bottom=8", "crop_left=16:crop_top=8"])
def test_what_the_stream_cuts_off_is_cut_off(make_clip: Callable[..., Path], bits: str) -> None:
    file = with_bits(make_clip("clip.h264", 2, pixel_aspect=PAL_16_9), f"h264_metadata={bits}")

    info, frames = played(file)

    assert info.frame_wh == frames[0].frame_wh == (48, 40)
    assert frames[0].pixel_aspect == (64, 45)


class SourceItem:
    """An engine that keeps what it was given."""

    state, provider, nodes, runs_one_at_a_time = "ok", "cpu", {}, False

    def __init__(self) -> None:
        self.contract = ModelContract("seen", LABELS, (640, 384), (116, 116, 116), 8, "none", "none")
        self.input_bgr = np.empty(0, np.uint8)

    def infer(self, input_bgr: np.ndarray) -> np.ndarray:
        self.input_bgr = input_bgr.copy()
        logits = np.zeros((3, 48, 80), np.float32)
        logits[0, 30:40, 20:60], logits[2] = 5, 1
        return logits


@pytest.mark.parametrize(
    ("wh", "aspect"), [((360, 360), (16, 9)), ((960, 1080), (2, 1)), ((640, 180), (1, 2))]
)
def test_the_network_sees_the_shape_that_is_meant(wh: tuple[int, int], aspect: PixelAspect) -> None:
    road_bgr = DriveRenderer("day", (1280, 720)).render(10)[0]
    stored_bgr = np.asarray(cv2.resize(road_bgr, wh, interpolation=cv2.INTER_AREA), np.uint8)
    height, width = stored_bgr.shape[:2]
    even_bgr = cv2.cvtColor(stored_bgr, cv2.COLOR_BGR2YUV_I420)
    chroma = even_bgr[height:].reshape(2, height // 2, width // 2)
    planes = Yuv420(even_bgr[:height], chroma[0], chroma[1])
    seen = []
    predictions = []
    for pixels, stated in ((road_bgr, SQUARE), (stored_bgr, aspect), (planes, aspect)):
        engine = SourceItem()
        predictions.append(Predictor(engine)(Frame("", 0, 0, 0, pixels, "", pixel_aspect=stated)))  # type: ignore[arg-type]
        seen.append(engine.input_bgr.astype(int))

    assert np.abs(seen[1] - seen[0]).mean() < 8
    assert np.abs(seen[2] - seen[0]).mean() < 8
    # what is found lies in the pixels that were given, at the same place of the picture
    square, stored = (prediction.class_map_at((320, 180)) for prediction in predictions[:2])
    assert predictions[1].class_map_at(wh).shape == stored_bgr.shape[:2]
    assert (square == stored).mean() > 0.98
    np.testing.assert_allclose(predictions[1].shares, predictions[0].shares, atol=0.005)


def test_a_graph_that_places_the_frame_itself_is_given_square_pixels(
    make_classifier: Callable[..., Path],
) -> None:
    blue = np.full((72, 64, 3), (200, 0, 0), np.uint8)
    frame = Frame("", 0, 0, 0, blue, "", pixel_aspect=(2, 1))
    for frame_wh in ((0, 0), (128, 72)):
        prediction = Predictor(OnnxEngine(make_classifier(frame_wh), "cpu"))(frame)

        assert prediction.class_map.shape == (36, 64)  # 128x72 in 64x48, and none of the padding
        assert prediction.shares[0] == 1
    with pytest.raises(EngineError, match="takes only frames of 64x72, and this one is 128x72"):
        Predictor(OnnxEngine(make_classifier((64, 72)), "cpu"))(frame)


def test_a_camera_is_judged_alike_whatever_its_pixels() -> None:
    road_bgr = DriveRenderer("day", (1280, 720)).render(10)[0]
    stored_bgr = np.asarray(cv2.resize(road_bgr, (720, 576), interpolation=cv2.INTER_AREA), np.uint8)

    square, stored = (image_stats_of(Frame("", 0, 0, 0, image, "")) for image in (road_bgr, stored_bgr))

    assert no_view(stored, HealthSettings()) is None
    assert not any(poor_view(stored, HealthSettings()).values())
    np.testing.assert_allclose(stored.block_luma, square.block_luma, atol=3)


def predicted(aspect: PixelAspect, wh: tuple[int, int] = (64, 48), frame_id: int = 0) -> Prediction:
    image_bgr = np.full((wh[1], wh[0], 3), 200, np.uint8)
    frame = Frame("cam", frame_id, 0, frame_id * 40_000_000, image_bgr, str(frame_id), pixel_aspect=aspect)
    class_map = np.full((48, 80), BACKGROUND, np.uint8)
    class_map[24:, 20:60] = DIRECT
    return Prediction(frame, class_map, (0.25, 0.0, 0.75), "model")


def test_records_state_it_where_pixels_are_not_square() -> None:
    square, wide = record(predicted(SQUARE)), record(predicted((64, 45)))
    outage = record(NoFrameRecord("cam", (64, 48), 0, None, CameraState.LOST, "gone", pixel_aspect=(64, 45)))

    assert "pixel_aspect" not in square
    assert wide["pixel_aspect"] == outage["pixel_aspect"] == [64, 45]
    assert wide["mask"] == square["mask"]  # in the frame's own pixels
    for one in (square, wide, outage):
        jsonschema.validate(json.loads(json.dumps(one)), SCHEMA)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_overlay_is_shown_in_the_shape_of_the_source(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"overlay{suffix}"
    sink = OverlayVideoSink(str(file))
    sink.open(SourceInfo("cam", False, (64, 48), 25.0, pixel_aspect=(64, 45)))
    for frame_id in range(3):
        sink.write(predicted((64, 45), frame_id=frame_id))
    sink.close()

    info, frames = played(file)
    assert (info.frame_wh, info.pixel_aspect, len(frames)) == ((64, 48), (64, 45), 3)


@pytest.mark.parametrize(
    ("wh", "aspect", "box"),
    [
        ((320, 180), (1, 1), (0, 0, 320, 180)),
        ((160, 180), (2, 1), (0, 0, 320, 180)),
        ((160, 90), (1, 1), (0, 0, 320, 180)),
        ((240, 180), (1, 1), (40, 0, 240, 180)),
        ((180, 320), (1, 1), (108, 0, 100, 180)),
        ((320, 180), (2, 1), (0, 44, 320, 90)),
        ((1000, 1), (1, 1), (0, 88, 320, 2)),
    ],
)
def test_a_frame_of_another_shape_lies_in_the_middle_of_the_overlay(
    wh: tuple[int, int], aspect: PixelAspect, box: tuple[int, int, int, int]
) -> None:
    planes = [np.zeros(shape, np.uint8) for shape in ((180, 320), (90, 160), (90, 160))]
    prediction = replace(predicted(aspect, wh), shown_time="none")

    draw_overlay(Canvas(*planes), replace(prediction, class_map=np.full((4, 4), BACKGROUND, np.uint8)))

    left, top, width, height = box
    rows, columns = np.nonzero(planes[0][:, :170] > 100)  # left of the key
    assert (rows.min(), columns.min()) == (top, left)
    assert rows.max() == top + height - 1
    assert planes[0][top + height // 2 - 1, left + width - 1 if width < 170 else 169] > 100


def test_areas_lie_on_the_frame_in_the_middle() -> None:
    planes = [np.full(shape, 128, np.uint8) for shape in ((180, 320), (90, 160), (90, 160))]

    draw_overlay(Canvas(*planes), predicted(SQUARE, (180, 180)))  # drawn from 70 to 250

    tinted = np.nonzero(planes[1][45:80, :] != 128)[1]
    np.testing.assert_allclose([tinted.min() * 2, tinted.max() * 2], [70 + 45, 70 + 135], atol=4)


def test_node_from_file_to_outputs(make_clip: Callable[..., Path], tmp_path: Path) -> None:
    clip = make_clip("dvr.mkv", 3, (180, 144), pixel_aspect=PAL_16_9)
    out = {name: str(tmp_path / name) for name in ("o.mp4", "r.jsonl", "masks")}

    status = main(
        [
            *("--source", str(clip), "--model", "rt_s-int8", "--out", out["o.mp4"]),
            *("--jsonl", out["r.jsonl"], "--masks", out["masks"]),
        ]
    )

    assert status == 0
    assert played(Path(out["o.mp4"]))[0].pixel_aspect == (64, 45)
    records = [json.loads(line) for line in Path(out["r.jsonl"]).read_text().splitlines()]
    assert [(one["frame_wh"], one["pixel_aspect"]) for one in records] == [([180, 144], [64, 45])] * 3
    assert cv2.imread(str(Path(out["masks"]) / "000002.png")).shape == (144, 180, 3)


@pytest.mark.parametrize(("wh", "aspect"), [((720, 576), (64, 45)), ((1440, 1080), (4, 3)), ((4, 1), (1, 4))])
def test_letterbox_of_any_pixels_is_that_of_the_same_shape_in_square_ones(
    wh: tuple[int, int], aspect: PixelAspect
) -> None:
    shape = Fraction(wh[0] * aspect[0], wh[1] * aspect[1])
    box = Letterbox.fit(wh, (640, 384), aspect)

    same = Letterbox.fit((round(3600 * shape), 3600), (640, 384))
    assert (box.content_wh, box.left_px, box.top_px) == (same.content_wh, same.left_px, same.top_px)
