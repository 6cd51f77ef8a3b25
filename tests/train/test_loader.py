"""Frames reach the network as the node would show them, and each step's frames follow from one seed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from perception.imaging.letterbox import letterbox  # noqa: E402
from perception.labels import IGNORE  # noqa: E402
from train.config import Augment  # noqa: E402
from train.data.augment import build_augmentation  # noqa: E402
from train.data.loader import Batches, Steps, in_order  # noqa: E402

PAD = (1, 2, 3)


class Striped:
    """Frames of 40x20: the left half class 0, the right half class 1, the blue channel is the index."""

    def __init__(self, count: int, first: int = 0) -> None:
        self.count, self.first = count, first

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        image = np.full((20, 40, 3), 100, np.uint8)
        image[..., 0] = self.first + index
        label = np.zeros((20, 40), np.uint8)
        label[:, 20:] = 1
        return image, label

    def name(self, index: int) -> str:
        return str(index)

    def recording(self, index: int) -> str:
        return "drive"


def test_image_goes_through_the_nodes_letterbox_and_its_padding_is_ignored() -> None:
    image, label = Batches([Striped(1)], (32, 32), PAD)[0, 0]

    expected, box = letterbox(Striped(1)[0][0], (32, 32), PAD)
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), expected)
    assert (label[: box.top_px] == IGNORE).all()
    assert (label[box.rows, :16] == 0).all()
    assert (label[box.rows, 16:] == 1).all()


def test_nearest_stretches_image_and_label_alike_without_padding() -> None:
    image, label = Batches([Striped(1)], (32, 32), PAD, resize="nearest")[0, 0]

    assert (image[1] == 100).all()
    assert (label[:, :16] == 0).all()
    assert (label[:, 16:] == 1).all()


def test_index_runs_through_all_frame_sets() -> None:
    batches = Batches([Striped(2), Striped(3, first=50)], (40, 20), PAD)

    assert len(batches) == 5
    assert [int(batches[index, 0][0][0, 0, 0]) for index in range(5)] == [0, 1, 50, 51, 52]


def test_variation_is_drawn_from_the_seed_alone_and_leaves_the_padding() -> None:
    batches = Batches([Striped(1)], (32, 32), PAD, build_augmentation(Augment(noise=1.0), PAD))
    torch.manual_seed(1)
    first, label = batches[0, 7]
    torch.manual_seed(2)
    again, _ = batches[0, 7]
    state = torch.get_rng_state()
    other, _ = batches[0, 8]

    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)
    for image in (first, other):
        assert image[:, 0].permute(1, 0).tolist() == [list(PAD)] * 32
    assert (label[0] == IGNORE).all()


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_the_steps_that_one_alone_would_take(processes: int) -> None:
    def steps(rank: int, count: int) -> list[list[tuple[int, int]]]:
        order = Steps(19, 4, rank, count)
        order.seed = 5
        return list(order)

    alone = steps(0, 1)
    shared = [steps(rank, processes) for rank in range(processes)]

    for number, step in enumerate(alone):
        assert sorted(draw for part in shared for draw in part[number]) == sorted(step)
    assert len(alone) == 4
    assert len({index for step in alone for index, _ in step}) == 16


def test_another_seed_is_another_order() -> None:
    order = Steps(16, 4)
    first = list(order)
    order.seed = 1

    assert list(order) != first


def test_epoch_takes_at_most_so_many_frames_of_a_range_and_others_each_time() -> None:
    order = Steps(20, 4, at_most={range(10, 18): 2})
    epochs = []
    for seed in range(6):
        order.seed = seed
        epochs.append({index for step in order for index, _ in step})

    assert len(order) == 3
    for epoch in epochs:
        assert len(epoch) == 12
        assert len(epoch & set(range(10, 18))) <= 2
    assert len(set().union(*epochs) & set(range(10, 18))) > 4


def test_range_that_has_no_more_is_taken_whole() -> None:
    few, all_of_them = Steps(8, 4, at_most={range(2, 5): 30}), Steps(8, 4)

    assert list(few) == list(all_of_them)


def test_step_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size 6 cannot be shared by 4 processes evenly"):
        Steps(100, 6, 0, 4)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_validation_sees_every_frame_once(processes: int) -> None:
    parts = [in_order(10, 4, rank, processes) for rank in range(processes)]

    assert sorted(index for part in parts for step in part for index, _ in step) == list(range(10))
