from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from perception.imaging import tone
from perception.imaging.planes import PixelFormatError, colour_note, planes_of
from perception.imaging.yuv import bgr_from_yuv
from perception.sources.source import SourceError
from perception.sources.video import VideoSource

TOLERANCE = 8
BAR_PX = 16
BARS_RGB = np.array(
    [
        [180, 180, 180],
        [180, 180, 60],
        [60, 180, 180],
        [60, 180, 60],
        [180, 60, 180],
        [180, 60, 60],
        [60, 60, 180],
    ]
)
WH = (BAR_PX * len(BARS_RGB), 32)
KR_KB = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
UNSPECIFIED, PQ, HLG, BT2020, DISPLAY_P3 = 2, 16, 18, 9, 12
LIMITED, FULL = 1, 2


def frame_of(
    colours_rgb: NDArray[np.float64] | NDArray[np.int64],
    matrix: int = 1,
    colour_range: int = LIMITED,
    form: str = "yuv420p",
    wh: tuple[int, int] = WH,
) -> av.VideoFrame:
    """Bars by H.273's own equations; swscale only packs them into the form."""
    kr, kb = KR_KB[matrix]
    share = colours_rgb / 255
    luma = share @ [kr, 1 - kr - kb, kb]
    yuv = np.stack([luma, (share[:, 2] - luma) / 2 / (1 - kb), (share[:, 0] - luma) / 2 / (1 - kr)])
    scale, offset = ([219 * 256, *[224 * 256] * 2], 4096) if colour_range == LIMITED else ([65535] * 3, 0)
    codes = np.rint(yuv * np.array(scale)[:, None] + np.array([[offset], [32768], [32768]]))
    frame = av.VideoFrame(*wh, "yuv444p16le")
    for plane, code in zip(frame.planes, codes, strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint16).reshape(plane.height, plane.line_size // 2)
        rows[:, : wh[0]] = np.repeat(code, -(-wh[0] // len(code)))[: wh[0]].astype(np.uint16)
    frame.colorspace, frame.color_range = matrix, colour_range
    return frame.reformat(format=form)


def bars_of(image_bgr: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(bars, 3) RGB in the middle of every bar."""
    height, width = image_bgr.shape[:2]
    middles = np.arange(BAR_PX // 2, width, BAR_PX)
    return np.stack([image_bgr[height // 4 : -height // 4, x - 2 : x + 2].mean((0, 1)) for x in middles])[
        :, ::-1
    ]


def bars_read(frame: av.VideoFrame) -> NDArray[np.float64]:
    return bars_of(bgr_from_yuv(planes_of(frame)))


def save(file: Path, frame: av.VideoFrame, codec: str, form: str, **tags: int) -> Path:
    with av.open(str(file), "w") as container:
        options = {"qp": "8"} if "264" in codec else {}
        stream = container.add_stream(codec, rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, form
        context = stream.codec_context
        context.colorspace = tags.get("matrix", frame.colorspace)
        context.color_range = frame.color_range
        context.color_trc = tags.get("curve", UNSPECIFIED)
        context.color_primaries = tags.get("primaries", UNSPECIFIED)
        for number in range(2):
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


def read_file(file: Path) -> tuple[NDArray[np.float64], str]:
    source = VideoSource(file)
    info = source.open()
    try:
        return bars_of(source.read().image_bgr), info.description
    finally:
        source.close()


@pytest.mark.parametrize("colour_range", [LIMITED, FULL])
@pytest.mark.parametrize("matrix", KR_KB)
@pytest.mark.parametrize(
    "form",
    [
        *("yuv420p", "yuv422p", "yuv444p", "yuv410p", "nv12", "yuyv422", "yuva420p"),
        *("yuv420p10le", "p010le", "yuv422p10le", "yuv444p12le", "yuva444p10le", "yuv444p16le"),
    ],
)
def test_colours_of_every_matrix_range_and_depth_are_those_meant(
    matrix: int, colour_range: int, form: str
) -> None:
    seen = bars_read(frame_of(BARS_RGB, matrix, colour_range, form))

    assert np.abs(seen - BARS_RGB).max() < TOLERANCE


@pytest.mark.parametrize("wh", [(1025, 32), (64, 578), (1920, 16)])
def test_large_picture_without_a_matrix_is_bt709(wh: tuple[int, int]) -> None:
    green = np.array([[60, 180, 60]])
    frame = frame_of(green, matrix=1, wh=wh)
    frame.colorspace = UNSPECIFIED

    seen = bgr_from_yuv(planes_of(frame)).mean((0, 1))[::-1]

    assert np.abs(seen - green[0]).max() < TOLERANCE


def test_small_picture_without_a_matrix_is_bt601() -> None:
    frame = frame_of(BARS_RGB, matrix=6)
    frame.colorspace = UNSPECIFIED

    assert np.abs(bars_read(frame) - BARS_RGB).max() < TOLERANCE


@pytest.mark.parametrize(
    ("codec", "form", "suffix"),
    [
        ("libx264rgb", "rgb24", "mp4"),
        ("ffv1", "bgr0", "mkv"),
        ("ffv1", "gbrp16le", "mkv"),
        ("png", "rgba", "mov"),
        ("png", "rgb48be", "mov"),
        ("qtrle", "rgb24", "mov"),
        ("rawvideo", "bgr24", "avi"),
        ("rawvideo", "rgb555le", "avi"),
        ("gif", "rgb8", "gif"),
    ],
)
def test_colours_of_rgb_codecs_are_those_meant(tmp_path: Path, codec: str, form: str, suffix: str) -> None:
    levels = np.where(BARS_RGB > 100, 182, 36) if form == "rgb8" else BARS_RGB  # a level of 3 bits
    if form == "rgb8":
        levels[:, 2] = np.where(BARS_RGB[:, 2] > 100, 170, 85)  # and of 2
    frame = frame_of(levels, 1, FULL, form)

    seen, _ = read_file(save(tmp_path / f"a.{suffix}", frame, codec, form, matrix=UNSPECIFIED))

    assert np.abs(seen - levels).max() < TOLERANCE


@pytest.mark.parametrize(("codec", "form"), [("ffv1", "gray"), ("ffv1", "gray16le"), ("libx264", "gray")])
@pytest.mark.parametrize("colour_range", [LIMITED, FULL])
def test_grey_is_read_by_its_range(tmp_path: Path, codec: str, form: str, colour_range: int) -> None:
    grey = np.repeat(np.array([[16], [90], [200], [235], [130], [60], [30]]), 3, axis=1)
    luma = frame_of(grey, 5, colour_range, "yuv444p16le")
    frame = av.VideoFrame(*WH, form)
    for source, target in ((luma.planes[0], frame.planes[0]),):
        depth = np.uint16 if "16" in form else np.uint8
        rows = np.frombuffer(memoryview(source), np.uint16).reshape(source.height, -1)[:, : WH[0]]
        into = np.frombuffer(memoryview(target), depth).reshape(target.height, -1)
        into[:, : WH[0]] = rows if depth is np.uint16 else rows >> 8
    frame.color_range, frame.colorspace = colour_range, 5

    seen, _ = read_file(save(tmp_path / "a.mkv", frame, codec, form))

    assert np.abs(seen - grey).max() < TOLERANCE


def hdr_signal(colours_rgb: NDArray[np.int64], curve: int, primaries: int) -> NDArray[np.float64]:
    """Bars of SDR, their white at 203 nits, as signal of another curve and gamut, 0 to 255."""
    linear = (colours_rgb / 255) ** tone.SDR_GAMMA
    nits = tone.WHITE_NITS * linear @ np.linalg.inv(tone.gamut_matrix(primaries)[::-1, ::-1]).T
    if curve == PQ:
        signal = tone.pq_signal(nits)
    elif curve == HLG:
        shown = nits / tone.PEAK_NITS
        scene = shown * (shown @ [0.2627, 0.6780, 0.0593])[:, None] ** (1 / 1.2 - 1)
        bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
        signal = np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)
    else:
        signal = (nits / tone.WHITE_NITS) ** (1 / tone.SDR_GAMMA)
    return np.asarray(255 * signal)


@pytest.mark.parametrize("primaries", [BT2020, DISPLAY_P3])
@pytest.mark.parametrize("curve", [PQ, HLG, 1, 14])
@pytest.mark.parametrize("form", ["yuv420p10le", "yuv422p12le", "p010le"])
def test_hdr_and_wide_gamuts_become_the_colours_meant(curve: int, primaries: int, form: str) -> None:
    frame = frame_of(hdr_signal(BARS_RGB, curve, primaries), 9, LIMITED, form)
    frame.color_trc, frame.color_primaries = curve, primaries

    assert np.abs(bars_read(frame) - BARS_RGB).max() < TOLERANCE


def test_highlights_are_rolled_off_and_not_cut() -> None:
    nits = np.array([10, 89, 203, 400, 700, 1000, 4000])
    signal = np.repeat(255 * tone.pq_signal(nits)[:, None], 3, axis=1)
    frame = frame_of(signal, 9, LIMITED, "yuv420p10le")
    frame.color_trc, frame.color_primaries = PQ, BT2020

    seen = bars_read(frame)[:, 1]

    kept = 255 * (nits[:2] / 203) ** (1 / 2.4)
    assert np.abs(seen[:2] - kept).max() < 3
    assert (np.diff(seen)[:4] > 3).all()
    assert seen[6] == 255


@pytest.mark.parametrize(("curve", "tag"), [(PQ, "smpte2084"), (HLG, "arib-std-b67")])
def test_source_line_says_that_hdr_is_tone_mapped(tmp_path: Path, curve: int, tag: str) -> None:
    frame = frame_of(hdr_signal(BARS_RGB, curve, BT2020), 9, LIMITED, "yuv420p10le")

    seen, description = read_file(
        save(tmp_path / "a.mkv", frame, "ffv1", "yuv420p10le", curve=curve, primaries=BT2020)
    )

    assert f"HDR ({tag}, bt2020) tone mapped to SDR" in description
    assert np.abs(seen - BARS_RGB).max() < TOLERANCE


def test_hdr_without_primaries_is_of_bt2020_and_of_odd_size() -> None:
    frame = frame_of(hdr_signal(BARS_RGB, PQ, BT2020), 9, LIMITED, "yuv444p10le", wh=(WH[0] - 1, 31))
    frame.color_trc, frame.colorspace = PQ, UNSPECIFIED

    planes = planes_of(frame)

    assert planes.frame_wh == (WH[0] - 1, 31)
    assert planes.u.shape == (16, WH[0] // 2)
    assert np.abs(bars_of(bgr_from_yuv(planes)) - BARS_RGB).max() < TOLERANCE


@pytest.mark.parametrize(
    ("matrix", "curve", "codec_tag", "note"),
    [
        (1, 1, "avc1", ""),
        (2, 2, "hvc1", ""),
        (6, 5, "", ""),
        (1, 8, "", "transfer linear converted to BT.709's"),
        (1, 9, "", "transfer log100 converted to BT.709's"),
        (1, 17, "", "transfer smpte428 is read as BT.709's: colours suffer"),
        (8, 1, "", "YCgCo is read as another matrix: colours are wrong"),
        (14, 1, "", "ICtCp is read as another matrix: colours are wrong"),
        (2, 2, "dvh1", "Dolby Vision without a fallback: colours are wrong"),
    ],
)
def test_what_cannot_be_read_right_is_said(matrix: int, curve: int, codec_tag: str, note: str) -> None:
    frame = frame_of(BARS_RGB)
    frame.colorspace, frame.color_trc = matrix, curve

    assert colour_note(frame, codec_tag) == note
    assert planes_of(frame).frame_wh == WH


def test_pixel_format_that_cannot_be_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: av.VideoFrame) -> None:
        raise PixelFormatError("its pixel format rgbf32le cannot be read")

    monkeypatch.setattr("perception.sources.decoding.decoder.planes_of", refuse)
    file = save(tmp_path / "a.mkv", frame_of(BARS_RGB), "ffv1", "yuv420p")

    with pytest.raises(SourceError, match=r"a.mkv: its pixel format rgbf32le cannot be read; convert it"):
        VideoSource(file).open()
