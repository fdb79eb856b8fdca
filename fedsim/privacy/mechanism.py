"""The Gaussian mechanism on a sum of clients' updates: clip each, add, add noise once.

References:
    McMahan, Ramage, Talwar, Zhang, "Learning Differentially Private Recurrent Language
    Models", ICLR 2018, arXiv:1710.06963, Algorithm 1, with a fixed denominator.
    Andrew, Thakkar, McMahan, Ramaswamy, "Differentially Private Learning with Adaptive
    Clipping", NeurIPS 2021, arXiv:1905.03871, Algorithm 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsim.aggregate import Sums
from fedsim.privacy.noise import NoiseSource, gaussian, grid, snap
from fedsim.wire import Merged, Weights

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BELOW", "CLIPPED", "AdaptiveClip", "CentralGaussian", "clipped", "norm_of"]

CLIPPED, BELOW = "clipped", "below"
"""The sums of the clipped updates, and of the bits that say whose norm was below the bound."""

SHRINK = 1 - 2.0**-40
"""Keeps the rounding of the scaling itself on the safe side of the bound."""


def norm_of(delta: Weights) -> float:
    """Return the L2 norm over all tensors together, in float64; it does not overflow.

    Raises:
        ValueError: if a tensor is not finite: a NaN would slip through every comparison.
    """
    import torch

    tensors = [tensor.detach().double() for tensor in delta.values() if tensor.numel()]
    peak = max((float(tensor.abs().max()) for tensor in tensors), default=0.0)
    if not math.isfinite(peak) or any(bool(torch.isnan(tensor).any()) for tensor in tensors):
        raise ValueError("not finite (NaN or infinity): it cannot be clipped")
    if peak == 0:
        return 0.0
    return peak * math.sqrt(sum(float((tensor / peak).square().sum()) for tensor in tensors))


def clipped(delta: Weights, bound: float, step: float) -> Weights:
    """Return ``delta`` in float64, of norm at most ``bound``, on the grid of ``step``.

    Scalars, integers and booleans are clipped with the rest, as the numbers that they are.

    Args:
        delta: one client's.
        bound: on the L2 norm over all tensors together.
        step: of the grid that the noise lies on.

    Raises:
        ValueError: if a tensor is not finite.
    """
    norm = norm_of(delta)
    scale = 1.0 if norm <= bound * SHRINK else bound / norm * SHRINK
    # Rounded towards zero, so that the norm cannot grow again.
    return {name: snap(tensor.detach().double() * scale, step) for name, tensor in delta.items()}


@dataclass(frozen=True)
class AdaptiveClip:
    """How the bound follows a quantile of the norms (Andrew et al., Algorithm 1)."""

    quantile: float = 0.5
    """The share of the updates that is to stay below the bound."""
    lr: float = 0.2
    """How fast the bound follows, in logarithms."""

    def moved(self, clip: float, below: float) -> float:
        """Return the next bound: larger where fewer stayed ``below`` it than should."""
        return min(max(clip * math.exp(-self.lr * (below - self.quantile)), 1e-6), 1e6)


@dataclass(frozen=True)
class CentralGaussian:
    """Noise on the sum of a cohort's clipped updates, over the cohort's expected size."""

    noise_multiplier: float
    """The noise's standard deviation over the bound, for all that a round releases."""
    expected: float
    """How many clients a round has on average, whoever came: the denominator."""
    clip: float
    """The bound on the norm of an update; with adaptive clipping, that of round 1."""
    adaptive: AdaptiveClip | None = None

    @property
    def bits_std(self) -> float:
        """The standard deviation of the noise on the sum of the bits, which are -1/2 and 1/2."""
        return self.expected / 20

    @property
    def delta_multiplier(self) -> float:
        """The noise multiplier of the updates' sum.

        With adaptive clipping it is a little larger, so that updates and bits together are
        one release of ``noise_multiplier`` (Theorem 1 of the paper; a bit moves by 1/2).

        Raises:
            ValueError: if the bits alone would need more noise than they get.
        """
        z = self.noise_multiplier
        if self.adaptive is None or z == 0:
            return z
        remaining = z**-2 - (2 * self.bits_std) ** -2
        if remaining <= 0:
            raise ValueError(
                f"adaptive clipping with noise multiplier {z:g} needs more than {10 * z:g} "
                f"clients per round, not {self.expected:g}"
            )
        return 1 / math.sqrt(remaining)

    def step(self, clip: float) -> float:
        """Return the grid of the noise, on which the clients' updates are put."""
        return grid(self.delta_multiplier * clip)

    def release(self, sums: Sums, like: Weights, clip: float, source: NoiseSource) -> Merged:
        """Return the noisy mean over the expected cohort; with nobody in ``sums``, noise alone.

        Args:
            sums: of the clipped updates, on the grid of ``step(clip)``.
            like: tensors of the names and shapes to release.
            clip: the bound that was in force.
            source: of the noise.
        """
        std = self.delta_multiplier * clip
        total = sums.by_name[CLIPPED].total() if CLIPPED in sums.by_name else {}
        means: dict[str, Weights] = {"delta": {}}
        for name in sorted(like):
            noise = gaussian(like[name], std, source)
            means["delta"][name] = (total.get(name, 0.0) + noise) / self.expected
        if self.adaptive is not None:
            means[BELOW] = {BELOW: self._fraction(sums, source)}
        return Merged(means, dict.fromkeys(means, self.expected))

    def _fraction(self, sums: Sums, source: NoiseSource) -> Tensor:
        """Return the noisy share of updates whose norm was below the bound."""
        import torch

        bits = sums.by_name[BELOW].total()[BELOW] if BELOW in sums.by_name else torch.zeros(())
        noise = gaussian(bits, self.bits_std, source)
        return (bits.double() + noise) / self.expected + 0.5
