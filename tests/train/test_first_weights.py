"""Fine-tuning: networks begin with shipped weights, exported files, checkpoints or state dicts, exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from perception.inference.engines import OnnxEngine  # noqa: E402
from perception.inference.zoo import model_file  # noqa: E402
from perception.synthetic import DriveRenderer  # noqa: E402
from train import loop  # noqa: E402
from train.checkpoint import Checkpoint  # noqa: E402
from train.config import Stage, TrainConfig  # noqa: E402
from train.data import mixture  # noqa: E402
from train.evaluate import Normalise  # noqa: E402
from train.first_weights import FirstWeightsError, begin_with  # noqa: E402
from train.loop import train  # noqa: E402
from train.models import build_model  # noqa: E402


def quiet(line: str) -> None:
    """Say nothing."""


@pytest.fixture(autouse=True)
def _few_validation_roads_and_no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixture, "VALIDATION_DRIVES", 1)
    monkeypatch.setattr(loop, "write_report", lambda *arguments: None)


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """One short stage on rendered roads."""
    stage = Stage((64, 32), 1, 4, 1e-4, synthetic_drives=2, frames_per_drive=4)
    return TrainConfig("rt_s", [stage], out=str(tmp_path / "runs"), overwrite=True)


def drawn(input_wh: tuple[int, int], seed: int = 3) -> Any:
    """(h, w, 3) uint8 BGR: a rendered road, at the network's size."""
    return DriveRenderer("day", input_wh, 1.0, seed).render(0)[0]


def frames_of(input_wh: tuple[int, int]) -> Iterator[Any]:
    """Two batches, as training gives them."""
    for seed in range(2):
        yield torch.from_numpy(drawn(input_wh, seed)).permute(2, 0, 1)[None]


def logits_of(model: Any, input_bgr: Any, training: bool = False) -> Any:
    """Of one frame; in training mode by the statistics of the frame itself, and without dropout."""
    model.train(training)
    model.head.dropout.eval()
    config = TrainConfig("rt_s", [])
    with torch.no_grad():
        frame = torch.from_numpy(input_bgr).permute(2, 0, 1)[None]
        outputs = model(Normalise(config.mean_bgr, config.std_bgr)(frame))
    return (outputs.logits if training else outputs)[0].numpy()


@pytest.mark.parametrize("name", ["rt_s", "rt_m", pytest.param("rt_l", marks=pytest.mark.slow)])
def test_shipped_network_gives_what_its_file_gives(name: str) -> None:
    engine = OnnxEngine(model_file(name), "cpu")
    model = build_model(name, 3)
    config = TrainConfig(name, [])

    origin = begin_with(model, name, config, lambda: frames_of(engine.contract.input_wh))

    input_bgr = drawn(engine.contract.input_wh)
    wanted = engine.infer(input_bgr)
    np.testing.assert_allclose(logits_of(model, input_bgr), wanted, atol=1e-3 * np.abs(wanted).max())
    assert (origin.name, origin.sha256) == (name, engine.contract.sha256)
    assert origin.licence == engine.contract.licence


def test_batch_norms_are_unfolded_so_that_training_goes_on_from_what_is_known() -> None:
    engine = OnnxEngine(model_file("rt_s"), "cpu")
    model = build_model("rt_s", 3)
    begin_with(model, "rt_s", TrainConfig("rt_s", []), lambda: frames_of(engine.contract.input_wh))

    input_bgr = drawn(engine.contract.input_wh, seed=0)
    agreement = logits_of(model, input_bgr, training=True).argmax(0) == engine.infer(input_bgr).argmax(0)

    assert agreement.mean() > 0.95  # by the frame's own statistics; folded norms that stayed so agree on 0.6


def test_run_begins_with_the_weights_and_remembers_whose_they_are(config: TrainConfig) -> None:
    said: list[str] = []

    best = train(replace(config, weights="rt_s"), said.append)

    origin = Checkpoint.load(best).origin
    assert origin is not None
    assert origin["name"] == "rt_s"
    assert "BDD100K" in origin["training_data"]
    assert "initial weights: rt_s" in said


@pytest.mark.slow
def test_fine_tuning_beats_training_from_scratch(config: TrainConfig) -> None:
    stage = Stage((320, 192), 1, 5, 1e-4, synthetic_drives=5, frames_per_drive=10)
    run = replace(config, model="rt_m", stages=[stage])
    scratch = train(replace(run, name="scratch"), quiet)
    tuned = train(replace(run, name="tuned", weights="rt_m"), quiet)

    mean_iou = {
        file.parent.name: Checkpoint.load(file).history[-1]["val_mean_iou"] for file in (scratch, tuned)
    }
    assert mean_iou["tuned"] > mean_iou["scratch"] + 0.1


@pytest.mark.slow
def test_resumed_run_does_not_begin_with_them_again(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(replace(config, weights="rt_s"), quiet)
    monkeypatch.setattr(loop, "begin_with", lambda *arguments: pytest.fail("begun again"))

    again = replace(config, weights="rt_s", stages=config.stages * 2, resume=True)
    assert len(Checkpoint.load(train(again, quiet).with_name("last.pt")).history) == 2


def test_own_checkpoint_and_its_state_dict_will_do(config: TrainConfig, tmp_path: Path) -> None:
    best = train(config, quiet)
    weights = Checkpoint.load(best).model
    torch.save(weights, tmp_path / "weights.pt")

    for source in (best, tmp_path / "weights.pt"):
        model = build_model("rt_s", 3)
        begin_with(model, str(source), config, lambda: iter(()))
        for name, value in model.state_dict().items():
            torch.testing.assert_close(value, weights[name])


@pytest.mark.parametrize("kept_as", ["state_dict", "model_state_dict", "model", "module."])
def test_weights_in_a_checkpoint_of_another_tool_are_found(
    config: TrainConfig, tmp_path: Path, kept_as: str
) -> None:
    given = build_model("rt_s", 3).state_dict()
    parallel = {f"module.{name}": value for name, value in given.items()}
    torch.save(parallel if kept_as == "module." else {kept_as: parallel, "epoch": 3}, tmp_path / "theirs.pt")

    model = build_model("rt_s", 3)
    begin_with(model, str(tmp_path / "theirs.pt"), config, lambda: iter(()))

    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, given[name])


def test_weights_that_do_not_fit_are_refused_in_one_plain_line(config: TrainConfig, tmp_path: Path) -> None:
    whole = build_model("rt_s", 3).state_dict()
    name = next(iter(whole))
    rest = {other: value for other, value in whole.items() if other != name}
    for weights, message in (
        (rest, f"are of another network than rt_s: it has no {name}"),
        (whole | {name: torch.zeros(2, 3)}, f"another network than rt_s: its {name} is 2x3, not "),
        (whole | {"fc.weight": torch.zeros(2)}, "are of another network than rt_s: rt_s has no fc.weight"),
        (whole | {name: torch.full_like(whole[name], float("nan"))}, f"{name} holds values that are no num"),
    ):
        torch.save(weights, tmp_path / "weights.pt")
        with pytest.raises(FirstWeightsError, match=message):
            begin_with(build_model("rt_s", 3), str(tmp_path / "weights.pt"), config, lambda: iter(()))


def test_whole_network_is_refused_with_the_advice_to_save_its_state_dict(
    config: TrainConfig, tmp_path: Path
) -> None:
    torch.save(build_model("rt_s", 3), tmp_path / "whole.pt")

    with pytest.raises(ValueError, match=r"save only the state_dict\(\) of a whole network"):
        begin_with(build_model("rt_s", 3), str(tmp_path / "whole.pt"), config, lambda: iter(()))


def test_checkpoint_brings_the_settings_that_name_its_data(config: TrainConfig) -> None:
    best = train(replace(config, data_name="our roads"), quiet)

    origin = begin_with(build_model("rt_s", 3), str(best), config, lambda: iter(()))

    assert origin.settings is not None
    assert origin.settings["data_name"] == "our roads"


@pytest.mark.parametrize(
    ("model", "source", "message"),
    [
        ("rt_s", "rt_m", "rt_m.onnx: are of another network than rt_s: it has no to_stride8"),
        ("rt_m", "rt_s", "of another network than rt_m"),
        ("rt_s", "rt_s-int8", "in int8; a file for --target cpu in fp32"),
        ("rt_s", "nowhere.pt", "nowhere.pt: no such model file, and no shipped model of that name"),
        pytest.param("pspnet", "rt_s", "of another network than pspnet", marks=pytest.mark.slow),
    ],
)
def test_weights_of_another_network_are_refused_by_name(model: str, source: str, message: str) -> None:
    frames: Callable[[], Iterator[Any]] = lambda: frames_of((64, 32))  # noqa: E731

    with pytest.raises(FirstWeightsError, match=message):
        begin_with(build_model(model, 3), source, TrainConfig(model, []), frames)


def test_another_normalisation_is_refused(config: TrainConfig) -> None:
    other = replace(config, mean_bgr=(103.53, 116.28, 123.675))

    with pytest.raises(FirstWeightsError, match="was trained with mean_bgr"):
        begin_with(build_model("rt_s", 3), "rt_s", other, lambda: frames_of((64, 32)))


def test_file_that_holds_no_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"no weights")

    with pytest.raises(ValueError, match="not a weights file"):
        begin_with(
            build_model("rt_s", 3), str(tmp_path / "weights.pt"), TrainConfig("rt_s", []), lambda: iter(())
        )
