"""Every strategy on the shelf keeps a strategy's contract."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from fedsim.aggregate import Sums
from fedsim.client import Examples, Unlabelled
from fedsim.models._state import load_weights, weights_of
from fedsim.models.mlp import MLP
from fedsim.models.projected import Projected
from fedsim.plugins import registry
from fedsim.privacy.parameters import PrivacyParameters
from fedsim.seeds import torch_stream
from fedsim.strategy import Server, ServerState, Strategy, is_sum
from fedsim.wire import ClientInfo, Instruction, Merged, Update, Weights
from tests.summed import summed

SIZES = (9, 0, 14, 5)
SMALL: dict[str, dict[str, Any]] = {
    "feddm": {"steps": 3, "images_per_class": 2, "min_examples": 2, "init": "noise"},
    "feddm_me": {"steps": 3, "images_per_class": 2, "min_examples": 2, "count_noise": 0.1},
}
"""What clients are set to where the defaults ask for more than these here hold."""
MODELS: dict[str, Callable[[], nn.Module]] = {"jdme": lambda: Projected((4,), 3, dimensions=2)}
"""Of strategies that are made for one model."""
INFOS = [
    ClientInfo(number, size, domain=f"d{number % 2}", role="target" if number == 3 else "source")
    for number, size in enumerate(SIZES)
]


def held_by(client: int) -> Examples | Unlabelled:
    generator = torch_stream(client, "held")
    labels = torch.arange(SIZES[client]) % 3
    inputs = torch.randn(len(labels), 4, generator=generator) + labels[:, None]
    is_target = INFOS[client].role == "target"
    return Unlabelled(inputs) if is_target else Examples(inputs, labels)


class Federation:
    """The verbs, called as the engine calls them, and nothing else."""

    def __init__(self, name: str) -> None:
        self.strategy: Strategy = registry.find("strategy", name)()
        self.half = registry.find("client", self.strategy.client)(**SMALL.get(name, {}))
        if hasattr(self.half, "under"):
            self.half = self.half.under(PrivacyParameters(1.0, 1.0, "simulation"))
        self.model = MODELS.get(name, lambda: MLP((4,), 3, hidden=(6,)))()
        generator = torch_stream(0, "weights")
        self.first = {
            name: torch.randn(tensor.shape, generator=generator) / 2
            for name, tensor in weights_of(self.model).items()
        }
        self.memory: dict[int, Mapping[str, Weights]] = {}

    def updates(self, state: ServerState) -> list[Update]:
        updates = []
        for info in INFOS:
            if not self.strategy.participates(state.phase, info):
                continue
            cast = self.strategy.broadcast(state, info)
            load_weights(self.model, cast.weights)
            instruction = Instruction(
                state.round, state.phase, info, cast, self.memory.get(info.id, {})
            )
            generator = torch_stream(5, "client", state.round, info.id)
            verb = getattr(self.half, state.phase)
            updates.append(verb(self.model, held_by(info.id), instruction, generator))
            self.memory[info.id] = updates[-1].memory
        return updates

    def step(self, state: ServerState, merged: Merged) -> ServerState:
        server = Server(self.model, torch_stream(5, "server", state.round))
        return self.strategy.step(state, merged, server)

    def play(self, rounds: Iterable[int], state: ServerState) -> ServerState:
        for number in rounds:
            for phase in self.strategy.phases():
                state = replace(state, round=number, phase=phase)
                state = self.step(state, summed(self.strategy, self.updates(state), INFOS))
        return state

    def begin(self) -> ServerState:
        return self.strategy.begin(self.first, INFOS)


@pytest.fixture(params=registry.names("strategy"))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def bits(weights: Mapping[str, torch.Tensor]) -> dict[str, bytes]:
    return {name: tensor.detach().numpy().tobytes() for name, tensor in weights.items()}


def test_two_rounds_move_finite_weights_of_the_same_kind(name: str) -> None:
    fed = Federation(name)
    after = fed.strategy.evaluate(fed.play((1, 2), fed.begin()))
    assert after.keys() == fed.first.keys()
    for key, tensor in after.items():
        assert (tensor.shape, tensor.dtype) == (fed.first[key].shape, fed.first[key].dtype)
        assert bool(tensor.isfinite().all())
    assert bits(after) != bits(fed.first)


def test_the_order_of_updates_changes_no_bit(name: str) -> None:
    fed = Federation(name)
    state = fed.begin()
    for phase in fed.strategy.phases():
        state = replace(state, round=1, phase=phase)
        updates = fed.updates(state)
        one, other = (summed(fed.strategy, some, INFOS) for some in (updates, updates[::-1]))
        assert {key: bits(value) for key, value in one.means.items()} == {
            key: bits(value) for key, value in other.means.items()
        }
        assert (one.weights, one.clients) == (other.weights, other.clients)
        state = fed.step(state, one)


def test_partial_sums_come_to_what_aggregate_says(name: str) -> None:
    fed = Federation(name)
    if not is_sum(fed.strategy):
        pytest.skip("it needs every update whole")
    state = fed.begin()
    for phase in fed.strategy.phases():
        state = replace(state, round=1, phase=phase)
        updates = fed.updates(state)
        left, right = Sums(), Sums()
        for chunk, some in ((left, updates[:1]), (right, updates[1:])):
            for update in some:
                chunk.add(update.client, fed.strategy.addends(update, INFOS[update.client]))
        right.merge(left)
        whole, merged = summed(fed.strategy, updates, INFOS), right.merged()
        assert {key: bits(value) for key, value in whole.means.items()} == {
            key: bits(value) for key, value in merged.means.items()
        }
        state = fed.step(state, whole)


def test_the_state_holds_all_that_the_next_round_needs(name: str) -> None:
    """What a checkpoint saves, tensors and numbers, is enough to go on with another object."""
    one, other = Federation(name), Federation(name)
    middle = one.play((1,), one.begin())
    copied = ServerState(
        weights={key: tensor.clone() for key, tensor in middle.weights.items()},
        population=middle.population,
        memory={
            label: {key: tensor.clone() for key, tensor in held.items()}
            for label, held in middle.memory.items()
        },
        round=middle.round,
        phase=middle.phase,
        plain=dict(middle.plain),
    )
    other.memory = dict(one.memory)
    straight, resumed = one.play((2,), middle), other.play((2,), copied)
    assert bits(straight.weights) == bits(resumed.weights)


def test_the_verbs_change_nothing_that_they_are_given(name: str) -> None:
    fed = Federation(name)
    state = fed.play((1,), fed.begin())
    before = bits(state.weights), {key: bits(held) for key, held in state.memory.items()}
    fed.play((2,), state)
    assert (bits(state.weights), {key: bits(held) for key, held in state.memory.items()}) == before


def test_it_is_a_frozen_dataclass_with_documented_fields(name: str) -> None:
    found = registry.find("strategy", name)
    made = found()
    assert dataclasses.is_dataclass(made)
    assert made == found()
    if fields := dataclasses.fields(made):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, fields[0].name, 1)
    for parameter in registry.describe("strategy", name).parameters.values():
        assert parameter.doc, f"{name}: {parameter.name} is not documented"
        assert parameter.value(parameter.default) == parameter.default


def test_it_cites_its_paper(name: str) -> None:
    module = inspect.getmodule(registry.find("strategy", name))
    assert module is not None
    assert "References:" in (module.__doc__ or "")
    assert "arXiv:" in (module.__doc__ or "")
