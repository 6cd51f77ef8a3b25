"""One shared test for every network of `MODELS`, and for every encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from train.config import GREY_LEVEL, GREY_STD  # noqa: E402
from train.models import MODELS, PUBLISHED, Network, build_model, load_encoder, size_of  # noqa: E402
from train.models.network import TrainingOutputs  # noqa: E402
from train.models.pspnet import GridMeans  # noqa: E402
from train.torchvision_cpu import mobilenet_v2, resnet50, smp, timm  # noqa: E402

PUBLISHED_MB = {"fcn": 133, "unet": 118, "pspnet": 187, "deeplabv3plus": 154, "segformer": 170}
WITHOUT_ENCODER = ("rt_s", "unet")
NETWORKS = [pytest.param(name, marks=pytest.mark.slow if name in PUBLISHED[1:] else ()) for name in MODELS]
"""Ours, and one of the published ones; the others are much larger."""
WITH_ENCODER = [network for network in NETWORKS if network.values[0] not in WITHOUT_ENCODER]
DOWNLOADS = {
    "rt_m": "torchvision.models._api.load_state_dict_from_url",
    "rt_l": "timm.models._builder.load_state_dict_from_hf",
    "fcn": "torchvision.models._api.load_state_dict_from_url",
    "pspnet": "torchvision.models._api.load_state_dict_from_url",
    "deeplabv3plus": "torchvision.models._api.load_state_dict_from_url",
    "segformer": "segmentation_models_pytorch.encoders.hf_hub_download",
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """Where a test writes weights; not kept, for some take 200 MB."""
    yield tmp_path / "weights.pth"
    for written in tmp_path.glob("weights.*"):
        written.unlink()


def frames(*shape_hw: int) -> Tensor:
    """Two frames as training lays them out in memory."""
    return torch.randn(2, 3, *shape_hw).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", NETWORKS)
class TestEveryNetwork:
    def test_logits_come_out_at_its_output_stride_and_at_any_size(self, name: str) -> None:
        model = build_model(name, 3).eval().to(memory_format=torch.channels_last)
        stride = model.output_stride

        with torch.inference_mode():
            logits = model(frames(64, 96))
            odd = {shape_hw: model(frames(*shape_hw)) for shape_hw in ((180, 320), (97, 65))}

        assert logits.shape == (2, 3, 64 // stride, 96 // stride)
        assert logits.dtype == torch.float32
        for (height, width), found in odd.items():
            assert abs(found.shape[2] - height / stride) < 1
            assert abs(found.shape[3] - width / stride) < 1
            assert torch.isfinite(found).all()

    def test_every_weight_gets_a_finite_gradient_and_every_head_speaks(self, name: str) -> None:
        model = build_model(name, 3).train().to(memory_format=torch.channels_last)

        outputs = model(frames(64, 96))
        sum(output.square().mean() for output in outputs if output is not None).backward()

        assert isinstance(outputs, TrainingOutputs)
        assert (outputs.auxiliary is not None) == (name in ("fcn", "pspnet"))
        assert (outputs.lines is not None) == name.startswith("rt_")
        lacking = [
            weight_name
            for weight_name, weight in model.named_parameters()
            if weight.grad is None or not torch.isfinite(weight.grad).all()
        ]
        assert lacking == []

    def test_half_precision_trains_it_too(self, name: str) -> None:
        model = build_model(name, 3).train()

        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(frames(64, 64))

        assert torch.isfinite(outputs.logits).all()

    def test_knows_its_own_name(self, name: str) -> None:
        assert MODELS[name].name == name


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_network_has_its_published_size(name: str) -> None:
    parameters, size_mib = size_of(build_model(name, 3))

    assert size_mib == pytest.approx(PUBLISHED_MB[name], rel=0.1)
    assert parameters * 4 / 2**20 == pytest.approx(size_mib, rel=0.01)


def test_size_counts_parameters_and_buffers() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))

    assert size_of(layers) == (12, (12 * 4 + 4 * 4 + 8) / 2**20)


def test_unknown_model_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown model 'rt_x'; known: rt_s, rt_m, rt_l, fcn"):
        build_model("rt_x", 3)


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
@pytest.mark.parametrize("shape_hw", [(48, 80), (23, 40), (7, 5), (4, 3)])
def test_grid_means_are_adaptive_average_pooling(bins: int, shape_hw: tuple[int, int]) -> None:
    features = torch.randn(2, 5, *shape_hw)

    wanted = functional.adaptive_avg_pool2d(features, bins)

    torch.testing.assert_close(GridMeans(bins)(features), wanted)


def _randomised(layers: nn.Module) -> nn.Module:
    """Statistics and shifts that a trained network has: zeros and ones would hide a layer left out."""
    for module in layers.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return layers.eval()


def _resnet_file() -> tuple[dict[str, Tensor], Callable[[Tensor], Tensor]]:
    whole = _randomised(resnet50(weights=None))
    features = nn.Sequential(whole.conv1, whole.bn1, whole.relu, whole.maxpool, whole.layer1, whole.layer2)
    return whole.state_dict(), features


def _mobilenet_file() -> tuple[dict[str, Tensor], Callable[[Tensor], Tensor]]:
    whole = _randomised(mobilenet_v2(weights=None))
    return whole.state_dict(), whole.features[:7]


def _mit_file() -> tuple[dict[str, Tensor], Callable[[Tensor], Tensor]]:
    encoder = smp.encoders.get_encoder("mit_b3", weights=None).eval()
    classifier = {"head.weight": torch.zeros(1000, 512), "head.bias": torch.zeros(1000)}
    return encoder.state_dict() | classifier, lambda image: encoder(image)[3]


def _lite2_file() -> tuple[dict[str, Tensor], Callable[[Tensor], Tensor]]:
    whole = _randomised(timm.create_model("tf_efficientnet_lite2"))
    state = whole.state_dict()

    def features(image_rgb: Tensor) -> Tensor:
        """The stem on the input that these weights were learned on."""
        pixels = image_rgb * GREY_STD + GREY_LEVEL
        stem = functional.conv2d((pixels - 127) / 128, state["conv_stem.weight"], stride=2, padding=1)
        # The border sees padding of another grey.
        return whole.bn1(stem)[..., 1:, 1:]

    return state, features


def _lite2_stem(model: Any, image_bgr: Tensor) -> Tensor:
    encoder = model.encoder
    return functional.relu6(encoder.bn1(encoder.conv_stem(image_bgr)))[..., 1:, 1:]


ENCODERS: dict[str, tuple[Callable[[], Any], Callable[[Any, Tensor], Tensor]]] = {
    "rt_m": (_mobilenet_file, lambda model, image: model.to_stride8(image)),
    "rt_l": (_lite2_file, _lite2_stem),
    **{
        name: (_resnet_file, lambda model, image: model.encoder.layer2(model.encoder(image)["stride4"]))
        for name in ("fcn", "pspnet", "deeplabv3plus")
    },
    "segformer": (_mit_file, lambda model, image: model.encoder(image)[3]),
}


@pytest.mark.parametrize("name", WITH_ENCODER)
class TestEveryEncoder:
    def test_features_of_bgr_are_those_that_the_file_gives_of_rgb(self, name: str, file: Path) -> None:
        make_file, features_of = ENCODERS[name]
        state, reference = make_file()
        torch.save(state, file)
        model = build_model(name, 3).eval()

        load_encoder(model, str(file))

        image_bgr = torch.randn(1, 3, 64, 64)
        with torch.inference_mode():
            torch.testing.assert_close(
                features_of(model, image_bgr), reference(image_bgr.flip(1)), rtol=1e-4, atol=1e-4
            )

    def test_encoder_is_exactly_what_the_file_fills(self, name: str, file: Path) -> None:
        state, _ = ENCODERS[name][0]()
        marked = {key: torch.full_like(value, 7) for key, value in state.items()}
        file = file.with_suffix(".safetensors")
        save_file(marked, file)
        model = build_model(name, 3)

        load_encoder(model, str(file))

        first, *others = model.encoder_parameters()
        filled = [weight for weight in model.parameters() if (weight == 7).all() and weight is not first]
        assert len(filled) > 50
        assert {id(weight) for weight in filled} == {id(weight) for weight in others}
        assert len(first.unique()) == 1

    def test_download_that_fails_is_one_line_that_says_what_to_do(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_network(*arguments: object, **settings: object) -> None:
            raise URLError("Name or service\nnot known")

        monkeypatch.setattr(DOWNLOADS[name], no_network)
        monkeypatch.setattr("train.models.pretrained.is_reachable", lambda url: True)

        with pytest.raises(ValueError, match=r"could not be fetched .*not known") as raised:
            load_encoder(build_model(name, 3), "imagenet")

        assert "\n" not in str(raised.value)
        assert "name a file with --encoder_weights FILE" in str(raised.value)

    def test_frozen_encoder_stays_as_it_is_while_the_head_learns(self, name: str) -> None:
        model = build_model(name, 3).train()
        for weight in model.encoder_parameters():
            weight.requires_grad_(False)
        for module in model.encoder_modules():
            module.eval()
        before = [
            value.clone() for module in model.encoder_modules() for value in module.state_dict().values()
        ]
        learning = [weight for weight in model.parameters() if weight.requires_grad]
        head_before = [weight.detach().clone() for weight in learning]

        outputs = model(frames(32, 64))
        sum(output.square().mean() for output in outputs if output is not None).backward()
        torch.optim.SGD(learning, 1e-2).step()

        after = [value for module in model.encoder_modules() for value in module.state_dict().values()]
        assert all(map(torch.equal, before, after))
        assert not any(map(torch.equal, head_before, learning))

    def test_file_of_another_network_is_one_line_that_names_it(self, name: str, file: Path) -> None:
        torch.save({"conv.weight": torch.zeros(1)}, file)

        with pytest.raises(ValueError, match=r"not .*(missing|1 tensors and not \d+)$") as raised:
            load_encoder(build_model(name, 3), str(file))

        assert str(raised.value).startswith(f"{file}: ")
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file of encoder weights"),
        (b"text", "not a weights file of torch or safetensors"),
        ([1, 2], "not a weights file: it holds something else than tensors by name"),
        ({"state_dict": {}}, "not a weights file: it holds something else than tensors by name"),
    ],
)
@pytest.mark.parametrize("file_name", ["weights.pth", "weights.safetensors"])
def test_file_without_weights_is_one_line_that_names_it(
    content: object, message: str, file_name: str, file: Path
) -> None:
    file = file.with_name(file_name)
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        torch.save(content, file)
        message = "not a weights file"

    with pytest.raises(ValueError, match=f"{file_name}: {message}") as raised:
        load_encoder(build_model("rt_m", 3), str(file))

    assert "\n" not in str(raised.value)


def test_encoder_weights_of_another_size_name_the_layer(file: Path) -> None:
    state = mobilenet_v2(weights=None).state_dict()
    state["features.3.conv.1.0.weight"] = torch.zeros(1, 2, 3, 4)
    torch.save(state, file)

    with pytest.raises(ValueError, match=r"3\.conv\.1\.0\.weight is \(1, 2, 3, 4\) and not \(144, 1, 3, 3\)"):
        load_encoder(build_model("rt_m", 3), str(file))


def test_encoder_file_may_count_no_batches(file: Path) -> None:
    state = mobilenet_v2(weights=None).state_dict()
    counted = [key for key in state if key.endswith("num_batches_tracked")]
    torch.save({key: value for key, value in state.items() if key not in counted}, file)

    load_encoder(build_model("rt_m", 3), str(file))

    assert counted


def test_package_weights_are_matched_by_place(file: Path) -> None:
    state = timm.create_model("tf_efficientnet_lite2").state_dict()
    torch.save({f"_{place}": value for place, value in enumerate(state.values())}, file)
    model = build_model("rt_l", 3)

    load_encoder(model, str(file))

    torch.testing.assert_close(model.encoder.blocks[2][0].conv_dw.weight, state["blocks.2.0.conv_dw.weight"])


@pytest.mark.parametrize("name", WITHOUT_ENCODER)
@pytest.mark.parametrize(
    "ask", [lambda model: load_encoder(model, "imagenet"), lambda model: list(model.encoder_parameters())]
)
def test_network_without_encoder_says_so(name: str, ask: Callable[[Network], object]) -> None:
    with pytest.raises(ValueError, match=f"{name} has no encoder to load weights into or to freeze"):
        ask(build_model(name, 3))
