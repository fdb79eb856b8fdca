"""Steepest descent over subspaces: the points are matrices with orthonormal columns.

The step rule is that of pymanopt's back-tracking line search, written afresh.

References:
    Absil, Mahony, Sepulchre, "Optimization Algorithms on Matrix Manifolds", Princeton 2008,
    sections 3.6 and 4.2.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["descend", "retract"]

CONTRACTION, DECREASE, TRIALS, FLAT = 0.5, 1e-4, 25, 1e-6


def descend(
    start: Tensor, cost: Callable[[Tensor], float], slope: Callable[[Tensor], Tensor], steps: int
) -> Tensor:
    """Return where ``steps`` steps of steepest descent lead.

    Args:
        start: shape `(width, dimensions)`, orthonormal columns, float64.
        cost: a function of the span of the columns alone.
        slope: its Euclidean gradient, shaped as ``start``.
        steps: at most; fewer where the gradient vanishes or no step helps.
    """
    point, before = start, None
    for _ in range(steps):
        here, gradient = cost(point), slope(point)
        gradient = gradient - point @ (point.T @ gradient)  # what leaves the subspace
        norm = float(gradient.norm())
        if norm < FLAT:
            break
        # The first step has length one; later ones repeat twice the last decrease.
        size = 1 / norm if before is None else 4 * (before - here) / norm**2
        found = _searched(point, gradient, cost, here, size)
        if found is None:
            break
        point, before = found, here
    return point


def _searched(
    point: Tensor, gradient: Tensor, cost: Callable[[Tensor], float], here: float, size: float
) -> Tensor | None:
    """Return the first point of a shrinking step that is low enough, or None."""
    squared = float(gradient.norm()) ** 2
    new = retract(point, -size * gradient)
    there = cost(new)
    for _ in range(TRIALS):
        if there <= here - DECREASE * size * squared:
            break
        size *= CONTRACTION
        new = retract(point, -size * gradient)
        there = cost(new)
    return new if there <= here else None


def retract(point: Tensor, step: Tensor) -> Tensor:
    """Return the nearest matrix with orthonormal columns to ``point + step``: its polar factor."""
    left, _, right = torch.linalg.svd(point + step, full_matrices=False)
    polar: Tensor = left @ right
    return polar
