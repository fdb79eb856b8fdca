"""Sums behind metrics of numbers: errors, and moments around a fixed centre."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsim.metrics.scored import ScoredBatch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Deviation"]


@dataclass(frozen=True)
class Deviation:
    """Errors and moments of ``values`` and targets, by output, `(k,)`.

    Moments are around ``centre``, the mean of the training targets: a fixed number, so that sums
    add up, and near the mean, so that no digits cancel.
    """

    centre: tuple[float, ...]
    name: str = "deviation"

    def sums(self, batch: ScoredBatch) -> Mapping[str, Tensor]:
        """Return sums of errors, targets and predictions and of their products; ``weight``."""
        import torch

        targets = (
            batch.targets.double().flatten(1)
            if batch.targets.dim() > 1
            else (batch.targets.double()[:, None])
        )
        values = batch.predictions["values"].double().reshape(targets.shape)
        centre = targets.new_tensor(self.centre or (0.0,))
        weights = (
            torch.ones(len(targets), 1, dtype=torch.float64, device=targets.device)
            if batch.weights is None
            else batch.weights[:, None]
        )
        error, target, value = values - targets, targets - centre, values - centre
        products = {
            "error": error,
            "absolute": error.abs(),
            "squared": error**2,
            "target": target,
            "target_squared": target**2,
            "value": value,
            "value_squared": value**2,
            "product": value * target,
        }
        sums = {name: (product * weights).sum(dim=0) for name, product in products.items()}
        return {**sums, "weight": weights.sum()}
