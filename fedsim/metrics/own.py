"""A metric of one's own: sums over examples, and what they come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from fedsim.metrics.metric import Metric, Sums
from fedsim.metrics.scored import ScoredBatch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OwnMetric"]


@dataclass(frozen=True)
class OwnMetric:
    """Derive from it in a file, and name ``./file.py:Class`` in ``evaluation.metrics``.

    The value is computed of sums, so that it is exact over any split into clients: a mean of
    clients' values is another number.
    """

    name: ClassVar[str] = ""
    """As targets, reports and files call it: letters, digits and _."""
    title: ClassVar[str] = ""
    """As people call it; empty: its name."""
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    range: ClassVar[tuple[float | None, float | None]] = (None, None)
    """The smallest and the largest value; None: no bound."""
    unit: ClassVar[str] = ""

    def sums(self, batch: ScoredBatch) -> Mapping[str, Tensor]:
        """Return int64 counts or float64 sums over the batch, by names of one's own.

        Args:
            batch: what the task predicts, targets and weights; shapes must not depend on it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no sums")

    def value(self, sums: Sums) -> float:
        """Return the metric of the sums over any examples; NaN where it is undefined."""
        raise NotImplementedError(f"{type(self).__name__} has no value")

    def metric(self) -> Metric:
        """Return it as metrics of the shelf are."""

        def value(sums: Sums) -> float:
            start = f"{self.name}."
            own = {key.removeprefix(start): v for key, v in sums.items() if key.startswith(start)}
            return float(self.value(own))

        title = self.title or self.name
        return Metric(self.name, title, value, (self.name,), self.better, self.range, self.unit)
