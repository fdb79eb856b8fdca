"""What a learning task is: the loss of an example, what a model has to return, what is measured.

A task is a frozen dataclass whose fields a scenario sets under ``task``.  To write one, derive it
from :class:`Task` and override :meth:`Task.losses` and :meth:`Task.predict`; what it measures is
named in ``metrics``, the primary one first.

The loss of a batch ``B``, of two accumulated parts of it and of a padded batch alike, is

    ``L(B) = sum_i w_i l_i / sum_i w_i u_i``    (1)

with the loss ``l_i`` of example ``i``, its weight ``w_i`` and its units ``u_i``: 1, or the number
of tokens that ``l_i`` is a sum over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from fedsim.metrics.likelihood import TaskLoss
from fedsim.metrics.scored import ScoredBatch, Statistic

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Computed", "TargetSpec", "Task"]


@dataclass(frozen=True)
class TargetSpec:
    """What is known of the targets of a data set, besides their values."""

    shape: tuple[int, ...] = ()
    """Of one example's target; ``()`` for a number."""
    dtype: str = "int64"
    classes: int = 0
    """How many class numbers there are, from 0; 0 where targets are no class numbers."""
    counts: tuple[int, ...] = ()
    """Training examples, or places of examples, of each class, `(classes,)`."""
    centre: tuple[float, ...] = ()
    """Mean of the training targets, where they are floats or marks, `(k,)`."""
    spread: tuple[float, ...] = ()
    """Their standard deviation, `(k,)`."""

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> TargetSpec:
        """Return what :func:`dataclasses.asdict` made of one, with tuples that JSON made lists."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in plain.items()
        }
        return cls(**fields)


class Computed(Mapping[str, "Tensor"]):
    """Named tensors, each computed when it is first asked for."""

    def __init__(self, **functions: Callable[[], Tensor]) -> None:
        """Keep the functions, by name."""
        self._functions, self._values = functions, dict[str, "Tensor"]()

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._values:
            self._values[name] = self._functions[name]()
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)


@dataclass(frozen=True)
class Task:
    """A kind of learning task; :meth:`losses` and :meth:`predict` have no default."""

    targets: TargetSpec = field(default=TargetSpec(), kw_only=True)
    """What is known of the data's targets; the engine gives it."""
    metrics: ClassVar[tuple[str, ...]] = ("loss",)
    """What is measured where a scenario does not say, the primary metric first."""
    measurable: ClassVar[tuple[str, ...]] = ("loss",)
    """What a scenario may ask for."""
    record: ClassVar[str] = ""
    """What one example is, where privacy of a record says less than people would think."""
    is_scored_whole: ClassVar[bool] = False
    """Whether a client's examples are scored as one batch, for metrics over pairs of them."""

    @property
    def outputs(self) -> int:
        """How many numbers the model has to return for an example, or for each place of it."""
        return self.targets.classes

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of what a model returns for one example."""
        return (self.outputs,)

    @property
    def is_cross_entropy(self) -> bool:
        """Whether the loss is that of plain classification, which some paths compute themselves."""
        return False

    def refusal(self) -> str:
        """Return why these targets are not for this task, and what would be; empty if they are.

        It imports no torch: ``fedsim check`` asks.
        """
        return ""

    def losses(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return each example's loss and its units, both `(n,)`.

        Args:
            outputs: the model's, `(n, ...)`.
            targets: `(n, ...)`, as the data has them.
        """
        raise NotImplementedError(f"{type(self).__name__} has no losses")

    def predict(self, outputs: Tensor) -> Mapping[str, Tensor]:
        """Return what the outputs say: labels, probabilities, values, by name."""
        raise NotImplementedError(f"{type(self).__name__} has no predict")

    def batch_loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the loss of a batch, equation 1.

        Args:
            outputs: the model's, `(n, ...)`.
            targets: `(n, ...)`.
            weights: of the examples, `(n,)`; None: all 1.
        """
        losses, units = self.batch_sums(outputs, targets, weights)
        # An empty or fully masked batch has the loss 0, not 0 / 0.
        return losses / units.clamp(min=1e-30)

    def batch_sums(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return numerator and denominator of equation 1, which parts of a batch add up."""
        losses, units = self.losses(outputs, targets)
        if weights is not None:
            losses, units = losses * weights, units * weights
        return losses.sum(), units.sum()

    def scored(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> ScoredBatch:
        """Return what evaluation sums, from the outputs of one batch."""
        losses, units = self.losses(outputs.double(), targets)
        if weights is not None:
            losses, units = losses * weights, units * weights
        return ScoredBatch(
            self.predict(outputs), targets, losses.sum(), units.double().sum(), weights
        )

    def statistics(self) -> Sequence[Statistic]:
        """Return the sums that metrics may want of these targets."""
        return (TaskLoss(),)

    def baseline(self) -> Tensor | None:
        """Return the outputs, for one example, of a model that looks at no input.

        It predicts what is most frequent, or the mean, of the training targets: what every model
        has to beat.  None where the task knows no such model.
        """
        return None

    def example_losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return each example's loss by itself, `(n,)`: what DP-SGD takes the gradient of."""
        return self.losses(outputs, targets)[0]

    def error(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """Return ``d losses_i / d outputs_i``, or None: then autograd finds it."""
        return None
