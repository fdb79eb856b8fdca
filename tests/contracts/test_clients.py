"""Every local update rule on the shelf keeps a client's contract."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from fedsim.client import Client, Examples
from fedsim.models._state import load_weights, weights_of
from fedsim.models.mlp import MLP
from fedsim.plugins import registry
from fedsim.seeds import torch_defaults, torch_stream
from fedsim.wire import Broadcast, ClientInfo, Instruction, Update, Weights

HELD = Examples(
    torch.randn(70, 4, generator=torch_stream(0, "inputs")),
    torch.arange(70) % 3,
)
NOTHING = Examples(HELD.inputs[:0], HELD.labels[:0])


TRAINING = [
    name
    for name in registry.names("client")
    if registry.find("client", name).train is not Client.train
]
"""Without those that train only under terms of privacy: see tests/privacy."""


@pytest.fixture(params=TRAINING)
def half(request: pytest.FixtureRequest) -> Client:
    made: Client = registry.find("client", request.param)()
    return made


@pytest.fixture
def model() -> MLP:
    with torch_defaults(0, "model"):
        return MLP((4,), 3, hidden=(6,))


def turn(half: Client, model: MLP, held: Examples = HELD, stream: int = 1) -> Update:
    """One turn without extras and settings, as the references take it: plain local training."""
    instruction = Instruction(1, "train", ClientInfo(7, len(held)), Broadcast(weights_of(model)))
    return half.train(model, held, instruction, torch_stream(stream, "client"))


def bits(weights: Weights) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in weights.items()}


def test_the_stream_alone_decides(half: Client, model: MLP) -> None:
    first, state = weights_of(model), torch.get_rng_state()
    one = turn(half, model)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)  # what others draw must not matter
    load_weights(model, first)
    assert bits(turn(half, model).delta) == bits(one.delta)
    load_weights(model, first)
    assert bits(turn(half, model, stream=2).delta) != bits(one.delta)


def test_the_delta_is_after_minus_before(half: Client, model: MLP) -> None:
    before = weights_of(model)
    update = turn(half, model)
    assert (update.client, update.examples) == (7, 70)
    for name, tensor in before.items():
        delta = update.delta[name]
        assert (delta.shape, delta.dtype) == (tensor.shape, tensor.dtype)
        assert not delta.requires_grad
        assert bool(delta.isfinite().all())
    assert update.delta.keys() == before.keys()
    assert any(bool(delta.any()) for delta in update.delta.values())


def test_a_client_without_examples_moves_nothing(half: Client, model: MLP) -> None:
    update = turn(half, model, NOTHING)
    assert update.examples == 0
    assert not any(bool(delta.any()) for delta in update.delta.values())
    assert all(value == value for value in update.metrics.values())


def test_one_example_is_enough(half: Client, model: MLP) -> None:
    one = Examples(HELD.inputs[:1], HELD.labels[:1])
    assert all(bool(delta.isfinite().all()) for delta in turn(half, model, one).delta.values())


def test_neither_the_task_nor_the_examples_are_changed(half: Client, model: MLP) -> None:
    weights = weights_of(model)
    instruction = Instruction(1, "train", ClientInfo(7, 70), Broadcast(weights))
    before = bits({**weights, "inputs": HELD.inputs, "labels": HELD.labels})
    half.train(model, HELD, instruction, torch_stream(1, "client"))
    assert bits({**weights, "inputs": HELD.inputs, "labels": HELD.labels}) == before


def test_it_is_a_frozen_dataclass_with_documented_fields(half: Client) -> None:
    assert dataclasses.is_dataclass(half)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(half, dataclasses.fields(half)[0].name, 1)
    for parameter in registry.describe("client", _name_of(half)).parameters.values():
        assert parameter.doc, f"{parameter.name} is not documented"


def _name_of(half: Client) -> str:
    return next(n for n in registry.names("client") if registry.find("client", n) is type(half))
