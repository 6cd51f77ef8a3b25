"""One shared test for every network of `MODELS`."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from train.models import MODELS, build_model  # noqa: E402


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape_hw", [(64, 96), (72, 104), (96, 160)])
def test_logits_come_out_at_stride_8_and_every_weight_learns(name: str, shape_hw: tuple[int, int]) -> None:
    model = build_model(name, 3).train()

    logits = model(torch.randn(2, 3, *shape_hw))
    logits.square().mean().backward()

    assert logits.shape == (2, 3, shape_hw[0] // 8, shape_hw[1] // 8)
    assert all(weight.grad is not None for weight in model.parameters())


def test_unknown_model_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown model 'rt_x'; known: rt_s, rt_m"):
        build_model("rt_x", 3)


@pytest.mark.slow
def test_rt_s_overfits_four_frames() -> None:
    from perception.confusion import ConfusionMatrix
    from perception.labels import BACKGROUND
    from train.data.loader import Batches
    from train.data.synthetic import SyntheticDrives
    from train.evaluate import Normalise, logits_at_input
    from train.losses import dice_and_cross_entropy

    torch.manual_seed(0)
    frames = Batches(SyntheticDrives(2, 2, (160, 96)), (160, 96), (116, 116, 116))
    images, labels = (torch.stack(column) for column in zip(*(frames[i] for i in range(4)), strict=True))
    inputs = Normalise((116.0,) * 3, (57.4,) * 3)(images)
    model = build_model("rt_s", BACKGROUND + 1).train()
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(150):
        loss = dice_and_cross_entropy(logits_at_input(model(inputs), labels), labels.long())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    confusion = ConfusionMatrix(BACKGROUND + 1)
    with torch.inference_mode():
        predicted = logits_at_input(model.eval()(inputs), labels).argmax(1)
    confusion.add(labels.numpy(), predicted.to(torch.uint8).numpy())
    assert confusion.mean_iou() > 0.9


def test_encoder_weights_of_another_network_are_refused(tmp_path) -> None:
    file = tmp_path / "other.pth"
    torch.save({"conv.weight": torch.zeros(1)}, file)

    with pytest.raises(ValueError, match="not MobileNetV2 feature weights"):
        build_model("rt_m", 3).load_encoder(file)


def test_encoder_weights_are_turned_from_rgb_to_bgr(tmp_path) -> None:
    from train.torchvision_cpu import mobilenet_v2

    torch.manual_seed(1)
    features = mobilenet_v2(weights=None).features
    file = tmp_path / "features.pth"
    torch.save({f"features.{name}": value for name, value in features.state_dict().items()}, file)
    model = build_model("rt_m", 3).eval()

    model.load_encoder(file)

    image_bgr = torch.randn(1, 3, 64, 64)
    wanted = features[:7].eval()(image_bgr.flip(1))
    torch.testing.assert_close(model.to_stride8(image_bgr), wanted)
