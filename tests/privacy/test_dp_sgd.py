"""DP-SGD's per-example gradients are exact, and one example moves a sum by its clip at most."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fedsim.client import Examples
from fedsim.clients.dp_sgd import DpSgd
from fedsim.models.convnet import ConvNet
from fedsim.models.mlp import MLP
from fedsim.per_sample.batches import sampled
from fedsim.per_sample.clipped_sums import clipped_sum, per_example
from fedsim.privacy.accountant import epsilon
from fedsim.privacy.mechanism import norm_of
from fedsim.privacy.noise import SimulatedNoise, grid, perturbed, source_of
from fedsim.privacy.parameters import PrivacyParameters
from fedsim.seeds import torch_defaults, torch_stream
from fedsim.wire import Broadcast, ClientInfo, Instruction, Weights
from tests.privacy.plain_dp_sgd import plain_dp_sgd

CLIP, STEP = 0.5, grid(0.5)


def model_of(name: str) -> nn.Module:
    with torch_defaults(3, "model"):
        if name == "mlp":
            return MLP(shape=(1, 8, 8), classes=10, hidden=(12,))
        return ConvNet(shape=(1, 8, 8), classes=10, width=4, depth=2)


def examples(count: int, scale: float = 1.0) -> Examples:
    generator = torch_stream(5, "examples")
    labels = torch.randint(10, (count,), generator=generator)
    return Examples(scale * torch.randn(count, 1, 8, 8, generator=generator), labels)


def weights_of(model: nn.Module) -> Weights:
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def one_by_one(model: nn.Module, batch: Examples) -> list[dict[str, Tensor]]:
    """Return each example's gradient, the slow way."""
    found = []
    for example, label in zip(batch.inputs, batch.labels, strict=True):
        model.zero_grad(set_to_none=True)
        torch.autograd.backward(nn.functional.cross_entropy(model(example[None]), label[None]))
        found.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    return found


@pytest.mark.parametrize("name", ["mlp", "convnet"])
def test_the_gradients_are_those_of_the_slow_way(name: str) -> None:
    model, batch = model_of(name), examples(20)
    fast = per_example(model)(weights_of(model), batch.inputs, batch.labels)
    for place, slow in enumerate(one_by_one(model, batch)):
        for key, gradient in slow.items():
            torch.testing.assert_close(fast[key][place], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["mlp", "convnet"])
def test_the_gradients_are_those_of_opacus(name: str) -> None:
    opacus = pytest.importorskip("opacus")
    model, batch = model_of(name), examples(20)
    fast = per_example(model)(weights_of(model), batch.inputs, batch.labels)
    hooked = opacus.GradSampleModule(model_of(name), loss_reduction="sum", strict=False)
    inputs = batch.inputs.clone().requires_grad_()  # torch warns of hooks without
    loss = nn.functional.cross_entropy(hooked(inputs), batch.labels, reduction="sum")
    torch.autograd.backward(loss)
    for key, parameter in hooked.named_parameters():
        theirs = parameter.grad_sample
        torch.testing.assert_close(fast[key.removeprefix("_module.")], theirs, rtol=1e-4, atol=1e-6)


def test_the_clipped_sum_is_that_of_the_slow_way() -> None:
    model, batch = model_of("mlp"), examples(150)
    found = clipped_sum(per_example(model), weights_of(model), batch, CLIP, STEP)
    slow = {name: torch.zeros_like(t, dtype=torch.float64) for name, t in found.items()}
    for gradient in one_by_one(model, batch):
        scale = min(1.0, CLIP / norm_of(gradient))
        for name in slow:
            slow[name] += gradient[name].double() * scale
    for name in slow:
        torch.testing.assert_close(found[name], slow[name], rtol=1e-4, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 30),
    st.sampled_from([0.0, 1e-6, 1.0, 1e4, 1e30, math.inf, math.nan]),
)
def test_one_example_moves_the_sum_by_the_clip_at_most(others: int, scale: float) -> None:
    model = model_of("mlp")
    batch = examples(others + 1)
    batch.inputs[-1] *= scale
    less = Examples(batch.inputs[:-1], batch.labels[:-1])
    gradients, weights = per_example(model), weights_of(model)
    with_it = clipped_sum(gradients, weights, batch, CLIP, STEP)
    without = clipped_sum(gradients, weights, less, CLIP, STEP)
    assert norm_of({n: with_it[n] - without[n] for n in without}) <= CLIP * (1 + 1e-9)


def turn(rule: DpSgd, held: Examples, noise: float = 1.0, seed: int = 1):
    model = model_of("mlp")
    sent = {name: tensor.clone() for name, tensor in weights_of(model).items()}
    instruction = Instruction(1, "train", ClientInfo(0, len(held)), Broadcast(sent))
    private = rule.under(PrivacyParameters(CLIP, noise, "simulation"))
    return private.train(model, held, instruction, torch_stream(seed, "client"))


def test_nothing_but_weights_is_sent() -> None:
    for count in (1, 7, 40):
        update = turn(DpSgd(steps=2), examples(count))
        assert update.metrics == {}
        assert update.extras == {}
        assert update.examples == 1


def test_a_client_without_examples_sends_noise() -> None:
    update = turn(DpSgd(steps=2), examples(0))
    assert float(torch.cat([t.flatten() for t in update.delta.values()]).std()) > 0


def test_without_noise_and_with_every_example_it_is_clipped_gradient_descent() -> None:
    model, held = model_of("mlp"), examples(30)
    rule = DpSgd(lr=0.1, steps=1, sample_rate=1.0, batch_size=30)
    summed = clipped_sum(per_example(model), weights_of(model), held, CLIP, grid(0.0))
    update = turn(rule, held, noise=0.0)
    for name, delta in update.delta.items():
        torch.testing.assert_close(delta.double(), -0.1 * summed[name] / 30, rtol=1e-3, atol=1e-6)


def test_the_noise_has_the_size_that_is_claimed() -> None:
    rule = DpSgd(lr=1.0, steps=1, sample_rate=0.1, batch_size=10)
    drawn = [turn(rule, examples(0), noise=2.0, seed=k) for k in range(300)]
    flat = torch.cat([t.flatten() for update in drawn for t in update.delta.values()])
    assert abs(float(flat.var()) / (2.0 * CLIP / 10) ** 2 - 1) < 0.01


def test_batches_are_poisson_samples() -> None:
    source = SimulatedNoise.at(1, "batches")
    sizes = torch.tensor([len(sampled(200, 0.1, source)) for _ in range(4000)]).double()
    assert abs(float(sizes.mean()) - 20) < 5 * math.sqrt(18 / 4000)
    assert abs(float(sizes.var()) - 18) < 2
    assert len(sampled(200, 1.0, source)) == 200
    assert len(sampled(0, 0.5, source)) == 0


def test_two_turns_cost_what_twice_as_many_steps_do() -> None:
    once, twice = DpSgd(steps=10).releases(1.0, 2), DpSgd(steps=20).releases(1.0, 1)
    assert epsilon(once, 1e-5) == epsilon(twice, 1e-5)


@pytest.mark.parametrize("noise", [0.0, 1.0])
@pytest.mark.parametrize("name", ["mlp", "convnet"])
def test_a_whole_turn_is_the_papers_algorithm(name: str, noise: float) -> None:
    rule = DpSgd(lr=0.3, steps=4, sample_rate=0.4, batch_size=8)
    terms, held, model = PrivacyParameters(CLIP, noise, "simulation"), examples(20), model_of(name)
    sent = Broadcast({name: tensor.clone() for name, tensor in model.state_dict().items()})
    instruction = Instruction(1, "train", ClientInfo(0, len(held)), sent)
    delta = rule.under(terms).train(model, held, instruction, torch_stream(2, "turn")).delta
    twin, source = model_of(name), source_of("simulation", torch_stream(2, "turn"))
    for _ in range(rule.steps):  # the same samples and the same noise, in the order of their draws
        batch = sampled(len(held), rule.sample_rate, source)
        steps = plain_dp_sgd(
            twin, held, [batch], CLIP, lambda total: perturbed(total, CLIP * noise, source)
        )
        steps(rule.lr, rule.batch_size)
    for key, after in twin.state_dict().items():
        assert torch.allclose(sent.weights[key] + delta[key], after, atol=2e-6), key
