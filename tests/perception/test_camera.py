from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from perception.sources import camera
from perception.sources.camera import CameraSettings, CameraSource
from perception.sources.source import SourceError


class FakeCapture:
    """A driver that gives 640x480 YUYV whatever it is asked for."""

    def __init__(self, stamp_age_ms: float | None = None, grabs: int = 100, broken: int = 0) -> None:
        self.asked: list[tuple[int, float]] = []
        self.released = 0
        self.is_open = True
        self._stamp_age_ms, self._grabs, self._broken = stamp_age_ms, grabs, broken
        self._given = {
            cv2.CAP_PROP_FRAME_WIDTH: 640.0,
            cv2.CAP_PROP_FRAME_HEIGHT: 480.0,
            cv2.CAP_PROP_FPS: 30.0,
            cv2.CAP_PROP_FOURCC: float(cv2.VideoWriter.fourcc(*"YUYV")),
            cv2.CAP_PROP_BUFFERSIZE: 4.0,
        }

    def isOpened(self) -> bool:  # noqa: N802
        return self.is_open

    def set(self, property_id: int, value: float) -> bool:
        self.asked.append((property_id, value))
        return False

    def get(self, property_id: int) -> float:
        if property_id == cv2.CAP_PROP_POS_MSEC:
            return 0.0 if self._stamp_age_ms is None else time.monotonic_ns() / 1e6 - self._stamp_age_ms
        return self._given[property_id]

    def grab(self) -> bool:
        self._grabs -= 1
        return self._grabs >= 0

    def retrieve(self) -> tuple[bool, Any]:
        self._broken -= 1
        return (False, None) if self._broken >= 0 else (True, np.zeros((480, 640, 3), np.uint8))

    def release(self) -> None:
        self.released += 1


def source_of(capture: FakeCapture, tmp_path: Path, settings: CameraSettings | None = None) -> CameraSource:
    device = tmp_path / "video0"
    device.touch()
    return CameraSource(str(device), settings, capture_factory=lambda _: capture)


def test_what_the_driver_really_gives_is_told_beside_what_was_asked(tmp_path: Path) -> None:
    info = source_of(FakeCapture(), tmp_path).open()

    assert info.is_live
    assert (info.frame_wh, info.rate_hz) == ((640, 480), 30.0)
    assert info.description == ("asked for 1280x720 MJPG at 30 Hz, got 640x480 YUYV at 30 Hz, 4 buffers")


def test_the_format_is_asked_for_before_size_and_rate(tmp_path: Path) -> None:
    capture = FakeCapture()

    source_of(capture, tmp_path, CameraSettings(800, 600, 15.0, "YUYV")).open()

    assert capture.asked == [
        (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"YUYV")),
        (cv2.CAP_PROP_FRAME_WIDTH, 800),
        (cv2.CAP_PROP_FRAME_HEIGHT, 600),
        (cv2.CAP_PROP_FPS, 15.0),
        (cv2.CAP_PROP_BUFFERSIZE, 1),
    ]


@pytest.mark.parametrize(
    ("stamp_age_ms", "age_ms"),
    [(40.0, 40.0), (900.0, 900.0), (None, 0.0), (5000.0, 0.0), (-60_000.0, 0.0)],
    ids=["driver's stamp", "old but plausible", "no stamp", "too old", "another clock"],
)
def test_the_drivers_stamp_counts_only_if_it_is_on_the_monotonic_clock(
    tmp_path: Path, stamp_age_ms: float | None, age_ms: float
) -> None:
    source = source_of(FakeCapture(stamp_age_ms), tmp_path)
    source.open()

    frame = source.read()

    assert (time.monotonic_ns() - frame.captured_ns) / 1e6 == pytest.approx(age_ms, abs=30)


def test_frames_count_up_and_times_start_at_zero(tmp_path: Path) -> None:
    source = source_of(FakeCapture(), tmp_path)
    source.open()

    frames = [source.read() for _ in range(3)]

    assert [(frame.frame_id, frame.name) for frame in frames] == [(0, "000000"), (1, "000001"), (2, "000002")]
    assert frames[0].time_ns == 0
    assert frames[2].time_ns == frames[2].captured_ns - frames[0].captured_ns


def test_a_missing_camera_is_one_line_that_lists_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera.glob, "glob", lambda _: ["/dev/video3", "/dev/video2"])
    with pytest.raises(SourceError, match=r"/dev/video97: no such camera; there is /dev/video2, /dev/video3"):
        CameraSource("97").open()

    monkeypatch.setattr(camera.glob, "glob", lambda _: [])
    with pytest.raises(SourceError, match="there is no camera at all"):
        CameraSource("/dev/video97").open()


def test_a_camera_in_use_is_released_and_reported(tmp_path: Path) -> None:
    capture = FakeCapture()
    capture.is_open = False

    with pytest.raises(SourceError, match="cannot be opened; is it in use"):
        source_of(capture, tmp_path).open()

    assert capture.released == 1


def test_an_unplugged_camera_is_an_error_and_not_an_end(tmp_path: Path) -> None:
    source = source_of(FakeCapture(grabs=1), tmp_path)
    source.open()
    source.read()

    with pytest.raises(SourceError, match="gives no more frames"):
        source.read()


def test_broken_pictures_are_passed_over_and_counted_until_they_are_too_many(tmp_path: Path) -> None:
    source = source_of(FakeCapture(broken=2), tmp_path)
    source.open()
    assert source.read().frame_id == 0
    assert source.decode_errors == 2

    source = source_of(FakeCapture(broken=100), tmp_path)
    source.open()
    with pytest.raises(SourceError, match="10 broken pictures in a row"):
        source.read()


def test_a_camera_is_released_once(tmp_path: Path) -> None:
    capture = FakeCapture()
    source = source_of(capture, tmp_path)
    source.close()
    source.open()
    source.close()
    source.close()

    assert capture.released == 1


def test_a_pixel_format_has_four_letters(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="four letters are wanted"):
        source_of(FakeCapture(), tmp_path, CameraSettings(fourcc="JPEG2")).open()
