"""Each example's gradient by formulas: it is the slow one's, and nobody's but the example's."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from fedsim.client import Examples
from fedsim.models.resnet8_gn import ResNet8GN
from fedsim.per_sample.batches import SLOTS, in_slots, slots_for
from fedsim.per_sample.clipped_sums import clipped_sum, per_example, written_sum
from fedsim.per_sample.gradients import WrittenOut
from fedsim.privacy.mechanism import norm_of
from fedsim.seeds import torch_stream
from fedsim.wire import Weights
from tests.privacy.nets import NETS, SHAPE, seeded

CLIP = 0.5


def odd_net() -> nn.Module:
    """Return layers at the edges of what is written out."""
    return nn.Sequential(
        nn.Conv2d(3, 9, (3, 2), stride=(1, 2), padding=(0, 1), bias=False),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(9, 4, 2),
        nn.Linear(2, 5),  # at every place
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(60, 10, bias=False),
    )


MODELS = NETS | {"odd": odd_net}


def model_of(name: str) -> nn.Module:
    return seeded(MODELS[name])


def examples(count: int) -> Examples:
    generator = torch_stream(5, "examples")
    labels = torch.randint(10, (count,), generator=generator)
    return Examples(torch.randn(count, *SHAPE, generator=generator), labels)


def weights_of(model: nn.Module) -> Weights:
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def written(model: nn.Module) -> WrittenOut:
    found = WrittenOut.of(model)
    assert found is not None
    return found


def alone(model: nn.Module, batch: Examples, place: int) -> Weights:
    """Return one example's gradient, the slow way."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    here = slice(place, place + 1)
    loss = nn.functional.cross_entropy(model(batch.inputs[here]), batch.labels[here])
    return dict(zip(trained, torch.autograd.grad(loss, list(trained.values())), strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_gradients_by_formulas_are_those_of_the_slow_way(name: str) -> None:
    model, batch = model_of(name), examples(12)
    pieces = written(model)(batch, len(batch))
    for place, one in enumerate(torch.eye(len(batch), dtype=torch.float64)):
        for key, slow in alone(model, batch, place).items():
            found = torch.zeros_like(slow, dtype=torch.float64)
            pieces[key].add_to(found, one)
            torch.testing.assert_close(found.float(), slow, rtol=1e-4, atol=1e-6)
            square = float(slow.double().square().sum())
            assert float(pieces[key].squares()[place]) == pytest.approx(square, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_the_clipped_sum_is_that_of_the_slow_way(name: str) -> None:
    model, batch = model_of(name), examples(30)
    found = written_sum(written(model), weights_of(model), batch, CLIP)
    slow = {key: torch.zeros_like(total) for key, total in found.items()}
    for place in range(len(batch)):
        gradient = alone(model, batch, place)
        for key in slow:
            slow[key] += gradient[key].double() * min(1.0, CLIP / norm_of(gradient))
    on_grid = clipped_sum(per_example(model), weights_of(model), batch, CLIP, 2.0**-25)
    for key in slow:
        torch.testing.assert_close(found[key], slow[key], rtol=1e-4, atol=3e-5)
        torch.testing.assert_close(found[key], on_grid[key], rtol=1e-4, atol=3e-5)


def rows(gradients: WrittenOut, batch: Examples, slots: int) -> Tensor:
    """Return all that is known of each example's gradient, `(n, numbers)`, to the last bit."""
    pieces = gradients(*next(in_slots(batch, slots)))
    parts = [part for piece in pieces.values() for part in vars(piece).values()]
    return torch.cat([part for part in parts if isinstance(part, Tensor)], dim=1)


@pytest.mark.parametrize("slots", [14, SLOTS, 24])
@pytest.mark.parametrize("name", MODELS)
def test_an_examples_gradient_does_not_depend_on_company_or_place(name: str, slots: int) -> None:
    batch, gradients = examples(slots), written(model_of(name))
    full = rows(gradients, batch, slots)
    for first, last in [(0, 1), (0, 2), (0, 5), (1, 6), (3, slots), (1, slots - 1)]:
        some = Examples(batch.inputs[first:last], batch.labels[first:last])
        assert torch.equal(rows(gradients, some, slots), full[first:last])


def test_a_thousand_hostile_examples_move_the_sum_by_the_clip_at_most() -> None:
    generator, most = torch_stream(9, "hostile"), 0.0
    scales = [0.0, 1e-30, 1e-3, 1.0, 1e4, 1e18, 1e30, 3e38, math.nan, math.inf]
    for name in ("mlp", "convnet", "wide", "odd"):
        model, batch = model_of(name), examples(23)
        gradients, weights = written(model), weights_of(model)
        without = written_sum(gradients, weights, batch, CLIP)
        for number in range(250):
            bad = torch.randn(1, *SHAPE, generator=generator) * scales[number % len(scales)]
            if number % 3 == 0:  # a copy of another, or as a whole the same number
                bad = batch.inputs[:1] if number % 2 else bad.flatten()[0].expand_as(bad)
            at = number % 24
            inputs = torch.cat([batch.inputs[:at], bad, batch.inputs[at:]])
            label = torch.tensor([number % 10])
            labels = torch.cat([batch.labels[:at], label, batch.labels[at:]])
            moved = written_sum(gradients, weights, Examples(inputs, labels), CLIP)
            most = max(most, norm_of({key: moved[key] - without[key] for key in moved}))
    assert 0.9999 * CLIP < most <= CLIP * (1 + 1e-9)


def test_what_is_not_finite_adds_nothing() -> None:
    for name in MODELS:
        model, batch = model_of(name), examples(3)
        alone_there = Examples(batch.inputs[1:2], batch.labels[1:2])
        batch.inputs[0] = math.nan
        batch.inputs[2, 0, 0, 0] = math.inf
        found = written_sum(written(model), weights_of(model), batch, CLIP)
        alike = written_sum(written(model), weights_of(model), alone_there, CLIP)
        for key in found:
            torch.testing.assert_close(found[key], alike[key], rtol=1e-12, atol=1e-15)


def test_an_empty_batch_sums_to_nothing() -> None:
    model = model_of("lenet")
    sums = written_sum(written(model), weights_of(model), examples(0), CLIP)
    assert not any(total.any() for total in sums.values())


def test_frozen_weights_have_no_gradients() -> None:
    model, batch = model_of("lenet"), examples(5)
    frozen = next(iter(dict(model.named_parameters())))
    model.get_parameter(frozen).requires_grad_(False)
    found = written_sum(written(model), weights_of(model), batch, CLIP)
    assert frozen not in found
    whole = clipped_sum(per_example(model), weights_of(model), batch, CLIP, 2.0**-25)
    for key, total in found.items():
        torch.testing.assert_close(total, whole[key], rtol=1e-4, atol=3e-5)


def test_what_is_no_chain_of_known_layers_is_left_to_others() -> None:
    shape = (3, 8, 8)
    for model in (
        ResNet8GN(shape, 10),
        nn.Sequential(nn.Conv2d(3, 4, 3, dilation=2), nn.Flatten(), nn.Linear(64, 10)),
        nn.Sequential(nn.Conv2d(3, 4, 3, padding="same"), nn.Flatten(), nn.Linear(256, 10)),
        nn.Sequential(nn.Flatten(), nn.Linear(192, 20), nn.ReLU(inplace=True), nn.Linear(20, 10)),
        nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(192, 10)),
    ):
        assert WrittenOut.of(model) is None


def test_a_pass_takes_a_standard_deviation_more_than_the_batch() -> None:
    assert [slots_for(size) for size in (1, 9, 10, 16, 400)] == [2, 12, 14, 20, 64]
