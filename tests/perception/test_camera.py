from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from perception.imaging.yuv import Yuv420
from perception.sources import camera
from perception.sources.camera import CameraSettings, CameraSource, identity_of
from perception.sources.source import SourceError
from perception.sources.v4l2 import structs

PERIOD_NS = 40_000_000
WH = (64, 48)
CALLS_OF_OPEN = {
    "QUERYCAP": structs.QUERYCAP,
    "ENUM_FMT": structs.ENUM_FMT,
    "S_FMT": structs.S_FMT,
    "S_PARM": structs.S_PARM,
    "REQBUFS": structs.REQBUFS,
    "QUERYBUF": structs.QUERYBUF,
    "QBUF": structs.QBUF,
    "STREAMON": structs.STREAMON,
}


class Mapped:
    def __init__(self, driver: FakeDriver) -> None:
        self.data, self._driver = np.zeros(0, np.uint8), driver
        driver.mapped += 1

    def copy(self, size_bytes: int) -> NDArray[np.uint8]:
        return self.data[:size_bytes].copy()

    def close(self) -> None:
        self._driver.mapped -= 1


class FakeDriver:
    """A camera of 25 Hz on a clock of its own, which goes on in `wait` and `sleep` only."""

    def __init__(self, formats: tuple[str, ...] = ("YUYV",)) -> None:
        self.formats, self.picture, self.wh = formats, grey_yuyv, WH
        self.now_ns, self.sequence, self.due_ns = 1_000_000_000, -1, 0
        self.flags = structs.FLAG_TIMESTAMP_MONOTONIC
        self.stamp_shift_ns = 0
        self.capabilities = structs.CAP_VIDEO_CAPTURE | structs.CAP_STREAMING
        self.is_silent = self.is_gone = self.has_queue_error = False
        self.fails: dict[int, list[int]] = {}
        """Errors that the next calls give, by the number of the call."""
        self.dropped: set[int] = set()
        """Frames that the driver loses."""
        self.asked: list[str] = []
        self.opened: list[str] = []
        self.descriptors = self.mapped = 0
        self._queued: list[int] = []
        self._filled: list[structs.Buffer] = []
        self._maps: list[Mapped] = []

    def open(self, node: str) -> int:
        self.opened.append(node)
        self._fail(0)
        self.descriptors += 1
        self._queued, self._filled, self._maps, self.due_ns = [], [], [], 0
        return 7

    def close(self, descriptor: int) -> None:
        self.descriptors -= 1

    def map(self, descriptor: int, length_bytes: int, offset: int) -> Mapped:
        self._maps.append(Mapped(self))
        return self._maps[-1]

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wait(self, descriptor: int, limit_s: float) -> bool:
        until_ns = self.now_ns + round(limit_s * 1e9)
        while not self._filled and not self.is_gone and not self.has_queue_error and self.due_ns:
            if self.due_ns > until_ns:
                self.now_ns = until_ns
                return False
            self.sleep(max(self.due_ns - self.now_ns, 0) / 1e9)
        return True

    def sleep(self, duration_s: float) -> None:
        self.now_ns += round(duration_s * 1e9)
        while self.due_ns and self.due_ns <= self.now_ns:
            self.sequence += 1
            if self._queued and self.sequence not in self.dropped and not self.is_silent:
                index = self._queued.pop(0)
                data = self.picture(self.sequence)
                self._maps[index].data = data
                stamp_us = (self.due_ns + self.stamp_shift_ns) // 1000
                buffer = structs.Buffer(
                    index, structs.VIDEO_CAPTURE, data.size, self.flags, sequence=self.sequence
                )
                buffer.timestamp.tv_sec, buffer.timestamp.tv_usec = divmod(stamp_us, 1_000_000)
                self._filled.append(buffer)
            self.due_ns += PERIOD_NS

    def call(self, descriptor: int, number: int, argument: ctypes.Structure) -> None:
        if self.is_gone:
            raise OSError(errno.ENODEV, "No such device")
        self._fail(number)
        name = next(name for name, value in vars(structs).items() if value == number and name.isupper())
        getattr(self, f"_{name.lower()}")(argument)

    def _fail(self, number: int) -> None:
        if self.fails.get(number):
            code = self.fails[number].pop(0)
            raise OSError(code, os.strerror(code))

    def _querycap(self, capability: structs.Capability) -> None:
        capability.card = b"Simulated"
        capability.capabilities = self.capabilities

    def _enum_fmt(self, description: structs.FormatDescription) -> None:
        if description.index >= len(self.formats):
            raise OSError(errno.EINVAL, "Invalid argument")
        description.pixelformat = structs.fourcc_number(self.formats[description.index])

    def _s_fmt(self, answer: structs.Format) -> None:
        pix = answer.fmt.pix
        fourcc = structs.fourcc_letters(pix.pixelformat)
        self.asked.append(f"{pix.width}x{pix.height} {fourcc}")
        pix.width, pix.height = self.wh
        given = fourcc if fourcc in self.formats else self.formats[0]
        pix.pixelformat = structs.fourcc_number(given)

    def _s_parm(self, parameters: structs.StreamParameters) -> None:
        period = parameters.parm.capture.timeperframe
        self.asked.append(f"{period.denominator}/{period.numerator} Hz")
        period.numerator, period.denominator = 1, 25

    def _reqbufs(self, request: structs.RequestBuffers) -> None:
        assert request.count == 4

    def _querybuf(self, buffer: structs.Buffer) -> None:
        buffer.length = WH[0] * WH[1] * 3

    def _qbuf(self, buffer: structs.Buffer) -> None:
        self._queued.append(buffer.index)

    def _dqbuf(self, buffer: structs.Buffer) -> None:
        if self.has_queue_error:
            raise OSError(errno.EIO, "Input/output error")
        if not self._filled:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        ctypes.pointer(buffer)[0] = self._filled.pop(0)

    def _streamon(self, _: structs.BufferType) -> None:
        self.due_ns = self.now_ns + PERIOD_NS

    def _streamoff(self, _: structs.BufferType) -> None:
        self.due_ns, self.sequence = 0, -1
        self._queued, self._filled, self.has_queue_error = [], [], False


def grey_yuyv(sequence: int) -> NDArray[np.uint8]:
    """A picture whose luma encodes its number."""
    picture = np.full(WH[0] * WH[1] * 2, 128, np.uint8)
    picture[::2] = 20 + sequence % 200
    return picture


def number_of(pixels: NDArray[np.uint8] | Yuv420) -> int:
    assert isinstance(pixels, Yuv420)
    return int(pixels.y[0, 0]) - 20


Make = Callable[..., CameraSource]


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver()


@pytest.fixture
def make(driver: FakeDriver, tmp_path: Path) -> Make:
    """A function that gives a camera at /dev/video0 of `tmp_path`; its driver is `driver`."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "video0").touch()

    def make(**settings: object) -> CameraSource:
        return CameraSource("0", CameraSettings(**settings), None, driver, tmp_path)  # type: ignore[arg-type]

    return make


def test_what_the_driver_really_gives_is_reported_beside_what_was_asked(make: Make) -> None:
    info = make().open()

    assert info.is_live
    assert (info.source_id, info.frame_wh, info.rate_hz) == ("/dev/video0", WH, 25.0)
    assert info.description == (
        "asked for 1280x720 MJPG at 30 Hz, got 64x48 YUYV at 25 Hz, 4 buffers, Simulated"
    )


def test_the_format_is_asked_for_before_the_rate(make: Make, driver: FakeDriver) -> None:
    driver.formats = ("YUYV", "MJPG")

    make(width=800, height=600, rate_hz=29.97, fourcc="MJPG").open()

    assert driver.asked == ["800x600 MJPG", "2997/100 Hz"]


@pytest.mark.parametrize(
    ("formats", "taken"),
    [(("H264", "BGR3", "NV12"), "NV12"), (("GREY",), "GREY"), (("UYVY", "YUYV"), "YUYV")],
)
def test_without_the_format_asked_for_the_best_that_can_be_read_is_taken(
    make: Make, driver: FakeDriver, formats: tuple[str, ...], taken: str
) -> None:
    driver.formats = formats

    make().open()

    assert driver.asked[0] == f"1280x720 {taken}"


def test_formats_that_cannot_be_read_are_named(make: Make, driver: FakeDriver) -> None:
    driver.formats = ("H264", "Y16 ")

    with pytest.raises(SourceError, match="gives H264, Y16 ; supported are MJPG, JPEG, NV12"):
        make().open()

    assert (driver.descriptors, driver.mapped) == (0, 0)


def test_a_node_that_gives_no_pictures_is_refused(make: Make, driver: FakeDriver) -> None:
    driver.capabilities = structs.CAP_STREAMING

    with pytest.raises(SourceError, match="/dev/video0: has no single-planar video capture; try another"):
        make().open()


@pytest.mark.parametrize("name", ["S_PARM", "ENUM_FMT"])
def test_what_a_driver_need_not_know_it_may_refuse(make: Make, driver: FakeDriver, name: str) -> None:
    driver.fails = {CALLS_OF_OPEN[name]: [errno.ENOTTY]}

    info = make(fourcc="YUYV").open()

    assert info.rate_hz == (30.0 if name == "S_PARM" else 25.0)
    assert ("an unknown rate" in info.description) == (name == "S_PARM")


@pytest.mark.parametrize(
    ("flags", "shift_ms", "age_ms"),
    [
        (structs.FLAG_TIMESTAMP_MONOTONIC, 0, 0),
        (structs.FLAG_TIMESTAMP_MONOTONIC, -900, 900),
        (structs.FLAG_TIMESTAMP_MONOTONIC, -5000, 5000),
        (structs.FLAG_TIMESTAMP_MONOTONIC, 60_000, 0),
        (0, -900, 0),
        (0x4000, -900, 0),
    ],
    ids=["fresh", "old", "very old is reported as it is", "from the future", "unknown clock", "copied clock"],
)
def test_the_drivers_stamp_counts_if_it_says_that_its_clock_is_the_monotonic_one(
    make: Make, driver: FakeDriver, flags: int, shift_ms: int, age_ms: int
) -> None:
    driver.now_ns = 100_000_000_000
    driver.flags, driver.stamp_shift_ns = flags, shift_ms * 1_000_000
    source = make()
    source.open()

    frame = source.read()

    assert (driver.now_ns - frame.captured_ns) / 1e6 == age_ms


def test_frames_count_up_and_times_start_at_zero_and_rise(make: Make) -> None:
    source = make()
    source.open()

    frames = [source.read() for _ in range(3)]

    assert [(frame.frame_id, frame.name) for frame in frames] == [(0, "000000"), (1, "000001"), (2, "000002")]
    assert [frame.time_ns for frame in frames] == [0, PERIOD_NS, 2 * PERIOD_NS]
    assert [number_of(frame.pixels) for frame in frames] == [0, 1, 2]
    assert {frame.missed_before for frame in frames} == {0}


def test_a_late_reader_gets_the_newest_frame_and_the_older_ones_are_counted(
    make: Make, driver: FakeDriver
) -> None:
    source = make()
    source.open()
    source.read()

    driver.sleep(0.12)
    frame = source.read()

    assert (number_of(frame.pixels), frame.missed_before) == (3, 2)


def test_frames_that_waited_while_nobody_read_are_too_old_and_a_fresh_one_is_waited_for(
    make: Make, driver: FakeDriver
) -> None:
    source = make()
    source.open()
    source.read()

    driver.sleep(5.0)  # the driver filled its buffers in the first 160 ms of it
    frame = source.read()

    assert number_of(frame.pixels) == driver.sequence == frame.missed_before + 1 == 126
    assert frame.captured_ns == driver.now_ns


def test_frames_that_the_driver_lost_are_counted_by_their_numbers(make: Make, driver: FakeDriver) -> None:
    driver.dropped = {1, 2, 5}
    source = make()
    source.open()

    missed = [source.read().missed_before for _ in range(5)]

    assert missed == [0, 2, 0, 1, 0]
    assert len(missed) + sum(missed) == driver.sequence + 1


def test_a_silent_camera_is_an_error_within_the_limit(make: Make, driver: FakeDriver) -> None:
    source = make(read_timeout_s=0.5)
    source.open()
    source.read()
    driver.is_silent, before_ns = True, driver.now_ns

    with pytest.raises(SourceError, match=r"/dev/video0: no frame for 0\.5 s"):
        source.read()

    assert driver.now_ns - before_ns == 500_000_000


def test_an_unplugged_camera_is_an_error_and_not_an_end(make: Make, driver: FakeDriver) -> None:
    source = make()
    source.open()
    source.read()
    driver.is_gone = True

    with pytest.raises(SourceError, match="/dev/video0: has been unplugged"):
        source.read()
    source.close()

    assert (driver.descriptors, driver.mapped) == (0, 0)


@pytest.mark.parametrize("name", CALLS_OF_OPEN)
@pytest.mark.parametrize("code", [errno.EIO, errno.EINTR])
def test_one_call_that_fails_does_not_keep_a_camera_from_opening(
    make: Make, driver: FakeDriver, name: str, code: int
) -> None:
    driver.fails = {CALLS_OF_OPEN[name]: [code]}
    source = make()

    source.open()

    assert source.io_errors == (code == errno.EIO)
    assert number_of(source.read().pixels) == 0
    assert (driver.descriptors, driver.mapped) == (1, 4)


@pytest.mark.parametrize("name", CALLS_OF_OPEN)
def test_a_call_that_goes_on_failing_is_one_line_and_nothing_is_left_open(
    make: Make, driver: FakeDriver, name: str
) -> None:
    driver.fails = {CALLS_OF_OPEN[name]: [errno.EIO] * 9}

    with pytest.raises(SourceError, match="/dev/video0: cannot be opened: input/output error"):
        make().open()

    assert (driver.descriptors, driver.mapped) == (0, 0)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (errno.EBUSY, "is in use by another program"),
        (errno.EACCES, "this user may not read it; the group video may"),
        (errno.ENODEV, "has gone; is it plugged in"),
        (errno.ENOTTY, "is not a camera"),
    ],
)
def test_why_a_camera_cannot_be_opened_is_said(
    make: Make, driver: FakeDriver, code: int, problem: str
) -> None:
    driver.fails = {0: [code]}

    with pytest.raises(SourceError, match=f"/dev/video0: {problem}"):
        make().open()

    assert len(driver.opened) == 1


def test_one_failing_call_between_frames_is_counted_and_costs_no_frame(
    make: Make, driver: FakeDriver
) -> None:
    source = make()
    source.open()
    source.read()

    driver.fails = {structs.DQBUF: [errno.EIO]}
    after_dequeue = source.read()
    driver.fails = {structs.QBUF: [errno.EINVAL]}
    after_queue = [source.read(), source.read()]

    assert [frame.missed_before for frame in (after_dequeue, *after_queue)] == [0, 0, 0]
    assert source.io_errors == 2


def test_an_error_of_the_drivers_queue_is_cleared_by_a_restart(make: Make, driver: FakeDriver) -> None:
    source = make()
    source.open()
    source.read()
    driver.has_queue_error = True

    frames = [source.read(), source.read()]

    assert [frame.frame_id for frame in frames] == [1, 2]
    assert [frame.missed_before for frame in frames] == [0, 0]  # numbers before and after do not compare
    assert source.io_errors == 2


def test_an_error_that_persists_is_reported_with_its_reason(make: Make, driver: FakeDriver) -> None:
    source = make()
    source.open()
    driver.fails = {structs.DQBUF: [errno.EIO] * 20}

    with pytest.raises(SourceError, match="/dev/video0: the stream failed: input/output error"):
        source.read()


def test_a_driver_that_takes_no_buffers_is_no_endless_loop(make: Make, driver: FakeDriver) -> None:
    source = make()
    source.open()
    driver.sleep(1.0)
    driver.fails = {structs.QBUF: [errno.EINVAL] * 99}

    with pytest.raises(SourceError, match="the stream failed: "):
        source.read()


def test_a_picture_that_the_driver_calls_damaged_is_marked_and_counted(
    make: Make, driver: FakeDriver
) -> None:
    source = make()
    source.open()
    driver.flags |= structs.FLAG_ERROR

    assert source.read().is_damaged
    assert source.decode_errors == 1


def test_a_jpeg_cut_short_is_marked_as_damaged(make: Make, driver: FakeDriver) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (WH[1], WH[0], 3), np.uint8)
    jpeg = np.asarray(cv2.imencode(".jpg", noise)[1], np.uint8).reshape(-1)
    driver.formats, driver.picture = ("MJPG",), lambda number: jpeg if number else jpeg[: jpeg.size // 2]
    source = make()
    source.open()

    assert [source.read().is_damaged for _ in range(2)] == [True, False]
    assert source.decode_errors == 1


def test_a_jpeg_that_any_program_reads_is_handed_on_as_it_came(make: Make, driver: FakeDriver) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (WH[1], WH[0], 3), np.uint8)
    content = np.asarray(cv2.imencode(".jpg", noise)[1], np.uint8).tobytes()
    bare = content[: content.index(b"\xff\xc4")] + content[content.index(b"\xff\xda") :]  # as of webcams
    given = [
        *(content, content + bytes(64), content[:-400], bare, jpeg_of_size((64, 64)).tobytes()),
        content[:2] + exif_that_turns() + content[2:],
    ]
    driver.formats = ("MJPG",)
    driver.picture = lambda number: np.frombuffer(given[number], np.uint8)
    source = make()
    source.open()

    frames = [source.read() for _ in given]

    assert [frame.jpeg for frame in frames[:4]] == [content, content, None, None]
    assert frames[4].jpeg == given[4]
    assert (frames[5].jpeg, frames[5].frame_wh) == (None, (48, 64))


def exif_that_turns() -> bytes:
    """A segment with the orientation 6: a quarter."""
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    return b"\xff\xe1" + (len(tiff) + 8).to_bytes(2, "big") + b"Exif\0\0" + tiff


def test_broken_pictures_are_passed_over_and_counted_until_they_are_too_many(
    make: Make, driver: FakeDriver
) -> None:
    driver.picture = lambda number: grey_yuyv(number)[: 100 if number in (0, 2) or number > 3 else None]
    source = make()
    source.open()

    frames = [source.read(), source.read()]

    assert [(number_of(frame.pixels), frame.missed_before) for frame in frames] == [(1, 1), (3, 1)]
    assert source.decode_errors == 2
    with pytest.raises(SourceError, match="10 broken pictures in a row: 100 bytes instead of 6144"):
        source.read()


def jpeg_of_size(wh: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.imencode(".jpg", np.full((wh[1], wh[0], 3), 90, np.uint8))[1], np.uint8).reshape(-1)


def test_pictures_of_another_size_than_the_driver_states_are_reported_once(
    make: Make, driver: FakeDriver, caplog: pytest.LogCaptureFixture
) -> None:
    sizes = [(64, 52), (64, 52), (80, 60), (64, 48), (32, 24)]
    driver.formats, driver.picture = ("MJPG",), lambda number: jpeg_of_size(sizes[number])
    source = make()
    assert source.open().frame_wh == WH

    assert [source.read().frame_wh for _ in sizes] == sizes
    assert source.decode_errors == 0
    said = caplog.messages
    assert said == ["/dev/video0: gives pictures of 64x52; its driver says 64x48"]


def test_a_jpeg_with_its_last_blocks_filled_up_is_as_large_as_the_driver_states(
    make: Make, driver: FakeDriver, caplog: pytest.LogCaptureFixture
) -> None:
    driver.formats, driver.picture = ("MJPG",), lambda number: jpeg_of_size((64, 64 if number else 48))
    driver.wh = (64, 45)
    source = make()
    source.open()

    assert source.read().frame_wh == (64, 45)
    assert source.read().frame_wh == (64, 64)
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("first", [b"", b"\xff\xd8", b"\xff\xd8\xff\xd9", bytes(900)])
def test_a_camera_that_warms_up_may_give_broken_pictures_at_first(
    make: Make, driver: FakeDriver, first: bytes
) -> None:
    whole = jpeg_of_size(WH)
    driver.formats = ("MJPG",)
    driver.picture = lambda number: whole if number >= 40 else np.frombuffer(first, np.uint8)
    source = make()
    source.open()

    frame = source.read()

    assert (frame.frame_id, frame.missed_before, source.decode_errors) == (0, 40, 40)


def test_one_that_never_gives_a_whole_picture_is_reported_within_the_limit(
    make: Make, driver: FakeDriver
) -> None:
    driver.formats, driver.picture = ("MJPG",), lambda number: np.frombuffer(b"\xff\xd8", np.uint8)
    source = make(read_timeout_s=2.0)
    source.open()
    opened_ns = driver.now_ns

    with pytest.raises(SourceError, match=r"/dev/video0: \d+ broken pictures in a row: not a readable JPEG"):
        source.read()
    assert driver.now_ns - opened_ns <= 2_000_000_000


def test_a_source_opens_again_after_any_error_and_leaks_nothing(make: Make, driver: FakeDriver) -> None:
    source = make(read_timeout_s=0.2)
    for round_id in range(20):
        driver.is_gone = driver.is_silent = False
        driver.fails = {}
        source.open()
        assert source.read().frame_id == 0
        driver.is_gone, driver.is_silent = round_id % 3 == 0, round_id % 3 == 1
        driver.fails = {structs.DQBUF: [errno.EIO] * 9}
        with pytest.raises(SourceError):
            source.read()

    source.close()
    source.close()

    assert (driver.descriptors, driver.mapped) == (0, 0)


def plug_in(root: Path, number: int, port: str) -> None:
    entry = root / "sys/class/video4linux" / f"video{number}"
    entry.mkdir(parents=True, exist_ok=True)
    (root / port).mkdir(exist_ok=True)
    (entry / "device").unlink(missing_ok=True)
    (entry / "device").symlink_to(root / port)
    (entry / "name").write_text("Road camera\n")
    (entry / "index").write_text("0\n")
    (root / "dev" / f"video{number}").touch()


def test_a_camera_that_came_back_under_another_number_is_the_one_that_is_opened(
    make: Make, driver: FakeDriver, tmp_path: Path
) -> None:
    plug_in(tmp_path, 0, "left port")
    source = make()
    source.open()
    plug_in(tmp_path, 0, "right port")

    with pytest.raises(SourceError, match="/dev/video0: Road camera is unplugged"):
        source.open()
    plug_in(tmp_path, 4, "left port")
    info = source.open()

    assert driver.opened[1:] == [str(tmp_path / "dev/video4")]
    assert info.source_id == "/dev/video0"
    assert info.description.endswith(f", found again as {tmp_path / 'dev/video4'}")


def test_a_new_source_opens_the_camera_of_the_previous_one(
    make: Make, driver: FakeDriver, tmp_path: Path
) -> None:
    make()
    plug_in(tmp_path, 0, "left port")
    identity = identity_of("0", tmp_path)
    plug_in(tmp_path, 0, "right port")
    plug_in(tmp_path, 1, "left port")

    CameraSource("0", None, identity, driver, tmp_path).open()

    assert driver.opened == [str(tmp_path / "dev/video1")]


def test_a_missing_camera_is_one_line_that_lists_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera.glob, "glob", lambda _: ["/dev/video3", "/dev/video2"])
    with pytest.raises(SourceError, match=r"/dev/video97: no such camera; there is /dev/video2, /dev/video3"):
        CameraSource("97").open()

    monkeypatch.setattr(camera.glob, "glob", lambda _: [])
    with pytest.raises(SourceError, match="there is no camera at all"):
        CameraSource("/dev/video97").open()


@pytest.mark.skipif(sys.platform != "linux", reason="ioctls are Linux's")
def test_a_device_that_is_no_camera_is_said_to_be_none_by_the_real_kernel() -> None:
    before = len(os.listdir("/proc/self/fd"))

    with pytest.raises(SourceError, match="/dev/null: is not a camera"):
        CameraSource("/dev/null").open()

    assert len(os.listdir("/proc/self/fd")) <= before


def test_cameras_are_for_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")

    with pytest.raises(SourceError, match="cameras need Linux"):
        CameraSource("0").open()


def test_a_camera_that_is_not_open_cannot_be_read(make: Make) -> None:
    with pytest.raises(SourceError, match="/dev/video0: not open"):
        make().read()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"fourcc": "JPEG2"}, "four letters are expected"),
        ({"width": 0}, r"camera\.width is 0; it must be above 0"),
        ({"read_timeout_s": -1.0}, r"camera\.read_timeout_s is -1\.0; it must be above 0"),
    ],
)
def test_settings_that_no_driver_can_be_asked_for_are_refused(
    settings: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        CameraSettings(**settings)  # type: ignore[arg-type]
