"""Training data and licence of a file follow from its run."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

pytest.importorskip("torch")

from export.provenance import licence, training, training_data
from train.config import Stage, Teacher, TrainConfig
from train.models import MODELS, build_model

RUN = TrainConfig("rt_s", [Stage((64, 32), 1, 4, 1e-3)])
DRAWN = replace(RUN.stages[0], synthetic_drives=3)
NAMED = replace(RUN, data="/roads/mine", data_name="my roads", data_licence="mine alone")


@pytest.mark.parametrize(
    ("config", "data", "terms"),
    [
        (replace(RUN, stages=[DRAWN]), "rendered drives", "Apache-2.0"),
        (NAMED, "my roads", "code Apache-2.0; weights: mine alone"),
        (
            replace(NAMED, stages=[DRAWN]),
            "my roads and rendered drives",
            "code Apache-2.0; weights: mine alone",
        ),
        (
            replace(RUN, data="/roads/mine"),
            "the labelled frames of mine",
            "code Apache-2.0; weights: as the licence of the training data allows "
            "(not stated; see --data_licence)",
        ),
    ],
)
def test_data_and_terms_follow_from_the_settings(config: TrainConfig, data: str, terms: str) -> None:
    settings: dict[str, Any] = asdict(config)

    assert training_data(settings) == data
    assert licence(settings, build_model("rt_s", 3)) == terms


def test_initial_weights_bring_their_data_and_terms() -> None:
    shipped = {"name": "rt_s", "training_data": "BDD100K", "licence": "not for profit", "settings": None}
    own = {"name": "best.pt", "training_data": None, "licence": None, "settings": asdict(NAMED)}
    network = build_model("rt_s", 3)

    data, terms = training_data(asdict(NAMED), shipped), licence(asdict(NAMED), network, shipped)
    again = training_data(asdict(RUN), {**own, "before": shipped})

    assert data == "my roads; initial weights of rt_s, trained on BDD100K"
    assert terms.endswith("mine alone; initial weights of rt_s: not for profit")
    assert "weights of best.pt, trained on my roads; initial weights of rt_s, trained on BDD100K" in again
    assert "not for profit" in licence(asdict(RUN), network, {**own, "before": shipped})


@pytest.mark.slow
def test_licence_of_a_librarys_layers_stands_beside_ours() -> None:
    assert licence(asdict(RUN), MODELS["segformer"](3)).startswith("Apache-2.0; encoder's code")


def test_training_is_ready_for_json_and_names_no_folder() -> None:
    config = replace(
        NAMED, encoder_weights="/w/mobilenet.pth", teachers=[Teacher("/t/big.pt")], out="/home/me/runs"
    )

    section = training(asdict(config), [{"stage": 0, "epoch": 0, "loss": 0.5, "val_loss": float("nan")}])

    text = json.dumps(section, allow_nan=False)
    assert not [folder for folder in ("/roads", "/w/", "/t/", "/home") if folder in text]
    assert section["settings"]["encoder_weights"] == "mobilenet.pth"
    assert section["settings"]["teachers"][0]["file"] == "big.pt"
    assert section["epochs"] == [{"stage": 0, "epoch": 0, "loss": 0.5}]
