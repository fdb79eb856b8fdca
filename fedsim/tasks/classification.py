"""One of several classes for each example, by cross-entropy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge, Lt

from fedsim.metrics.counting import Confusion, Correct, TopCorrect
from fedsim.metrics.likelihood import Calibration, LogLoss, SquaredProbability, TaskLoss
from fedsim.metrics.scored import ScoredBatch, Statistic
from fedsim.task import Computed, Task

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Classification"]


@dataclass(frozen=True)
class Classification(Task):
    """Class numbers from 0; a model returns a logit for each class.

    References:
        Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016, section 7 (smoothing).
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 4 (focal).
    """

    class_weights: Literal["balanced"] | tuple[float, ...] | None = None
    """A weight for each class, in their order; balanced: examples / (classes * of the class)."""
    smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0
    """How much of each label is spread evenly over all classes."""
    focal: Annotated[float, Ge(0)] = 0.0
    """The exponent of 1 - p, which lets examples that are right already count less; 0: none."""
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "loss")
    measurable: ClassVar[tuple[str, ...]] = (
        "accuracy", "top_5_accuracy", "balanced_accuracy", "precision_macro", "recall_macro",
        "f1_macro", "f1_weighted", "jaccard_macro", "kappa", "mcc", "log_loss", "brier", "ece",
        "loss",
    )  # fmt: skip

    def refusal(self) -> str:
        """Return why the targets are no class numbers."""
        if self.targets.shape:
            return f"each target has the shape {self.targets.shape}: classification takes a class"
        if not self.targets.classes:
            return f"the targets are {self.targets.dtype}, no class numbers: say task: regression"
        weights = self.class_weights
        is_counted = bool(self.targets.counts)  # not where headers alone are known
        if is_counted and isinstance(weights, tuple) and len(weights) != self.targets.classes:
            return f"{len(weights)} class_weights for {self.targets.classes} classes"
        return ""

    def batch_loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the mean cross-entropy of a batch, equation 1 of :mod:`fedsim.task`."""
        if weights is None and self._plain_loss is not None:
            return self._plain_loss(outputs, targets)
        return super().batch_loss(outputs, targets, weights)

    @cached_property
    def _plain_loss(self) -> Callable[[Tensor, Tensor], Tensor] | None:
        """The loss without settings, looked up once: a step of a small model takes 0.1 ms."""
        from torch.nn.functional import cross_entropy

        return cross_entropy if self.is_cross_entropy else None

    def losses(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return each example's cross-entropy times its class's weight, and that weight."""
        from torch.nn.functional import cross_entropy

        losses = cross_entropy(outputs, targets, reduction="none", label_smoothing=self.smoothing)
        if self.focal:
            right = outputs.softmax(dim=1).gather(1, targets[:, None])[:, 0]
            losses = (1 - right) ** self.focal * losses
        if self.class_weights is None:
            return losses, losses.new_ones(len(losses))
        weights = outputs.new_tensor(self._class_weights)[targets]
        return losses * weights, weights

    def scored(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> ScoredBatch:
        """Return what evaluation sums; the plain loss is summed as it always was, bit by bit."""
        from torch.nn.functional import cross_entropy

        if weights is not None or not self.is_cross_entropy:
            return super().scored(outputs, targets, weights)
        total = cross_entropy(outputs.double(), targets, reduction="sum")
        units = total.new_tensor(float(len(targets)))
        return ScoredBatch(self.predict(outputs), targets, total, units)

    def predict(self, outputs: Tensor) -> Mapping[str, Tensor]:
        """Return ``logits`` and (log) ``probabilities`` `(n, classes)`, and ``labels`` `(n,)`."""
        return Computed(
            logits=lambda: outputs,
            probabilities=lambda: outputs.double().softmax(dim=1),
            log_probabilities=lambda: outputs.double().log_softmax(dim=1),
            labels=lambda: outputs.argmax(dim=1),
        )

    def statistics(self) -> Sequence[Statistic]:
        """Return counts of right answers, by class and by confidence, and of losses."""
        classes = self.targets.classes
        return (
            Correct(),
            TopCorrect(5, "top_5"),
            Confusion(classes),
            LogLoss(),
            SquaredProbability(),
            Calibration(),
            TaskLoss(),
        )

    def baseline(self) -> Tensor | None:
        """Return the logarithms of the classes' shares, `(classes,)`."""
        import torch

        if not self.targets.counts:
            return None
        counts = torch.tensor(self.targets.counts, dtype=torch.float64)
        return (counts / counts.sum()).clamp(min=1e-12).log()

    def error(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """Return softmax minus one-hot, `(n, classes)`, for the plain loss."""
        if not self.is_cross_entropy:
            return None
        from torch.nn.functional import one_hot

        return outputs.softmax(dim=1) - one_hot(targets, outputs.shape[1])

    @property
    def is_cross_entropy(self) -> bool:
        """Whether the loss is plain cross-entropy, every example counted the same."""
        return self.class_weights is None and not self.smoothing and not self.focal

    @property
    def _class_weights(self) -> tuple[float, ...]:
        if self.class_weights == "balanced":
            counts = self.targets.counts
            return tuple(sum(counts) / (len(counts) * max(count, 1)) for count in counts)
        return tuple(self.class_weights or ())
