"""SCAFFOLD's control variates and FedNova's steps, in small exact numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fedsim.client import Examples
from fedsim.clients.controlled import Controlled
from fedsim.errors import RunError
from fedsim.models.mlp import MLP
from fedsim.seeds import torch_stream
from fedsim.strategies.fednova import FedNova
from fedsim.strategies.fedprox import FedProx
from fedsim.strategies.scaffold import Scaffold
from fedsim.wire import ClientInfo, Instruction, Update, Weights


def shard(seed: int, examples: int) -> Examples:
    generator = torch_stream(seed, "shard")
    labels = torch.randint(3, (examples,), generator=generator)
    return Examples(torch.randn(examples, 4, generator=generator) + labels[:, None], labels)


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


def test_scaffold_s_controls_stay_each_other_s_mean() -> None:
    """With everyone in every round, ``c`` is the mean of the ``c_i``."""
    scaffold, half = Scaffold(), Controlled(lr=0.1, epochs=2, batch_size=5, momentum=0.5)
    model = MLP((4,), 3, hidden=(5,))
    shards = [shard(1, 7), shard(2, 20), shard(3, 12)]
    infos = [ClientInfo(number, len(held)) for number, held in enumerate(shards)]
    state = scaffold.begin({k: v.clone() for k, v in model.state_dict().items()}, infos)
    kept: dict[int, dict[str, Weights]] = {0: {}, 1: {}, 2: {}}
    for number in (1, 2, 3):
        updates = []
        for info, held in zip(infos, shards, strict=True):
            model.load_state_dict(state.weights)
            instruction = Instruction(
                number, "train", info, scaffold.broadcast(state, info), kept[info.id]
            )
            updates.append(
                half.train(model, held, instruction, torch_stream(1, "c", number, info.id))
            )
            kept[info.id] = dict(updates[-1].memory)
        state = scaffold.step(state, scaffold.aggregate(updates), None)  # type: ignore[arg-type]
    for name, control in state.memory["control"].items():
        mean = torch.stack([kept[k]["control"][name] for k in range(3)]).mean(dim=0)
        torch.testing.assert_close(control, mean, rtol=0, atol=1e-6)


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


@pytest.mark.parametrize("strategy", [Scaffold(), FedNova()], ids=["scaffold", "fednova"])
def test_another_client_half_is_named_in_the_error(strategy: Scaffold) -> None:
    with pytest.raises(RunError, match=f"use: {strategy.client}"):
        strategy.addends(Update(4, {"w": torch.zeros(2)}, 3), ClientInfo(4, 3))


def test_a_strategy_is_a_value() -> None:
    assert replace(FedProx(mu=0.5), mu=0.01) == FedProx()
