"""Clients that train in the same steps get what each would get alone, up to rounding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from fedsim.client import Client, Examples, StackedClient
from fedsim.clients.controlled import Controlled
from fedsim.clients.normalized import Normalized
from fedsim.clients.proximal import Proximal
from fedsim.clients.sgd import Sgd
from fedsim.errors import RunError
from fedsim.models._split import SplitModel
from fedsim.models._state import load_weights, weights_of
from fedsim.models.convnet import ConvNet
from fedsim.models.lenet import LeNet
from fedsim.models.mlp import MLP
from fedsim.models.resnet8_gn import ResNet8GN
from fedsim.seeds import torch_defaults, torch_stream
from fedsim.stacked.networks import Layers, Mlp, Vmapped, net_of
from fedsim.wire import Broadcast, ClientInfo, Instruction, Update

TOLERANCE = 1e-4
"""Of the largest number of an update: what sums in another order may do."""

SHAPE = (1, 8, 8)
SIZES = [50, 33, 0, 7, 50, 12]

MODELS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: MLP(SHAPE, 10, hidden=(12,)),
    "softmax regression": lambda: MLP(SHAPE, 10, hidden=()),
    "lenet": lambda: LeNet(SHAPE, 10),
    "convnet": lambda: ConvNet(SHAPE, 10, depth=2, width=8),
    "no bias": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False)),
    "tanh": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.Tanh(), nn.Linear(9, 10)),
    "resnet8_gn": lambda: ResNet8GN(SHAPE, 10, width=8),
}

RULES = {
    "plain": Sgd(batch_size=10),
    "momentum": Sgd(lr=0.05, epochs=2, batch_size=16, momentum=0.9, weight_decay=1e-2),
    "decay": Sgd(batch_size=16, weight_decay=1e-2, lr_decay=0.9),
    "steps": Sgd(batch_size=7, steps=6),
    "one batch": Sgd(batch_size=100, epochs=2),
}


def built(name: str) -> nn.Module:
    with torch_defaults(1, "model"):
        return MODELS[name]()


def members(model: nn.Module, sizes: list[int], **sent: Any) -> list[StackedClient]:
    generator = torch_stream(3, "examples")
    broadcast = Broadcast(weights_of(model), **sent)
    found = []
    for client, size in enumerate(sizes):
        inputs = torch.randn(size, *SHAPE, generator=generator)
        labels = torch.randint(10, (size,), generator=generator)
        memory = {}
        if "extras" in sent and client % 2:
            memory = {"control": {k: 0.1 * v for k, v in broadcast.extras["control"].items()}}
        instruction = Instruction(2, "train", ClientInfo(client, size), broadcast, memory)
        found.append(
            StackedClient(Examples(inputs, labels), instruction, torch_stream(3, "client", client))
        )
    return found


def both(
    rule: Sgd, model: nn.Module, sizes: list[int], **sent: Any
) -> tuple[list[Update], list[Update]]:
    """Return the updates one by one and together."""
    weights, alone = weights_of(model), []
    for member in members(model, sizes, **sent):
        load_weights(model, weights)
        alone.append(rule.train(model, member.examples, member.instruction, member.generator))
    load_weights(model, weights)
    return alone, rule.train_together(model, members(model, sizes, **sent))


def close(alone: list[Update], stacked: list[Update]) -> None:
    for one, other in zip(alone, stacked, strict=True):
        assert (one.client, one.examples) == (other.client, other.examples)
        assert one.metrics == pytest.approx(other.metrics, rel=1e-4)
        parts = [(one.delta, other.delta)]
        parts += [(one.extras[k], other.extras[k]) for k in one.extras]
        parts += [(one.memory[k], other.memory[k]) for k in one.memory]
        for ours, theirs in parts:
            assert ours.keys() == theirs.keys()
            size = max(float(tensor.abs().max()) for tensor in ours.values())
            for name in ours:
                assert float((ours[name] - theirs[name]).abs().max()) <= TOLERANCE * max(size, 1e-9)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("model", MODELS)
def test_together_is_one_by_one_up_to_rounding(model, rule) -> None:
    close(*both(RULES[rule], built(model), SIZES))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_rules_that_steer_are_themselves(momentum) -> None:
    model = built("mlp")
    control = {name: 0.01 * torch.ones_like(value) for name, value in weights_of(model).items()}
    plain = {"batch_size": 10, "lr": 0.05, "momentum": momentum}
    close(*both(Proximal(**plain), model, SIZES, settings={"proximal-mu": 0.5}))
    close(*both(Normalized(**plain), model, SIZES, settings={"proximal-mu": 0.5}))
    close(*both(Normalized(**plain), model, SIZES))
    close(*both(Controlled(**plain), model, SIZES, extras={"control": control}))
    close(*both(Controlled(**plain), model, SIZES))


def test_a_correction_that_knows_no_stacks_is_used_client_by_client() -> None:
    @dataclass(frozen=True)
    class Mine(Sgd):
        def correction(self, instruction, weights):
            def halve(gradients):
                for name, gradient in gradients.items():
                    gradient.mul_(0.5).add_(weights[name], alpha=0.1 * instruction.client.id)

            return halve

    close(*both(Mine(batch_size=10), built("mlp"), SIZES))


def test_the_same_batches_are_drawn_whoever_is_beside() -> None:
    model = built("mlp")
    alone = [
        RULES["momentum"].train_together(model, [member])[0] for member in members(model, SIZES[:2])
    ]
    close(alone, RULES["momentum"].train_together(model, members(model, SIZES[:2])))


def test_a_client_that_is_done_is_not_touched_any_more() -> None:
    model = built("lenet")
    few = RULES["plain"].train_together(model, members(model, [10, 10]))
    many = RULES["plain"].train_together(model, members(model, [10, 200]))
    close(few[:1], many[:1])


def test_what_is_written_out_is_chosen_by_the_layers() -> None:
    kinds = {name: type(net_of(built(name))) for name in MODELS}
    assert kinds == {
        "mlp": Mlp,
        "softmax regression": Mlp,
        "no bias": Mlp,
        "lenet": Layers,
        "convnet": Layers,
        "tanh": Layers,
        "resnet8_gn": Vmapped,
    }


def frozen() -> nn.Module:
    model = MLP(SHAPE, 10)
    model.head.requires_grad_(False)
    return model


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10)), "batch statistics"),
        (nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10)), "dropout"),
        (frozen(), "head.weight is not trained"),
    ],
    ids=["batch norm", "dropout", "frozen"],
)
def test_what_cannot_be_stacked_says_why(model, why) -> None:
    with pytest.raises(RunError, match=why):
        Sgd().train_together(model, members(model, [10, 10]))


def test_a_forward_of_ones_own_goes_through_vmap() -> None:
    class Twice(SplitModel):
        def __init__(self) -> None:
            super().__init__(nn.Flatten(), 64, 10)

        def forward(self, inputs):
            return 2 * super().forward(inputs)

    model = Twice()
    assert isinstance(net_of(model), Vmapped)
    close(*both(Sgd(batch_size=10), model, SIZES))


def test_a_class_that_overrides_the_verb_alone_trains_alone() -> None:
    class Mine(Sgd):
        def train(self, model, examples, instruction, generator):
            return super().train(model, examples, instruction, generator)

    class Descends(Sgd):
        def _descend(self, model, examples, instruction, generator, stepping):
            return super()._descend(model, examples, instruction, generator, stepping)

    def verb(client: Client) -> object:
        return client.together("train")

    assert verb(Mine()) is None
    assert verb(Sgd()) is not None
    assert verb(Controlled()) is not None
    assert Sgd().together("evaluate") is None
    model = built("mlp")
    with pytest.raises(RunError, match="Descends descends in a way of its own"):
        Descends().train_together(model, members(model, [10, 10]))
