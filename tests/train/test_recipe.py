"""What people leave out on the command line: a network's recipe, and the settings of a run to resume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from perception.cli_config import parse  # noqa: E402
from train import loop  # noqa: E402
from train.checkpoint import Checkpoint  # noqa: E402
from train.cli import main  # noqa: E402
from train.config import TrainConfig  # noqa: E402
from train.data import mixture  # noqa: E402

STAGE = (
    "{input_wh: [64, 32], epochs: 1, batch_size: 2, max_learning_rate: 0.001, "
    "synthetic_drives: 1, frames_per_drive: 4}"
)


@pytest.fixture(autouse=True)
def _few_validation_roads_and_no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixture, "VALIDATION_DRIVES", 1)
    monkeypatch.setattr(loop, "write_report", lambda *arguments: None)


@pytest.fixture
def trained_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., TrainConfig]:
    """A function that gives the settings that the command would train with."""

    def settings_of(*arguments: str) -> TrainConfig:
        seen: list[TrainConfig] = []
        monkeypatch.setattr(loop, "train", lambda config, say: seen.append(config))
        assert main(list(arguments)) == 0
        (config,) = seen
        return config

    return settings_of


def begin(out: Path, *arguments: str) -> None:
    """A run that stops after its first stage, as if it had been killed."""
    begun = main(
        ["--model", "rt_s", "--stages", f"[{STAGE}]", "--loss", "focal", "--out", str(out), *arguments]
    )
    assert begun == 0
    for file in out.rglob("*.pt"):
        checkpoint = Checkpoint.load(file)
        checkpoint.config["stages"] *= 2
        checkpoint.save(file)


@pytest.mark.parametrize("network", ["pspnet", "segformer", "rt_m"])
def test_network_alone_is_trained_by_its_own_recipe(
    network: str, trained_with: Callable[..., TrainConfig]
) -> None:
    recipe = "train/rt_m" if network == "rt_m" else "train/published"
    wanted = parse(TrainConfig, "", "", ["--config", recipe, "--model", network, "--data", "DIR"])

    assert trained_with("--model", network, "--data", "DIR") == wanted


def test_stages_of_one_s_own_take_nothing_from_the_recipe(trained_with: Callable[..., TrainConfig]) -> None:
    config = trained_with("--model", "pspnet", "--stages", f"[{STAGE}]")

    assert config.loss == TrainConfig("pspnet", []).loss
    assert config.augment == TrainConfig("pspnet", []).augment


def test_resume_and_the_folder_alone_go_on_with_the_run_s_own_settings(tmp_path: Path) -> None:
    begin(tmp_path / "runs")

    assert main(["--resume", "--out", str(tmp_path / "runs")]) == 0

    resumed = Checkpoint.load(tmp_path / "runs" / "rt_s" / "last.pt")
    assert len(resumed.history) == 2
    assert resumed.config["loss"] == "focal"


@pytest.mark.one_in(3)
@pytest.mark.parametrize("arguments", [["mine"], ["mine/last.pt"], ["mine", "--name", "mine"]])
def test_the_folder_of_the_run_itself_will_do(tmp_path: Path, arguments: list[str]) -> None:
    begin(tmp_path / "runs", "--name", "mine")

    assert main(["--out", str(tmp_path / "runs" / arguments[0]), "--resume", *arguments[1:]]) == 0

    assert len(Checkpoint.load(tmp_path / "runs" / "mine" / "last.pt").history) == 2


@pytest.mark.slow
def test_of_several_runs_the_one_is_named(tmp_path: Path, only_error_line: Callable[[str], str]) -> None:
    for name in ("day", "night"):
        begin(tmp_path, "--name", name)

    assert main(["--resume", "--out", str(tmp_path)]) == 2
    assert "holds several runs (day, night); name the one to resume with --name" in only_error_line(
        "drivable-train"
    )
    assert main(["--resume", "--out", str(tmp_path), "--name", "night"]) == 0
    assert len(Checkpoint.load(tmp_path / "night" / "last.pt").history) == 2
    assert len(Checkpoint.load(tmp_path / "day" / "last.pt").history) == 1


def test_resumed_run_may_find_its_data_elsewhere(
    tmp_path: Path, trained_with: Callable[..., TrainConfig]
) -> None:
    begin(tmp_path / "runs")

    config = trained_with("--resume", "--out", str(tmp_path / "runs"), "--data", "moved")

    assert (config.data, config.resume, config.loss, len(config.stages)) == ("moved", True, "focal", 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "DIR"], "nothing says what to train: name a network, e.g. --model rt_m, or a recipe"),
        (["--loss", "dice"], "shipped recipes: train/published, train/rt_l, train/rt_m, train/rt_s"),
        (["--model", "yolo", "--data", "DIR"], "model yolo: no such network; known: rt_l, rt_m, rt_s, fcn"),
        (["--resume", "--out", "nowhere"], "nowhere: holds no run to resume"),
        (["--resume", "--model", "rt_s", "--out", "nowhere"], "nowhere/rt_s/last.pt: no such checkpoint"),
        (["--resume", "--name", "mine", "--out", "nowhere"], "nowhere: holds no run named mine"),
        (["--resume", "runs/mine/last.pt"], "name the run by its folder: --resume --out runs/mine"),
        (["--resume=runs/mine"], "name the run by its folder: --resume --out runs/mine"),
        (["--modle", "rt_s"], "unknown setting --modle"),
        (["--model", "rt_s", "--name", "../rt_s"], "name must consist of letters, digits"),
        (["--model", "rt_s", "--name", ".hidden"], "name must consist of letters, digits"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    only_error_line: Callable[[str], str],
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(arguments) == (1 if "no such checkpoint" in message else 2)
    assert message in only_error_line("drivable-train")
