"""Losses see what they should and nothing else."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from perception.labels import IGNORE  # noqa: E402
from train.losses import LOSSES, with_auxiliary  # noqa: E402


@pytest.mark.parametrize("name", LOSSES)
def test_perfect_logits_have_almost_no_loss_and_wrong_ones_much(name: str) -> None:
    labels = torch.randint(0, 3, (2, 16, 16))
    logits = torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2) * 50.0

    assert LOSSES[name](logits, labels) < 0.01
    assert LOSSES[name](logits.roll(1, dims=1), labels) > 1


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_do_not_change_the_loss(name: str) -> None:
    labels = torch.randint(0, 3, (2, 16, 16))
    labels[:, :4] = IGNORE
    logits = torch.randn(2, 3, 16, 16)
    other = logits.clone()
    other[:, :, :4] = 100 * torch.randn(2, 3, 4, 16)

    torch.testing.assert_close(LOSSES[name](other, labels), LOSSES[name](logits, labels))


@pytest.mark.parametrize("name", LOSSES)
def test_frame_without_a_label_has_a_finite_loss(name: str) -> None:
    labels = torch.full((2, 8, 8), IGNORE)

    assert torch.isfinite(LOSSES[name](torch.randn(2, 3, 8, 8), labels))


def test_weighted_cross_entropy_makes_a_rare_class_as_heavy_as_a_common_one() -> None:
    labels = torch.zeros(1, 10, 10, dtype=torch.long)
    labels[0, 0, 0] = 1  # one pixel in a hundred
    confident = torch.zeros(1, 2, 10, 10)
    confident[:, 0] = 5.0  # everything is the common class

    wrong_where_rare = LOSSES["weighted_cross_entropy"](confident, labels)
    wrong_where_common = LOSSES["weighted_cross_entropy"](-confident, labels)

    torch.testing.assert_close(wrong_where_rare, wrong_where_common)


def test_auxiliary_head_has_four_tenths_of_the_loss() -> None:
    labels = torch.randint(0, 3, (1, 8, 8))
    main, auxiliary = torch.randn(2, 1, 3, 8, 8)
    loss = LOSSES["cross_entropy"]

    both = with_auxiliary(loss, main, auxiliary, labels)

    torch.testing.assert_close(both, 0.6 * loss(main, labels) + 0.4 * loss(auxiliary, labels))
    torch.testing.assert_close(with_auxiliary(loss, main, None, labels), loss(main, labels))
