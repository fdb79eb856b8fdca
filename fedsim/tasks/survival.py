"""How long until an event that some examples are not followed to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge, Gt

from fedsim.metrics.concordance import Concordance
from fedsim.metrics.likelihood import TaskLoss
from fedsim.metrics.scored import Statistic
from fedsim.task import Computed, Task

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Survival"]


@dataclass(frozen=True)
class Survival(Task):
    """Targets are `(n, 2)`: time, and 1 where the event was seen; outputs are `(n, intervals)`.

    The loss is that of a discrete hazard: in each interval that an example was under observation,
    a logistic regression of whether the event came.  Unlike Cox's partial likelihood it is a sum
    over examples, so batches, weights and pooling mean what they mean elsewhere.

    References:
        Andreux, Manoel, Menuet, Saillard, Simpson, "Federated Survival Analysis with Discrete-Time
        Cox Models", 2020, arXiv:2006.08997, equation 5.
    """

    horizon: Annotated[float, Gt(0)]
    """The end of the last interval, in the units of time; what comes later counts as this."""
    intervals: Annotated[int, Ge(1)] = 10
    """How many intervals of equal length there are."""
    metrics: ClassVar[tuple[str, ...]] = ("c_index_within", "loss")
    measurable: ClassVar[tuple[str, ...]] = ("c_index_within", "loss")
    is_scored_whole: ClassVar[bool] = True

    @property
    def outputs(self) -> int:
        """The logit of the hazard in each interval."""
        return self.intervals

    def refusal(self) -> str:
        """Return why the targets are no times with events."""
        if self.targets.shape != (2,):
            what = f"each target has the shape {self.targets.shape}"
            return f"{what}: survival takes (time, event), such as data.source.label: [time, event]"
        return ""

    def losses(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return each example's minus log likelihood in nats, and 1."""
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits

        place = (targets[:, 0] / self.horizon * self.intervals).ceil().clamp(1, self.intervals) - 1
        at = torch.arange(self.intervals, device=outputs.device)
        observed = at <= place[:, None]
        is_in_horizon = targets[:, 0] <= self.horizon
        event = (at == place[:, None]) & ((targets[:, 1] > 0) & is_in_horizon)[:, None]
        each = binary_cross_entropy_with_logits(outputs, event.to(outputs.dtype), reduction="none")
        return (each * observed).sum(dim=1), outputs.new_ones(len(outputs))

    def predict(self, outputs: Tensor) -> Mapping[str, Tensor]:
        """Return ``scores`` `(n,)`: minus the expected time, so that higher is earlier."""

        def risk() -> Tensor:
            survival = (1 - outputs.double().sigmoid()).cumprod(dim=1)
            return -survival.sum(dim=1)

        return Computed(scores=risk)

    def statistics(self) -> Sequence[Statistic]:
        """Return pairs in the right order, and losses."""
        return Concordance(), TaskLoss()
