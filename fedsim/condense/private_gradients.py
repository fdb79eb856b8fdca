"""The mathematics of matching images under differential privacy, without the accounting.

The gradient of equation 1 with respect to the images splits exactly into one part per example:
with ``u = [h; z]`` and ``U`` the mean of ``u`` over the class's images,

    ``grad |mean_B u(x) - U|^2  =  mean_B g(x),    g(x) = grad |u(x) - U|^2 = -2 J^T (u(x) - U)``

so that each ``g(x)``, which touches the images of one class alone, is clipped by itself.

References:
    Xiong et al., "FedDM", CVPR 2023, arXiv:2207.09653, whose private version is not public: the
    unit (one example, added or removed), the sampling and the denominators are ours.
    Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, arXiv:1607.00133.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fedsim.client import Examples, Unlabelled
from fedsim.condense.model_sphere import Sphere
from fedsim.models._split import embedded
from fedsim.per_sample.batches import MOST, in_slots, sampled
from fedsim.privacy.noise import NoiseSource, gaussian, grid, snap

__all__ = [
    "ImageMechanism",
    "PrivateExamples",
    "clipped_sum",
    "each_embedded",
    "enough",
    "noisy_counts",
    "released",
]

SLOTS = 16
"""Examples of each class whose gradients are taken at once, always as many: see _slots.py."""


@dataclass(frozen=True)
class ImageMechanism:
    """The subsampled Gaussian mechanism of one step."""

    clip: float
    """The norm that no example's gradient exceeds: the sensitivity of their sum."""
    noise_multiplier: float
    """Standard deviation of the noise over ``clip``."""
    rate: float
    """The chance of every example to be in a step's sample; the same for all clients."""

    @property
    def std(self) -> float:
        """Of the noise on every pixel."""
        return self.clip * self.noise_multiplier


@dataclass(frozen=True)
class PrivateExamples:
    """A client's examples of the classes that are kept, and what is public of them."""

    inputs: Tensor
    """Shape ``(n, *features)``."""
    owner: Tensor
    """Shape ``(n,)``: the place of each one's class in ``classes``."""
    classes: Tensor
    """Shape ``(classes,)``, public: their labels, ascending."""
    counts: Tensor
    """Shape ``(classes,)``, public, float64: noisy."""

    @classmethod
    def of(cls, examples: Examples, counts: Tensor, classes: Tensor) -> PrivateExamples:
        """Return the examples of the classes ``kept``, by the noisy ``counts`` of all classes."""
        place = torch.full_like(counts, -1, dtype=torch.int64)
        place[classes] = torch.arange(len(classes), device=classes.device)
        owner = place[examples.labels]
        return cls(examples.inputs[owner >= 0], owner[owner >= 0], classes, counts[classes])


def noisy_counts(labels: Tensor, classes: int, std: float, source: NoiseSource) -> Tensor:
    """Return how many examples each class has, plus noise: `(classes,)`, float64; sensitivity 1."""
    counts = torch.bincount(labels, minlength=classes).double()
    return counts + gaussian(counts, std, source)


def enough(counts: Tensor, least: int, std: float) -> Tensor:
    """Return the classes, from noisy counts, that are taken to have ``least`` examples.

    The margin of two standard deviations leaves a class of fewer out, 39 times of 40.
    """
    return torch.nonzero(counts >= least + 2 * std).flatten()


def each_embedded(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return ``[h; z]`` of each input, without a gradient; none depends on who else is there."""
    with torch.no_grad():
        if not len(inputs):
            return embedded(model, inputs)
        parts = in_slots(Unlabelled(inputs), MOST)
        return torch.cat([embedded(model, part.inputs)[:count] for part, count in parts])


def clipped_sum(
    model: nn.Module, images: Tensor, inputs: Tensor, owner: Tensor, mechanism: ImageMechanism
) -> Tensor:
    """Return the sum over examples of their clipped gradients with respect to the images.

    An example whose gradient is not finite adds nothing.  Terms lie on the noise's grid, rounded
    towards zero, so that adding or removing one moves the sum by ``clip`` at most, to the last bit.

    Args:
        model: makes features and logits, of each image by itself.
        images: `(classes, per class, *features)`.
        inputs: a sample of examples, `(batch, *features)`; may be empty.
        owner: the place of each one's class, `(batch,)`.
        mechanism: its ``clip`` and its grid.

    Returns:
        Float64, of the shape of ``images``.
    """
    total = torch.zeros_like(images, dtype=torch.float64)
    if not len(inputs):
        return total
    flat = images.flatten(0, 1).detach().requires_grad_()
    synthetic = embedded(model, flat).reshape(*images.shape[:2], -1).mean(dim=1)  # (classes, D)
    pulls = -2 * (each_embedded(model, inputs) - synthetic[owner])  # (batch, D)
    slot = _slots(owner)
    for first in range(0, int(slot.max()) + 1, SLOTS):
        # A row holds one example of every class, for they touch different images.
        here = (slot >= first) & (slot < first + SLOTS)
        rows = synthetic.new_zeros(SLOTS, *synthetic.shape)
        rows[slot[here] - first, owner[here]] = pulls[here]
        (gradients,) = torch.autograd.grad(
            synthetic, flat, rows, is_grads_batched=True, retain_graph=True
        )
        total += _clipped(gradients.reshape(len(rows), *images.shape), mechanism)
    return total


def released(
    images: Tensor,
    examples: PrivateExamples,
    mechanism: ImageMechanism,
    on: tuple[Sphere, torch.Generator],
    source: NoiseSource,
) -> Tensor:
    """Return the noisy gradient of one step, float64: one release of the mechanism.

    The sum is divided by ``rate * n / classes`` of the noisy counts, whatever the sample came to.

    Args:
        images: noise, or what was released before: never real ones.
        examples: the client's examples.
        mechanism: clip, noise and rate.
        on: the models to match on, and the public stream that they are drawn from.
        source: of the sample and of the noise.
    """
    sphere, generator = on
    sphere.move(generator)
    chosen = sampled(len(examples.inputs), mechanism.rate, source).to(examples.owner.device)
    inputs, owner = examples.inputs[chosen], examples.owner[chosen]
    total = clipped_sum(sphere.model, images, inputs, owner, mechanism)
    noisy = total + gaussian(total, mechanism.std, source)
    return noisy / (mechanism.rate * examples.counts.sum() / len(examples.counts))


def _slots(owner: Tensor) -> Tensor:
    """Return how many examples of the same class come before each one, `(batch,)`."""
    order = owner.argsort(stable=True)
    sizes = torch.bincount(owner)
    ranks = torch.arange(len(owner), device=owner.device)
    ranks -= (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    return torch.empty_like(ranks).scatter_(0, order, ranks)


def _clipped(gradients: Tensor, mechanism: ImageMechanism) -> Tensor:
    """Return the sum over rows of each class's clipped gradient.

    Args:
        gradients: `(rows, classes, per class, *features)`.
        mechanism: its ``clip`` and its grid.
    """
    exact = gradients.double()
    norms = exact.flatten(2).norm(dim=2)  # (rows, classes)
    scale = (mechanism.clip / norms).clamp(max=1).reshape(*norms.shape, *[1] * (exact.dim() - 2))
    usable = norms.isfinite().reshape(scale.shape)
    terms = torch.where(usable, exact * scale, 0)
    return snap(terms, grid(mechanism.std)).sum(dim=0)
