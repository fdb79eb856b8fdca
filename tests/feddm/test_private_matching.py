"""Private matching: each example's part is exact, bounded and noised."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from fedsim.condense.by_class import ByClass
from fedsim.condense.embedding_means import Steps, matched, released_means
from fedsim.condense.model_sphere import Sphere
from fedsim.condense.private_gradients import (
    ImageMechanism,
    PrivateExamples,
    clipped_sum,
    each_embedded,
    enough,
    noisy_counts,
    released,
)
from fedsim.models._split import embedded
from fedsim.optimizers.update_rules import SGD
from fedsim.privacy.noise import SimulatedNoise, grid
from fedsim.seeds import numpy_stream, torch_stream

WIDE = ImageMechanism(clip=1e6, noise_multiplier=1e-6, rate=0.3)


@pytest.fixture
def private(held) -> PrivateExamples:
    of = ByClass.of(held, 10)
    counts = torch.zeros(10, dtype=torch.float64)
    counts[of.classes] = of.sizes.double()
    return PrivateExamples.of(held, counts, of.classes)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(3, 4, 1, 8, 8, generator=torch_stream(0, "images"))


def source(number: int = 0) -> SimulatedNoise:
    return SimulatedNoise(numpy_stream(number, "noise"))


def per_example(model, images, inputs, owner) -> torch.Tensor:
    """Return each example's gradient by autograd, one at a time: (batch, *images.shape)."""
    gradients = []
    for x, place in zip(inputs, owner, strict=True):
        leaf = images.clone().requires_grad_()
        made = embedded(model, leaf[place]).mean(0)
        loss = (embedded(model, x[None])[0].detach() - made).square().sum()
        gradients.append(torch.autograd.grad(loss, leaf)[0])
    return torch.stack(gradients)


def test_the_parts_of_examples_add_up_to_the_gradient_of_the_mean(model, private, images) -> None:
    model.double()
    inputs, images = private.inputs.double(), images.double()
    total = clipped_sum(model, images, inputs, private.owner, replace(WIDE, clip=1e9))
    leaf = images.clone().requires_grad_()
    loss = torch.zeros((), dtype=torch.float64)
    for place, size in enumerate(private.counts):
        real = embedded(model, inputs[private.owner == place]).detach().mean(0)
        loss = loss + size * (real - embedded(model, leaf[place]).mean(0)).square().sum()
    (wanted,) = torch.autograd.grad(loss, leaf)
    # The grid of the noise (std 1e3) is 2**-15 wide; but for it they are the same.
    assert (total - wanted).abs().max() < 66 * 2.0**-14


@pytest.mark.parametrize("clip", [0.05, 0.5, 50.0])
def test_each_example_is_clipped_by_itself(clip, model, private, images) -> None:
    model.double()
    inputs, images = private.inputs.double(), images.double()
    mechanism = ImageMechanism(clip, 1e-7, 0.3)
    found = clipped_sum(model, images, inputs, private.owner, mechanism)
    parts = per_example(model, images, inputs, private.owner)
    norms = parts.flatten(1).norm(dim=1)
    wanted = torch.einsum("b,b...->...", (clip / norms).clamp(max=1), parts)
    assert torch.allclose(found, wanted, rtol=1e-10, atol=1e-10)
    if clip == 0.5:
        assert 0 < (norms > clip).sum() < len(norms)


def test_a_neighbour_moves_the_sum_by_the_clip_at_most(model, private, images) -> None:
    """More than a thousand of them: one for each class at a time, as they touch other images."""
    mechanism = ImageMechanism(clip=0.3, noise_multiplier=1.0, rate=0.3)
    generator = torch_stream(9, "hostile")
    held, owner = private.inputs[::11], private.owner[::11]
    total = clipped_sum(model, images, held, owner, mechanism)
    scales = torch.tensor([0.0, 1e-30, 1.0, 1e4, 1e18, 1e38, math.nan, math.inf, -math.inf])
    for number in range(340):
        hostile = torch.randn(3, 1, 8, 8, generator=generator)
        hostile *= scales[(number + torch.arange(3)) % len(scales)].reshape(3, 1, 1, 1)
        inputs, owners = torch.cat([held, hostile]), torch.cat([owner, torch.arange(3)])
        more = clipped_sum(model, images, inputs, owners, mechanism)
        assert bool(more.isfinite().all())
        assert float((more - total).flatten(1).norm(dim=1).max()) <= 0.3 * (1 + 1e-9), number


@pytest.mark.parametrize("many", [1, 2, 5, 15, 16, 17, 33, 64, 100])
def test_an_example_adds_its_own_term_whoever_is_beside_it(model, images, many: int) -> None:
    mechanism = ImageMechanism(clip=0.3, noise_multiplier=1.0, rate=0.3)
    generator = torch_stream(many, "company")
    inputs = torch.randn(many + 1, 1, 8, 8, generator=generator)
    owner = torch.randint(3, (many + 1,), generator=generator)
    rest = torch.arange(many + 1) != torch.randint(many + 1, (1,), generator=generator)
    whole, others, alone = (
        clipped_sum(model, images, inputs[some], owner[some], mechanism)
        for some in (slice(None), rest, ~rest)
    )
    assert torch.equal(whole - others, alone)
    of_whole = each_embedded(model, inputs)
    assert torch.equal(of_whole[~rest], each_embedded(model, inputs[~rest]))


def test_sums_lie_on_the_grid_of_the_noise(model, private, images) -> None:
    mechanism = ImageMechanism(clip=0.3, noise_multiplier=1.5, rate=0.3)
    total = clipped_sum(model, images, private.inputs, private.owner, mechanism)
    cells = total / grid(mechanism.std)
    assert torch.equal(cells, cells.round())
    assert bool(cells.any())


def test_an_empty_sample_is_noised_too(model, private, images) -> None:
    never = ImageMechanism(clip=0.3, noise_multiplier=1.5, rate=0.0)
    on = Sphere(model, 5.0), torch_stream(0, "sphere")
    # Nobody is in the sample of a rate of zero, so that the denominator is of no account.
    noise = released(images, private, replace(never, rate=1e-300), on, source()) * 1e-300
    noise = noise * (private.counts.sum() / 3)
    assert noise.std().item() == pytest.approx(0.45, rel=0.1)
    assert not clipped_sum(model, images, private.inputs[:0], private.owner[:0], never).any()


def test_a_release_is_the_sum_over_a_fixed_denominator_plus_noise(model, private, images) -> None:
    mechanism = ImageMechanism(clip=0.3, noise_multiplier=2.0, rate=1.0)
    sphere = Sphere(model, 0.0)
    total = clipped_sum(model, images, private.inputs, private.owner, mechanism)
    seen = torch.stack(
        [
            released(images, private, mechanism, (sphere, torch_stream(0, "s")), source(k))
            for k in range(40)
        ]
    )
    noise = seen * (66 / 3) - total
    assert abs(noise.mean().item()) < 4 * 0.6 / noise.numel() ** 0.5
    assert noise.std().item() == pytest.approx(0.6, rel=0.02)


def test_counts_are_noised_and_small_classes_left_out() -> None:
    labels = torch.tensor([0] * 30 + [2] * 10)
    counts = torch.stack([noisy_counts(labels, 4, 2.0, source(k)) for k in range(400)])
    assert np.allclose(counts.mean(0), [30, 0, 10, 0], atol=0.5)
    assert counts.std(0).mean().item() == pytest.approx(2.0, rel=0.1)
    assert enough(torch.tensor([30.0, -1, 13.9, 14.0]), least=10, std=2.0).tolist() == [0, 3]


def test_images_descend_in_private_too(model, private, images) -> None:
    """With next to no noise and clipping, the steps are those of the mean's gradient."""
    mechanism = ImageMechanism(clip=1e3, noise_multiplier=1e-9, rate=1.0)
    sphere, generator = Sphere(model, 1.0), torch_stream(0, "sphere")

    def apart() -> float:
        real = torch.stack(
            [embedded(model, private.inputs[private.owner == c]).mean(0) for c in range(3)]
        )
        made = embedded(model, images.flatten(0, 1)).reshape(3, 4, -1).mean(1)
        return (real - made).square().sum().item()

    before = apart()
    for _ in range(60):
        images = (
            images - released(images, private, mechanism, (sphere, generator), source()).float()
        )
    assert apart() < 0.5 * before


def test_mean_embeddings_bound_an_example_and_match_what_was_released(
    model, private, images
) -> None:
    sphere, std = Sphere(model, 1.0), 1e-9
    (mean,) = [released_means(sphere, private, (2.0, std), 3, source())]
    fewer = replace(private, inputs=private.inputs[1:], owner=private.owner[1:])
    other = released_means(sphere, fewer, (2.0, std), 3, source())
    moved = (mean.target - other.target) * private.counts[:, None]
    assert moved.norm() <= 2.0 * (1 + 1e-5)
    assert bool(moved[private.owner[0]].any())
    assert int(moved.any(dim=1).sum()) == 1
    means = [mean, released_means(sphere, private, (2.0, std), 4, source())]
    close = matched(images, sphere, means, 2.0, Steps(80, SGD(1.0, 0.5)))
    sphere.move(torch_stream(0, "x"))
    assert gap(sphere, close, mean) < 0.5 * gap(sphere, images, mean)


def gap(sphere: Sphere, images: torch.Tensor, mean) -> float:
    sphere.move(torch.Generator().manual_seed(mean.seed))
    rows = embedded(sphere.model, images.flatten(0, 1))
    rows = rows * (2.0 / rows.norm(dim=1, keepdim=True)).clamp(max=1)
    return float((rows.reshape(3, 4, -1).mean(1) - mean.target).detach().square().sum())
