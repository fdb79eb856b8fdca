"""Yes or no for each example, by the cross-entropy of one logit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Gt

from fedsim.metrics.counting import Confusion, Correct
from fedsim.metrics.likelihood import Calibration, LogLoss, SquaredProbability, TaskLoss
from fedsim.metrics.ranking import ScoreBins
from fedsim.metrics.scored import Statistic
from fedsim.task import Computed, Task

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Binary"]


@dataclass(frozen=True)
class Binary(Task):
    """Targets are 0 and 1; a model returns one logit, that of 1."""

    pos_weight: Annotated[float, Gt(0)] = 1.0
    """How much more a positive example counts than a negative one."""
    metrics: ClassVar[tuple[str, ...]] = (
        "auroc", "average_precision", "accuracy", "f1", "brier", "ece", "loss",
    )  # fmt: skip
    measurable: ClassVar[tuple[str, ...]] = (
        "auroc", "average_precision", "accuracy", "balanced_accuracy", "precision", "recall", "f1",
        "jaccard", "kappa", "mcc", "log_loss", "brier", "ece", "loss",
    )  # fmt: skip

    @property
    def outputs(self) -> int:
        """One logit."""
        return 1

    def refusal(self) -> str:
        """Return why the targets are not 0 and 1."""
        if self.targets.shape:
            what = f"each target has the shape {self.targets.shape}: binary takes 0 or 1"
            return f"{what}; several labels are for task: multilabel"
        if self.targets.classes > 2:
            return f"there are {self.targets.classes} classes: say task: classification"
        if self.targets.dtype.startswith("float"):
            return f"the targets are {self.targets.dtype}, not 0 and 1: say task: regression"
        return ""

    def losses(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return each example's cross-entropy in nats, and 1; both times the weight of its class.

        ``w_y log(1 + exp(-s))`` with ``s`` the logit of what is so.
        """
        from torch.nn.functional import binary_cross_entropy_with_logits

        true = targets.to(outputs.dtype)
        losses = binary_cross_entropy_with_logits(_logit(outputs), true, reduction="none")
        weights = 1 + (self.pos_weight - 1) * true
        return losses * weights, weights

    def predict(self, outputs: Tensor) -> Mapping[str, Tensor]:
        """Return ``scores`` (the logit), ``probabilities`` of 1, and ``labels``, all `(n,)`."""
        logit = _logit(outputs)
        return Computed(
            scores=lambda: logit,
            probabilities=lambda: logit.double().sigmoid(),
            log_probabilities=lambda: _log_probabilities(logit.double()),
            labels=lambda: (logit > 0).long(),
        )

    def statistics(self) -> Sequence[Statistic]:
        """Return counts by bin of the logit, by class and by confidence, and losses."""
        return (
            ScoreBins(),
            Correct(),
            Confusion(2),
            LogLoss(),
            SquaredProbability(),
            Calibration(),
            TaskLoss(),
        )

    def baseline(self) -> Tensor | None:
        """Return the logit of the share of positives, `(1,)`."""
        import torch

        if not self.targets.counts:
            return None
        counts = torch.tensor(self.targets.counts, dtype=torch.float64)
        return (counts[1:] / counts.sum()).logit(eps=1e-12)

    def error(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """Return sigmoid minus target, times the class's weight, shaped as ``outputs``."""
        true = targets.to(outputs.dtype)
        weights = 1 + (self.pos_weight - 1) * true
        return ((_logit(outputs).sigmoid() - true) * weights).view_as(outputs)


def _logit(outputs: Tensor) -> Tensor:
    return outputs.reshape(len(outputs))


def _log_probabilities(logit: Tensor) -> Tensor:
    import torch
    from torch.nn.functional import logsigmoid

    return torch.stack([logsigmoid(-logit), logsigmoid(logit)], dim=-1)
