"""Joint distribution matching embedding: the subspace in which two domains' classes coincide.

With a polynomial kernel of degree two the discrepancy is a function of each class's count, sum
and sum of outer products.  These add up over clients, so one message of each does what the
kernel matrix over everyone's examples would.

References:
    Jin et al., "Joint Distribution Matching Embedding for Unsupervised Domain Adaptation",
    Neurocomputing 2020, by its published code; the form in moments is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from fedsim.adapt.grassmann import descend
from fedsim.wire import Weights

__all__ = [
    "Discrepancy",
    "Kernel",
    "LabelKernel",
    "Moments",
    "discrepancy",
    "moments_of",
    "principal",
    "ridge_head",
    "subspace",
    "unit_rows",
    "weighings",
]

LabelKernel = Literal["official", "joint", "balanced"]
Kernel = Literal["poly", "linear"]
Weighing = Callable[[Tensor], Tensor]


def unit_rows(rows: Tensor) -> Tensor:
    """Return the rows scaled to length one; a row of zeros stays."""
    return F.normalize(rows, dim=1, eps=1e-300)


@dataclass(frozen=True)
class Moments:
    """What is known of each class in one domain."""

    counts: Tensor
    """Shape ``(classes,)``."""
    sums: Tensor
    """Shape ``(classes, width)``."""
    squares: Tensor
    """Sums of outer products, shape ``(classes, width, width)``."""

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.counts + other.counts, self.sums + other.sums, self.squares + other.squares
        )

    def packed(self) -> Weights:
        """Return the moments to be sent: of the symmetric squares the upper triangle."""
        width = self.sums.shape[1]
        row, column = torch.triu_indices(width, width)
        return {
            "counts": self.counts,
            "sums": self.sums,
            "squares": self.squares[:, row, column],
        }

    @classmethod
    def unpacked(cls, packed: Weights) -> Moments:
        """Return what :meth:`packed` packed."""
        width = packed["sums"].shape[1]
        row, column = torch.triu_indices(width, width)
        squares = packed["squares"].new_zeros(len(packed["squares"]), width, width)
        squares[:, row, column] = packed["squares"]
        squares[:, column, row] = packed["squares"]
        return cls(packed["counts"], packed["sums"], squares)


def moments_of(rows: Tensor, labels: Tensor, classes: int) -> Moments:
    """Return the class moments of ``rows``, `(n, width)`, float64."""
    member = F.one_hot(labels, classes).to(rows.dtype)  # (n, classes)
    squares = torch.stack([rows[labels == c].T @ rows[labels == c] for c in range(classes)])
    # A product of matrices need not be symmetric to the last bit: the upper triangle counts.
    upper = squares.triu()
    return Moments(member.sum(dim=0), member.T @ rows, upper + upper.triu(1).mT)


@dataclass(frozen=True)
class Discrepancy:
    """The squared distance of two domains as a function of the subspace ``W``."""

    squares: Tensor
    """Differences of weighted second moments, ``(terms, width, width)``."""
    sums: Tensor
    """Of first moments, ``(terms, width)``."""
    constant: float
    kernel: Kernel = "poly"

    def __call__(self, basis: Tensor) -> float:
        """Return the discrepancy in the span of ``basis``, `(width, dimensions)`."""
        linear = float((self.sums @ basis).square().sum())
        if self.kernel == "linear":
            return linear
        inner = basis.T @ (self.squares @ basis)  # (terms, dimensions, dimensions)
        return float(inner.square().sum()) + 2 * linear + self.constant

    def slope(self, basis: Tensor) -> Tensor:
        """Return its Euclidean gradient, shaped as ``basis``."""
        linear = self.sums.T @ (self.sums @ basis)
        if self.kernel == "linear":
            return 2 * linear
        outer = self.squares @ basis
        return 4 * (outer @ (basis.T @ outer)).sum(dim=0) + 4 * linear


def discrepancy(
    source: Moments, target: Moments, labels: LabelKernel = "official", kernel: Kernel = "poly"
) -> Discrepancy:
    """Return the kernel discrepancy of two domains' joint laws of features and labels.

    Args:
        source: with its true labels.
        target: with labels that were guessed.
        labels: ``joint`` weighs classes as they are common, ``balanced`` alike; ``official`` is
            the sum of both, as in the authors' code.
        kernel: ``(<z, z'> + 1)^2`` or ``<z, z'>``.
    """
    squares, sums, constant = [], [], 0.0
    for weigh in weighings(labels):
        of_source, of_target = weigh(source.counts), weigh(target.counts)
        squares.append(
            of_source[:, None, None] * source.squares - of_target[:, None, None] * target.squares
        )
        sums.append(of_source[:, None] * source.sums - of_target[:, None] * target.sums)
        gap = of_source * source.counts - of_target * target.counts
        constant += float(gap.square().sum())
    return Discrepancy(torch.cat(squares), torch.cat(sums), constant, kernel)


def weighings(labels: LabelKernel) -> tuple[Weighing, ...]:
    """Return how much a class counts in each term of the kernel, by the classes' counts."""
    return {"joint": (_joint,), "balanced": (_alike,)}.get(labels, (_joint, _alike))


def _joint(counts: Tensor) -> Tensor:
    return torch.full_like(counts, 1.0) / counts.sum().clamp(min=1)


def _alike(counts: Tensor) -> Tensor:
    return torch.where(counts > 0, 1 / counts.clamp(min=1e-9), 0.0)


def principal(both: Moments, dimensions: int) -> Tensor:
    """Return the first principal directions of all rows, `(width, dimensions)`.

    Raises:
        ValueError: if there are not so many.
    """
    count, mean = both.counts.sum(), both.sums.sum(dim=0)
    if not 1 <= dimensions <= len(mean):
        raise ValueError(f"{dimensions} dimensions of {len(mean)} features")
    scatter = both.squares.sum(dim=0) - torch.outer(mean, mean) / count
    directions: Tensor = torch.linalg.eigh(scatter).eigenvectors  # ascending
    return directions.flip(1)[:, :dimensions].contiguous()


def subspace(start: Tensor, gap: Discrepancy, steps: int) -> Tensor:
    """Return the subspace that ``steps`` Riemannian steps from ``start`` lead to."""
    return descend(start, gap, gap.slope, steps)


def ridge_head(source: Moments, basis: Tensor, ridge: float = 1e-2) -> tuple[Tensor, Tensor]:
    """Return a linear head by ridge regression on one-hot labels, from the same moments.

    It is fitted to projected rows whose lengths are left as they are: moments know no others.

    Returns:
        Weight `(classes, dimensions)` and bias `(classes,)`.
    """
    count = source.counts.sum()
    sums = source.sums @ basis  # (classes, dimensions)
    mean = sums.sum(dim=0) / count
    scatter = basis.T @ source.squares.sum(dim=0) @ basis - count * torch.outer(mean, mean)
    scatter.diagonal().add_(ridge * scatter.trace() / len(mean))
    shares = source.counts / count
    weight = torch.linalg.solve(scatter, (sums - source.counts[:, None] * mean).T).T
    return weight, shares - weight @ mean
