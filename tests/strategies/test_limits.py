"""What each strategy equals at the edge of its parameters, or of its clients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from fedsim.client import Examples
from fedsim.clients.controlled import Controlled
from fedsim.clients.normalized import Normalized
from fedsim.clients.proximal import Proximal
from fedsim.clients.sgd import Sgd
from fedsim.errors import RunError
from fedsim.models.mlp import MLP
from fedsim.seeds import torch_stream
from fedsim.strategies.fedavg import FedAvg
from fedsim.strategies.fedavgm import FedAvgM
from fedsim.strategies.fedmedian import FedMedian
from fedsim.strategies.fednova import FedNova
from fedsim.strategies.fedprox import FedProx
from fedsim.strategies.fedtrimmedavg import FedTrimmedAvg
from fedsim.strategies.scaffold import Scaffold
from fedsim.wire import Broadcast, ClientInfo, Task, Update, Weights

Play = Callable[..., Weights]
LOCAL = {"lr": 0.1, "epochs": 2, "batch_size": 5}
SGD = Sgd(lr=0.1, epochs=2, batch_size=5)


def distance(a: Weights, b: Weights) -> float:
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a)


def test_fedprox_with_mu_zero_is_fedavg(play: Play, shards: list[Examples]) -> None:
    prox = play(FedProx(mu=0.0), Proximal(lr=0.1, epochs=2, batch_size=5), shards)
    assert distance(prox, play(FedAvg(), SGD, shards)) == 0


def test_fedprox_moves_less_the_larger_mu(play: Play, shards: list[Examples]) -> None:
    half, start = Proximal(lr=0.1, epochs=2, batch_size=5), play(FedAvg(), SGD, shards, rounds=0)
    moved = [distance(play(FedProx(mu=mu), half, shards), start) for mu in (0.0, 1.0, 9.0)]
    assert moved[0] > moved[1] > moved[2]


def test_fedavgm_without_momentum_is_fedavg(play: Play, shards: list[Examples]) -> None:
    still = play(FedAvgM(beta=0.0), SGD, shards)
    assert distance(still, play(FedAvg(), SGD, shards)) == 0


def test_fednova_with_equal_steps_is_fedavg(play: Play, shards: list[Examples]) -> None:
    nova = play(FedNova(), Normalized(lr=0.1, steps=4, batch_size=5), shards)
    avg = play(FedAvg(), Sgd(lr=0.1, steps=4, batch_size=5), shards)
    assert distance(nova, avg) < 1e-6


def test_fednova_with_unequal_steps_is_not_fedavg(play: Play, shards: list[Examples]) -> None:
    nova = play(FedNova(), Normalized(lr=0.1, epochs=2, batch_size=5), shards)
    assert distance(nova, play(FedAvg(), SGD, shards)) > 1e-3


def test_fednova_averages_directions_and_steps_apart() -> None:
    def one(client: int, delta: float, steps: float, examples: int) -> Update:
        worth = {"steps": torch.tensor(steps, dtype=torch.float64)}
        return Update(client, {"w": torch.tensor(delta)}, examples, extras={"steps": worth})

    nova, info = FedNova(), ClientInfo(0, 1)
    merged = nova.aggregate([one(0, 4.0, 2.0, 1), one(1, 3.0, 6.0, 3)])
    state = nova.begin({"w": torch.tensor(10.0)}, [info, info])
    # tau_eff = (1*2 + 3*6)/4 = 5; the mean of the d_i is (1*2 + 3*0.5)/4 = 0.875.
    server = None
    moved = nova.step(state, merged, server)  # type: ignore[arg-type]
    assert moved.weights["w"].item() == 10 + 5 * 0.875


def test_scaffold_with_equal_clients_is_fedavg(play: Play, shards: list[Examples]) -> None:
    same = [shards[1]] * 3
    half = Controlled(lr=0.1, epochs=2, batch_size=5)
    scaffold = play(Scaffold(), half, same, same_draws=True)
    assert distance(scaffold, play(FedAvg(), SGD, same, same_draws=True)) < 1e-6


def test_scaffold_s_first_round_is_fedavg_s_with_equal_weights(
    play: Play, shards: list[Examples]
) -> None:
    half = Controlled(lr=0.1, epochs=2, batch_size=5)
    first = play(Scaffold(), half, shards, rounds=1)
    alone = [play(FedAvg(), half, [held], rounds=1) for held in shards]
    assert len(alone) == 3
    assert distance(first, play(FedAvg(), SGD, shards, rounds=1)) > 1e-4


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
def test_one_client_is_plain_sgd(
    play: Play, shards: list[Examples], strategy: FedAvg, half: Sgd
) -> None:
    """Slow truth: torch's own optimiser over all rounds, and no federation at all."""
    held, model = shards[1], MLP((4,), 3, hidden=(5,))
    model.load_state_dict(play(FedAvg(), SGD, [held], rounds=0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for number in (1, 2, 3):
        draws = torch_stream(5, "client", number, 0)
        torch.randint(2**31, (), generator=draws)  # what seeds the layers
        for _ in range(2):
            for batch in torch.split(torch.randperm(20, generator=draws), 5):
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(
                    model(held.inputs[batch]), held.labels[batch]
                )
                torch.autograd.backward(loss)
                optimizer.step()
    truth = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    assert distance(play(strategy, half, [held]), truth) < 1e-6


def test_scaffold_s_control_is_the_mean_of_its_clients_even_of_some() -> None:
    info = [ClientInfo(number, 1) for number in range(4)]
    scaffold, zero = Scaffold(), torch.zeros(2)
    state = scaffold.begin({"w": zero}, info)
    sent = [
        Update(k, {"w": zero + k}, 1, extras={"control": {"w": torch.tensor([1.0, 2.0]) * k}})
        for k in (1, 3)
    ]
    after = scaffold.step(state, scaffold.aggregate(sent), None)  # type: ignore[arg-type]
    assert after.memory["control"]["w"].tolist() == [1.0, 2.0]  # (1 + 3) / 4 and (2 + 6) / 4
    assert after.weights["w"].tolist() == [2.0, 2.0]  # (1 + 3) / 2, whatever the examples


def test_scaffold_s_controls_stay_each_other_s_mean(shards: list[Examples]) -> None:
    """With everyone in every round, ``c`` is the mean of the ``c_i``."""
    scaffold, half = Scaffold(), Controlled(lr=0.1, epochs=2, batch_size=5, momentum=0.5)
    model = MLP((4,), 3, hidden=(5,))
    infos = [ClientInfo(number, len(held)) for number, held in enumerate(shards)]
    state = scaffold.begin({k: v.clone() for k, v in model.state_dict().items()}, infos)
    kept: dict[int, dict[str, Weights]] = {0: {}, 1: {}, 2: {}}
    for number in (1, 2, 3):
        updates = []
        for info, held in zip(infos, shards, strict=True):
            model.load_state_dict(state.weights)
            task = Task(number, "train", info, scaffold.broadcast(state, info), kept[info.id])
            updates.append(half.train(model, held, task, torch_stream(1, "c", number, info.id)))
            kept[info.id] = dict(updates[-1].memory)
        state = scaffold.step(state, scaffold.aggregate(updates), None)  # type: ignore[arg-type]
    for name, control in state.memory["control"].items():
        mean = torch.stack([kept[k]["control"][name] for k in range(3)]).mean(dim=0)
        torch.testing.assert_close(control, mean, rtol=0, atol=1e-6)


@pytest.mark.parametrize("strategy", [Scaffold(), FedNova()], ids=["scaffold", "fednova"])
def test_another_client_half_is_named_in_the_error(strategy: Scaffold) -> None:
    with pytest.raises(RunError, match=f"use: {strategy.client}"):
        strategy.addends(Update(4, {"w": torch.zeros(2)}, 3))


def test_fedmedian_ignores_an_outlier() -> None:
    deltas = [1.0, 2.0, 1e9]
    merged = FedMedian().aggregate(
        [Update(k, {"w": torch.tensor(d)}, 1) for k, d in enumerate(deltas)]
    )
    assert merged.delta["w"].item() == 2.0


def test_fedtrimmedavg_trims_whole_clients_off_each_end() -> None:
    updates = [Update(k, {"w": torch.tensor(float(k * k))}, 1) for k in range(5)]
    assert FedTrimmedAvg(trim=0.2).aggregate(updates).delta["w"].item() == (1 + 4 + 9) / 3
    assert FedTrimmedAvg(trim=0.19).aggregate(updates).delta["w"].item() == 30 / 5


@pytest.mark.parametrize("strategy", [FedMedian(), FedTrimmedAvg(trim=0.0)], ids=["median", "trim"])
def test_clients_without_examples_have_no_vote(strategy: FedMedian) -> None:
    updates = [Update(k, {"w": torch.tensor(0.0)}, 0) for k in range(3)]
    updates.append(Update(3, {"w": torch.tensor(7.0)}, 2))
    assert strategy.aggregate(updates).delta["w"].item() == 7.0


def test_server_lr_scales_the_step(play: Play, shards: list[Examples]) -> None:
    start = play(FedAvg(), SGD, shards, rounds=0)
    half = FedAvgM(beta=0.0, server_lr=0.5)
    slow, full = play(half, SGD, shards, rounds=1), play(FedAvg(), SGD, shards, rounds=1)
    for name, first in start.items():
        torch.testing.assert_close(slow[name], (first + full[name]) / 2, rtol=0, atol=1e-6)


def test_a_strategy_is_a_value() -> None:
    assert replace(FedProx(mu=0.5), mu=0.01) == FedProx()


def test_stock_flower_s_key_sets_the_proximal_term(shards: list[Examples]) -> None:
    model = MLP((4,), 3, hidden=(5,))
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    cast = Broadcast(weights, settings={"proximal-mu": 0.5})
    task = Task(1, "train", ClientInfo(0, 20), cast)
    held = shards[1]
    update = Proximal(lr=0.1, epochs=1, batch_size=4).train(model, held, task, torch_stream(1, "a"))
    # Slow truth: the term in the loss, squared as the paper has it.
    model.load_state_dict(weights)
    optimizer, draws = torch.optim.SGD(model.parameters(), lr=0.1), torch_stream(1, "a")
    torch.randint(2**31, (), generator=draws)
    for batch in torch.split(torch.randperm(20, generator=draws), 4):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(held.inputs[batch]), held.labels[batch])
        for name, parameter in model.named_parameters():
            loss = loss + 0.25 * ((parameter - weights[name]) ** 2).sum()
        torch.autograd.backward(loss)
        optimizer.step()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(weights[name] + update.delta[name], tensor, rtol=0, atol=1e-6)
