"""Further data sets join the training frames in their share, and never with a validation recording."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from train import check, loop  # noqa: E402
from train.checkpoint import Checkpoint  # noqa: E402
from train.cli import main  # noqa: E402
from train.config import Augment, MoreData, Stage, TrainConfig  # noqa: E402
from train.data.mixture import training_batches, training_frames  # noqa: E402
from train.processes import Processes  # noqa: E402

STAGE = Stage((64, 32), 1, 4, 1e-3)


def write(root: Path, first: int, splits: list[str], grey: int, image_wh: tuple[int, int] = (64, 36)) -> Path:
    """A data set of plain grey frames with labels of 64x36, one recording a frame."""
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    rows = ["id,split"]
    for number, split in enumerate(splits, first):
        name = f"{number:08x}-00000000"
        image = np.full((*image_wh[::-1], 3), grey, np.uint8)
        cv2.imwrite(str(root / "images" / f"{name}.jpg"), image)
        label = np.full((36, 64), 2, np.uint8)
        label[20:] = 0
        cv2.imwrite(str(root / "labels" / f"{name}.png"), label)
        rows.append(f"{name},{split}")
    (root / "index.csv").write_text("\n".join(rows))
    return root


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """Twelve frames, and twenty of a further data set whose pictures are a quarter of the labels' size."""
    own = write(tmp_path / "own", 0, 12 * ["train"] + 4 * ["val"], 60)
    more = write(tmp_path / "more", 100, 20 * ["train"], 180, (16, 9))
    further = MoreData(str(more), share=0.25, scale_pictures=True)
    return TrainConfig(
        "rt_s", [STAGE], data=str(own), more_data=[further], augment=None, out=str(tmp_path / "runs")
    )


def brightness(config: TrainConfig, stage: Stage) -> list[float]:
    """Of each frame of an epoch, without the padding."""
    batches, _ = training_batches(config, stage, Processes.join("cpu"))
    return [float(image[:, 8:24].float().mean()) for images, _ in batches for image in images]


def test_share_of_an_epoch_is_of_the_further_data_set(config: TrainConfig) -> None:
    seen = brightness(config, STAGE)

    assert len(seen) == 16
    assert sum(level > 120 for level in seen) == 4


def test_without_a_share_every_frame_is_taken(config: TrainConfig) -> None:
    whole = replace(config, more_data=[replace(config.more_data[0], share=0)])

    assert len(brightness(whole, STAGE)) == 32


def test_stage_may_leave_further_data_sets_out(config: TrainConfig) -> None:
    assert max(brightness(config, replace(STAGE, more_data=False))) < 120


def test_picture_smaller_than_its_label_is_an_error_unless_it_is_to_be_scaled(config: TrainConfig) -> None:
    _, more = training_frames(config, STAGE)
    image, label = more[0]

    assert image.shape[:2] == label.shape == (36, 64)
    _, unscaled = training_frames(
        replace(config, more_data=[replace(config.more_data[0], scale_pictures=False)]), STAGE
    )
    with pytest.raises(ValueError, match="is 64x36 pixels, its image 16x9"):
        unscaled[0]


def test_picture_of_another_shape_is_not_scaled(config: TrainConfig, tmp_path: Path) -> None:
    square = write(tmp_path / "square", 200, ["train"], 90, (9, 9))
    _, frames = training_frames(
        replace(config, more_data=[MoreData(str(square), scale_pictures=True)]), replace(STAGE, batch_size=1)
    )

    with pytest.raises(ValueError, match="its image 9x9"):
        frames[0]


def test_recording_of_the_validation_frames_is_refused(
    config: TrainConfig, tmp_path: Path, only_error_line: Callable[[str], str]
) -> None:
    leaking = write(tmp_path / "leaking", 13, ["train"], 90)
    stage = "{input_wh: [64, 32], epochs: 1, batch_size: 4, max_learning_rate: 1.0e-3}"
    more = f"[{{folder: {leaking}}}]"

    status = main(
        [
            "--model=rt_s",
            f"--stages=[{stage}]",
            f"--data={config.data}",
            f"--more-data={more}",
            f"--out={tmp_path}",
        ]
    )

    assert status == 1
    assert "leaking: recording 0000000d is in the validation frames too" in only_error_line("drivable-train")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([MoreData("d", share=1.0)], "share must be at least 0 and less than 1, not 1"),
        ([MoreData("d", share=0.6), MoreData("e", share=0.5)], "the shares must come to less than 1"),
    ],
)
def test_shares_that_leave_nothing_are_refused(more: list[MoreData], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check.check(TrainConfig("rt_s", [STAGE], data="d", more_data=more))


def test_further_data_set_needs_one_to_join() -> None:
    with pytest.raises(ValueError, match="name that one"):
        check.check(TrainConfig("rt_s", [STAGE], more_data=[MoreData("d")]))


def test_run_of_a_version_without_these_settings_goes_on(tmp_path: Path) -> None:
    stage = replace(STAGE, epochs=2, synthetic_drives=2, frames_per_drive=4, augment=Augment())
    config = TrainConfig("rt_s", [stage], out=str(tmp_path))
    begun = asdict(config)
    del begun["more_data"]
    for augment in (begun["augment"], begun["stages"][0]["augment"]):
        del augment["low_resolution"]
    del begun["stages"][0]["more_data"]

    assert check.changed_since(begun, config) == []
    assert check.changed_in_stage(begun, 0, stage) == []
    assert check.changed_in_stage(begun, 0, replace(stage, more_data=False)) == ["more_data"]


@pytest.mark.slow
def test_run_with_further_data_ends_with_a_report(config: TrainConfig) -> None:
    best = loop.train(config, lambda line: None)

    assert Checkpoint.load(best).config["more_data"][0]["share"] == 0.25
