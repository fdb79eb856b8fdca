"""One or several numbers for each example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Gt

from fedsim.metrics.deviation import Deviation
from fedsim.metrics.likelihood import TaskLoss
from fedsim.metrics.scored import Statistic
from fedsim.task import Computed, Task

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Regression"]


@dataclass(frozen=True)
class Regression(Task):
    """Targets are floats `(n,)` or `(n, k)`; a model returns k numbers, or k for each quantile.

    Metrics are in the targets' own units, whatever the loss is computed in.

    References:
        Huber, "Robust Estimation of a Location Parameter", 1964, equation 1.1 (huber).
        Koenker, Bassett, "Regression Quantiles", Econometrica 46, 1978, equation 1.1 (quantile).
    """

    loss: Literal["mse", "huber", "mae", "quantile", "poisson"] = "mse"
    """What is minimised: the squared, Huber's or the absolute error, the check loss of quantiles,
    or the negative logarithm of a Poisson probability, for counts."""
    delta: Annotated[float, Gt(0)] = 1.0
    """Where Huber's loss turns from squared to absolute, in the units of the loss."""
    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)
    """Which quantiles are predicted; metrics are of the middle one in the list."""
    standardise: bool | tuple[float, float] = True
    """Learn (target - mean) / deviation, of the training targets or as said: [mean, deviation];
    not for poisson."""
    metrics: ClassVar[tuple[str, ...]] = ("rmse", "mae", "r2", "loss")
    measurable: ClassVar[tuple[str, ...]] = ("rmse", "mse", "mae", "r2", "pearson", "loss")

    @property
    def outputs(self) -> int:
        """As many numbers as the targets have, for each quantile."""
        return self._width * (len(self.quantiles) if self.loss == "quantile" else 1)

    @property
    def _width(self) -> int:
        return self.targets.shape[0] if self.targets.shape else 1

    def refusal(self) -> str:
        """Return why the targets are no amounts."""
        if len(self.targets.shape) > 1:
            return f"each target has the shape {self.targets.shape}: regression takes () or (k,)"
        if self.targets.dtype in ("text", "bool"):
            return f"the targets are {self.targets.dtype}, no amounts: say task: classification"
        if isinstance(self.standardise, tuple) and self.standardise[1] <= 0:
            return "standardise: [mean, deviation] wants a deviation above 0"
        if self.loss == "quantile" and not all(0 < q < 1 for q in self.quantiles):
            return "quantiles are between 0 and 1"
        return ""

    def losses(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return each example's loss, the mean over its outputs, and 1."""
        from torch.nn import functional

        true = self._scaled(_wide(targets), outputs)
        if self.loss == "quantile":
            each = self._check_loss(outputs, true)
        elif self.loss == "huber":
            each = functional.huber_loss(outputs, true, reduction="none", delta=self.delta)
        elif self.loss == "mae":
            each = (outputs - true).abs()
        elif self.loss == "poisson":
            each = functional.poisson_nll_loss(outputs, true, full=True, reduction="none")
        else:
            each = (outputs - true) ** 2
        each = each.mean(dim=1)
        return each, each.new_ones(len(each))

    def predict(self, outputs: Tensor) -> Mapping[str, Tensor]:
        """Return ``values`` `(n, k)` in the targets' units; of quantiles the middle one."""
        if self.loss == "quantile":
            count = len(self.quantiles)
            outputs = outputs.reshape(len(outputs), count, self._width)[:, count // 2]
        return Computed(values=lambda: self._amounts(outputs.double()))

    def statistics(self) -> Sequence[Statistic]:
        """Return sums of errors and moments, and of losses."""
        return Deviation(self.targets.centre or (0.0,) * self._width), TaskLoss()

    def baseline(self) -> Tensor | None:
        """Return what predicts the mean of the training targets, `(outputs,)`."""
        import torch

        if not self.targets.centre:
            return None
        mean = torch.tensor(self.targets.centre, dtype=torch.float64)
        value = mean.clamp(min=1e-12).log() if self.loss == "poisson" else self._scaled(mean, mean)
        return value.repeat(self.outputs // self._width)

    def error(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """Return the loss's derivative by the outputs, `(n, k)`, where it is a short formula."""
        if self.loss not in ("mse", "huber"):
            return None
        apart = outputs - self._scaled(_wide(targets), outputs)
        slope = 2 * apart if self.loss == "mse" else apart.clamp(-self.delta, self.delta)
        return slope / outputs.shape[1]

    @property
    def _is_scaled(self) -> bool:
        has_constants = isinstance(self.standardise, tuple) or bool(self.targets.centre)
        return bool(self.standardise) and self.loss != "poisson" and has_constants

    def _scaled(self, targets: Tensor, like: Tensor) -> Tensor:
        if not self._is_scaled:
            return targets.to(like.dtype)
        centre, spread = self._scale(targets.double())
        return ((targets.double() - centre) / spread).to(like.dtype)

    def _amounts(self, outputs: Tensor) -> Tensor:
        if self.loss == "poisson":
            return outputs.exp()
        if not self._is_scaled:
            return outputs
        centre, spread = self._scale(outputs)
        return outputs * spread + centre

    def _scale(self, like: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(self.standardise, tuple):
            mean, deviation = self.standardise
            return like.new_full((self._width,), mean), like.new_full((self._width,), deviation)
        spread = [value or 1.0 for value in self.targets.spread]
        return like.new_tensor(self.targets.centre), like.new_tensor(spread)

    def _check_loss(self, outputs: Tensor, true: Tensor) -> Tensor:
        """Return ``max(q (y - o), (q - 1) (y - o))`` for every quantile and output."""
        import torch

        levels = outputs.new_tensor(self.quantiles)[:, None]
        apart = true[:, None] - outputs.reshape(len(outputs), len(self.quantiles), -1)
        return torch.maximum(levels * apart, (levels - 1) * apart).flatten(1)


def _wide(targets: Tensor) -> Tensor:
    return targets if targets.dim() > 1 else targets[:, None]
