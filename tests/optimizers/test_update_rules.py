"""Optimisers step as torch's do, alone, stacked, accumulated, clipped, kept and scheduled."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from fedsim.client import Examples
from fedsim.clients.controlled import Controlled
from fedsim.clients.dp_sgd import DpSgd
from fedsim.clients.normalized import Normalized, steps_of
from fedsim.clients.sgd import Sgd
from fedsim.errors import RunError
from fedsim.models._state import weights_of
from fedsim.models.mlp import MLP
from fedsim.optimizers.clipping import clip, clip_stacked
from fedsim.optimizers.optimizer import Optimizer
from fedsim.optimizers.schedule import RateSchedule
from fedsim.optimizers.schedules import Constant, Cosine, Exponential, Linear, Step
from fedsim.optimizers.torch_optimizer import TorchOptimizer
from fedsim.optimizers.update_rules import SGD, Adagrad, Adam, Adamw, Rmsprop
from fedsim.privacy.parameters import PrivacyParameters
from fedsim.seeds import torch_defaults, torch_stream
from fedsim.task import TargetSpec
from fedsim.tasks.next_token import NextToken
from fedsim.wire import Broadcast, ClientInfo, Instruction, Update, Weights

HELD = Examples(
    torch.randn(37, 4, generator=torch_stream(0, "inputs")),
    torch.randint(3, (37,), generator=torch_stream(0, "labels")),
)
PAIRS: dict[str, tuple[Optimizer, type[torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": (SGD(0.05), torch.optim.SGD, {}),
    "momentum": (SGD(0.05, 0.9, 0.01), torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.01}),
    "nesterov": (
        SGD(0.05, 0.9, 0.01, nesterov=True),
        torch.optim.SGD,
        {"momentum": 0.9, "weight_decay": 0.01, "nesterov": True},
    ),
    "adam": (Adam(0.01, weight_decay=0.01), torch.optim.Adam, {"weight_decay": 0.01}),
    "adamw": (
        Adamw(0.01, (0.8, 0.99), weight_decay=0.1),
        torch.optim.AdamW,
        {"betas": (0.8, 0.99), "weight_decay": 0.1},
    ),
    "rmsprop": (Rmsprop(0.01, weight_decay=0.01), torch.optim.RMSprop, {"weight_decay": 0.01}),
    "rmsprop, momentum": (Rmsprop(0.01, momentum=0.5), torch.optim.RMSprop, {"momentum": 0.5}),
    "adagrad": (Adagrad(0.05, weight_decay=0.01), torch.optim.Adagrad, {"weight_decay": 0.01}),
}


@pytest.fixture(autouse=True)
def _same_first_weights_every_time() -> Iterator[None]:
    with torch_defaults(0, "test"):
        yield


def first_weights() -> Weights:
    generator = torch_stream(1, "weights")
    return {
        "a": torch.randn(5, 7, generator=generator),
        "b": torch.randn(3, generator=generator),
    }


def slopes_at(weights: Weights, number: int) -> Weights:
    generator = torch_stream(2, "slopes", number)
    return {
        name: 0.3 * weight + torch.randn(weight.shape, generator=generator)
        for name, weight in weights.items()
    }


def walked(optimizer: Optimizer, steps: int) -> Weights:
    weights = first_weights()
    slots = optimizer.slots(weights)
    for number in range(1, steps + 1):
        optimizer.step(weights, slopes_at(weights, number), slots, optimizer.lr, number)
    return weights


def walked_by_torch(cls: type[torch.optim.Optimizer], steps: int, **options: Any) -> Weights:
    weights = {name: nn.Parameter(weight) for name, weight in first_weights().items()}
    optimizer = cls(weights.values(), foreach=False, **options)  # type: ignore[call-arg]
    for number in range(1, steps + 1):
        plain = {name: weight.detach() for name, weight in weights.items()}
        for name, slope in slopes_at(plain, number).items():
            weights[name].grad = slope
        optimizer.step()
    return {name: weight.detach() for name, weight in weights.items()}


@pytest.mark.parametrize("name", PAIRS)
def test_a_step_is_torch_s_bit_for_bit_and_500_steps_to_1e_6(name: str) -> None:
    optimizer, cls, options = PAIRS[name]
    ours, theirs = walked(optimizer, 25), walked_by_torch(cls, 25, lr=optimizer.lr, **options)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    ours, theirs = walked(optimizer, 500), walked_by_torch(cls, 500, lr=optimizer.lr, **options)
    for key in ours:
        torch.testing.assert_close(ours[key], theirs[key], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", PAIRS)
def test_stacked_steps_are_those_of_each_client_alone_bit_for_bit(name: str) -> None:
    optimizer, clients = PAIRS[name][0], 16
    alone = [{k: v + client for k, v in first_weights().items()} for client in range(clients)]
    stacked = {k: torch.stack([weights[k] for weights in alone]) for k in alone[0]}
    slots_alone = [optimizer.slots(weights) for weights in alone]
    slots = optimizer.slots(stacked)
    for number in range(1, 26):
        slopes = [slopes_at(weights, number * 100 + at) for at, weights in enumerate(alone)]
        together = {k: torch.stack([slope[k] for slope in slopes]) for k in slopes[0]}
        optimizer.step(stacked, together, slots, optimizer.lr, number)
        for weights, slope, own in zip(alone, slopes, slots_alone, strict=True):
            optimizer.step(weights, slope, own, optimizer.lr, number)
    for at, weights in enumerate(alone):
        assert all(torch.equal(stacked[k][at], weights[k]) for k in weights)


@pytest.mark.parametrize("algorithm", ["SGD", "NAdam", "Adamax", "RAdam", "Rprop"])
def test_a_class_of_torch_steps_as_itself(algorithm: str) -> None:
    cls = getattr(torch.optim, algorithm)
    ours = walked(TorchOptimizer(0.01, algorithm), 25)
    theirs = walked_by_torch(cls, 25, lr=0.01)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_class_of_torch_that_needs_more_than_gradients_is_refused() -> None:
    with pytest.raises(ValueError, match="LBFGS needs more than a batch's gradients"):
        TorchOptimizer(0.1, "LBFGS")
    with pytest.raises(ValueError, match="no optimizer Optimiser"):
        TorchOptimizer(0.1, "Optimiser")
    with pytest.raises(RunError, match="keeps nothing"):
        TorchOptimizer(0.1).step({}, {}, {}, 0.1, 1)


def test_what_is_linear_in_the_gradient_says_so_and_nothing_else_does() -> None:
    linear = {name for name, (optimizer, _, _) in PAIRS.items() if optimizer.linear}
    assert linear == {"sgd", "momentum", "nesterov"}


def turn(half: Sgd, model: nn.Module, round: int = 1, memory: Any = None, **sent: Any) -> Update:
    cast = Broadcast(weights_of(model), **sent)
    instruction = Instruction(round, "train", ClientInfo(2, len(HELD)), cast, memory or {})
    return half.train(model, HELD, instruction, torch_stream(1, "client"))


def model() -> nn.Module:
    with torch_defaults(3, "model"):
        return MLP((4,), 3, hidden=(6,))


def equal(one: Update, other: Update) -> bool:
    return all(torch.equal(one.delta[name], other.delta[name]) for name in one.delta)


def test_sgd_named_as_an_optimizer_is_sgd_without_one_bit_for_bit() -> None:
    named = Sgd(batch_size=8, optimizer=SGD(0.05, 0.9, 1e-3))
    assert equal(turn(named, model()), turn(Sgd(0.05, 1, 8, 0.9, 1e-3), model()))


def test_batches_that_accumulate_are_one_large_batch() -> None:
    parts = Sgd(batch_size=8, accumulate=4, epochs=2, optimizer=Adamw(0.01), clip=0.5)
    whole = replace(parts, batch_size=32, accumulate=1)
    one, other = turn(parts, model()), turn(whole, model())
    assert parts.step_count(37) == whole.step_count(37) == 4
    assert one.metrics == pytest.approx(other.metrics, abs=1e-6)
    for name in one.delta:
        torch.testing.assert_close(one.delta[name], other.delta[name], rtol=0, atol=1e-6)


def test_parts_with_uneven_weights_accumulate_to_the_whole() -> None:
    """The mean of the parts' means would be another number: weights differ by 1,000."""
    weights = torch.logspace(-2, 1, 37)
    heavy = replace(HELD, weights=weights)

    def moved(half: Sgd) -> Update:
        net = model()
        instruction = Instruction(1, "train", ClientInfo(0, 37), Broadcast(weights_of(net)))
        return half.train(net, heavy, instruction, torch_stream(1, "client"))

    one, other = moved(Sgd(batch_size=8, accumulate=4)), moved(Sgd(batch_size=32))
    for name in one.delta:
        torch.testing.assert_close(one.delta[name], other.delta[name], rtol=0, atol=1e-6)


def test_parts_with_uneven_tokens_accumulate_to_the_whole() -> None:
    lengths = torch.arange(37) % 9 + 1
    tokens = torch.randint(5, (37, 9), generator=torch_stream(0, "tokens"))
    targets = torch.where(torch.arange(9) < lengths[:, None], tokens, -1)
    ragged = Examples(tokens, targets, task=NextToken(targets=TargetSpec((9,), classes=5)))

    def moved(half: Sgd) -> Update:
        with torch_defaults(3, "model"):
            net = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5))
        instruction = Instruction(1, "train", ClientInfo(0, 37), Broadcast(weights_of(net)))
        return half.train(net, ragged, instruction, torch_stream(1, "client"))

    one, other = moved(Sgd(batch_size=8, accumulate=4)), moved(Sgd(batch_size=32))
    assert one.metrics == pytest.approx(other.metrics, abs=1e-6)
    for name in one.delta:
        torch.testing.assert_close(one.delta[name], other.delta[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("drop_last", "sizes"),
    [(False, [12, 12, 12, 1]), (True, [12, 12, 12]), ("single", [12, 12, 12])],
)
def test_what_is_left_at_the_end_of_a_pass_is_dropped_as_asked(drop_last: Any, sizes: Any) -> None:
    met: list[int] = []

    class Watched(MLP):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            met.append(len(inputs))
            return super().forward(inputs)

    half = Sgd(batch_size=12, drop_last=drop_last)
    turn(half, Watched((4,), 3))
    assert met == sizes
    assert half.step_count(37) == len(sizes)
    assert half.step_count(5) == 1  # never the only batch
    assert Sgd(batch_size=10, drop_last="single").examples_per_pass(37) == 37


def test_batch_norm_says_what_helps_against_a_batch_of_one() -> None:
    def net() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))

    with pytest.raises(RunError, match=r"local\.drop_last: single"):
        turn(Sgd(batch_size=12), net())
    assert turn(Sgd(batch_size=12, drop_last="single"), net()).delta["0.weight"].any()


def test_gradients_are_cut_by_one_norm_over_all_of_a_client() -> None:
    slopes = {"a": torch.full((3, 4), 3.0), "b": torch.full((4,), 2.0)}
    parameters = [nn.Parameter(torch.zeros_like(slope)) for slope in slopes.values()]
    for parameter, slope in zip(parameters, slopes.values(), strict=True):
        parameter.grad = slope.clone()
    nn.utils.clip_grad_norm_(parameters, 1.5)
    stacked = {name: torch.stack([slope, 0.01 * slope]) for name, slope in slopes.items()}
    clip(slopes, 1.5)
    clip_stacked(stacked, 1.5)
    for parameter, (name, slope) in zip(parameters, slopes.items(), strict=True):
        torch.testing.assert_close(slope, parameter.grad, rtol=0, atol=1e-6)
        torch.testing.assert_close(stacked[name][0], slope)
    assert torch.equal(stacked["b"][1], torch.full((4,), 0.02))  # short ones stay


RISE = [1 / 3, 2 / 3]


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (Constant(warmup=2), [*RISE, 1, 1, 1, 1]),
        (Linear(warmup=2), [*RISE, 1, 0.75, 0.5, 0.25]),
        (Linear(floor=0.4), [1, 0.9, 0.8, 0.7, 0.6, 0.5]),
        (Cosine(), [(1 + math.cos(math.pi * t / 6)) / 2 for t in range(6)]),
        (Step(every=2, gamma=0.5), [1, 1, 0.5, 0.5, 0.25, 0.25]),
        (Exponential(gamma=0.5, warmup=2), [*RISE, 1, 0.5, 0.25, 0.125]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_schedule_has_its_values_by_rounds_by_steps_and_by_both(
    schedule: RateSchedule, factors: list[float]
) -> None:
    by_rounds = replace(schedule, length=6)
    for round, factor in enumerate(factors, 1):
        assert by_rounds.factors(round, 3) == pytest.approx([factor] * 3)
    assert replace(schedule, over="steps").factors(5, 6) == pytest.approx(factors)
    between = replace(by_rounds, over="both")
    for round, factor in enumerate(factors, 1):
        assert between.factors(round, 4)[0] == pytest.approx(factor)
    if isinstance(schedule, Linear) and not schedule.warmup:
        assert between.factors(1, 4) == pytest.approx([1, 0.975, 0.95, 0.925])


def test_cosine_is_torch_s() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20, eta_min=0.1)
    for factor in Cosine(over="steps", floor=0.1).factors(1, 20):
        assert factor == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()


def test_a_schedule_over_rounds_falls_between_turns_and_not_inside_them() -> None:
    half = Sgd(lr=0.1, batch_size=37, schedule=Linear(length=4))
    first, third = turn(half, model(), round=1), turn(half, model(), round=3)
    for name, delta in first.delta.items():
        torch.testing.assert_close(third.delta[name], delta / 2, rtol=0, atol=1e-7)
    with pytest.raises(RunError, match="length, in rounds, is missing"):
        Linear().factors(1, 1)


class Slope(nn.Module):
    """A loss whose gradient is about the same everywhere, and small beside the weights' room."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs[:, :2] * 0 + self.w * 1e-3


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("over", ["rounds", "steps", "both"])
def test_scaffold_s_control_is_the_gradient_with_momentum_and_cosine(
    over: Any, nesterov: bool
) -> None:
    """Where the gradient is the same everywhere, Option II finds exactly that gradient."""
    net = Slope()
    held = Examples(HELD.inputs, torch.zeros(37, dtype=torch.long))
    control = {"w": torch.tensor([0.25, -0.5])}
    cast = Broadcast(weights_of(net), extras={"control": control})
    ours = {"control": {"w": torch.tensor([0.125, 0.0])}}
    instruction = Instruction(2, "train", ClientInfo(0, 37), cast, ours)
    half = Controlled(
        epochs=3,
        batch_size=8,
        optimizer=SGD(0.01, 0.6, nesterov=nesterov),
        schedule=Cosine(over=over, warmup=1, length=7),
    )
    update = half.train(net, held, instruction, torch_stream(1, "client"))
    # The gradient of the mean cross-entropy at equal logits, through the factor 1e-3.
    gradient = torch.tensor([-0.5e-3, 0.5e-3])
    torch.testing.assert_close(update.memory["control"]["w"], gradient, rtol=0, atol=1e-6)


def test_what_steps_are_worth_is_the_closed_form_where_there_is_one() -> None:
    instruction = Instruction(3, "train", ClientInfo(0, 37), Broadcast({}))
    plain = Normalized(lr=0.05, batch_size=8, epochs=2, momentum=0.7)
    scheduled = replace(plain, schedule=Constant(length=5))
    for mu in (0.0, 2.0):
        worth = steps_of(plain, instruction, 37, mu)
        assert steps_of(scheduled, instruction, 37, mu) == pytest.approx(worth, rel=1e-12)
    assert steps_of(replace(plain, momentum=0.0), instruction, 37) == 10
    with pytest.raises(RunError, match="Adam: such steps are not linear in the gradient"):
        steps_of(replace(plain, optimizer=Adam()), instruction, 37)


def test_a_kept_state_goes_on_where_it_stopped() -> None:
    """Two turns of one pass each, whose weights go on, are one turn of two passes."""
    half = Sgd(batch_size=37, optimizer=Adam(0.01), state="keep")
    net = model()
    first = turn(half, net)
    assert first.memory["optimizer"]["steps"].tolist() == [1]
    second = turn(half, net, 2, first.memory)
    assert second.memory["optimizer"]["steps"].tolist() == [2]
    both = turn(replace(half, epochs=2, state="reset"), model())
    assert both.memory == {}
    for name, delta in both.delta.items():
        torch.testing.assert_close(first.delta[name] + second.delta[name], delta, rtol=0, atol=1e-6)
    afresh = turn(replace(half, state="reset"), net, 3, second.memory)
    assert afresh.memory == {}


def test_what_is_kept_is_not_changed_by_the_turn_that_is_given_it() -> None:
    half, net = Sgd(batch_size=8, momentum=0.9, state="keep"), model()
    memory = turn(half, net).memory
    before = {k: {n: x.clone() for n, x in part.items()} for k, part in memory.items()}
    turn(half, net, 2, memory)
    assert all(torch.equal(x, before[k][n]) for k, part in memory.items() for n, x in part.items())


def test_private_steps_go_through_any_optimizer_after_the_noise() -> None:
    terms = PrivacyParameters(1.0, 1.0, "simulation")

    def moved(**fields: Any) -> Update:
        net = model()
        rule = DpSgd(lr=0.1, steps=3, sample_rate=0.5, **fields).under(terms)
        instruction = Instruction(1, "train", ClientInfo(0, 37), Broadcast(weights_of(net)))
        return rule.train(net, HELD, instruction, torch_stream(1, "client"))

    plain, named = moved(), moved(optimizer=SGD(0.1))
    for name in plain.delta:
        torch.testing.assert_close(plain.delta[name], named.delta[name], rtol=0, atol=1e-6)
    adam = moved(optimizer=Adam(0.001), schedule=Constant(over="steps"))
    # Adam's first steps are as long as its rate, whatever the noise.
    assert max(float(delta.abs().max()) for delta in adam.delta.values()) <= 3.1e-3
    rule = DpSgd(optimizer=Adam()).under(terms)
    with pytest.raises(RunError, match="one client at a time"):
        rule.train_together(model(), [])
