"""Noisy class means of features and logits, released once a round; matching costs no privacy.

Experimental.  Instead of noise on thousands of pixels in every step, as in ``_clipped_matching``,
there is noise on a few hundred means for each of a few models; images are then made from what
was released, in as many steps as one likes.  Who calls it charges ``models`` Gaussian mechanisms,
unsampled, in every round.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fedsim.condense.model_sphere import Sphere
from fedsim.condense.private_gradients import PrivateExamples, each_embedded
from fedsim.models._split import embedded, mismatch
from fedsim.optimizers.update_rules import SGD
from fedsim.privacy.noise import NoiseSource, gaussian, grid, snap
from fedsim.seeds import generator_from

__all__ = ["Means", "Steps", "matched", "released_means", "shortened"]


@dataclass(frozen=True)
class Means:
    """What was released of one model: all that matching needs."""

    seed: int
    """The model is the sphere's at the first place drawn from this seed: public."""
    target: Tensor
    """Shape ``(classes, width + logits)``: the noisy means."""


@dataclass(frozen=True)
class Steps:
    """Steps of the images, which start from rest."""

    count: int
    optimizer: SGD


def released_means(
    sphere: Sphere,
    examples: PrivateExamples,
    clip_and_std: tuple[float, float],
    seed: int,
    source: NoiseSource,
) -> Means:
    """Return the noisy class means of ``[h; z]``, each example's cut to a norm of ``clip``.

    Args:
        sphere: the models.
        examples: the client's examples; its noisy counts are the denominators.
        clip_and_std: the sensitivity of the sums, and the standard deviation of their noise.
        seed: of the model.
        source: of the noise.
    """
    clip, std = clip_and_std
    _move(sphere, seed)
    rows = each_embedded(sphere.model, examples.inputs).double()
    usable = rows.isfinite().all(dim=1, keepdim=True)
    terms = snap(shortened(torch.where(usable, rows, 0), clip), grid(std))
    sums = terms.new_zeros(len(examples.counts), terms.shape[1]).index_add_(
        0, examples.owner, terms
    )
    noisy = sums + gaussian(sums, std, source)
    return Means(seed, (noisy / examples.counts[:, None].clamp(min=1)).float())


def matched(images: Tensor, sphere: Sphere, means: list[Means], clip: float, rule: Steps) -> Tensor:
    """Return images whose means come near those that were released; touches no private data.

    Args:
        images: to begin with, `(classes, per class, *features)`.
        sphere: the models.
        means: of some of them, taken in turn.
        clip: as the examples' were, so are the images' features and logits cut.
        rule: how.
    """
    shape, images = images.shape, images.flatten(0, 1)
    velocity = torch.zeros_like(images)
    for step in range(rule.count):
        target_mean = means[step % len(means)]
        _move(sphere, target_mean.seed)
        images.requires_grad_()
        synthetic = shortened(embedded(sphere.model, images), clip)
        loss = mismatch(target_mean.target, synthetic.reshape(*shape[:2], -1).mean(dim=1))
        (gradient,) = torch.autograd.grad(loss, images)
        images, velocity = rule.optimizer.moved(images.detach(), gradient, velocity)
    return images.reshape(shape)


def shortened(rows: Tensor, clip: float) -> Tensor:
    """Return ``rows`` with none longer than ``clip``."""
    cut: Tensor = rows * (clip / rows.norm(dim=1, keepdim=True)).clamp(max=1)
    return cut


def _move(sphere: Sphere, seed: int) -> None:
    sphere.move(generator_from(seed, sphere.device))
