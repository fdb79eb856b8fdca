"""Sums behind metrics of labels: right answers, and per class what was predicted and what is so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsim.metrics.scored import ScoredBatch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Confusion", "Correct", "LabelConfusion", "TopCorrect", "total"]


def total(values: Tensor, weights: Tensor | None) -> Tensor:
    """Return the sum over the first axis: a count, int64, or with weights a float64 sum.

    Args:
        values: `(n, ...)`, booleans.
        weights: `(n,)`, float64; None: all 1.
    """
    if weights is None:
        return values.sum(dim=0)
    return (values * weights.view(-1, *(1,) * (values.dim() - 1))).sum(dim=0)


@dataclass(frozen=True)
class Correct:
    """How many labels are right; of equal scores the lowest class counts, as ``argmax`` has it."""

    name: str = "correct"

    def sums(self, batch: ScoredBatch) -> Mapping[str, Tensor]:
        """Return ``count`` and ``examples``."""
        right = batch.predictions["labels"] == batch.targets
        return {"count": total(right, batch.weights), "examples": _examples(batch)}


@dataclass(frozen=True)
class TopCorrect:
    """How often the class is among the ``k`` with the largest logits."""

    k: int
    name: str = "top"

    def sums(self, batch: ScoredBatch) -> Mapping[str, Tensor]:
        """Return ``count`` and ``examples``."""
        import torch

        logits = batch.predictions["logits"]
        # Fewer than k logits above, or as large in front: a stable sort's places.
        own = logits.gather(1, batch.targets[:, None])
        classes = torch.arange(logits.shape[1], device=logits.device)
        ahead = (logits > own) | ((logits == own) & (classes < batch.targets[:, None]))
        right = ahead.sum(dim=1) < self.k
        return {"count": total(right, batch.weights), "examples": _examples(batch)}


@dataclass(frozen=True)
class Confusion:
    """By class, `(classes,)`: right predictions, predictions, examples.

    The margins and the diagonal of the confusion matrix are all that the metrics here want, kappa
    and Matthews' coefficient too: Gorodkin, "Comparing two K-category assignments by a K-category
    correlation coefficient", Computational Biology and Chemistry 28, 2004, equation 8.
    """

    classes: int
    name: str = "confusion"

    def sums(self, batch: ScoredBatch) -> Mapping[str, Tensor]:
        """Return ``true_positive``, ``predicted`` and ``actual``."""
        labels, targets = batch.predictions["labels"].flatten(), batch.targets.flatten()
        weights = batch.weights
        if weights is not None:
            weights = weights.repeat_interleave(len(targets) // max(1, len(weights)))
        right = labels == targets
        right_weights = None if weights is None else weights[right]
        return {
            "true_positive": self._counts(targets[right], right_weights),
            "predicted": self._counts(labels, weights),
            "actual": self._counts(targets, weights),
        }

    def _counts(self, labels: Tensor, weights: Tensor | None) -> Tensor:
        return labels.long().bincount(weights, minlength=self.classes)


@dataclass(frozen=True)
class LabelConfusion:
    """The same for targets `(n, k)` of 0 and 1: by label, `(k,)`, of its positives."""

    name: str = "label_confusion"

    def sums(self, batch: ScoredBatch) -> Mapping[str, Tensor]:
        """Return ``true_positive``, ``predicted``, ``actual`` `(k,)`, ``matches``, ``examples``."""
        labels, targets, weights = batch.predictions["labels"] > 0, batch.targets > 0, batch.weights
        return {
            "true_positive": total(labels & targets, weights),
            "predicted": total(labels, weights),
            "actual": total(targets, weights),
            "matches": total((labels == targets).all(dim=1), weights),
            "examples": _examples(batch),
        }


def _examples(batch: ScoredBatch) -> Tensor:
    import torch

    if batch.weights is not None:
        return batch.weights.sum()
    return torch.tensor(len(batch.targets), device=batch.targets.device)
