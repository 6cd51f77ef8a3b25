from __future__ import annotations

import doctest
import shutil
import signal
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from perception.config import NodeConfig
from perception.frame import CameraState, Frame, NoFrameRecord, Prediction
from perception.imaging.yuv import Yuv420, YuvMatrix
from perception.labels import DIRECT
from perception.sinks import video
from perception.sinks.overlay_sink import OverlaySettings
from perception.sinks.registry import SINKS, Sinks
from perception.sinks.sink import SinkError
from perception.sinks.video import OverlayVideoSink
from perception.sources.source import SourceInfo

RATE_HZ = 25.0
PERIOD_NS = 40_000_000
WH = (160, 96)

# Of 60 frames at 25 Hz: whole fragments of a fifth of a second.
ON_DISK_OF_60 = {".mp4": 55, ".mkv": 56}


def _prediction(frame_id: int, wh: tuple[int, int] = WH, time_ns: int | None = None) -> Prediction:
    image_bgr = np.random.default_rng(frame_id).integers(0, 255, (wh[1], wh[0], 3), np.uint8)
    class_map = np.full((48, 80), DIRECT, np.uint8)
    time_ns = frame_id * PERIOD_NS if time_ns is None else time_ns
    return Prediction(
        Frame("cam", frame_id, 0, time_ns, image_bgr, str(frame_id)), class_map, (1.0, 0.0, 0.0), "model"
    )


def _opened(file: Path, wh: tuple[int, int] = WH) -> OverlayVideoSink:
    sink = OverlayVideoSink(str(file))
    sink.open(SourceInfo("cam", False, wh, RATE_HZ))
    return sink


def _times_ms(file: Path) -> list[int]:
    with av.open(file) as container:
        times_s = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]  # type: ignore
    return [round(time_s * 1000) for time_s in times_s]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("wh", [WH, (162, 98), (161, 97), (160, 97)])
def test_video_has_every_frame_at_its_size_and_rate(tmp_path: Path, suffix: str, wh: tuple[int, int]) -> None:
    file = tmp_path / "new" / f"overlay{suffix}"
    sink = _opened(file, wh)
    for frame_id in range(30):
        sink.write(_prediction(frame_id, wh))
    sink.close()
    sink.close()

    capture = cv2.VideoCapture(str(file))
    assert (capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)) == wh
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(RATE_HZ)
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 30
    assert _times_ms(file) == [40 * frame_id for frame_id in range(30)]


def test_times_of_the_source_are_kept_and_always_rise(tmp_path: Path) -> None:
    file = tmp_path / "overlay.mp4"
    given_ms = [0, 33, 100, 100, 99, 5000, 0, 40]
    sink = _opened(file)
    for frame_id, time_ms in enumerate(given_ms):
        sink.write(_prediction(frame_id, time_ns=time_ms * 1_000_000))
    sink.close()

    with av.open(file) as container:
        ticks = [frame.pts for frame in container.decode(video=0)]
    assert all(later > earlier for earlier, later in pairwise(ticks))  # type: ignore[operator]
    # The source restarted after 5000 ms: the recording goes on one period later.
    assert _times_ms(file) == [0, 33, 100, 100, 100, 5000, 5040, 5080]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_pause_of_hours_is_a_minute_and_the_rest_plays_at_its_speed(tmp_path: Path, suffix: str) -> None:
    """mp4 holds no step beyond 13 hours: what followed was squeezed into a millisecond."""
    file, hours_ms = tmp_path / f"overlay{suffix}", 25 * 3_600_000
    given_ms = [
        0,
        40,
        80,
        *(hours_ms + number * 40 for number in range(30)),
        2 * hours_ms,
        2 * hours_ms + 500,
    ]
    sink = _opened(file)
    for frame_id, time_ms in enumerate(given_ms):
        sink.write(_prediction(frame_id, time_ns=time_ms * 1_000_000))
    sink.close()

    again_ms = 80 + 60_000
    after = [again_ms + number * 40 for number in range(30)]
    assert _times_ms(file) == [0, 40, 80, *after, after[-1] + 60_000, after[-1] + 60_500]


@pytest.mark.parametrize("rate_hz", [1e-5, 1 / 60, 29.97, 480.0])
def test_varying_times_are_kept_whatever_the_rate_is(tmp_path: Path, rate_hz: float) -> None:
    file, rng = tmp_path / "overlay.mp4", np.random.default_rng(1)
    times_ms = [0, *np.cumsum(rng.integers(16, 200, 39)).tolist()]
    sink = OverlayVideoSink(str(file))
    sink.open(SourceInfo("phone", False, WH, rate_hz))
    for frame_id, time_ms in enumerate(times_ms):
        sink.write(_prediction(frame_id, time_ns=time_ms * 1_000_000))
    sink.close()

    assert _times_ms(file) == times_ms


@pytest.mark.parametrize(("matrix", "tag"), [("bt601", 5), ("bt709", 1)])
def test_colours_are_tagged_as_the_planes_are(tmp_path: Path, matrix: YuvMatrix, tag: int) -> None:
    file = tmp_path / "overlay.mp4"
    planes = [np.full(shape, 100, np.uint8) for shape in ((96, 160), (48, 80), (48, 80))]
    sink = _opened(file)
    frame = Frame("cam", 0, 0, 0, Yuv420(*planes, matrix=matrix), "0")
    sink.write(Prediction(frame, np.full((48, 80), 2, np.uint8), (0.0, 0.0, 1.0), "model"))
    sink.close()

    with av.open(file) as container:
        picture = next(container.decode(video=0))
        assert (picture.colorspace, picture.color_range) == (tag, 1)
        assert abs(int(picture.to_ndarray()[40, 80]) - 100) <= 3


def test_quality_is_a_scale_from_small_to_true(tmp_path: Path) -> None:
    texture = np.random.default_rng(0).integers(0, 256, (WH[1] // 4, WH[0] // 4, 3), np.uint8)
    image_bgr = np.asarray(cv2.resize(texture, WH), np.uint8)
    frame = Frame("cam", 0, 0, 0, image_bgr, "0")
    sizes, errors = [], []
    for quality in (10, 50, 75, 100):
        file = tmp_path / f"{quality}.mp4"
        (sink,) = Sinks(OverlaySettings(str(file), quality), SourceInfo("cam", False, WH, 25.0)).open_all()
        sink.write(Prediction(frame, np.full((48, 80), 2, np.uint8), (0.0, 0.0, 1.0), "model"))
        sink.close()
        sizes.append(file.stat().st_size)
        with av.open(str(file)) as container:
            seen = next(container.decode(video=0)).to_ndarray(format="bgr24")
        middle = np.s_[30:60, 10:100]  # below the status line
        errors.append(np.abs(seen[middle].astype(int) - image_bgr[middle]).mean())

    assert sizes == sorted(sizes)
    assert sizes[-1] > 2 * sizes[0]
    assert errors == sorted(errors, reverse=True)


def test_frame_that_changes_size_is_resized_to_the_first(tmp_path: Path) -> None:
    file = tmp_path / "overlay.mp4"
    sink = _opened(file)
    for frame_id, wh in enumerate([WH, (320, 192), (161, 97)]):
        sink.write(_prediction(frame_id, wh))
    sink.close()

    with av.open(file) as container:
        assert [(frame.width, frame.height) for frame in container.decode(video=0)] == [WH] * 3


def test_side_that_the_encoder_does_not_take_makes_the_video_smaller_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "panorama.mp4"
    sink = _opened(file, (17_000, 20))
    for frame_id in range(3):
        sink.write(_prediction(frame_id, (17_000, 20)))
    sink.close()

    with av.open(file) as container:
        assert [(frame.width, frame.height) for frame in container.decode(video=0)] == [(16_384, 19)] * 3
    said = caplog.messages
    expected = "pictures of 16384x19, not 17000x20: H.264 has no sides longer than 16384"
    assert said == [f"{file}: {expected}"]


@pytest.mark.parametrize("wh", [(1, 1), (2, 2), (1, 300), (300, 1), (16_384, 3)])
def test_smallest_and_longest_pictures_are_encoded(tmp_path: Path, wh: tuple[int, int]) -> None:
    file = tmp_path / "overlay.mp4"
    sink = _opened(file, wh)
    sink.write(_prediction(0, wh))
    sink.close()

    with av.open(file) as container:
        assert [(frame.width, frame.height) for frame in container.decode(video=0)] == [wh]


def test_example_in_the_docstring_holds() -> None:
    assert doctest.testmod(video) == (0, 1)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_open_recording_can_be_read_up_to_the_last_fragment(tmp_path: Path, suffix: str) -> None:
    sink = _opened(tmp_path / f"overlay{suffix}")
    for frame_id in range(60):
        sink.write(_prediction(frame_id))

    copy = tmp_path / f"copy{suffix}"
    shutil.copy(tmp_path / f"overlay{suffix}", copy)
    sink.close()

    assert _times_ms(copy) == [40 * frame_id for frame_id in range(ON_DISK_OF_60[suffix])]


def test_slow_source_has_a_key_frame_a_second(tmp_path: Path) -> None:
    file = tmp_path / "overlay.mp4"
    sink = _opened(file)
    for frame_id in range(10):
        sink.write(_prediction(frame_id, time_ns=frame_id * 500_000_000))
    sink.close()

    with av.open(file) as container:
        assert [frame.key_frame for frame in container.decode(video=0)] == [True, False] * 5


def _run(code: str, **names: object) -> subprocess.Popen[str]:
    here = Path(__file__).parent
    head = f"import sys\nsys.path[:0] = [{str(here.parents[1])!r}, {str(here)!r}]\n"
    head += "from test_video_sink import Path, SinkError, _opened, _prediction\n"
    body = head + textwrap.dedent(code).format(**names)
    return subprocess.Popen([sys.executable, "-c", body], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_killed_process_leaves_a_readable_recording(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"overlay{suffix}"
    process = _run(
        """
        sink = _opened(Path({file!r}))
        for frame_id in range(60):
            sink.write(_prediction(frame_id))
        print("written", flush=True)
        sys.stdin.read()
        __import__("time").sleep(60)
        """,
        file=str(file),
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)

    assert len(_times_ms(file)) == ON_DISK_OF_60[suffix]


def test_disk_that_is_full_before_the_first_fragment_leaves_no_file(tmp_path: Path) -> None:
    file = tmp_path / "overlay.mkv"
    process = _run(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))
        sink = _opened(Path({file!r}))
        try:
            for frame_id in range(60):
                sink.write(_prediction(frame_id))
        except SinkError as error:
            print(error)
        """,
        file=str(file),
    )

    assert process.communicate()[0] == f"{file}: cannot write a video: File too large\n"
    assert not file.exists()


@pytest.mark.parametrize("limit_bytes", [500_000, 900_000])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_full_disk_is_an_error_that_leaves_the_recording_readable(
    tmp_path: Path, suffix: str, limit_bytes: int
) -> None:
    file = tmp_path / f"overlay{suffix}"
    process = _run(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        sink = _opened(Path({file!r}))
        try:
            for frame_id in range(400):
                sink.write(_prediction(frame_id))
        except SinkError as error:
            print(error)
        sink.close()
        """,
        file=str(file),
        limit=limit_bytes,
    )

    assert process.communicate()[0] == f"{file}: cannot write a video: File too large\n"
    assert process.returncode == 0
    times_ms = _times_ms(file)
    assert times_ms
    assert times_ms == [40 * frame_id for frame_id in range(len(times_ms))]


def test_disk_that_fills_up_at_the_end_leaves_the_recording_readable(tmp_path: Path) -> None:
    file = tmp_path / "overlay.mp4"
    process = _run(
        """
        import resource
        sink = _opened(Path({file!r}))
        for frame_id in range(60):
            sink.write(_prediction(frame_id))
        size_bytes = Path({file!r}).stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes + 100, size_bytes + 100))
        try:
            sink.close()
        except SinkError as error:
            print(error)
        """,
        file=str(file),
    )

    assert process.communicate()[0] == f"{file}: cannot write a video: File too large\n"
    assert len(_times_ms(file)) == 55


def test_recording_without_frames_leaves_no_file(tmp_path: Path) -> None:
    _opened(tmp_path / "overlay.mp4").close()

    assert list(tmp_path.iterdir()) == []


def test_outages_before_a_size_is_known_are_left_out_and_the_rest_is_drawn(tmp_path: Path) -> None:
    file = tmp_path / "road.mkv"
    unknown = SourceInfo("cam", True, None, 30.0)
    sink = OverlayVideoSink(str(file))
    sink.open(unknown)
    for number in range(5):
        sink.write(NoFrameRecord("cam", None, number * 33_000_000, None, CameraState.LOST, "not open yet"))
    sink.write(_prediction(0, time_ns=200_000_000))
    sink.write(NoFrameRecord("cam", WH, 300_000_000, None, CameraState.LOST, "no frame for 0.1 s"))
    sink.close()

    with av.open(str(file)) as container:
        sizes = [(frame.width, frame.height) for frame in container.decode(video=0)]
    assert sizes == [WH, WH]


@pytest.mark.parametrize("target", ["/proc/overlay.mp4", "{tmp}/file/overlay.mp4", "{tmp}/folder.mkv"])
def test_unusable_file_is_named_before_the_first_frame(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.mkv").mkdir()
    name = target.format(tmp=tmp_path)

    with pytest.raises(SinkError, match=f"^{name}: cannot write a video: [^\n]+$"):
        _opened(Path(name))


def test_unknown_suffix_names_the_known_ones() -> None:
    with pytest.raises(
        SinkError, match=r"overlay\.avi: unknown kind of video; its name has to end in \.mp4 or \.mkv"
    ):
        OverlayVideoSink("overlay.avi")


def test_settings_turn_sinks_on() -> None:
    info = SourceInfo("cam", False, WH, 25.0)
    sinks = Sinks(NodeConfig(out="overlay.mp4", jsonl="-", masks="masks"), info).build_all()

    assert Sinks(NodeConfig(), info).build_all() == []
    assert [sink.name for sink in sinks] == ["overlay", "jsonl", "masks"]
    assert list(SINKS)[:3] == ["overlay", "jsonl", "masks"]
