"""Fixtures that more than one folder of tests needs."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import hypothesis
import numpy as np
import pytest
from numpy.typing import NDArray

from perception.synthetic import DriveRenderer

MakeClip = Callable[..., Path]
MakeDrives = Callable[..., Path]


# The same examples in every run, and none that fails only where the machine is slow.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("repeatable")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test marked `one_in(n)` every nth case stays as it is, and the others are slow."""
    cases: Counter[str] = Counter()
    for item in items:
        if marker := item.get_closest_marker("one_in"):
            test = item.nodeid.partition("[")[0]
            if cases[test] % marker.args[0]:
                item.add_marker(pytest.mark.slow)
            cases[test] += 1


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="record the golden files of tests/golden")


def card_bgr(frame_id: int, wh: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, 3) BGR: red left and blue right, white on top, and below a grey that tells the frame id."""
    width, height = wh
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2] = (30, 40, 200)
    image[:, width // 2 :] = (200, 60, 30)
    image[: height // 4] = 255
    image[height * 3 // 4 :] = 20 + 4 * (frame_id % 50)
    return image


@pytest.fixture
def make_clip(tmp_path: Path) -> MakeClip:
    """A function that writes a small video of `card_bgr` frames and returns its file."""

    def make(
        name: str = "clip.mp4",
        frames: int = 10,
        wh: tuple[int, int] = (64, 48),
        rate_hz: int = 10,
        codec: str = "libx264",
        pix_fmt: str = "yuv420p",
        matrix: int | None = None,
        color_range: int | None = None,
        rotation: int | None = None,
        flips: tuple[bool, bool] = (False, False),
        pixel_aspect: Fraction | None = None,
        pts: Sequence[int] | None = None,
        options: dict[str, str] | None = None,
        container_options: dict[str, str] | None = None,
    ) -> Path:
        """`matrix` and `color_range` are libav's numbers; `pts` counts in periods of `rate_hz`.

        `rotation` is counterclockwise, and then `flips`: left with right, top with bottom.
        """
        file = tmp_path / name
        with av.open(str(file), "w", options=container_options or {}) as container:
            stream = container.add_stream(codec, rate=rate_hz, options=options or {})
            stream.width, stream.height = wh
            stream.pix_fmt = pix_fmt
            if matrix is not None:
                stream.codec_context.colorspace = matrix
            if color_range is not None:
                stream.codec_context.color_range = color_range
            if rotation is not None:
                stream.set_display_rotation(rotation, *flips)
            if pixel_aspect is not None:
                stream.codec_context.sample_aspect_ratio = pixel_aspect
            for frame_id in range(frames):
                frame = av.VideoFrame.from_ndarray(card_bgr(frame_id, wh), format="bgr24").reformat(
                    format=pix_fmt, dst_colorspace=matrix, dst_color_range=color_range
                )
                frame.pts = pts[frame_id] if pts else frame_id
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return file

    return make


@pytest.fixture
def only_error_line(capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """A function that gives the only line in which a command said what went wrong."""

    def read(command: str) -> str:
        said = capsys.readouterr().err
        lines = [line for line in said.splitlines() if line.startswith(f"{command}:")]
        assert len(lines) == 1
        assert "Traceback" not in said
        return lines[0]

    return read


@pytest.fixture
def make_drives(tmp_path: Path) -> MakeDrives:
    """A function that renders a data set as one would record it, a drive a split, and returns its folder."""

    def make(frames: Mapping[str, int], scene: str, frame_wh: tuple[int, int], every: int = 1) -> Path:
        """`frames`: how many of each split; of the drive, each `every`th."""
        root = tmp_path / "data"
        (root / "images").mkdir(parents=True)
        (root / "labels").mkdir()
        with (root / "index.csv").open("w", newline="") as file:
            index = csv.writer(file)
            index.writerow(["id", "split"])
            for seed, (split, count) in enumerate(frames.items()):
                drive = DriveRenderer(scene, frame_wh, 1.0, seed)
                for number in range(count):
                    image_bgr, class_map = drive.render(number * every)
                    name = f"{split}-{number}"
                    cv2.imwrite(str(root / "images" / f"{name}.jpg"), image_bgr)
                    cv2.imwrite(str(root / "labels" / f"{name}.png"), class_map)
                    index.writerow([name, split])
        return root

    return make
