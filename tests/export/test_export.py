"""An exported file is the trained network, or there is no file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from export.cli import main  # noqa: E402
from export.config import ExportConfig  # noqa: E402
from export.graph import CpuGraph  # noqa: E402
from export.run import export  # noqa: E402
from export.verify import ParityError, check_parity  # noqa: E402
from perception.engines import OnnxEngine  # noqa: E402
from train.checkpoint import Checkpoint, CheckpointError  # noqa: E402
from train.config import GREY_LEVEL, GREY_STD, Stage, TrainConfig  # noqa: E402
from train.evaluate import Normalise  # noqa: E402
from train.models import MODELS, build_model  # noqa: E402

INPUT_WH = (96, 64)


@pytest.fixture(autouse=True)
def _few_parity_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.run.PARITY_FRAMES", 2)


@pytest.fixture
def inputs_bgr() -> list[np.ndarray]:
    """Noise up to the very border: zero padding of the wrong colour would show."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (INPUT_WH[1], INPUT_WH[0], 3), np.uint8) for _ in range(3)]


def _export(tmp_path: Path, name: str, **settings: object) -> Path:
    config = ExportConfig(
        name, out=str(tmp_path / f"{name}.onnx"), input_wh=INPUT_WH, random_weights=True, **settings
    )
    return export(config, lambda line: None)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_exported_graph_gives_what_torch_gives(
    name: str, tmp_path: Path, inputs_bgr: list[np.ndarray]
) -> None:
    file = _export(tmp_path, name)
    engine = OnnxEngine(file, "cpu")
    file.unlink()  # up to 186 MB, and pytest keeps the folders of three runs
    torch.manual_seed(0)  # the export draws its random weights from this seed
    model = build_model(name, 3).eval()

    parity = check_parity(model, Normalise((GREY_LEVEL,) * 3, (GREY_STD,) * 3), engine, inputs_bgr)

    assert parity.max_logit_difference < 1e-4
    assert (engine.contract.model_id, engine.contract.output_stride) == (name, model.output_stride)
    assert (tmp_path / f"{name}.md").read_text().startswith(f"# {name}\n")


def _checkpoint(file: Path, model: torch.nn.Module, **settings: Any) -> Path:
    checkpoint = Checkpoint.fresh(TrainConfig("rt_s", [Stage((96, 64), 1, 2, 1e-3)], **settings))
    checkpoint.model = model.state_dict()
    checkpoint.save(file)
    return file


def test_checkpoint_is_exported_with_its_own_normalisation(
    tmp_path: Path, inputs_bgr: list[np.ndarray]
) -> None:
    mean_bgr, std_bgr = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
    model = build_model("rt_s", 3).eval()
    file = _checkpoint(tmp_path / "best.pt", model, mean_bgr=mean_bgr, std_bgr=std_bgr)

    exported = export(
        ExportConfig("rt_s", str(file), out=str(tmp_path / "rt_s.onnx"), input_wh=INPUT_WH), lambda line: None
    )

    engine = OnnxEngine(exported, "cpu")
    assert check_parity(model, Normalise(mean_bgr, std_bgr), engine, inputs_bgr).max_logit_difference < 1e-4
    assert engine.contract.pad_bgr == (104, 116, 124)


def test_checkpoint_of_other_layers_is_refused(tmp_path: Path) -> None:
    file = _checkpoint(tmp_path / "best.pt", build_model("rt_s", 4))

    with pytest.raises(CheckpointError, match=r"best\.pt: holds other layers than the rt_s of this version"):
        export(ExportConfig("rt_s", str(file), out=str(tmp_path / "rt_s.onnx")), lambda line: None)


def test_gate_refuses_the_weights_of_another_seed(tmp_path: Path, inputs_bgr: list[np.ndarray]) -> None:
    engine = OnnxEngine(_export(tmp_path, "rt_s"), "cpu")
    torch.manual_seed(1)
    other = build_model("rt_s", 3)

    with pytest.raises(ParityError, match="the exported graph is not the trained network"):
        check_parity(other, Normalise((GREY_LEVEL,) * 3, (GREY_STD,) * 3), engine, inputs_bgr)


def test_failing_gate_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class SwappedColours(CpuGraph):
        def forward(self, frame: torch.Tensor) -> torch.Tensor:
            return super().forward(frame.flip(3))

    monkeypatch.setattr("export.run.CpuGraph", SwappedColours)

    with pytest.raises(ParityError):
        _export(tmp_path, "rt_s")

    assert list(tmp_path.iterdir()) == []


def test_plain_target_takes_floats(tmp_path: Path) -> None:
    import onnxruntime as ort

    file = _export(tmp_path, "rt_s", target="plain")

    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].type == "tensor(float)"
    assert session.get_inputs()[0].shape == [1, 3, 64, 96]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--model", "rt_m"],
            "no checkpoint of rt_m; train one with `drivable-train --config train/rt_m --data DIR`",
        ),
        (
            ["--model", "pspnet"],
            "no checkpoint of pspnet; train one with "
            "`drivable-train --config train/published --model pspnet --data DIR`",
        ),
        (["--model", "rt_x", "--random_weights"], "unknown model 'rt_x'; known: rt_s, rt_m"),
        (
            ["--model", "rt_s", "--checkpoint", "text.pt"],
            "text.pt: not a checkpoint of this version of drivable-train",
        ),
        (["--model", "rt_s", "--random_weights", "--input_wh", "[100, 64]"], "must be multiples of 32"),
        (
            ["--model", "rt_s", "--random_weights", "--input_wh", "[96, 64]", "--out", "text.pt/rt_s.onnx"],
            "cannot be written",
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_file(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    only_error_line: Callable[[str], str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.pt").write_text("not a checkpoint")

    status = main(arguments)

    assert status == 1
    assert message in only_error_line("drivable-export")
    assert [file.name for file in tmp_path.iterdir()] == ["text.pt"]
