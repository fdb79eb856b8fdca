"""Every model on the shelf keeps a model's contract."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch

from fedsim.client import Examples
from fedsim.clients.sgd import Sgd
from fedsim.models._build import build
from fedsim.models._state import weights_of
from fedsim.plugins import registry
from fedsim.schema.part import Part
from fedsim.seeds import torch_stream
from fedsim.wire import Broadcast, ClientInfo, Instruction

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32)]


DENSE = ("char_lstm", "transformer", "unet")
"""They answer for every place of an example: see tests/models/test_dense_models.py."""


FOREIGN = ("huggingface", "live_module", "timm", "torchvision")
"""They come from elsewhere: see tests/models/test_foreign_models.py and tests/python."""


@pytest.fixture(params=[n for n in registry.names("model") if n not in (*DENSE, *FOREIGN)])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def model_of(name: str, shape: tuple[int, ...]) -> torch.nn.Module:
    return build(Part(use=name), shape, 5, 1, Path())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_a_head_on_features(name: str, shape: tuple[int, ...]) -> None:
    model, inputs = model_of(name, shape), torch.rand(3, *shape, generator=torch_stream(0, "x"))
    features = model.features(inputs)  # type: ignore[operator]
    logits = model.head(features)  # type: ignore[operator]
    assert features.ndim == 2
    assert logits.shape == (3, 5)
    assert torch.equal(model(inputs), logits)


def test_the_seed_alone_makes_its_first_weights(name: str) -> None:
    one, other = (weights_of(model_of(name, SHAPES[0])) for _ in range(2))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_examples_do_not_see_each_other(name: str) -> None:
    """No batch norm by default: a prediction is the same alone and in a batch, in training."""
    model, inputs = (
        model_of(name, SHAPES[1]).train(),
        torch.rand(4, *SHAPES[1], generator=torch_stream(0, "x")),
    )
    torch.testing.assert_close(model(inputs)[:1], model(inputs[:1]), rtol=1e-4, atol=1e-5)


def test_it_learns(name: str) -> None:
    generator = torch_stream(3, "held")
    labels = torch.arange(20) % 2
    held = Examples(
        torch.randn(20, 1, 8, 8, generator=generator) + labels[:, None, None, None], labels
    )
    model = model_of(name, SHAPES[0])
    instruction = Instruction(1, "train", ClientInfo(0, 20), Broadcast(weights_of(model)))
    losses = [
        Sgd(lr=0.05, epochs=epochs, batch_size=5)
        .train(model, held, instruction, torch_stream(1, "c"))
        .metrics["loss"]
        for epochs in (1, 4)
    ]
    assert losses[1] < losses[0]


def test_its_parameters_can_be_told_and_are_documented(name: str) -> None:
    found, known = registry.find("model", name), registry.describe("model", name)
    told = {
        key
        for key, argument in inspect.signature(found).parameters.items()
        if argument.kind is argument.KEYWORD_ONLY
    }
    assert told == set(known.parameters)
    for parameter in known.parameters.values():
        assert parameter.doc, f"{name}: {parameter.name} is not documented"
        assert parameter.value(parameter.default) == parameter.default
