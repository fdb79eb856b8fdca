"""Random features: means of them stand for a Gaussian kernel between examples that never meet.

References:
    Rahimi, Recht, "Random Features for Large-Scale Kernel Machines", NeurIPS 2007; Long, Zhu,
    Wang, Jordan, "Deep Transfer Learning with Joint Adaptation Networks", ICML 2017,
    arXiv:1605.06636, for the kernel on features and predictions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fedsim.seeds import torch_stream

__all__ = ["JointFeatures", "mean_squared_distance", "random_features"]

PREDICTIONS = 1.68
"""The bandwidth on predictions, and the number of bandwidths on features, of the authors' code."""
BANDWIDTHS = 5


def random_features(rows: Tensor, frequencies: Tensor) -> Tensor:
    """Return features whose inner products estimate ``exp(-||x - y||^2 / sigma)``.

    Args:
        rows: shape `(n, width)`.
        frequencies: shape `(width, m)`, normal with variance ``2 / sigma``.

    Returns:
        Shape `(n, 2 m)`, each row of length one.
    """
    angles = rows @ frequencies
    joined = torch.cat([angles.cos(), angles.sin()], dim=1)
    return joined / math.sqrt(frequencies.shape[1])


def mean_squared_distance(total: Tensor, squares: float, count: float) -> float:
    """Return the mean of ``||x - y||^2`` over ordered pairs of different examples.

    Args:
        total: the sum of all examples, `(width,)`.
        squares: the sum of their squared lengths.
        count: how many there are, at least 2.
    """
    pairs = count * count - count
    return float(2 * count * squares - 2 * total.square().sum()) / pairs


@dataclass(frozen=True)
class JointFeatures:
    """Random features of JAN's product kernel, alike wherever they are made of the same seed."""

    count: int
    """Frequencies for each bandwidth."""
    bandwidth: float
    """The middle one on features; the others are a quarter of it to four times it."""
    seed: int

    def __call__(self, features: Tensor, probabilities: Tensor) -> Tensor:
        """Return `(n, 10 count)`: inner products estimate the sum of five kernels."""
        both = torch.cat([features, probabilities], dim=1)
        parts = []
        for number in range(BANDWIDTHS):
            width = self.bandwidth * 2.0**number / 4
            generator = torch_stream(self.seed, "joint_features", number)
            drawn = torch.randn(both.shape[1], self.count, generator=generator, dtype=torch.float64)
            drawn[: features.shape[1]] *= (2 / width) ** 0.5
            drawn[features.shape[1] :] *= (2 / PREDICTIONS) ** 0.5
            parts.append(random_features(both, drawn.to(both)))
        return torch.cat(parts, dim=1)
