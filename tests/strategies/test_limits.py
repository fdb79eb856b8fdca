"""What each strategy equals at the edge of its parameters, or of its clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
import torch

from fedsim.client import Client, Examples
from fedsim.clients.controlled import Controlled
from fedsim.clients.normalized import Normalized
from fedsim.clients.proximal import Proximal
from fedsim.clients.sgd import Sgd
from fedsim.models._state import load_weights, weights_of
from fedsim.models.mlp import MLP
from fedsim.seeds import torch_stream
from fedsim.strategies.fedavg import FedAvg
from fedsim.strategies.fedavgm import FedAvgM
from fedsim.strategies.fedmedian import FedMedian
from fedsim.strategies.fednova import FedNova
from fedsim.strategies.fedprox import FedProx
from fedsim.strategies.fedtrimmedavg import FedTrimmedAvg
from fedsim.strategies.scaffold import Scaffold
from fedsim.strategy import Server, Strategy
from fedsim.wire import ClientInfo, Instruction, Weights

SGD = Sgd(lr=0.1, epochs=2, batch_size=5)


def shard(seed: int, examples: int) -> Examples:
    generator = torch_stream(seed, "shard")
    labels = torch.randint(3, (examples,), generator=generator)
    return Examples(torch.randn(examples, 4, generator=generator) + labels[:, None], labels)


def first_weights() -> Weights:
    generator = torch_stream(0, "weights")
    return {
        name: torch.randn(tensor.shape, generator=generator) / 2
        for name, tensor in weights_of(MLP((4,), 3, hidden=(5,))).items()
    }


SHARDS = [shard(1, 7), shard(2, 20), shard(3, 12)]


def play(
    strategy: Strategy,
    half: Client,
    shards: Sequence[Examples] = SHARDS,
    rounds: int = 3,
    same_draws: bool = False,
) -> Weights:
    """Play rounds with a strategy's verbs alone, and return the last weights."""
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
            generator = torch_stream(5, "client", number, 0 if same_draws else info.id)
            instruction = Instruction(number, "train", info, cast, memory.get(info.id, {}))
            updates.append(half.train(model, held, instruction, generator))
            memory[info.id] = updates[-1].memory
        server = Server(model, torch_stream(5, "server", number))
        state = strategy.step(state, strategy.aggregate(updates), server)
    return strategy.evaluate(state)


def distance(a: Weights, b: Weights) -> float:
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a)


def test_fedprox_with_mu_zero_is_fedavg() -> None:
    prox = play(FedProx(mu=0.0), Proximal(lr=0.1, epochs=2, batch_size=5))
    assert distance(prox, play(FedAvg(), SGD)) == 0


def test_fedprox_moves_less_the_larger_mu() -> None:
    half, start = Proximal(lr=0.1, epochs=2, batch_size=5), play(FedAvg(), SGD, rounds=0)
    moved = [distance(play(FedProx(mu=mu), half), start) for mu in (0.0, 1.0, 9.0)]
    assert moved[0] > moved[1] > moved[2]


def test_fedavgm_without_momentum_is_fedavg() -> None:
    still = play(FedAvgM(beta=0.0), SGD)
    assert distance(still, play(FedAvg(), SGD)) == 0


def test_fednova_with_equal_steps_is_fedavg() -> None:
    nova = play(FedNova(), Normalized(lr=0.1, steps=4, batch_size=5))
    avg = play(FedAvg(), Sgd(lr=0.1, steps=4, batch_size=5))
    assert distance(nova, avg) < 1e-6


def test_fednova_with_unequal_steps_is_not_fedavg() -> None:
    nova = play(FedNova(), Normalized(lr=0.1, epochs=2, batch_size=5))
    assert distance(nova, play(FedAvg(), SGD)) > 1e-3


def test_scaffold_with_equal_clients_is_fedavg() -> None:
    same = [SHARDS[1]] * 3
    half = Controlled(lr=0.1, epochs=2, batch_size=5)
    scaffold = play(Scaffold(), half, same, same_draws=True)
    assert distance(scaffold, play(FedAvg(), SGD, same, same_draws=True)) < 1e-6


def test_scaffold_s_first_round_is_the_plain_mean_whatever_the_clients_hold() -> None:
    half = Controlled(lr=0.1, epochs=2, batch_size=5)
    first = play(Scaffold(), half, rounds=1, same_draws=True)
    alone = [play(FedAvg(), SGD, [held], rounds=1) for held in SHARDS]
    mean = {name: torch.stack([one[name] for one in alone]).mean(dim=0) for name in first}
    assert distance(first, mean) < 1e-6


@pytest.mark.parametrize(
    ("strategy", "half"),
    [
        (FedAvg(), SGD),
        (FedProx(mu=0.0), Proximal(lr=0.1, epochs=2, batch_size=5)),
        (Scaffold(), Controlled(lr=0.1, epochs=2, batch_size=5)),
        (FedNova(), Normalized(lr=0.1, epochs=2, batch_size=5)),
        (FedMedian(), SGD),
        (FedTrimmedAvg(), SGD),
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_client_is_plain_sgd(strategy: FedAvg, half: Sgd) -> None:
    """Slow truth: torch's own optimiser over all rounds, and no federation at all."""
    held, model = SHARDS[1], MLP((4,), 3, hidden=(5,))
    model.load_state_dict(play(FedAvg(), SGD, [held], rounds=0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for number in (1, 2, 3):
        generator = torch_stream(5, "client", number, 0)
        torch.randint(2**31, (), generator=generator)  # what seeds the layers
        for _ in range(2):
            for batch in torch.split(torch.randperm(20, generator=generator), 5):
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(
                    model(held.inputs[batch]), held.labels[batch]
                )
                torch.autograd.backward(loss)
                optimizer.step()
    truth = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    assert distance(play(strategy, half, [held]), truth) < 1e-6


def test_server_lr_scales_the_step() -> None:
    start = play(FedAvg(), SGD, rounds=0)
    half = FedAvgM(beta=0.0, server_lr=0.5)
    slow, full = play(half, SGD, rounds=1), play(FedAvg(), SGD, rounds=1)
    for name, first in start.items():
        torch.testing.assert_close(slow[name], (first + full[name]) / 2, rtol=0, atol=1e-6)
