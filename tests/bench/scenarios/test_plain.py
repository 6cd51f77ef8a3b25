"""The plain loop: as its users would run it, on our graph, and counted as ours is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from bench.baselines.plain_loop import PlainLoop
from bench.scenarios import plain
from bench.task import Task
from perception.inference.engines import EngineError
from perception.inference.zoo import model_file
from perception.labels import COLOURS_RGB, DIRECT
from perception.sources.source import SourceError

onnx = pytest.importorskip("onnx")

MakeClip = Callable[..., Path]
NORMALISATION = {"model_info mean_values": "100 100 100", "model_info scale_values": "50 50 50"}


@pytest.fixture
def make_plain(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a graph for which a pixel is direct where it is red above 60, in BGR."""

    def make(**metadata: str) -> Path:
        helper, kind = onnx.helper, onnx.TensorProto
        constants = {
            "red": np.array([2]),
            "level": np.array((60 - 100) / 50, np.float32),
            "far": np.array(-9.0, np.float32),
        }
        nodes = [
            helper.make_node("Gather", ["pixels", "red"], ["reds"], axis=1),
            helper.make_node("Sub", ["reds", "level"], ["direct"]),
            helper.make_node("Neg", ["direct"], ["background"]),
            helper.make_node("Sub", ["background", "background"], ["nothing"]),
            helper.make_node("Add", ["nothing", "far"], ["alternative"]),
            helper.make_node("Concat", ["direct", "alternative", "background"], ["logits"], axis=1),
        ]
        shape = [1, 3, 24, 32]
        graph = helper.make_graph(
            nodes,
            "red",
            [helper.make_tensor_value_info("pixels", kind.FLOAT, shape)],
            [helper.make_tensor_value_info("logits", kind.FLOAT, shape)],
            [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, metadata)
        file = tmp_path / "red.onnx"
        onnx.save(model, file)
        return file

    return make


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What OpenCV was given, in place of giving it."""
    given: list[int] = []
    monkeypatch.setattr("cv2.setNumThreads", given.append)
    return given


def test_loop_runs_with_the_default_threads_and_counts_its_frames(
    make_clip: MakeClip, make_plain: Callable[..., Path], threads: list[int]
) -> None:
    options = {"to": "class_map", "frames": 25, "file": str(make_plain(**NORMALISATION))}

    values = plain.measure(Task("plain", "rt_s", source=str(make_clip(frames=10)), options=options))

    assert threads == [-1]  # a negative number is OpenCV's own choice
    assert (values["to"], values["frames"]) == ("class_map", 25)
    assert values["fps"] == pytest.approx(25 / values["wall_s"])
    assert values["cpu_ms_per_frame"] == pytest.approx(40 * values["cpu_s"])


def test_overlay_is_painted_where_the_normalised_network_says(
    make_clip: MakeClip, make_plain: Callable[..., Path], tmp_path: Path
) -> None:
    clip, overlay = make_clip(frames=4, options={"crf": "1"}), tmp_path / "overlay.mp4"

    frames = PlainLoop(make_plain(**NORMALISATION)).run(clip, 6, overlay)

    with av.open(str(overlay)) as container:
        pictures = [picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)]
    assert frames == len(pictures) == 6
    red, blue = pictures[0][24, 8].astype(int), pictures[0][24, 56].astype(int)
    painted = (np.array([200, 40, 30]) + np.array(COLOURS_RGB[DIRECT])) // 2
    assert np.abs(red - painted).max() < 20
    assert np.abs(blue - [30, 60, 200]).max() < 20


@pytest.mark.parametrize("metadata", [{}, NORMALISATION | {"model_info mean_values": "100"}])
def test_graph_that_lacks_its_normalisation_is_refused(
    metadata: dict[str, str], make_plain: Callable[..., Path]
) -> None:
    with pytest.raises(EngineError, match=r"red\.onnx: does not say how its input is normalised"):
        PlainLoop(make_plain(**metadata))


def test_graph_that_is_not_plain_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a graph")

    with pytest.raises(EngineError, match=r"takes tensor\(uint8\).*--target plain"):
        PlainLoop(model_file("rt_s"))
    with pytest.raises(EngineError, match=r"text\.onnx: not a model that ONNX Runtime can load"):
        PlainLoop(tmp_path / "text.onnx")


def test_video_that_opencv_cannot_read_does_not_hang(make_plain: Callable[..., Path], tmp_path: Path) -> None:
    video = tmp_path / "text.mp4"
    video.write_text("not a video")

    with pytest.raises(SourceError, match=r"text\.mp4: OpenCV reads no frame of it"):
        PlainLoop(make_plain(**NORMALISATION)).run(video, 5, None)
