"""Steepest descent over subspaces: the points are matrices with orthonormal columns.

The step rule is that of pymanopt's back-tracking line search, written afresh, one question at a
time: whoever answers may be a function, or clients that are asked.

References:
    Absil, Mahony, Sepulchre, "Optimization Algorithms on Matrix Manifolds", Princeton 2008,
    sections 3.6 and 4.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Descent", "descend", "retract"]

CONTRACTION, DECREASE, TRIALS, FLAT = 0.5, 1e-4, 25, 1e-6

Needs = Literal["cost", "slope", "nothing"]


@dataclass(frozen=True)
class Descent:
    """How far the descent is: it asks for the cost or the slope at ``trial``, until it is done."""

    trial: Tensor
    """Where to answer, `(width, dimensions)`."""
    point: Tensor
    """The lowest so far."""
    gradient: Tensor
    """At ``point``, tangent to the manifold."""
    needs: Needs = "cost"
    here: float = math.nan
    """The cost at ``point``."""
    before: float = math.nan
    """The cost one step earlier."""
    size: float = 0.0
    """Of the step that is tried."""
    shrunk: int = 0
    """How often it was shortened."""

    @classmethod
    def at(cls, start: Tensor) -> Descent:
        """Return the descent that begins at ``start``, with orthonormal columns."""
        return cls(start, start, torch.zeros_like(start))

    def cost(self, there: float) -> Descent:
        """Return what follows from the cost at ``trial``."""
        squared = float(self.gradient.norm()) ** 2
        if math.isnan(self.here) or there <= self.here - DECREASE * self.size * squared:
            return self._moved(there)
        if self.shrunk == TRIALS:
            return self._moved(there) if there <= self.here else replace(self, needs="nothing")
        return self._tries(self.size * CONTRACTION, self.shrunk + 1)

    def slope(self, euclidean: Tensor) -> Descent:
        """Return what follows from the Euclidean gradient at ``trial``."""
        tangent = euclidean - self.point @ (self.point.T @ euclidean)  # what leaves the subspace
        norm = float(tangent.norm())
        if norm < FLAT:
            return replace(self, needs="nothing")
        # The first step has length one; later ones repeat twice the last decrease.
        fresh = math.isnan(self.before)
        size = 1 / norm if fresh else 4 * (self.before - self.here) / norm**2
        return replace(self, gradient=tangent, needs="cost")._tries(size, 0)

    def _moved(self, there: float) -> Descent:
        return replace(self, point=self.trial, before=self.here, here=there, needs="slope")

    def _tries(self, size: float, shrunk: int) -> Descent:
        trial = retract(self.point, -size * self.gradient)
        return replace(self, trial=trial, size=size, shrunk=shrunk)


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
    now = Descent.at(start).cost(cost(start))
    while steps and now.needs != "nothing":
        if now.needs == "slope":
            now = now.slope(slope(now.point))
        else:
            now = now.cost(cost(now.trial))
            steps -= now.needs == "slope"
    return now.point


def retract(point: Tensor, step: Tensor) -> Tensor:
    """Return the nearest matrix with orthonormal columns to ``point + step``: its polar factor."""
    u, _, v_transposed = torch.linalg.svd(point + step, full_matrices=False)
    polar: Tensor = u @ v_transposed
    return polar
