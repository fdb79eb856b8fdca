"""Sums behind losses and probabilities: the task's loss, log loss, Brier score, calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsim.metrics.scored import ScoredBatch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Calibration", "LogLoss", "SquaredProbability", "TaskLoss"]


@dataclass(frozen=True)
class TaskLoss:
    """The task's own loss: ``sum`` and ``units``."""

    name: str = "loss"

    def sums(self, batch: ScoredBatch) -> Mapping[str, Tensor]:
        """Return the sum of the losses and of what they are sums over."""
        return {"sum": batch.total_loss, "units": batch.units}


@dataclass(frozen=True)
class LogLoss:
    """Minus the logarithm of the probability of what is so, in nats: ``sum`` and ``units``.

    It is computed from ``log_probabilities`` `(n, classes)` or `(n, k, 2)`, never from
    probabilities, which may be 0.
    """

    name: str = "log_loss"

    def sums(self, batch: ScoredBatch) -> Mapping[str, Tensor]:
        """Return the sum over examples, or over examples and labels, and how many there are."""
        import torch

        logs, targets = batch.predictions["log_probabilities"], batch.targets.long()
        losses = -logs.gather(-1, targets.unsqueeze(-1)).squeeze(-1).double()
        weights = torch.ones_like(losses) if batch.weights is None else _like(losses, batch.weights)
        return {"sum": (losses * weights).sum(), "units": weights.sum()}


@dataclass(frozen=True)
class SquaredProbability:
    """The Brier score: the squared distance of the probabilities to what is so, over classes.

    With one probability an example, that of the positive class, it is ``(p - y)^2``.

    References:
        Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather
        Review 78, 1950, equation 2.
    """

    name: str = "brier"

    def sums(self, batch: ScoredBatch) -> Mapping[str, Tensor]:
        """Return ``squared`` and ``examples``."""
        import torch

        probabilities, targets = batch.predictions["probabilities"].double(), batch.targets
        if probabilities.dim() > targets.dim():
            targets = torch.nn.functional.one_hot(targets.long(), probabilities.shape[-1])
        squared = (probabilities - targets) ** 2
        squared = squared.flatten(1).sum(dim=1) if squared.dim() > 1 else squared
        weights = torch.ones_like(squared) if batch.weights is None else batch.weights
        return {"squared": (squared * weights).sum(), "examples": weights.sum()}


@dataclass(frozen=True)
class Calibration:
    """By bin of confidence, `(bins,)`: examples, confidence and right answers.

    Confidence is the probability of the predicted label; bins are equally wide.

    References:
        Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017,
        equation 3.
    """

    bins: int = 15
    name: str = "calibration"

    def sums(self, batch: ScoredBatch) -> Mapping[str, Tensor]:
        """Return ``count``, ``confidence`` and ``correct``."""
        import torch

        probabilities = batch.predictions["probabilities"].double()
        if probabilities.dim() == batch.targets.dim():  # of the positive class
            probabilities = torch.stack([1 - probabilities, probabilities], dim=-1)
        confidence = probabilities.amax(dim=-1)
        right = (batch.predictions["labels"] == batch.targets).double()
        weights = torch.ones_like(right) if batch.weights is None else batch.weights
        at = (confidence * self.bins).ceil().long().clamp(1, self.bins) - 1
        return {
            "count": at.bincount(weights, minlength=self.bins),
            "confidence": at.bincount(weights * confidence, minlength=self.bins),
            "correct": at.bincount(weights * right, minlength=self.bins),
        }


def _like(values: Tensor, weights: Tensor) -> Tensor:
    return weights.view(-1, *(1,) * (values.dim() - 1)).expand_as(values)
