"""An exported file is the trained network, or there is no file."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from export.cli import main  # noqa: E402
from export.config import ExportConfig  # noqa: E402
from export.graph import CpuGraph  # noqa: E402
from export.quantise import METHODS  # noqa: E402
from export.run import export  # noqa: E402
from export.torch_source import TorchSource  # noqa: E402
from export.verify import LIMITS, Gate, GateError, compare  # noqa: E402
from perception.cli.collisions import CollisionError  # noqa: E402
from perception.cli_config import parse  # noqa: E402
from perception.inference.engines import OnnxEngine  # noqa: E402
from perception.labels import BACKGROUND  # noqa: E402
from perception.node import main as node_main  # noqa: E402
from train.checkpoint import Checkpoint, CheckpointError  # noqa: E402
from train.config import Stage, TrainConfig  # noqa: E402
from train.models import MODELS, build_model  # noqa: E402

SIZE_WH = (96, 64)


@pytest.fixture(autouse=True)
def _few_parity_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.frames.PARITY_FRAMES", 2)


@pytest.fixture
def inputs_bgr() -> list[np.ndarray]:
    """Noise up to the very border: zero padding of the wrong colour would show."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (SIZE_WH[1], SIZE_WH[0], 3), np.uint8) for _ in range(3)]


@pytest.fixture
def data(make_drives: Callable[..., Path]) -> Path:
    """Rendered frames in splits train, val and test, with an area that does not count."""
    return make_drives({"train": 6, "val": 2, "test": 2}, "mixed", (160, 90), every=20)


def _export(tmp_path: Path, name: str, **settings: Any) -> Path:
    out = str(tmp_path / f"{name}.onnx")
    settings = {"size_wh": SIZE_WH, "random_weights": True, **settings}
    return export(ExportConfig(name, out=out, **settings), lambda line: None).file


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_exported_graph_gives_what_torch_gives(
    name: str, tmp_path: Path, inputs_bgr: list[np.ndarray]
) -> None:
    file = _export(tmp_path, name)
    engine = OnnxEngine(file, "cpu")
    file.unlink()  # up to 186 MB, and pytest keeps the folders of three runs
    source = TorchSource.random(name)

    parity = compare(source.infer(SIZE_WH), engine.infer, inputs_bgr)

    assert parity.max_difference < 1e-4
    assert (engine.contract.model_id, engine.contract.output_stride) == (name, source.output_stride)
    assert (tmp_path / f"{name}.md").read_text().startswith(f"# {name}\n")


def _checkpoint(file: Path, model: torch.nn.Module, **settings: Any) -> Path:
    checkpoint = Checkpoint.fresh(TrainConfig("rt_s", [Stage((90, 50), 1, 2, 1e-3)], **settings))
    checkpoint.model = model.state_dict()
    checkpoint.save(file)
    return file


def test_checkpoint_is_exported_with_its_own_normalisation_and_size(
    tmp_path: Path, inputs_bgr: list[np.ndarray]
) -> None:
    mean_bgr, std_bgr = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
    model = build_model("rt_s", 3).eval()
    file = _checkpoint(tmp_path / "best.pt", model, mean_bgr=mean_bgr, std_bgr=std_bgr)

    exported = _export(tmp_path, "rt_s", checkpoint=str(file), size_wh=None, random_weights=False)

    engine = OnnxEngine(exported, "cpu")
    source = TorchSource.trained(file, "rt_s")
    assert compare(source.infer(SIZE_WH), engine.infer, inputs_bgr).max_difference < 1e-4
    assert engine.contract.pad_bgr == (104, 116, 124)
    assert engine.contract.input_wh == SIZE_WH  # 90x50, rounded up


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "asked", "name", "wanted"),
    [
        (None, "rt_s", None, "rt_s-own"),
        ("our_roads", "our_roads", None, "our_roads"),
        ("our_roads", "rt_s", None, "our_roads"),
        ("our_roads", "rt_s", "night", "night"),
        (None, "rt_s", "rt_s", "rt_s"),
    ],
)
def test_own_network_has_its_own_name_in_file_card_and_records(
    run: str | None,
    asked: str,
    name: str | None,
    wanted: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    _checkpoint(tmp_path / "runs" / asked / "best.pt", build_model("rt_s", 3), name=run)

    exported = export(ExportConfig(asked, size_wh=SIZE_WH, name=name), lambda line: None).file

    assert exported.resolve() == tmp_path / f"{wanted}.onnx"
    card = json.loads(exported.with_suffix(".json").read_text())
    assert (card["model_id"], card["network"]) == (wanted, "rt_s")
    assert exported.with_suffix(".md").read_text().startswith(f"# {wanted}\n")
    node = ["--source", "synthetic", "--synthetic.wh", "160x90", "--max-frames", "1", "--jsonl", "r.jsonl"]
    assert node_main(["--model", str(exported), *node]) in (0, 1)  # 1 if the untrained network is suspect
    assert json.loads((tmp_path / "r.jsonl").read_text().splitlines()[0])["model_id"] == wanted


@pytest.mark.parametrize(
    ("model", "file"),
    [
        ("best.pt", "best.pt"),
        ("runs/mine/best.pt", "runs/mine/best.pt"),
        ("runs/mine", "runs/mine/best.pt"),
        ("theirs.onnx", "theirs.onnx"),
    ],
)
def test_file_given_as_the_model_is_refused_with_its_setting(
    model: str,
    file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    only_error_line: Callable[[str], str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/mine").mkdir(parents=True)
    Path("runs/mine/best.pt").touch()

    assert main(["--model", model]) == 1
    assert f"such as rt_m; give the file with --checkpoint {file}" in only_error_line("drivable-export")


def test_checkpoint_that_is_not_there_is_named_though_an_older_file_lies_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only_error_line: Callable[[str], str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rt_s.onnx").write_text("x")

    assert main(["--model", "rt_s", "--checkpoint", "mising.pt", "--out", "rt_s.onnx"]) == 1

    assert "mising.pt: no such checkpoint" in only_error_line("drivable-export")
    assert (tmp_path / "rt_s.onnx").read_text() == "x"


def test_checkpoint_of_other_layers_is_refused(tmp_path: Path) -> None:
    file = _checkpoint(tmp_path / "best.pt", build_model("rt_s", 4))

    with pytest.raises(CheckpointError, match=r"best\.pt: its layers are not those of this version's rt_s"):
        _export(tmp_path, "rt_s", checkpoint=str(file), random_weights=False)


class SwappedColours(CpuGraph):
    """A graph that is not the network."""

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        return super().forward(frame.flip(3))


def test_failing_gate_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.graph.CpuGraph", SwappedColours)

    with pytest.raises(GateError, match="the exported graph does not reproduce the network: logits"):
        _export(tmp_path, "rt_s")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_failing_gate_leaves_the_older_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = {file.name: file.read_bytes() for file in _export(tmp_path, "rt_s").parent.iterdir()}
    assert sorted(older) == ["rt_s.json", "rt_s.md", "rt_s.onnx"]
    monkeypatch.setattr("export.graph.CpuGraph", SwappedColours)

    with pytest.raises(GateError):
        _export(tmp_path, "rt_s", size_wh=(64, 64))

    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == older


@pytest.mark.slow
def test_gate_that_other_weights_pass_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.torch_source.CONTROL_SEED", 0)

    with pytest.raises(GateError, match="the gates have no effect"):
        _export(tmp_path, "rt_s")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_accuracy_that_the_export_costs_is_a_gate(
    target: str, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = TorchSource.predict

    def all_background(source: TorchSource, input_wh: tuple[int, int]) -> Any:
        """A network that was judged otherwise than the node does: its logits cannot show it."""
        predict = reference(source, input_wh)

        def predicted(frame: Any) -> Any:
            prediction = predict(frame)
            prediction.class_map[:] = BACKGROUND
            return prediction

        return predicted

    frame = {"frame_wh": (160, 90)} if target == "gpu" else {}
    _export(tmp_path, "rt_s", data=str(data), target=target, **frame)
    monkeypatch.setattr(TorchSource, "predict", all_background)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}

    with pytest.raises(GateError, match="mean IoU lost"):
        _export(tmp_path, "rt_s", data=str(data), target=target, **frame)

    assert {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()} == before


@pytest.mark.slow
def test_file_says_in_three_places_what_it_is_and_how_to_make_it_again(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _export(tmp_path, "rt_s", data=str(data), target="gpu", frame_wh=(0, 0), precision="fp16")

    card = json.loads(file.with_suffix(".json").read_text())
    assert (card["model_id"], card["network"], card["target"]) == ("rt_s-gpu-fp16", "rt_s", "gpu")
    assert (card["size_bytes"], card["accuracy"]["frames"]) == (file.stat().st_size, 2)
    assert {gate["name"] for gate in card["gates"]} >= {"mean IoU lost", "class map, same as by the CPU file"}
    capsys.readouterr()
    assert main(["inspect", str(file)]) == 0
    assert file.with_suffix(".md").read_text() in capsys.readouterr().out
    words = shlex.split(card["reproduce"])
    assert parse(ExportConfig, words[0], "", words[1:]) == ExportConfig(
        "rt_s",
        target="gpu",
        precision="fp16",
        size_wh=SIZE_WH,
        frame_wh=(0, 0),
        data="data",
        random_weights=True,
    )


@pytest.mark.slow
def test_int8_is_made_from_our_own_file_and_keeps_what_it_tells(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # x86 without VNNI gives 96.9 % of random weights
    monkeypatch.setitem(LIMITS, "int8", replace(LIMITS["int8"], min_agreement=0.95))
    float_file = _export(tmp_path, "rt_s")

    out = tmp_path / "int8"
    file = _export(
        out,
        "rt_s",
        checkpoint=str(float_file),
        random_weights=False,
        size_wh=None,
        precision="int8",
        calibrate=str(data),
    )

    card = json.loads(file.with_suffix(".json").read_text())
    assert (card["precision"], card["parameters"]) == ("int8", 931_604)
    assert sum(card["quantisation"]["calibration_frames"].values()) == 3  # the others of 6 are the probe
    assert card["training"]["weights"] == "random"
    assert card["training"]["made_from"]["file"] == "rt_s.onnx"
    assert file.stat().st_size < float_file.stat().st_size / 2
    with pytest.raises(RuntimeError, match="is a file for target cpu in int8; export from"):
        _export(tmp_path, "rt_s", checkpoint=str(file), random_weights=False, size_wh=None)


@pytest.mark.slow
@pytest.mark.parametrize("refused", [1, len(METHODS)])
def test_gates_choose_among_the_ranges_of_int8(
    refused: int, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    float_file = _export(tmp_path, "rt_s")
    calls: list[int] = []

    def strict(gates: list[Gate], say: Callable[[str], None]) -> list[Gate]:
        calls.append(len(calls))
        if len(calls) <= refused:
            raise GateError(f"choice {len(calls)} refused")
        return gates

    monkeypatch.setattr("export.run.require", strict)
    from_file = {"checkpoint": str(float_file), "random_weights": False, "size_wh": None}
    wanted: dict[str, Any] = {**from_file, "precision": "int8", "calibrate": str(data)}

    if refused == len(METHODS):
        with pytest.raises(GateError, match="choice 1 refused"):
            _export(tmp_path / "int8", "rt_s", **wanted)
        assert not [*(tmp_path / "int8").glob("*")]
    else:
        file = _export(tmp_path / "int8", "rt_s", **wanted)
        values = json.loads(file.with_suffix(".json").read_text())["quantisation"]
        assert len(values["refused_by_gates"]) == refused
        assert values["method"] not in values["refused_by_gates"]


def test_file_of_ours_can_have_no_other_size_and_is_no_source_of_itself(
    tmp_path: Path, make_file: Callable[..., Path]
) -> None:
    file = make_file("rt_s.onnx", model_id="rt_s")
    ours = {"checkpoint": str(file), "random_weights": False}

    with pytest.raises(RuntimeError, match=r"rt_s\.onnx: takes 32x32, not 96x64"):
        _export(tmp_path / "out", "rt_s", **ours)
    with pytest.raises(CollisionError, match="is the file to export from"):
        _export(tmp_path, "rt_s", **ours)
    with pytest.raises(RuntimeError, match=r"rt_s\.onnx: holds rt_s, not rt_m"):
        _export(tmp_path / "out", "rt_m", **ours)
    assert not (tmp_path / "out").exists()


def test_shipped_file_is_the_source_where_nothing_was_trained(
    tmp_path: Path, make_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_file("rt_s.onnx", model_id="rt_s")
    monkeypatch.setattr("export.source.FOLDER", tmp_path)
    said: list[str] = []

    exported = export(
        ExportConfig("rt_s", runs=str(tmp_path / "runs"), target="gpu", out=str(tmp_path / "out.onnx")),
        said.append,
    )

    assert said[:2] == [
        f"there is no {tmp_path}/runs/rt_s/best.pt; exporting the shipped rt_s.onnx",
        "for camera frames of 1280x720; --frame sets another size, or any",
    ]
    assert OnnxEngine(exported.file, "cpu").contract.frame_wh == (1280, 720)


RANDOM = ["--model", "rt_s", "--random-weights"]


@pytest.mark.parametrize(
    ("arguments", "expected", "message"),
    [
        (
            ["--model", "pspnet"],
            1,
            "no checkpoint of pspnet; train one with "
            "`drivable-train --config train/published --model pspnet --data DIR`",
        ),
        (["--model", "rt_x"], 1, "unknown model 'rt_x'; known: rt_s, rt_m"),
        (["--model", "rt_x", "--random-weights"], 1, "unknown model 'rt_x'; known: rt_s, rt_m"),
        (
            ["--model", "rt_s", "--checkpoint", "text.pt"],
            1,
            "text.pt: not a checkpoint of this version of drivable-train",
        ),
        ([*RANDOM, "--checkpoint", "text.pt"], 2, "a checkpoint and random_weights exclude each other"),
        ([*RANDOM, "--size", "[0,0]"], 2, "size_wh is any; both sides must be from 32 to 8192 pixels"),
        ([*RANDOM, "--size", "16x64"], 2, "size_wh is 16x64; both sides must be from 32 to 8192 pixels"),
        ([*RANDOM, "--size", "9000x640"], 2, "size_wh is 9000x640; both sides must be"),
        (
            [*RANDOM, "--input-wh", "[96, 64]"],
            2,
            "unknown setting --input-wh; here it is --size_wh",
        ),
        ([*RANDOM, "--frame", "640x360"], 2, "frame_wh is for --target gpu"),
        ([*RANDOM, "--target", "gpu", "--frame", "8x8"], 2, "frame_wh is 8x8; both sides must be"),
        ([*RANDOM, "--target", "tpu"], 2, "tpu"),
        (
            [*RANDOM, "--precision", "fp16"],
            2,
            "precision fp16 is for --target gpu: ONNX Runtime's CPU kernels",
        ),
        ([*RANDOM, "--precision", "int8"], 2, "name them with --calibrate DIR or --data DIR"),
        ([*RANDOM, "--precision", "int8", "--calibrate", "none"], 1, "none: no such folder"),
        ([*RANDOM, "--data", "none"], 1, "none: no such folder"),
        (
            [*RANDOM, "--target", "plain", "--precision", "int8"],
            2,
            "target plain has the precision of its source",
        ),
        ([*RANDOM, "--out", "card.md"], 2, "the file's name must end in .onnx"),
        ([*RANDOM, "--out", "text.pt/rt_s.onnx"], 1, "cannot be written: "),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_file(
    arguments: list[str],
    expected: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    only_error_line: Callable[[str], str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.pt").write_text("not a checkpoint")

    status = main(arguments)

    assert status == expected
    assert message in only_error_line("drivable-export")
    assert [file.name for file in tmp_path.iterdir()] == ["text.pt"]
