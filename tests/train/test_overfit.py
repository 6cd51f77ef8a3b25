"""Every network can learn four frames by heart: one that cannot is wired wrongly."""

from __future__ import annotations

import os

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from perception.labels import LABELS  # noqa: E402
from perception.metrics.confusion_matrix import ConfusionMatrix  # noqa: E402
from perception.synthetic import DriveRenderer  # noqa: E402
from train.config import GREY_LEVEL, GREY_STD  # noqa: E402
from train.evaluate import Normalise, logits_at_input  # noqa: E402
from train.losses import dice, with_auxiliary  # noqa: E402
from train.models import MODELS, PUBLISHED, build_model  # noqa: E402

FRAMES, FRAME_WH = 4, (160, 96)
SECONDS_BETWEEN_FRAMES = 1.7
LEARNING_RATE = {
    "rt_s": 3e-3,
    "rt_m": 3e-3,
    "rt_l": 2e-3,
    "fcn": 2e-4,
    "unet": 1e-3,
    "pspnet": 2e-4,
    "deeplabv3plus": 3e-4,
    "segformer": 2e-4,
}
MOST_STEPS, STEPS_BETWEEN_LOOKS = 150, 10


def drive() -> tuple[Tensor, Tensor]:
    """(4, 3, 96, 160) normalised frames of the built-in road, and (4, 96, 160) labels of all classes."""
    renderer = DriveRenderer("city", FRAME_WH, 1 / SECONDS_BETWEEN_FRAMES)
    images, labels = zip(*(renderer.render(number) for number in range(FRAMES)), strict=True)
    frames = torch.stack([torch.tensor(image_bgr).permute(2, 0, 1) for image_bgr in images])
    normalise = Normalise((GREY_LEVEL,) * 3, (GREY_STD,) * 3)
    return normalise(frames), torch.stack([torch.tensor(label) for label in labels])


def mean_iou(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    confusion = ConfusionMatrix(len(LABELS))
    with torch.inference_mode():
        predicted = logits_at_input(model.eval()(inputs), labels).argmax(1)
    confusion.add(labels.numpy(), predicted.to(torch.uint8).numpy())
    return confusion.mean_iou()


def best_mean_iou(name: str) -> float:
    """The best mean IoU on the frames learned from; learning ends where it is enough."""
    torch.manual_seed(0)
    inputs, labels = drive()
    model = build_model(name, len(LABELS)).to(memory_format=torch.channels_last)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.5  # every step sees all frames there are: no long average is needed
    optimiser = torch.optim.Adam(model.parameters(), LEARNING_RATE[name])
    best = 0.0
    for step in range(1, MOST_STEPS + 1):
        outputs = model.train()(inputs)
        logits = logits_at_input(outputs.logits, labels)
        auxiliary = None if outputs.auxiliary is None else logits_at_input(outputs.auxiliary, labels)
        optimiser.zero_grad()
        with_auxiliary(dice, logits, auxiliary, labels.long()).backward()
        optimiser.step()
        if step % STEPS_BETWEEN_LOOKS == 0:
            best = max(best, mean_iou(model, inputs, labels))
            if best > 0.95:
                break
    return best


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODELS if name not in PUBLISHED])
def test_network_of_ours_learns_four_frames_by_heart(name: str) -> None:
    assert best_mean_iou(name) > 0.95


@pytest.mark.slow_large
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_network_learns_four_frames_by_heart(name: str) -> None:
    torch.set_num_threads(os.cpu_count() or 1)

    assert best_mean_iou(name) > 0.95
