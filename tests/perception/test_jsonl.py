from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from roads import metres, predicted_road

from perception.frame import CameraState, Certainty, EngineState, Frame, NoFrameRecord, Prediction
from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT, DRIVABLE, LABELS_OF_TWO
from perception.sinks.jsonl import JsonLinesSink, record
from perception.sinks.sink import SinkError
from perception.sources.source import SourceInfo
from perception.system.json_text import json_text

INFO = SourceInfo("cam", False, (1280, 720), 25.0)
SCHEMA = json.loads((files("perception.sinks") / "record.schema.json").read_text())


def _prediction(frame_id: int = 0, state: CameraState = CameraState.OK) -> Prediction:
    class_map = np.full((360, 640), BACKGROUND, np.uint8)
    class_map[200:, 100:300], class_map[200:, 300:500] = DIRECT, ALTERNATIVE
    class_map[250:300, 150:200] = BACKGROUND
    frame = Frame("cam", frame_id, 5_000_000, 40, np.zeros((720, 1280, 3), np.uint8), f"{frame_id:06d}")
    shares = tuple(float((class_map == label).mean()) for label in (DIRECT, ALTERNATIVE, BACKGROUND))
    return Prediction(
        *(frame, class_map, shares, "model"), camera_state=state, published_ns=39_000_000, provider="CPU"
    )


def _prediction_of_two(state: CameraState = CameraState.OK) -> Prediction:
    class_map = np.full((360, 640), BACKGROUND, np.uint8)
    class_map[180:] = DRIVABLE
    return replace(_prediction(state=state), class_map=class_map, shares=(0.5, 0.5), labels=LABELS_OF_TWO)


@pytest.mark.parametrize("prediction_of", [_prediction, _prediction_of_two])
@pytest.mark.parametrize("state", list(CameraState))
def test_record_keeps_to_its_schema(state: CameraState, prediction_of: Callable[..., Prediction]) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    jsonschema.validate(json.loads(json.dumps(record(prediction_of(state=state)))), SCHEMA)


def test_network_of_two_classes_says_null_of_lanes_it_cannot_tell() -> None:
    mask = record(_prediction_of_two())["mask"]

    assert mask["shares"] == {"direct": None, "alternative": None, "background": 0.5, "drivable": 0.5}
    assert (mask["direct"], mask["alternative"]) == (None, None)
    (area,) = mask["drivable"]
    corners = np.array(area["exterior"])
    assert [corners.min(0).tolist(), corners.max(0).tolist()] == [[0, 360], [1280, 720]]


@pytest.mark.parametrize("certainty", [Certainty(0.912345, 0.5, 0.25), Certainty(None, None, None), None])
def test_certainty_stands_in_the_record(certainty: Certainty | None) -> None:
    line = json.loads(json.dumps(record(replace(_prediction(), certainty=certainty))))

    jsonschema.validate(line, SCHEMA)
    expected = certainty and [certainty.mean and 0.9123, certainty.p5, certainty.ood_score]
    assert (line["certainty"] and list(line["certainty"].values())) == expected


def test_number_that_is_none_is_null_in_the_record(tmp_path: Path) -> None:
    sink = JsonLinesSink(str(tmp_path / "records.jsonl"))
    sink.open(INFO)
    sink.write(replace(_prediction(), certainty=Certainty(float("nan"), 0.5, float("inf"))))
    sink.close()

    line = (tmp_path / "records.jsonl").read_text()
    assert "NaN" not in line
    assert json.loads(line)["certainty"] == {"mean": None, "p5": 0.5, "ood_score": None}


def test_metres_stand_in_the_record_with_their_standard_deviations() -> None:
    line = json.loads(json_text(record(predicted_road(metres(offset_m=0.3, ahead_m=32.0)))))

    jsonschema.validate(line, SCHEMA)
    known = line["metres"]
    assert known["distance_ahead_m"] == {"value": 32.0, "sigma": 0.6}
    assert known["lateral_offset_m"] == {"value": 0.3, "sigma": 0.03}
    assert known["lane_width_m"] == {"value": 3.6, "sigma": 0.05}
    assert known["mount"]["pitch_rad"] == {"value": 0.05, "sigma": 0.002}
    assert known["centreline"][0] == [3.0, -0.3]
    assert (known["left_alternative"], known["is_ahead_open"]) == (None, False)
    space = known["free_space"]
    assert (space["origin_m"], space["first_bearing_rad"], space["bearing_step_rad"]) == ([0, 0], -0.6, 0.01)
    assert len(space["distance_m"]) == len(space["sigma_m"]) == len(space["is_end_seen"]) == 121
    assert space["distance_m"][:4] == [None, None, None, pytest.approx(10.56, abs=0.01)]


def test_without_a_lane_its_numbers_are_null() -> None:
    known = replace(metres(), lane=None, distance_ahead_m=None, right_alternative=None)

    line = json.loads(json_text(record(predicted_road(known, class_map=_prediction().class_map))))

    jsonschema.validate(line, SCHEMA)
    empty = [name for name, value in line["metres"].items() if value is None]
    assert empty == [
        *("distance_ahead_m", "lateral_offset_m", "lane_width_m", "heading_error_rad", "curvature_per_m"),
        *("valid_to_m", "centreline", "ego_lane", "left_alternative", "right_alternative"),
    ]


@pytest.mark.parametrize("values", [{"metres": None}, {"camera_state": CameraState.BLOCKED}])
def test_without_a_calibration_or_a_mask_metres_are_null(values: dict[str, Any]) -> None:
    line = json.loads(json_text(record(predicted_road(**values))))

    jsonschema.validate(line, SCHEMA)
    assert line["metres"] is None


@pytest.mark.parametrize("state", [CameraState.BLOCKED, CameraState.FROZEN])
def test_without_a_mask_nothing_is_said_of_certainty(state: CameraState) -> None:
    prediction = replace(_prediction(state=state), certainty=Certainty(0.9, 0.5, 0.25))

    assert record(prediction)["certainty"] is None


def test_outage_before_the_first_picture_has_no_size() -> None:
    outage = NoFrameRecord("cam", None, 7, None, CameraState.LOST, "not open yet", "rt_m", provider="cpu")

    line = json.loads(json.dumps(record(outage)))

    jsonschema.validate(line, SCHEMA)
    assert (line["frame_wh"], line["captured_ns"], line["age_ms"]) == (None, None, None)


@pytest.mark.parametrize("engine_state", list(EngineState))
def test_engine_that_is_suspect_or_stalled_gives_a_record_without_a_mask(engine_state: EngineState) -> None:
    prediction = replace(_prediction(), engine_state=engine_state, engine_reason="why")

    line = json.loads(json.dumps(record(prediction)))

    jsonschema.validate(line, SCHEMA)
    assert line["engine"] == {"state": engine_state, "provider": "CPU", "reason": "why"}
    assert (line["mask"] is not None) == (engine_state in ("ok", "fallback"))


def test_nodes_that_a_provider_left_to_another_stand_in_the_record() -> None:
    prediction = replace(_prediction(), provider="cuda", provider_nodes={"cuda": 200, "cpu": 38})

    line = json.loads(json.dumps(record(prediction)))

    jsonschema.validate(line, SCHEMA)
    assert line["engine"] == {"state": "ok", "provider": "cuda", "nodes": {"cuda": 200, "cpu": 38}}


@pytest.mark.parametrize("name", ["direct", "drivable"])
def test_schema_wants_every_area_named(name: str) -> None:
    line = json.loads(json.dumps(record(_prediction())))
    del line["mask"][name]

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(line, SCHEMA)


def test_record_says_what_was_seen_and_when() -> None:
    line = record(_prediction(3))

    assert (line["frame_id"], line["age_ms"], line["frame_wh"]) == (3, 34.0, [1280, 720])
    assert line["camera"] == {"state": "ok", "reason": None}
    assert line["mask"]["shares"] == {
        "direct": round(29_500 / 230_400, 4),
        "alternative": round(32_000 / 230_400, 4),
        "background": round(168_900 / 230_400, 4),
        "drivable": round(61_500 / 230_400, 4),
    }
    assert line["mask"]["drivable"] is None
    assert [len(polygon["holes"]) for polygon in line["mask"]["direct"]] == [1]
    assert len(line["mask"]["alternative"]) == 1


def test_numbers_are_as_short_as_they_are_exact() -> None:
    late = replace(_prediction(), published_ns=39_123_456, shares=(0.1234567, 1 / 3, 0.5432100))
    whole = replace(late, published_ns=39_000_001, shares=(0.0, 0.00001, 1.0))

    text = json_text(record(late))

    assert '"age_ms":34.1,' in text
    assert '"shares":{"direct":0.1235,"alternative":0.3333,"background":0.5432,"drivable":0.4568}' in text
    assert ".0," not in text
    assert ".0]" not in text
    assert '"age_ms":34,' in json_text(record(whole))
    assert '"shares":{"direct":0,"alternative":0,"background":1,"drivable":0}' in json_text(record(whole))
    assert max(len(number) for number in re.findall(r"\.(\d+)", text)) <= 4


@pytest.mark.parametrize(
    "state", [CameraState.BLOCKED, CameraState.FROZEN, CameraState.STALE, CameraState.LOST]
)
def test_no_view_of_the_road_gives_a_record_without_a_mask(state: CameraState) -> None:
    assert record(_prediction(state=state))["mask"] is None


def test_line_is_in_the_file_as_soon_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "new" / "records.jsonl"
    sink = JsonLinesSink(str(file))
    sink.open(INFO)

    for frame_id in range(3):
        sink.write(_prediction(frame_id))
        assert [json.loads(line)["frame_id"] for line in file.read_text().splitlines()] == [
            *range(frame_id + 1)
        ]
    sink.close()
    sink.close()


def test_dash_writes_to_stdout(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", os.fdopen(os.dup(1), "w"))
    sink = JsonLinesSink("-")
    sink.open(INFO)

    sink.write(_prediction(5))
    sink.close()
    sys.stdout.close()

    assert json.loads(capfd.readouterr().out)["frame_id"] == 5


def test_reader_of_stdout_that_went_away_is_an_error_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        sink = JsonLinesSink("-")
        sink.open(INFO)
        os.close(reader)

        with pytest.raises(SinkError, match=r"^stdout: cannot write records: Broken pipe$"):
            sink.write(_prediction())


def test_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    script = """
        import resource, sys
        sys.path[:0] = [{root!r}, {here!r}]
        from test_jsonl import INFO, JsonLinesSink, SinkError, _prediction
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        sink = JsonLinesSink({file!r})
        sink.open(INFO)
        try:
            for frame_id in range(100):
                sink.write(_prediction(frame_id))
        except SinkError as error:
            print(error)
    """
    here = Path(__file__).parent
    code = textwrap.dedent(script).format(root=str(here.parents[1]), here=str(here), file=str(file))

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == f"{file}: cannot write records: File too large\n"
    text = file.read_text()
    assert text.endswith("\n")
    assert [json.loads(line)["frame_id"] for line in text.splitlines()] == [*range(len(text.splitlines()))]
    assert 4000 < len(text) <= 5000


@pytest.mark.parametrize("target", ["/proc/records.jsonl", "{tmp}", "{tmp}/file/records.jsonl"])
def test_unusable_file_is_named_before_the_first_frame(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").touch()
    name = target.format(tmp=tmp_path)

    with pytest.raises(SinkError, match=f"^{name}: cannot write records: [^\n]+$"):
        JsonLinesSink(name).open(INFO)
