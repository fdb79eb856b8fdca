"""Several yes-or-no labels for each example, by the cross-entropy of a logit each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fedsim.metrics.counting import LabelConfusion
from fedsim.metrics.likelihood import LogLoss, TaskLoss
from fedsim.metrics.ranking import ScoreBins
from fedsim.metrics.scored import Statistic
from fedsim.task import Computed, Task

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Multilabel"]


@dataclass(frozen=True)
class Multilabel(Task):
    """Targets are `(n, k)` of 0 and 1; a model returns a logit for each of the k labels."""

    metrics: ClassVar[tuple[str, ...]] = (
        "average_precision", "auroc", "label_f1_micro", "label_f1", "exact_match", "loss",
    )  # fmt: skip
    measurable: ClassVar[tuple[str, ...]] = (
        "average_precision", "auroc", "label_f1_micro", "label_f1", "label_precision",
        "label_recall", "label_jaccard", "exact_match", "log_loss", "loss",
    )  # fmt: skip

    @property
    def outputs(self) -> int:
        """One logit a label."""
        return self.targets.shape[0]

    def refusal(self) -> str:
        """Return why the targets are not several marks of 0 and 1."""
        if len(self.targets.shape) != 1:
            what = f"each target has the shape {self.targets.shape}"
            return f"{what}: multilabel takes (labels,), 0 or 1 each; one label is task: binary"
        if self.targets.dtype.startswith("float"):
            return f"the targets are {self.targets.dtype}, not 0 and 1: say task: regression"
        return ""

    def losses(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return each example's cross-entropy in nats, the mean over its labels, and 1."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        true = targets.to(outputs.dtype)
        each = binary_cross_entropy_with_logits(outputs, true, reduction="none").mean(dim=1)
        return each, each.new_ones(len(each))

    def predict(self, outputs: Tensor) -> Mapping[str, Tensor]:
        """Return ``scores`` (logits), ``probabilities`` and ``labels``, all `(n, k)`."""
        return Computed(
            scores=lambda: outputs,
            probabilities=lambda: outputs.double().sigmoid(),
            log_probabilities=lambda: _log_probabilities(outputs.double()),
            labels=lambda: (outputs > 0).long(),
        )

    def statistics(self) -> Sequence[Statistic]:
        """Return counts by label, and by bin of its logit, and losses."""
        return ScoreBins(), LabelConfusion(), LogLoss(), TaskLoss()

    def baseline(self) -> Tensor | None:
        """Return the logits of the labels' shares, `(k,)`."""
        import torch

        if not self.targets.centre:
            return None
        return torch.tensor(self.targets.centre, dtype=torch.float64).logit(eps=1e-12)

    def error(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """Return sigmoid minus target over the number of labels, `(n, k)`."""
        return (outputs.sigmoid() - targets.to(outputs.dtype)) / outputs.shape[1]


def _log_probabilities(logits: Tensor) -> Tensor:
    import torch
    from torch.nn.functional import logsigmoid

    return torch.stack([logsigmoid(-logits), logsigmoid(logits)], dim=-1)
