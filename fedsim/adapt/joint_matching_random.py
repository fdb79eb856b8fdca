"""JDME with a Gaussian kernel, by random features: what clients answer while a subspace is sought.

The class means of random features do not follow from moments, so every cost and every slope is
a question to all clients.  Where `poly` takes one message, this takes one for each answer.

References:
    Jin et al., "Joint Distribution Matching Embedding for Unsupervised Domain Adaptation",
    Neurocomputing 2020, by its published code; Rahimi, Recht, "Random Features for Large-Scale
    Kernel Machines", NeurIPS 2007.  The federated form is ours; the nearest published one is
    FedRF-TCA, arXiv:2311.04686, which has neither labels nor a manifold.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fedsim.adapt.features import random_features
from fedsim.adapt.joint_matching import LabelKernel, weighings
from fedsim.messages import TensorRecord
from fedsim.seeds import torch_stream

__all__ = ["ClassSums", "RandomEmbedding", "random_gap"]


@dataclass(frozen=True)
class ClassSums(TensorRecord):
    """One domain's sums of random features."""

    counts: Tensor
    """Shape ``(classes,)``."""
    sums: Tensor
    """Shape ``(classes, 2 m)``."""


@dataclass(frozen=True)
class RandomEmbedding:
    """Random features of projected rows, alike wherever they are made of the same seed."""

    count: int
    """How many frequencies ``m``."""
    bandwidth: float
    """The kernel is ``exp(-||z - z'||^2 / bandwidth)``."""
    seed: int

    def class_sums(self, rows: Tensor, labels: Tensor, basis: Tensor, classes: int) -> ClassSums:
        """Return the sums of the features of ``rows @ basis`` in each class."""
        member = F.one_hot(labels, classes).to(rows.dtype)  # (n, classes)
        return ClassSums(member.sum(dim=0), member.T @ self._of(rows @ basis))

    def slope(self, rows: Tensor, labels: Tensor, basis: Tensor, pull: Tensor) -> Tensor:
        """Return what these rows add to the gradient, shaped as ``basis``.

        Args:
            rows: shape `(n, width)`, float64.
            labels: shape `(n,)`.
            basis: shape `(width, dimensions)`.
            pull: derivative of the discrepancy by each class's sum, `(classes, 2 m)`.
        """
        projected = (rows @ basis).requires_grad_()
        pulled = (pull[labels] * self._of(projected)).sum()
        return rows.T @ torch.autograd.grad(pulled, projected)[0]

    def _of(self, projected: Tensor) -> Tensor:
        generator = torch_stream(self.seed, "jdme_features")
        shape = projected.shape[1], self.count
        frequencies = torch.randn(shape, generator=generator, dtype=torch.float64)
        frequencies = frequencies * (2 / self.bandwidth) ** 0.5
        return random_features(projected, frequencies.to(projected))


def random_gap(
    source: ClassSums, target: ClassSums, labels: LabelKernel = "official"
) -> tuple[float, Tensor, Tensor]:
    """Return the discrepancy, and its derivatives by the source's and the target's class sums."""
    value, of_source, of_target = 0.0, torch.zeros_like(source.sums), torch.zeros_like(target.sums)
    for weigh in weighings(labels):
        source_weights, target_weights = (
            weigh(source.counts)[:, None],
            weigh(target.counts)[:, None],
        )
        difference = source_weights * source.sums - target_weights * target.sums  # (classes, 2 m)
        value += float(difference.square().sum())
        of_source += 2 * source_weights * difference
        of_target -= 2 * target_weights * difference
    return value, of_source, of_target
