from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from perception.frame import CameraState, EngineState, Frame, Prediction
from perception.imaging.mask_png import with_ids
from perception.labels import ALTERNATIVE, BACKGROUND, COLOURS_RGB, DIRECT, DRIVABLE, LABELS_OF_TWO
from perception.sinks.masks import MaskFolderSink
from perception.sinks.rotation import RecordingPolicy, Rotate
from perception.sinks.sink import SinkError
from perception.sources.source import SourceInfo
from perception.system.atomic_file import partial_of

INFO = SourceInfo("cam", False, (64, 36), 25.0)


def _prediction(state: CameraState = CameraState.OK) -> Prediction:
    class_map = np.full((18, 32), BACKGROUND, np.uint8)
    class_map[9:, :16], class_map[9:, 16:] = DIRECT, ALTERNATIVE
    frame = Frame("cam", 7, 0, 0, np.zeros((36, 64, 3), np.uint8), "street")
    return Prediction(frame, class_map, (0.25, 0.25, 0.5), "model", camera_state=state)


def test_mask_holds_the_class_ids_at_the_size_of_the_frame(tmp_path: Path) -> None:
    sink = MaskFolderSink(str(tmp_path / "new" / "masks"))
    sink.open(INFO)

    sink.write(_prediction())
    sink.close()

    mask = cv2.imread(str(tmp_path / "new" / "masks" / "street.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask, _prediction().class_map_at((64, 36)))
    assert [file.name for file in (tmp_path / "new" / "masks").iterdir()] == ["street.png"]


def test_mask_with_a_palette_has_the_ids_as_indices_and_the_overlays_colours(tmp_path: Path) -> None:
    sink = MaskFolderSink(str(tmp_path), has_palette=True)
    sink.open(INFO)

    sink.write(_prediction())
    sink.close()

    png, class_map = (tmp_path / "street.png").read_bytes(), _prediction().class_map_at((64, 36))
    seen_bgr = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    for index, colour_rgb in {**COLOURS_RGB, BACKGROUND: (0, 0, 0)}.items():
        assert (seen_bgr[class_map == index] == colour_rgb[::-1]).all()
    decoder = av.CodecContext.create("png", "r")
    (frame,) = decoder.decode(av.Packet(png))
    assert frame.format.name == "pal8"
    rows = np.frombuffer(memoryview(frame.planes[0]), np.uint8).reshape(36, -1)
    np.testing.assert_array_equal(rows[:, :64], class_map)
    np.testing.assert_array_equal(
        cv2.imdecode(np.frombuffer(with_ids(png), np.uint8), cv2.IMREAD_UNCHANGED), class_map
    )


def test_mask_of_two_classes_holds_their_ids(tmp_path: Path) -> None:
    class_map = np.array([[DRIVABLE, BACKGROUND]], np.uint8)
    sink = MaskFolderSink(str(tmp_path))
    sink.open(INFO)

    sink.write(replace(_prediction(), class_map=class_map, shares=(0.5, 0.5), labels=LABELS_OF_TWO))

    mask = cv2.imread(str(tmp_path / "street.png"), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    assert (mask[:, :32] == DRIVABLE).all()
    assert (mask[:, 32:] == BACKGROUND).all()


@pytest.mark.parametrize(
    "change", [{"camera_state": CameraState.BLOCKED}, {"engine_state": EngineState.SUSPECT}]
)
def test_no_view_of_the_road_and_a_suspect_engine_give_no_mask(
    change: dict[str, Any], tmp_path: Path
) -> None:
    sink = MaskFolderSink(str(tmp_path))
    sink.open(INFO)

    sink.write(replace(_prediction(), **change))

    assert list(tmp_path.iterdir()) == []


def test_full_disk_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = MaskFolderSink(str(tmp_path))
    sink.open(INFO)

    def full_disk(part: Path, file: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("perception.system.atomic_file.os.replace", full_disk)

    with pytest.raises(SinkError, match=r"street\.png: cannot write a mask: No space left on device"):
        sink.write(_prediction())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["/proc/masks", "{tmp}/file", "{tmp}/file/masks"])
def test_unusable_folder_is_named_before_the_first_frame(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    target = folder.format(tmp=tmp_path)

    with pytest.raises(SinkError, match=f"^{target}: cannot write masks: [^\n]+$"):
        MaskFolderSink(target).open(INFO)


def test_link_in_the_place_of_the_trial_file_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"of somebody else")
    (tmp_path / "masks").mkdir()
    partial_of(tmp_path / "masks" / "trial").symlink_to(elsewhere)

    MaskFolderSink(str(tmp_path / "masks")).open(INFO)

    assert elsewhere.read_bytes() == b"of somebody else"


def test_old_folder_goes_with_what_a_killed_run_left_half_written(tmp_path: Path) -> None:
    sink = MaskFolderSink(str(tmp_path), RecordingPolicy(Rotate(age_s=1.0, keep=1)))
    sink.open(INFO)
    for time_s in (0, 2):
        frame = replace(_prediction().frame, time_ns=time_s * 10**9)
        sink.write(replace(_prediction(), frame=frame))
        if time_s == 0:
            partial_of(tmp_path / "000001" / "cut.png").write_bytes(b"half")
    sink.close()

    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["000002"]
    assert sink.issue is None


@pytest.mark.parametrize("folder", [".", "000003"])
def test_what_a_killed_run_left_half_written_goes_at_the_next_start(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    partial_of(tmp_path / folder / "cut.png").write_bytes(b"half")
    (tmp_path / folder / "mine.png.partial").write_bytes(b"of the user")

    sink = MaskFolderSink(str(tmp_path), RecordingPolicy(append=True))
    sink.open(INFO)
    sink.close()

    assert [path.name for path in tmp_path.rglob("*partial")] == ["mine.png.partial"]
