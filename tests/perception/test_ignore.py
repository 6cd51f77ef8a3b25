"""What is ignored: background in the class map, in no share, hatched, and named in records."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
from numpy.typing import NDArray

import perception
from perception.cli_config import SettingsError
from perception.frame import CameraState, Certainty, Frame, Prediction
from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT, DRIVABLE, LABELS_OF_TWO
from perception.node import main
from perception.refine.ignore import Ignore, IgnoreSettings, without
from perception.scene.bars import Bars
from perception.scene.ignore_mask import IgnoreMask
from perception.sinks.ignored import IGNORED_SINK, IgnoredSink
from perception.sinks.jsonl import record
from perception.sinks.overlay_picture import draw_picture
from perception.sinks.rotation import RecordingPolicy
from perception.sinks.sink import SinkError
from perception.sources.source import SourceInfo
from perception.synthetic import DriveRenderer
from perception.telemetry.changes import StateChanges

SCHEMA = json.loads((files("perception.sinks") / "record.schema.json").read_text())
WH = (320, 180)
INFO = SourceInfo("cam", True, None, 25.0)
STILLS = replace(INFO, is_live=False, are_stills=True)
S = 1_000_000_000
BARS = Bars(left_px=40, right_px=40)

Image = NDArray[np.uint8]


def road(number: int = 0, bars: Bars = BARS, wh: tuple[int, int] = WH) -> Image:
    image_bgr = DriveRenderer("day", wh, 2.0).render(number)[0]
    image_bgr[bars.drawn(wh) > 0] = 0
    return image_bgr


def prediction_of(image_bgr: Image, number: int = 0, **values: Any) -> Prediction:
    """All of it is the own lane."""
    frame = Frame("cam", number, 0, number * S // 2, image_bgr, f"{number:06d}")
    given = {
        "class_map": np.full((90, 160), DIRECT, np.uint8),
        "shares": (1.0, 0.0, 0.0),
        "confidence": np.full((12, 20), 200, np.uint8),
        **values,
    }
    return Prediction(frame, model_id="model", **given)


def mask_of(bars: Bars = BARS, wh: tuple[int, int] = WH) -> IgnoreMask:
    return IgnoreMask(bars.drawn(wh), str(bars))


def test_bars_are_background_and_count_in_no_share() -> None:
    found = Ignore(IgnoreSettings(), INFO)(prediction_of(road()))

    assert found.ignored is not None
    assert found.ignored.shape == found.class_map.shape
    assert (found.class_map[found.ignored] == BACKGROUND).all()
    assert (found.class_map[~found.ignored] == DIRECT).all()
    assert found.ignored[:, :20].all()
    assert found.ignored[:, -20:].all()
    assert found.ignored.mean() == 0.25
    assert found.named_shares == {"direct": 1.0, "alternative": 0.0, "background": 0.0, "drivable": 1.0}


def test_shares_are_over_what_is_left() -> None:
    class_map = np.full((90, 160), BACKGROUND, np.uint8)
    class_map[:45, 20:80], class_map[45:, 20:80], class_map[:, :20] = DIRECT, ALTERNATIVE, DIRECT

    found = without(prediction_of(road(), class_map=class_map), mask_of())

    assert found.named_shares == {"direct": 0.25, "alternative": 0.25, "background": 0.5, "drivable": 0.5}


def test_network_of_two_classes_has_background_there_too() -> None:
    class_map = np.full((90, 160), DRIVABLE, np.uint8)

    found = without(
        prediction_of(road(), class_map=class_map, shares=(1.0, 0.0), labels=LABELS_OF_TWO), mask_of()
    )

    assert found.ignored is not None
    assert (found.class_map[found.ignored] == BACKGROUND).all()
    assert found.named_shares == {"drivable": 1.0, "background": 0.0}


def test_prediction_before_is_left_as_it_was() -> None:
    before = prediction_of(road())

    without(before, mask_of())

    assert (before.class_map == DIRECT).all()
    assert before.confidence is not None
    assert before.ignored is None
    assert before.confidence.min() == 200


def test_network_is_not_confident_of_what_nobody_saw_and_certainty_is_of_the_rest() -> None:
    confidence = np.full((12, 20), 255, np.uint8)
    confidence[:, 5:15] = 102
    before = prediction_of(road(), confidence=confidence, certainty=Certainty(0.8, 0.7, None))

    found = without(before, mask_of(Bars(left_px=80, right_px=80)))

    assert found.confidence is not None
    assert found.certainty is not None
    assert (found.confidence[:, :5].max(), found.confidence[:, 5:15].min()) == (0, 102)
    assert found.certainty.mean == pytest.approx(0.4)
    assert found.certainty.ood_score is None


def test_certainty_stays_where_nothing_drivable_was_taken_away() -> None:
    class_map = np.full((90, 160), BACKGROUND, np.uint8)
    class_map[60:, 60:90] = DIRECT
    certainty = Certainty(0.8, 0.7, 0.5)

    assert (
        without(prediction_of(road(), class_map=class_map, certainty=certainty), mask_of()).certainty
        is certainty
    )


@pytest.mark.parametrize("state", [CameraState.BLOCKED, CameraState.FROZEN])
def test_view_that_is_withheld_teaches_nothing(state: CameraState) -> None:
    step = Ignore(IgnoreSettings(), INFO)

    assert step(prediction_of(road(), camera_state=state, camera_reason="black")).ignored is None
    assert step(prediction_of(road(1), 1)).ignored is not None


def test_cover_teaches_nothing() -> None:
    covered = {"camera_state": CameraState.DEGRADED, "camera_reason": "left half covered"}

    assert Ignore(IgnoreSettings(), INFO)(prediction_of(road(), **covered)).ignored is None


def test_damaged_frame_teaches_nothing() -> None:
    before = prediction_of(road())
    damaged = replace(before, frame=replace(before.frame, is_damaged=True))

    assert Ignore(IgnoreSettings(), INFO)(damaged).ignored is None


def test_what_is_ignored_stays_while_the_view_is_poor() -> None:
    step = Ignore(IgnoreSettings(), INFO)
    mask = step(prediction_of(road())).ignore_mask

    dark = prediction_of(np.zeros_like(road()), 1, camera_state=CameraState.BLOCKED, camera_reason="black")
    assert step(dark).ignore_mask is mask is not None


def test_none_ignores_nothing() -> None:
    model = perception.Model("rt_s-int8", ignore="none", threads=1)

    assert model(road()).ignored is None
    assert model(road()).to_dict()["ignored"] is None


def test_pictures_of_another_size_have_bars_of_their_own() -> None:
    step = Ignore(IgnoreSettings(), INFO)
    step(prediction_of(road()))

    other = step(prediction_of(road(1, Bars(top_px=30), (240, 180)), 1))

    assert other.ignore_mask is not None
    assert other.ignore_mask.contents == "bars of 30 px top"


def test_stills_have_bars_each_of_its_own_and_no_bonnet_is_learnt_from_them() -> None:
    step = Ignore(IgnoreSettings("auto"), STILLS)

    contents = [
        it.ignore_mask and it.ignore_mask.contents
        for it in map(
            step, [prediction_of(road(number, bars), number) for number, bars in enumerate([BARS, Bars()])]
        )
    ]

    assert contents == ["bars of 40 px left and 40 px right", None]


def test_auto_learns_the_bonnet_and_keeps_the_mask_while_nothing_changes() -> None:
    wh, bars = (320, 180), Bars(top_px=12, bottom_px=12)
    bonnet = np.zeros((180, 320), np.uint8)
    cv2.ellipse(bonnet, (160, 168), (200, 26), 0, 0, 360, (1,), -1)
    seed = next(it for it in range(99) if not DriveRenderer("day", (64, 36), 2.0, it).bonnet(0).any())
    renderer = DriveRenderer("day", wh, 2.0, seed)
    step, masks = Ignore(IgnoreSettings("auto"), INFO), []
    for number in range(70):
        image_bgr = renderer.render(number)[0]
        image_bgr[bonnet > 0] = 190
        image_bgr[bars.drawn(wh) > 0] = 0
        masks.append(step(prediction_of(image_bgr, number)).ignore_mask)

    seen = list(dict.fromkeys(masks))
    assert [mask and mask.contents for mask in seen] == [
        "bars of 12 px top and 12 px bottom",
        "bars of 12 px top and 12 px bottom and the bonnet",
    ]
    assert seen[1] is not None
    assert (seen[1].pixels[150:, 60:260] == 255).all()
    assert not seen[1].pixels[12:138].any()


def given(tmp_path: Path, wh: tuple[int, int] = WH) -> Path:
    mask = np.zeros((wh[1], wh[0]), np.uint8)
    mask[wh[1] * 3 // 4 :] = 255
    file = tmp_path / "bonnet.png"
    cv2.imwrite(str(file), mask)
    return file


def test_mask_that_is_given_is_ignored_with_the_bars(tmp_path: Path) -> None:
    found = Ignore(IgnoreSettings(str(given(tmp_path, (640, 360)))), INFO)(prediction_of(road()))

    assert found.ignore_mask is not None
    assert found.ignored is not None
    assert found.ignore_mask.contents == "what bonnet.png has and bars of 40 px left and 40 px right"
    assert found.ignored[67:].all()  # what is ignored in part is ignored
    assert found.ignored.mean() == pytest.approx(1 - 0.75 * 67 / 90)


def test_mask_of_another_shape_is_refused_before_a_recording_begins(tmp_path: Path) -> None:
    recorded = replace(INFO, is_live=False, frame_wh=(320, 240))

    with pytest.raises(SettingsError, match="320x180, and these have 320x240"):
        Ignore(IgnoreSettings(str(given(tmp_path))), recorded)


def test_mask_of_another_shape_is_refused_at_the_first_picture_of_a_camera(tmp_path: Path) -> None:
    step = Ignore(IgnoreSettings(str(given(tmp_path))), INFO)

    with pytest.raises(SettingsError, match="320x180, and these have 320x240"):
        step(prediction_of(road(0, BARS, (320, 240))))


def test_mask_is_left_out_with_a_warning_where_later_pictures_have_another_shape(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    step = Ignore(IgnoreSettings(str(given(tmp_path))), INFO)
    step(prediction_of(road(0, Bars())))

    for number in (1, 2, 3):
        assert step(prediction_of(road(number, Bars(), (320, 240)), number)).ignored is None

    assert caplog.text.count("which is another shape") == 1


def test_record_names_share_and_checksum() -> None:
    found = without(prediction_of(road()), mask_of())

    line = json.loads(json.dumps(record(found)))

    jsonschema.validate(line, SCHEMA)
    assert found.ignore_mask is not None
    assert line["ignored"] == {
        "share": 0.25,
        "sha256": hashlib.sha256(found.ignore_mask.png).hexdigest()[:16],
    }
    assert record(prediction_of(road()))["ignored"] is None


def test_overlay_hatches_what_is_ignored_and_nothing_else() -> None:
    plain = prediction_of(road(), class_map=np.full((90, 160), BACKGROUND, np.uint8))

    changed = np.abs(
        draw_picture(without(plain, mask_of())).astype(int) - draw_picture(plain).astype(int)
    ).max(axis=2)

    inside = BARS.drawn(WH) > 0
    assert changed[~inside].max() == 0
    assert 0.05 < np.mean(changed[inside] > 10) < 0.3


def test_overlay_without_a_mask_is_not_hatched() -> None:
    withheld = {"camera_state": CameraState.BLOCKED, "camera_reason": "black"}
    plain = prediction_of(road(), **withheld)

    np.testing.assert_array_equal(draw_picture(without(plain, mask_of())), draw_picture(plain))


def test_line_says_what_is_ignored_when_that_changes() -> None:
    changes, mask = StateChanges(), mask_of()
    plain = prediction_of(road())

    changes.record(plain)
    assert changes.lines() == []
    changes.record(without(plain, mask))
    changes.record(without(plain, mask))
    assert changes.lines() == ["at 0.0 s: ignored: bars of 40 px left and 40 px right, 25.0% of the picture"]
    changes.record(plain)
    assert changes.lines() == ["at 0.0 s: ignored: nothing"]


# --- the file ----------------------------------------------------------------------------------------------


def sink_at(file: Path, **policy: Any) -> IgnoredSink:
    sink = IgnoredSink(file, RecordingPolicy(**policy))
    sink.open(INFO)
    return sink


def written(file: Path, *masks: IgnoreMask, **policy: Any) -> None:
    sink = sink_at(file, **policy)
    for mask in masks:
        sink.write(without(prediction_of(road()), mask))
        sink.write(without(prediction_of(road()), mask))
    sink.close()


def test_file_is_the_newest_mask_at_the_frames_size_and_its_checksum_is_that_of_the_records(
    tmp_path: Path,
) -> None:
    file, other = tmp_path / "new" / "r.ignored.png", mask_of(Bars(top_px=30))
    written(file, mask_of(), other)

    np.testing.assert_array_equal(cv2.imread(str(file), cv2.IMREAD_UNCHANGED), other.pixels)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == other.sha256
    assert [it.name for it in file.parent.iterdir()] == ["r.ignored.png"]


def test_no_file_is_written_while_nothing_is_ignored(tmp_path: Path) -> None:
    sink = sink_at(tmp_path / "r.ignored.png")
    sink.write(prediction_of(road()))
    sink.close()

    assert list(tmp_path.iterdir()) == []


def test_file_of_an_earlier_run_is_set_aside(tmp_path: Path) -> None:
    file = tmp_path / "r.ignored.png"
    file.write_bytes(b"mine")

    written(file, mask_of(), mask_of(Bars(top_px=30)))

    assert (tmp_path / "r.ignored.1.png").read_bytes() == b"mine"
    assert sorted(it.name for it in tmp_path.iterdir()) == ["r.ignored.1.png", "r.ignored.png"]


def test_overwrite_replaces_it(tmp_path: Path) -> None:
    file = tmp_path / "r.ignored.png"
    file.write_bytes(b"mine")

    written(file, mask_of(), overwrite=True)

    assert [it.name for it in tmp_path.iterdir()] == ["r.ignored.png"]


def test_append_replaces_only_what_a_run_wrote(tmp_path: Path) -> None:
    file = tmp_path / "r.ignored.png"
    written(file, mask_of())
    written(file, mask_of(Bars(top_px=30)), append=True)
    assert [it.name for it in tmp_path.iterdir()] == ["r.ignored.png"]

    file.write_bytes(b"mine")
    written(file, mask_of(), append=True)
    assert (tmp_path / "r.ignored.1.png").read_bytes() == b"mine"


def test_two_writers_are_refused(tmp_path: Path) -> None:
    first = sink_at(tmp_path / "r.ignored.png")

    with pytest.raises(SinkError, match="this node has another output there"):
        sink_at(tmp_path / "r.ignored.png")

    first.close()
    sink_at(tmp_path / "r.ignored.png").close()


@pytest.mark.parametrize(
    ("settings", "file"),
    [
        ({"jsonl": "a/r.jsonl", "masks": "m"}, "a/r.ignored.png"),
        ({"jsonl": "-", "masks": "a/m/"}, "a/m.ignored.png"),
        ({"out": "o.mp4"}, "o.ignored.png"),
        ({"out": "o/"}, "o.ignored.png"),
        ({"jsonl": "/dev/stdout", "mcap": "b.mcap"}, "b.ignored.png"),
        ({"jsonl": "r.jsonl", "ignore_mask": "x.png"}, "x.png"),
        ({"http": "127.0.0.1:1"}, None),
        ({"jsonl": "r.jsonl", "ignore": "bars"}, None),
        ({"jsonl": "r.jsonl", "ignore": "none"}, None),
        ({"ignore": "bars", "ignore_mask": "x.png"}, "x.png"),
    ],
)
def test_file_lies_beside_the_first_output(settings: dict[str, str], file: str | None) -> None:
    from perception.cli_config import from_values
    from perception.config import node_config

    config = from_values(node_config(), "drivable-node", {"ignore": "auto", **settings})

    assert IGNORED_SINK.target_of(config) == file


def test_run_writes_records_masks_and_the_png_that_belong_together(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        cv2.imwrite(str(images / f"{number}.png"), road(number))
    outputs = ["--jsonl", str(tmp_path / "r.jsonl"), "--masks", str(tmp_path / "masks")]

    status = main([str(images), "--model", "rt_s-int8", "--ignore", str(given(tmp_path)), *outputs])

    file = tmp_path / "r.ignored.png"
    ignored = cv2.imread(str(file), cv2.IMREAD_UNCHANGED) > 0
    digits = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert status == 0
    assert [line["ignored"] for line in lines] == 3 * [{"share": 0.4375, "sha256": digits}]
    assert ignored.mean() == 0.4375
    for number in range(3):
        mask = cv2.imread(str(tmp_path / "masks" / f"{number}.png"), cv2.IMREAD_UNCHANGED)
        assert (mask[ignored] == BACKGROUND).all()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--ignore", "{tmp}/missing.png"], "missing.png: cannot be read: No such file or directory"),
        (["--ignore", "{tmp}"], "is a folder"),
        (["--ignore", "/dev/zero"], "/dev/zero: is no file to ignore by, but a device or a pipe"),
        (["--ignore", "{tmp}/pipe.yaml"], "pipe.yaml: is no file to ignore by, but a device or a pipe"),
        (["--ignore", "{tmp}/large.png"], "large.png: has 100 MB; a mask has 64 at most"),
        (["--ignore", "{tmp}/tall.png"], "which is another shape"),
        (["--ignore", "{tmp}/tall.png", "--ignore_mask", "{tmp}/tall.png"], "is what is ignored (--ignore)"),
        (["--ignore", "none", "--ignore_mask", "x.png"], "leave one of them out"),
        (["--ignore", "auto", "--ignore_mask", "{tmp}/x.jpg"], "end its name in .png"),
    ],
)
def test_mistake_is_one_line_and_loses_nothing(
    arguments: list[str], why: str, tmp_path: Path, only_error_line: Callable[[str], str]
) -> None:
    records = tmp_path / "r.jsonl"
    records.write_text("mine\n")
    cv2.imwrite(str(tmp_path / "tall.png"), bottom_half((180, 320)))
    os.mkfifo(tmp_path / "pipe.yaml")
    with (tmp_path / "large.png").open("wb") as large:
        large.truncate(100_000_000)
    asked = [argument.replace("{tmp}", str(tmp_path)) for argument in arguments]

    status = main(
        ["synthetic:day", "--max-frames", "3", "--synthetic.wh", "320x180", "--jsonl", str(records), *asked]
    )

    assert status == (1 if "end its name" in why else 2)
    assert why in only_error_line("drivable-node")
    assert records.read_text() == "mine\n"


def bottom_half(wh: tuple[int, int]) -> Image:
    mask = np.zeros((wh[1], wh[0]), np.uint8)
    mask[wh[1] // 2 :] = 255
    return mask


def test_library_takes_a_mask_for_pictures_and_runs(tmp_path: Path) -> None:
    model = perception.Model("rt_s-int8", ignore=given(tmp_path), threads=1)

    result = model(road(0, Bars()))
    assert result.class_map is not None
    assert result.ignored is not None
    assert (result.class_map[result.ignored] == BACKGROUND).all()
    assert np.flatnonzero(result.ignored.all(axis=1)).tolist() == list(range(135, 180))
    with perception.open("synthetic:day", model, max_frames=2, synthetic={"wh": (640, 360)}) as run:
        assert [result.to_dict()["ignored"]["share"] for result in run] == 2 * [0.25]


def test_library_refuses_a_mask_that_is_none_when_the_model_is_made(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        perception.Model("rt_s-int8", ignore=str(tmp_path / "missing.png"), threads=1)
