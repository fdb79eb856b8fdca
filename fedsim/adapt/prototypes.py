"""Class prototypes as Gaussian means: who is near which, and how far two domains' means are.

A reconstruction: of DMPN only the abstract was at hand, which says that features are mixtures of
one Gaussian a class, that corresponding means are drawn together, and that a pseudo likelihood
of target features under the source's Gaussians is raised.

References:
    Zhu et al., "Distribution Matching Prototypical Network for Unsupervised Domain Adaptation",
    submission to ICLR 2020; Wan, Zhong, Li, Chen, "Rethinking Feature Distribution for Loss
    Functions in Image Classification", CVPR 2018, arXiv:1803.02988.
"""

from __future__ import annotations

import zlib

import torch
from torch import Tensor
from torch.nn import functional as F

from fedsim.adapt.prototype_messages import ClassFeatureSums
from fedsim.seeds import torch_stream

__all__ = [
    "class_sums",
    "confident",
    "first_prototypes",
    "mean_gap",
    "nearest_head",
    "squared_distances",
    "updated",
]


def first_prototypes(like: Tensor, spread: float) -> Tensor:
    """Return normal prototypes of deviation ``spread``, `(classes, width)`.

    Args:
        like: a tensor of the model at its start, of whose bits the draws are a function; so
            they follow the run's seed, which a strategy is not told.
        spread: prototypes that start close together leave every class the likeliest by chance.
    """
    generator = torch_stream(zlib.crc32(like.detach().cpu().numpy().tobytes()), "prototypes")
    return spread * torch.randn(like.shape, generator=generator, dtype=like.dtype)


def squared_distances(features: Tensor, prototypes: Tensor) -> Tensor:
    """Return ``||z - mu_c||^2``: `(n, width), (classes, width) -> (n, classes)`."""
    return (features[:, None, :] - prototypes).square().sum(dim=2)


def confident(distances: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Return the most likely class of each row and whether it is more likely than ``threshold``.

    Args:
        distances: as :func:`squared_distances` gives them; unit covariances, equal priors.
        threshold: of the posterior.

    Returns:
        Shapes `(n,)`, int64 and bool.
    """
    likely, label = (-distances / 2).softmax(dim=1).max(dim=1)
    return label, likely > threshold


def class_sums(features: Tensor, labels: Tensor, classes: int) -> ClassFeatureSums:
    """Return each class's sum of features, `(classes, width)`, and its count, `(classes,)`."""
    member = F.one_hot(labels, classes).to(features.dtype)
    return ClassFeatureSums(member.T @ features, member.sum(dim=0))


def mean_gap(features: Tensor, labels: Tensor, means: Tensor, has_mean: Tensor) -> Tensor:
    """Return the mean over classes of the squared distance between a batch's mean and ``means``.

    Args:
        features: shape `(n, width)`.
        labels: shape `(n,)`.
        means: of the other domain, `(classes, width)`.
        has_mean: which of them there are, `(classes,)`, bool; classes that the batch or the other
            domain lacks are left out.
    """
    sums = class_sums(features, labels, len(means))
    counts = sums.counts
    here = sums.sums / counts.clamp(min=1)[:, None]
    both = (counts > 0) & has_mean
    distances = (here - means).square().sum(dim=1)
    return (distances * both).sum() / both.sum().clamp(min=1)


def nearest_head(prototypes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the linear head that chooses the nearest prototype: weight and bias."""
    return prototypes, -prototypes.square().sum(dim=1) / 2


def updated(old: Tensor, sums: ClassFeatureSums, keep: float) -> Tensor:
    """Return prototypes moved towards the classes' means; a class without examples stays."""
    counts = sums.counts
    new = sums.sums / counts.clamp(min=1)[:, None]
    blended = keep * old + (1 - keep) * new
    return torch.where(counts[:, None] > 0, blended, old)
