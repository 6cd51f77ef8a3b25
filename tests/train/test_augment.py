"""Each variation does what its name says, and moves image and label together."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from perception.labels import IGNORE  # noqa: E402
from train.config import Augment  # noqa: E402
from train.data import augment  # noqa: E402
from train.data.augment import OnImage, build_augmentation  # noqa: E402
from train.torchvision_cpu import tv_tensors  # noqa: E402

STILL = Augment(0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
GREY = (116, 116, 116)


def road() -> torch.Tensor:
    """(3, 90, 160) uint8: grey, brighter towards the right, with a texture."""
    torch.manual_seed(0)
    ramp = torch.linspace(90, 200, 160).expand(3, 90, 160)
    return (ramp + 20 * torch.rand(90, 160)).to(torch.uint8)


def test_augmentation_with_everything_off_changes_nothing() -> None:
    image, mask = road(), torch.randint(0, 3, (90, 160), dtype=torch.uint8)

    varied, varied_mask = build_augmentation(STILL, GREY)(tv_tensors.Image(image), tv_tensors.Mask(mask))

    assert torch.equal(varied, image)
    assert torch.equal(varied_mask, mask)


def test_geometry_moves_image_and_label_together() -> None:
    mask = torch.zeros(90, 160, dtype=torch.uint8)
    mask[:, 80:] = 1
    image = (mask * 200).expand(3, 90, 160).clone()
    settings = Augment(0.5, 0.75, 1.6, 3.0, 0.15, 0, 0, 0, 0, 0, 0, 0)
    seen = set()
    for seed in range(8):
        torch.manual_seed(seed)
        varied, moved = build_augmentation(settings, GREY)(tv_tensors.Image(image), tv_tensors.Mask(mask))
        inside = moved != IGNORE
        agrees = ((varied[0] > 100) == (moved == 1))[inside]
        assert agrees.float().mean() > 0.97  # but for the pixels of the edge
        seen.add(int(inside.sum()))
    assert len(seen) > 4


def test_pixels_from_outside_the_frame_have_the_padding_colour_in_every_channel() -> None:
    pad_bgr = (104, 116, 124)
    smaller = Augment(0, 0.5, 0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    mask = torch.zeros(90, 160, dtype=torch.uint8)

    varied, moved = build_augmentation(smaller, pad_bgr)(tv_tensors.Image(road()), tv_tensors.Mask(mask))

    assert moved[0, 0] == IGNORE
    assert varied[:, 0, 0].tolist() == list(pad_bgr)


def test_darkness_darkens_the_day_and_leaves_the_night() -> None:
    day, night = road(), road() // 4

    assert augment.darkness(day).float().mean() < 0.8 * day.float().mean()
    assert torch.equal(augment.darkness(night), night)


def test_glare_only_brightens_and_most_in_one_place() -> None:
    torch.manual_seed(3)
    gained = augment.glare(road()).int() - road().int()

    assert gained.min() >= -1  # cut to whole levels
    assert gained.max() > 20
    assert gained.float().median() < gained.max() / 2


def test_rain_takes_contrast_and_leaves_streaks() -> None:
    torch.manual_seed(0)
    flat = torch.full((3, 90, 160), 100, dtype=torch.uint8)

    wet = augment.rain(flat)

    assert wet.max() > 105
    assert 0 < (wet[0] > 105).float().mean() < 0.5
    assert augment.rain(road()).shape == road().shape


def test_noise_and_compression_keep_the_picture() -> None:
    for change in (augment.sensor_noise, augment.jpeg_artefacts):
        torch.manual_seed(0)
        varied = change(road())
        assert varied.dtype == torch.uint8
        difference = (varied.float() - road().float()).abs().mean()
        assert 1 < difference < 20


def test_low_resolution_leaves_no_more_detail_than_its_pixels_had() -> None:
    torch.manual_seed(0)
    wide = torch.zeros(3, 360, 640, dtype=torch.uint8)
    wide[:, :, ::2] = 255

    coarse = augment.low_resolution(wide)

    assert coarse.shape == wide.shape
    assert coarse.float().std() < 0.1 * wide.float().std()
    assert (coarse.float().mean() - wide.float().mean()).abs() < 3


@pytest.mark.parametrize(
    "kind", ["darkness", "glare", "rain", "sensor_noise", "jpeg_artefacts", "low_resolution"]
)
def test_mask_passes_through_what_changes_only_light(kind: str) -> None:
    mask = torch.randint(0, 3, (90, 160), dtype=torch.uint8)

    _, passed = OnImage(getattr(augment, kind))(tv_tensors.Image(road()), tv_tensors.Mask(mask))

    assert torch.equal(passed, mask)
