"""The model card states accuracy, data and training of a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from export.card import model_card
from export.card_data import Measured, card_data
from export.provenance import training
from export.verify import Gate, Parity
from perception.cli_config import parse
from perception.inference.contract import ModelContract
from perception.labels import LABELS, LABELS_OF_TWO
from perception.metrics.segmentation import Accuracy, CountedFrame
from train.config import Stage, Teacher, TrainConfig

DATA, LICENCE = "our own roads", "code Apache-2.0; weights: for our vehicles"
CONTRACT = ModelContract("rt_m", LABELS, (640, 384), (116, 116, 116), 8, DATA, LICENCE, sha256="abc")
CONFIG = TrainConfig(
    "rt_m",
    [Stage((320, 192), 10, 16, 1e-3), Stage((640, 384), 4, 8, 5e-4, 70, 12, taught=False)],
    data="/data/bdd",
    encoder_weights="/weights/mobilenet.pth",
    teachers=[Teacher("/peers/twinlitenet.onnx", 0.4, 3.0)],
    optimiser="sgd",
    schedule="polynomial",
    ema_decay=0.999,
    loss="dice+cross_entropy",
)
OLD_CONFIG: dict[str, Any] = {
    "model": "rt_s",
    "stages": [
        {
            "input_wh": [320, 192],
            "epochs": 3,
            "batch_size": 16,
            "max_learning_rate": 1e-3,
            "synthetic_drives": 0,
            "frames_per_drive": 20,
        }
    ],
    "data": "/data/bdd",
    "augment": {"flip": 0.5, "noise": 0.0},
    "encoder_weights": None,
    "loss": "dice",
    "weight_decay": 1e-4,
    "clip_norm": 5.0,
    "precision": "float32",
    "seed": 0,
}
"""Of a checkpoint written before optimisers, teachers and averages could be chosen."""


def entry(stage: int, epoch: int, mean_iou: float, **more: float) -> dict[str, float]:
    return {"stage": stage, "epoch": epoch, "loss": 0.5, "val_mean_iou": mean_iou, **more}


HISTORY = [
    entry(0, 0, 0.70, val_loss=0.61, val_iou_direct=0.72, val_iou_alternative=float("nan")),
    entry(0, 1, 0.74),
    entry(1, 0, 0.71),
    entry(1, 1, 0.73),
]


GATES = [
    Gate("logits, largest difference", 4e-5, 1e-2, "at most", "", "16 frames of `val`"),
    Gate("logits, same class", 100.0, 99.99, "at least", "%", "16 frames of `val`"),
]


def data_of(
    trained: dict[str, Any],
    accuracy: Accuracy | None = None,
    quantisation: dict[str, Any] | None = None,
    contract: ModelContract = CONTRACT,
) -> dict[str, Any]:
    """The card as data, as it comes back from the file's metadata."""
    measured = Measured(GATES, Parity(16, 3.5, 0.4), "random weights of another seed", accuracy, "test")
    values = card_data(
        contract, "rt_m", 2_300_000, measured, trained, quantisation, "drivable-export --model rt_m"
    )
    return dict(json.loads(json.dumps(values, allow_nan=False)))


def card(config: dict[str, Any], history: Sequence[dict[str, float]], accuracy: Accuracy | None) -> str:
    return model_card(data_of(training(config, history), accuracy), CONTRACT, "rt_m.onnx", 9_800_000)


def measured() -> Accuracy:
    """Three day frames of two recordings, all right; two night frames of another, alternative all missed."""
    right = np.diag([50, 50, 100])
    missed = np.array([[50, 0, 0], [50, 0, 0], [0, 0, 100]])
    day = [CountedFrame(recording, "day", right) for recording in ("a", "a", "b")]
    return Accuracy((*day, *(CountedFrame("c", "night", missed) for _ in range(2))))


def test_accuracy_is_given_with_interval_conditions_and_two_classes() -> None:
    accuracy = measured()

    lines = card(asdict(CONFIG), HISTORY, accuracy).splitlines()

    # direct 250 of 350, alternative 150 of 250, background whole
    mean = 100 * (250 / 350 + 150 / 250 + 1) / 3
    assert (
        f"| mean IoU on `test` | **{mean:.2f} %** (direct 71.43, alternative 60.00, background 100.00), "
        "through the node's own path at the size of the labels |" in lines
    )
    low, high = accuracy.mean_iou_interval()
    assert (
        f"| 95 % interval | {100 * low:.2f} to {100 * high:.2f} %, by recording: 5 frames of 3 recordings, "
        "2,000 bootstrap samples |" in lines
    )
    assert (
        "| mean IoU, day and night | day **100.00 %** (3 frames), night **50.00 %** (2 frames); "
        "night is a mean luma below 60 |" in lines
    )
    assert (
        "| mean IoU, drivable or not | **100.00 %**, direct and alternative as one class; "
        "95 % interval 100.00 to 100.00 % |" in lines
    )


def test_licence_of_the_data_stands_on_the_card() -> None:
    text = card(asdict(CONFIG), HISTORY, None)

    assert f"| licence | {LICENCE} |" in text
    assert f"| training data | {DATA} |" in text


def test_recipe_names_files_without_their_folders() -> None:
    text = card(asdict(CONFIG), HISTORY, None)

    for line in (
        "| recipe | custom settings, below |",
        "| encoder | initial weights from `mobilenet.pth` |",
        "| teachers | `twinlitenet.onnx` (weight 0.4, temperature 3) |",
        "| loss | dice+cross_entropy |",
        "| optimiser | sgd, learning rate by polynomial, weight decay 0.0001, gradient norm at most 5 |",
        "| weights | moving average, decay 0.999 |",
        "| 1 | 320x192 | all of `train` | 10 | 16 | 0.001 | yes | 74.00 % |",
        "| 2 | 640x384 | all of `train`, 840 rendered | 4 | 8 | 0.0005 | no | 73.00 % |",
        "| 1 | 1 | 0.5000 | 0.6100 | 70.00 | 72.00 | – | – |",
        "| 2 | 2 | 0.5000 | – | 73.00 | – | – | – |",
    ):
        assert line in text.splitlines()
    assert not [folder for folder in ("/data", "/weights", "/peers") if folder in text]


@pytest.mark.parametrize(
    ("recipe", "model", "changed", "line"),
    [
        ("train/rt_m", "rt_m", {}, "`drivable-train --config train/rt_m`"),
        ("train/rt_m", "rt_m", {"data": "/data/bdd", "out": "/runs"}, "`drivable-train --config train/rt_m`"),
        ("train/rt_m", "rt_m", {"stages": [Stage((320, 192), 1, 8, 1e-3)]}, "custom settings, below"),
        ("train/rt_m", "rt_m", {"optimiser": "sgd"}, "custom settings, below"),
        ("train/published", "unet", {}, "`drivable-train --config train/published --model unet`"),
    ],
)
def test_recipe_is_named_only_where_the_settings_are_its_own(
    recipe: str, model: str, changed: dict[str, Any], line: str
) -> None:
    shipped = parse(TrainConfig, "", "", ["--config", recipe, "--model", model])

    text = card(asdict(replace(shipped, **changed)), HISTORY, None)

    assert f"| recipe | {line} |" in text.splitlines()


@pytest.mark.parametrize(
    ("choose_by", "history", "line"),
    [
        ("mean_iou", HISTORY, "stage 2 after epoch 2, the best of its stage by mean IoU on `val`."),
        ("mean_iou", HISTORY[:3], "stage 2 after epoch 1, the best of its stage by mean IoU on `val`."),
        ("mean_iou", [*HISTORY, entry(1, 2, 0.72)], "stage 2 after epoch 3, not the best of its stage."),
        (
            "loss",
            [entry(0, 0, 0.8, val_loss=0.5), entry(0, 1, 0.7, val_loss=0.4)],
            "stage 1 after epoch 2, the best of its stage by loss on `val`.",
        ),
        ("mean_iou", [], "Exported before the end of its first epoch."),
    ],
)
def test_card_says_which_epoch_was_exported(
    choose_by: str, history: list[dict[str, float]], line: str
) -> None:
    assert line in card(asdict(CONFIG) | {"choose_by": choose_by}, history, None)


def test_checkpoint_of_an_older_version_gets_a_card_too() -> None:
    lines = card(OLD_CONFIG, [entry(0, 0, 0.6)], None).splitlines()

    assert "| encoder | random initial weights |" in lines
    assert "| augmentation | flip 0.5 |" in lines
    assert (
        "| optimiser | adamw, learning rate by onecycle, weight decay 0.0001, gradient norm at most 5 |"
        in lines
    )
    assert not [line for line in lines if line.startswith(("| teachers", "| weights"))]


def test_random_weights_are_called_that() -> None:
    text = model_card(data_of({"weights": "random"}), CONTRACT, "rt_m.onnx", 9_800_000)

    assert "None: the weights are random." in text
    assert "| mean IoU" not in text


def test_gates_and_their_control_are_listed_with_their_limits() -> None:
    lines = card(asdict(CONFIG), HISTORY, None).splitlines()

    assert "| logits, largest difference | 4.0e-05 | at most 0.01 | 16 frames of `val` |" in lines
    assert "| logits, same class | 100.000 % | at least 99.99 % | 16 frames of `val` |" in lines
    assert (
        "Control, rejected as it must be: random weights of another seed; logits differ by up to 3.5, same "
        "class on 40.00 % of positions." in lines
    )
    assert "| made by | `drivable-export --model rt_m` |" in lines
    assert "The loss of mean IoU was not measured: no labelled frames were given." in lines


def test_quantisation_lists_frames_by_condition_and_layers_kept_in_float() -> None:
    int8 = {
        "precision": "int8",
        "method": "all values",
        "refused_by_gates": ["99.98 % of each frame's values"],
        "calibration_frames": {"day": 80, "night": 48},
        "kept_in_float": ["head.classify"],
    }
    contract = replace(CONTRACT, precision="int8")

    lines = model_card(data_of({}, None, int8, contract), contract, "rt_m-int8.onnx", 2_800_000).splitlines()

    assert "| file | `rt_m-int8.onnx`, 2.8 MB, int8 |" in lines
    assert (
        "| int8 | calibrated to all values, on frames: 80 day, 48 night; kept in float: "
        "`head.classify`; rejected by the gates: 99.98 % of each frame's values |" in lines
    )
    assert "Not stated in the file that it was made from." in lines


@pytest.mark.parametrize(
    ("frame_wh", "frames"), [((1280, 720), "camera frames of 1280x720"), ((0, 0), "any camera frame")]
)
def test_file_for_gpus_says_which_frames_it_takes(frame_wh: tuple[int, int], frames: str) -> None:
    contract = replace(CONTRACT, frame_wh=frame_wh, output="class_map")

    text = model_card(data_of({}, contract=contract), contract, "rt_m-gpu.onnx", 1)

    assert f"| input | uint8 NHWC BGR, {frames}; the graph fits them into 640x384, padded with" in text
    assert "| output | class map and confidence, uint8 at 640x384: direct, alternative, background |" in text


def test_network_of_two_classes_has_only_their_figures() -> None:
    counts = np.array([[90, 10], [0, 100]])
    contract = replace(CONTRACT, labels=LABELS_OF_TWO)
    values = data_of({}, Accuracy((CountedFrame("a", "day", counts),)), contract=contract)

    text = model_card(values, contract, "twinlitenet.onnx", 1)

    assert "| mean IoU on `test`, drivable or not | **90.45 %** (drivable 90.00, background 90.91)" in text
    assert "| mean IoU on `test` |" not in text


def test_file_made_from_another_has_the_training_section_of_that_one() -> None:
    origin = {"made_from": {"file": "rt_m.onnx", "sha256": "abc"}}

    text = model_card(
        data_of(training(asdict(CONFIG), HISTORY) | origin), CONTRACT, "rt_m-gpu.onnx", 9_800_000
    )

    assert "Made from `rt_m.onnx` (sha256 `abc`)." in text
    assert "| loss | dice+cross_entropy |" in text


def test_file_without_a_card_shows_its_contract() -> None:
    text = model_card({}, CONTRACT, "rt_m.onnx", 9_800_000)

    assert f"| licence | {LICENCE} |" in text
    assert "Not stated in the file that it was made from." in text
