"""The local update rules against slow truths: torch's optimiser, autograd, closed forms."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fedsim.client import Examples, as_client
from fedsim.clients.controlled import Controlled
from fedsim.clients.normalized import Normalized, effective_steps
from fedsim.clients.proximal import Proximal
from fedsim.clients.sgd import Sgd
from fedsim.models._state import weights_of
from fedsim.models.mlp import MLP
from fedsim.seeds import torch_defaults, torch_stream
from fedsim.wire import Broadcast, ClientInfo, Instruction, Update, Weights

HELD = Examples(
    torch.randn(13, 4, generator=torch_stream(0, "inputs")),
    torch.randint(3, (13,), generator=torch_stream(0, "labels")),
)


@pytest.fixture(autouse=True)
def _same_first_weights_every_time() -> Iterator[None]:
    with torch_defaults(0, "test"):
        yield


def turn(half: Sgd, model: nn.Module, round: int = 1, held: Examples = HELD) -> Update:
    instruction = Instruction(
        round, "train", ClientInfo(2, len(held)), Broadcast(weights_of(model))
    )
    return half.train(model, held, instruction, torch_stream(1, "client"))


def truth(half: Sgd, model: nn.Module) -> tuple[Weights, float]:
    """Torch's own optimiser over the same batches: the weights' change, the last pass's loss."""
    before, generator = weights_of(model), torch_stream(1, "client")
    torch.randint(2**31, (), generator=generator)  # what seeds the layers
    optimizer = torch.optim.SGD(
        model.parameters(), half.lr, momentum=half.momentum, weight_decay=half.weight_decay
    )
    left, loss_sum = half.step_count(len(HELD)), 0.0
    while left > 0:
        loss_sum = 0.0
        for batch in torch.split(torch.randperm(len(HELD), generator=generator), half.batch_size)[
            :left
        ]:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(HELD.inputs[batch]), HELD.labels[batch])
            loss_sum += loss.item() * len(batch)
            torch.autograd.backward(loss)
            optimizer.step()
            left -= 1
    return {name: new - before[name] for name, new in weights_of(model).items()}, loss_sum


@pytest.mark.parametrize(
    "half",
    [
        Sgd(lr=0.1, epochs=2, batch_size=5),
        Sgd(lr=0.1, epochs=3, batch_size=4, momentum=0.9),
        Sgd(lr=0.1, epochs=2, batch_size=20, weight_decay=0.1),
        Sgd(lr=0.05, epochs=2, batch_size=6, momentum=0.5, weight_decay=0.01),
        Sgd(lr=0.05, steps=7, batch_size=6, momentum=0.5),
    ],
    ids=["plain", "momentum", "decay", "both", "steps"],
)
def test_sgd_is_torch_s_bit_for_bit(half: Sgd) -> None:
    model, twin = MLP((4,), 3), MLP((4,), 3)
    twin.load_state_dict(model.state_dict())
    update = turn(half, model)
    delta, loss_sum = truth(half, twin)
    assert all(torch.equal(update.delta[name], delta[name]) for name in delta)
    if half.steps is None:
        assert update.metrics["loss"] == pytest.approx(loss_sum / 13, abs=1e-6)


def test_every_example_is_met_once_in_a_pass_and_the_last_batch_is_kept() -> None:
    seen: list[Tensor] = []

    class Watched(MLP):
        def forward(self, inputs: Tensor) -> Tensor:
            seen.append(inputs)
            return super().forward(inputs)

    turn(Sgd(batch_size=5), Watched((4,), 3))
    assert [len(batch) for batch in seen] == [5, 5, 3]
    met = torch.cat(seen)
    assert torch.equal(met.sort(dim=0).values, HELD.inputs.sort(dim=0).values)


def test_the_rate_falls_from_round_to_round() -> None:
    model = MLP((4,), 3)
    first = weights_of(model)
    half = Sgd(lr=0.1, lr_decay=0.5, batch_size=13)
    one = turn(half, model, round=1)
    model.load_state_dict(first)
    third = turn(half, model, round=3)
    for name, delta in one.delta.items():
        torch.testing.assert_close(third.delta[name], delta / 4, rtol=0, atol=1e-7)


def test_parameters_that_ask_for_no_gradient_stay() -> None:
    model = MLP((4,), 3)
    model.head.weight.requires_grad_(False)
    delta = turn(Sgd(), model).delta
    assert "head.weight" not in delta
    assert delta["head.bias"].any()


def test_dropout_draws_from_the_client_s_stream_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 50), nn.Dropout(), nn.Linear(50, 3))
    first, state = weights_of(model), torch.get_rng_state()
    one = turn(Sgd(), model)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)  # what others draw must not matter
    model.load_state_dict(first)
    again = turn(Sgd(), model)
    assert all(torch.equal(one.delta[name], again.delta[name]) for name in first)


def test_parameters_that_share_a_gradient_are_stepped_once_each() -> None:
    """``a + b`` has one gradient for both, which must not be one tensor that is changed twice."""

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Parameter(torch.ones(3)), nn.Parameter(torch.zeros(3))

        def forward(self, inputs: Tensor) -> Tensor:
            return inputs[:, :3] + (self.a + self.b)

    half = Sgd(epochs=3, batch_size=5, weight_decay=0.5)
    update, (delta, _) = turn(half, Sum()), truth(half, Sum())
    assert all(torch.equal(update.delta[name], delta[name]) for name in ("a", "b"))


def test_running_statistics_travel_with_the_weights() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    delta = turn(Sgd(), model).delta
    assert delta["1.running_mean"].any()
    assert "1.num_batches_tracked" not in delta


def test_stock_flower_s_key_sets_the_proximal_term() -> None:
    model = MLP((4,), 3)
    weights = weights_of(model)
    cast = Broadcast(weights, settings={"proximal-mu": 0.5})
    instruction = Instruction(1, "train", ClientInfo(0, 13), cast)
    update = Proximal(lr=0.1, epochs=1, batch_size=4).train(
        model, HELD, instruction, torch_stream(1, "a")
    )
    # Slow truth: the term in the loss, squared as the paper has it.
    model.load_state_dict(weights)
    optimizer, generator = torch.optim.SGD(model.parameters(), lr=0.1), torch_stream(1, "a")
    torch.randint(2**31, (), generator=generator)
    for batch in torch.split(torch.randperm(13, generator=generator), 4):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(HELD.inputs[batch]), HELD.labels[batch])
        for name, parameter in model.named_parameters():
            loss = loss + 0.25 * ((parameter - weights[name]) ** 2).sum()
        torch.autograd.backward(loss)
        optimizer.step()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(weights[name] + update.delta[name], tensor, rtol=0, atol=1e-6)


@given(steps=st.integers(1, 60), momentum=st.floats(0.0, 0.95), pull=st.floats(0.001, 0.9))
def test_reach_has_the_paper_s_closed_forms(steps: int, momentum: float, pull: float) -> None:
    assert effective_steps(steps) == steps
    assert effective_steps(steps, pull=pull) == pytest.approx((1 - (1 - pull) ** steps) / pull)
    inner = steps - momentum * (1 - momentum**steps) / (1 - momentum)
    assert effective_steps(steps, momentum) == pytest.approx(inner / (1 - momentum))


def test_normalized_tells_what_its_steps_are_worth() -> None:
    half = Normalized(epochs=2, batch_size=5, momentum=0.5)
    worth = turn(half, MLP((4,), 3)).extras["steps"]["steps"]
    assert worth.item() == effective_steps(6, 0.5)
    assert math.isclose(worth.item(), (6 - 0.5 * (1 - 0.5**6) / 0.5) / 0.5)


def test_controlled_without_a_control_is_sgd() -> None:
    model, twin = MLP((4,), 3), MLP((4,), 3)
    twin.load_state_dict(model.state_dict())
    controlled, plain = turn(Controlled(), model), turn(Sgd(), twin)
    assert all(torch.equal(controlled.delta[name], plain.delta[name]) for name in plain.delta)
    assert (controlled.extras, controlled.memory) == ({}, {})


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_a_client_s_control_is_the_mean_of_its_gradients(momentum: float) -> None:
    """Where the gradient is the same everywhere, Option II finds exactly that gradient."""

    class Slope(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(2))

        def forward(self, inputs: Tensor) -> Tensor:
            # Minus the logit of the true class, in effect: a loss linear in w.
            return inputs[:, :2] * 0 + self.w * 1e-3

    model = Slope()
    held = Examples(HELD.inputs, torch.zeros(13, dtype=torch.long))
    control = {"w": torch.tensor([0.25, -0.5])}
    ours = {"w": torch.tensor([0.125, 0.0])}
    cast = Broadcast(weights_of(model), extras={"control": control})
    instruction = Instruction(1, "train", ClientInfo(0, 13), cast, {"control": ours})
    half = Controlled(lr=0.01, epochs=3, batch_size=4, momentum=momentum)
    update = half.train(model, held, instruction, torch_stream(1, "client"))
    # The gradient of the mean cross-entropy at equal logits, through the factor 1e-3.
    gradient = torch.tensor([-0.5e-3, 0.5e-3])
    torch.testing.assert_close(update.memory["control"]["w"], gradient, rtol=0, atol=1e-5)
    change = update.extras["control"]["w"]
    torch.testing.assert_close(ours["w"] + change, update.memory["control"]["w"])


class Plain:
    """A rule that is derived from nothing."""

    def train(self, model: object, examples: object, instruction: object, generator: object) -> str:
        return "trained"


def test_a_rule_that_is_derived_from_nothing_gets_the_hooks_defaults() -> None:
    rule = as_client(Plain())
    assert rule.train(None, None, None, None) == "trained"  # type: ignore[arg-type, comparison-overlap]
    assert (rule.notes, rule.reads, rule.fixed_batch_size) == ((), frozenset(), None)
    assert rule.together("train") is None
    assert as_client(rule) is rule
