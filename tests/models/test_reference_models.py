"""The reference models: their sizes, their two parts, and how they become weights and back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from fedsim.models._build import build
from fedsim.models._state import load_weights, weights_of
from fedsim.models.convnet import ConvNet
from fedsim.models.lenet import LeNet
from fedsim.models.lenet_bottleneck import LeNetBottleneck
from fedsim.models.mlp import MLP
from fedsim.models.resnet8_gn import ResNet8GN
from fedsim.models.resnet18_gn import ResNet18GN
from fedsim.schema.part import Part
from fedsim.seeds import torch_stream


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_sizes_are_the_papers() -> None:
    assert parameters(ConvNet((1, 28, 28), 10)) == 317_706
    assert parameters(ConvNet((3, 32, 32), 10)) == 320_010
    assert parameters(ConvNet((3, 32, 32), 100)) == 504_420
    assert parameters(LeNet((3, 32, 32), 10)) == 62_006
    assert parameters(LeNet((1, 28, 28), 10)) == 44_426
    assert parameters(ResNet8GN((3, 32, 32), 10)) == 78_042
    for classes, small, large in ((10, 11_173_962, 11_181_642), (100, 11_220_132, 11_227_812)):
        assert parameters(ResNet18GN((3, 32, 32), classes)) == small
        assert parameters(ResNet18GN((3, 32, 32), classes, stem="large")) == large
    assert parameters(MLP((1, 28, 28), 10)) == 784 * 100 + 100 + 100 * 10 + 10


def test_lenet_takes_the_widths_of_other_papers() -> None:
    model = LeNet((1, 28, 28), 10, channels=(16, 32), hidden=(128,))
    assert parameters(model) == 80_202
    assert model.features(torch.zeros(2, 1, 28, 28)).shape == (2, 128)


def test_the_features_before_a_bottleneck_s_head_are_of_either_sign() -> None:
    model = LeNetBottleneck((1, 16, 16), 10, embedding=7)
    z = model.features(torch.rand(50, 1, 16, 16, generator=torch_stream(0, "images")))
    assert z.shape == (50, 7)
    assert bool((z > 0).any())
    assert bool((z < 0).any())


def test_lenet_pads_small_images_only() -> None:
    assert LeNet((1, 16, 16), 3, hidden=()).features(torch.zeros(1, 1, 16, 16)).shape == (1, 16)
    assert LeNet((1, 8, 8), 3, hidden=()).features(torch.zeros(1, 1, 8, 8)).shape == (1, 64)


def test_an_mlp_without_hidden_layers_is_softmax_regression() -> None:
    model = MLP((2, 3), 4, hidden=())
    inputs = torch.arange(12.0).reshape(2, 2, 3)
    assert torch.equal(model(inputs), model.head(inputs.flatten(1)))
    assert parameters(model) == 6 * 4 + 4


def test_instance_norm_centres_each_channel_of_each_image() -> None:
    images = torch.rand(2, 1, 16, 16, generator=torch_stream(0, "images"))
    for norm, centres in (("instance", True), ("none", False)):
        body = ConvNet((1, 16, 16), 3, width=8, norm=norm).body  # type: ignore[arg-type]
        convolution, after, *_ = body.children()  # after it, norm or ReLU
        inside = after(convolution(images))
        assert torch.allclose(inside.mean((2, 3)), torch.zeros(2, 8), atol=1e-5) == centres


@pytest.mark.parametrize(
    ("model", "shape", "fault"),
    [
        (ConvNet, (1, 7, 9), "convnet: needs images of 8 by 8 pixels or more, not 7 by 9"),
        (LeNet, (1, 3, 3), "lenet: needs images of 4 by 4 pixels or more, not 3 by 3"),
        (ResNet8GN, (3, 4, 4), "resnet8_gn: needs images of 8 by 8 pixels or more, not 4 by 4"),
        (LeNet, (64,), "lenet: needs images (channels, height, width), not (64,)"),
    ],
)
def test_a_shape_that_cannot_be_is_refused_in_one_line(
    model: type[LeNet], shape: tuple[int, ...], fault: str
) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - compared below, whole
        model(shape, 10)
    assert str(raised.value) == fault


def test_groups_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="width 10 cannot be split into 4 groups"):
        ConvNet((1, 8, 8), 2, width=10, norm="group")
    with pytest.raises(ValueError, match="width 12 cannot be split into 8 groups"):
        ResNet8GN((1, 8, 8), 2, width=12)
    with pytest.raises(ValueError, match="kernel is 4"):
        LeNet((1, 28, 28), 2, kernel=4)


def test_the_first_weights_are_a_function_of_the_seed_alone() -> None:
    part = Part.model_validate({"use": "mlp", "hidden": [7]})
    state = torch.get_rng_state()
    models = [build(part, (4,), 3, seed, Path()) for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), state)
    first, again, other = (weights_of(model)["head.weight"] for model in models)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_weights_go_out_as_copies_and_come_back_in_place() -> None:
    model = MLP((4,), 3)
    weights, place = weights_of(model), model.head.weight.data_ptr()
    weights["head.bias"] += 1
    assert not torch.equal(model.head.bias, weights["head.bias"])
    load_weights(model, weights)
    assert torch.equal(model.head.bias, weights["head.bias"])
    assert model.head.weight.data_ptr() == place
    assert not weights["head.bias"].requires_grad


def test_counters_are_no_weights() -> None:
    model = nn.BatchNorm1d(2)
    model(torch.arange(8.0).reshape(4, 2))
    weights = weights_of(model)
    assert set(weights) == {"weight", "bias", "running_mean", "running_var"}
    load_weights(model, {name: torch.zeros(2) for name in weights})
    assert model.num_batches_tracked is not None
    assert model.num_batches_tracked.item() == 1


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"head.extra": torch.zeros(1)}, r"not this model's weights: \['head.extra'\]"),
        ({"head.bias": torch.zeros(1)}, r"head.bias: \(1,\), not \(3,\)"),
    ],
    ids=["name", "shape"],
)
def test_weights_of_another_model_are_refused(change: dict[str, torch.Tensor], fault: str) -> None:
    model = MLP((4,), 3)
    with pytest.raises(ValueError, match=fault):
        load_weights(model, weights_of(model) | change)
