"""Losses see what they should and nothing else."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from perception.labels import IGNORE  # noqa: E402
from train.losses import LOSSES  # noqa: E402


@pytest.mark.parametrize("name", LOSSES)
def test_perfect_logits_have_almost_no_loss(name: str) -> None:
    labels = torch.randint(0, 3, (2, 16, 16))
    logits = torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2) * 50.0

    assert LOSSES[name](logits, labels) < 0.01


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_do_not_change_the_loss(name: str) -> None:
    labels = torch.randint(0, 3, (2, 16, 16))
    labels[:, :4] = IGNORE
    logits = torch.randn(2, 3, 16, 16)
    other = logits.clone()
    other[:, :, :4] = 100 * torch.randn(2, 3, 4, 16)

    torch.testing.assert_close(LOSSES[name](other, labels), LOSSES[name](logits, labels))
