"""The model card says how good the file is, on what, and how it was trained."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from export.card import model_card
from export.verify import Parity
from perception.accuracy import Accuracy, CountedFrame
from perception.contract import ModelContract
from perception.labels import LABELS
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


def card(config: dict[str, Any] | None, history: list[dict[str, float]], accuracy: Accuracy | None) -> str:
    return model_card(CONTRACT, config, history, Parity(16, 4e-5, 1.0), accuracy, "test", Path("rt_m.onnx"))


def measured() -> Accuracy:
    """Three day frames of two recordings, all right; two night frames of another, alternative all missed."""
    right = np.diag([50, 50, 100])
    missed = np.array([[50, 0, 0], [50, 0, 0], [0, 0, 100]])
    day = [CountedFrame(recording, "day", right) for recording in ("a", "a", "b")]
    return Accuracy((*day, *(CountedFrame("c", "night", missed) for _ in range(2))))


def test_accuracy_is_told_with_interval_conditions_and_two_classes() -> None:
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
        "drawn anew 2,000 times |" in lines
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


def test_recipe_names_what_the_network_learnt_from_and_no_folder_of_whoever_trained_it() -> None:
    text = card(asdict(CONFIG), HISTORY, None)

    for line in (
        "| recipe | `drivable-train --config train/rt_m` |",
        "| encoder | first weights from `mobilenet.pth` |",
        "| teachers | `twinlitenet.onnx` (weight 0.4, temperature 3) |",
        "| loss | dice+cross_entropy |",
        "| optimiser | sgd, learning rate by polynomial, weight decay 0.0001, gradients up to a norm of 5 |",
        "| weights | their moving average, decay 0.999 |",
        "| 1 | 320x192 | all of `train` | 10 | 16 | 0.001 | yes | 74.00 % |",
        "| 2 | 640x384 | all of `train`, 840 rendered | 4 | 8 | 0.0005 | no | 73.00 % |",
        "| 1 | 1 | 0.5000 | 0.6100 | 70.00 | 72.00 | – | – |",
        "| 2 | 2 | 0.5000 | – | 73.00 | – | – | – |",
    ):
        assert line in text.splitlines()
    assert not [folder for folder in ("/data", "/weights", "/peers") if folder in text]


def test_published_network_names_the_recipe_they_share() -> None:
    text = card(asdict(replace(CONFIG, model="unet")), HISTORY, None)

    assert "`drivable-train --config train/published --model unet`" in text


@pytest.mark.parametrize(
    ("choose_by", "history", "told"),
    [
        ("mean_iou", HISTORY, "stage 2 after epoch 2, the best of its stage by mean IoU on `val`."),
        ("mean_iou", HISTORY[:3], "stage 2 after epoch 1, the best of its stage by mean IoU on `val`."),
        ("mean_iou", [*HISTORY, entry(1, 2, 0.72)], "stage 2 after epoch 3, not the best of its stage."),
        (
            "loss",
            [entry(0, 0, 0.8, val_loss=0.5), entry(0, 1, 0.7, val_loss=0.4)],
            "stage 1 after epoch 2, the best of its stage by loss on `val`.",
        ),
        ("mean_iou", [], "Exported before its first epoch was over."),
    ],
)
def test_card_says_which_epoch_was_exported(
    choose_by: str, history: list[dict[str, float]], told: str
) -> None:
    assert told in card(asdict(CONFIG) | {"choose_by": choose_by}, history, None)


def test_checkpoint_of_an_older_version_gets_a_card_too() -> None:
    lines = card(OLD_CONFIG, [entry(0, 0, 0.6)], None).splitlines()

    assert "| encoder | random first weights |" in lines
    assert "| frames varied by | flip 0.5 |" in lines
    assert (
        "| optimiser | adamw, learning rate by onecycle, weight decay 0.0001, gradients up to a norm of 5 |"
        in lines
    )
    assert not [line for line in lines if line.startswith(("| teachers", "| weights"))]


def test_random_weights_are_called_that() -> None:
    text = card(None, [], None)

    assert "It was not: the weights are random." in text
    assert "mean IoU" not in text
