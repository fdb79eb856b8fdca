"""Sums behind metrics of masks: how predicted and true areas overlap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsim.metrics.scored import ScoredBatch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ImageOverlap", "TokenMatches"]


@dataclass(frozen=True)
class ImageOverlap:
    """Dice of each image, the mean over the classes that it has or is said to have."""

    classes: int
    name: str = "image_overlap"

    def sums(self, batch: ScoredBatch) -> Mapping[str, Tensor]:
        """Return ``dice``, summed over images, and ``images``."""
        import torch

        labels, targets = batch.predictions["labels"].flatten(1), batch.targets.flatten(1)
        weights = batch.weights
        if weights is None:
            weights = torch.ones(len(targets), dtype=torch.float64, device=targets.device)
        image = torch.arange(len(targets), device=targets.device)[:, None] * self.classes
        size = len(targets) * self.classes

        def counts(cells: Tensor) -> Tensor:
            return cells.flatten().bincount(minlength=size).view(-1, self.classes).double()

        matching = (image + targets)[labels == targets]
        area = counts(image + labels) + counts(image + targets)
        dice = torch.where(area > 0, 2 * counts(matching) / area.clamp(min=1), 0.0)
        means = dice.sum(dim=1) / (area > 0).sum(dim=1).clamp(min=1)
        return {"dice": (means * weights).sum(), "images": weights.sum()}


@dataclass(frozen=True)
class TokenMatches:
    """Right next tokens, where the target is none of ``ignored``."""

    ignored: tuple[int, ...] = ()
    name: str = "token_matches"

    def sums(self, batch: ScoredBatch) -> Mapping[str, Tensor]:
        """Return ``count`` and ``tokens``."""
        counted = batch.targets >= 0
        for token in self.ignored:
            counted &= batch.targets != token
        right = (batch.predictions["labels"] == batch.targets) & counted
        return {"count": right.sum(), "tokens": counted.sum()}
