"""A tiny federation that needs nothing but the verbs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest
import torch

from fedsim.client import Client, Examples
from fedsim.models._build import load_weights, weights_of
from fedsim.models.mlp import MLP
from fedsim.seeds import torch_stream
from fedsim.strategy import Server, Strategy
from fedsim.wire import ClientInfo, Task, Weights

Play = Callable[..., Weights]


def shard(seed: int, examples: int) -> Examples:
    draws = torch_stream(seed, "shard")
    labels = torch.randint(3, (examples,), generator=draws)
    return Examples(torch.randn(examples, 4, generator=draws) + labels[:, None], labels)


def first_weights() -> Weights:
    draws = torch_stream(0, "weights")
    return {
        name: torch.randn(tensor.shape, generator=draws) / 2
        for name, tensor in weights_of(MLP((4,), 3, hidden=(5,))).items()
    }


@pytest.fixture
def shards() -> list[Examples]:
    """Three clients of different sizes."""
    return [shard(1, 7), shard(2, 20), shard(3, 12)]


@pytest.fixture
def play() -> Play:
    """Play rounds with a strategy's verbs, and return the last weights."""

    def rounds_of(
        strategy: Strategy,
        half: Client,
        shards: Sequence[Examples],
        rounds: int = 3,
        same_draws: bool = False,
    ) -> Weights:
        model = MLP((4,), 3, hidden=(5,))
        infos = [ClientInfo(number, len(held)) for number, held in enumerate(shards)]
        state = strategy.begin(first_weights(), infos)
        memory: dict[int, Mapping[str, Weights]] = {}
        for number in range(1, rounds + 1):
            state = replace(state, round=number)
            updates = []
            for info, held in zip(infos, shards, strict=True):
                cast = strategy.broadcast(state, info)
                load_weights(model, cast.weights)
                draws = torch_stream(5, "client", number, 0 if same_draws else info.id)
                task = Task(number, "train", info, cast, memory.get(info.id, {}))
                updates.append(half.train(model, held, task, draws))
                memory[info.id] = updates[-1].memory
            server = Server(model, torch_stream(5, "server", number))
            state = strategy.step(state, strategy.aggregate(updates), server)
        return strategy.evaluate(state)

    return rounds_of
