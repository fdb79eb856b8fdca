"""What is measured of a model: the metrics that are asked for, and the sums that they want."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsim.metrics.metric import Metric, Sums
from fedsim.metrics.own import OwnMetric
from fedsim.metrics.scored import ScoredBatch, Statistic
from fedsim.metrics.shelf import METRICS
from fedsim.task import Task

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Measures"]


@dataclass(frozen=True)
class Measures:
    """A task with the metrics that are taken of its models, the primary one first."""

    task: Task
    metrics: tuple[Metric, ...]
    statistics: tuple[Statistic, ...]
    """Each once, however many metrics want it."""

    @classmethod
    def of(cls, task: Task, names: Sequence[str | OwnMetric]) -> Measures:
        """Return the measures called ``names``, or given as metrics of one's own.

        Raises:
            KeyError: if there is no such metric, or the task has not the sums for it.
        """
        metrics = tuple(m.metric() if isinstance(m, OwnMetric) else METRICS[m] for m in names)
        offered: dict[str, Statistic] = {sums.name: sums for sums in task.statistics()}
        offered |= {metric.name: metric for metric in names if isinstance(metric, OwnMetric)}
        wanted = dict.fromkeys(name for metric in metrics for name in metric.statistics)
        return cls(task, metrics, tuple(offered[name] for name in wanted))

    @property
    def primary(self) -> Metric:
        """The metric that models are compared by."""
        return self.metrics[0]

    @property
    def ranking(self) -> tuple[Metric, ...]:
        """The metrics that one place with all scores can compute exactly, and sums cannot."""
        return tuple(metric for metric in self.metrics if metric.exact is not None)

    def sums(self, batch: ScoredBatch) -> dict[str, Tensor]:
        """Return what every statistic makes of ``batch``, by ``statistic.array``."""
        return {
            f"{statistic.name}.{name}": value
            for statistic in self.statistics
            for name, value in statistic.sums(batch).items()
        }

    def values(self, sums: Sums, exact: Mapping[str, float] | None = None) -> dict[str, float]:
        """Return every metric.

        Args:
            sums: over any examples; where there was none, every metric is NaN.
            exact: values that are known better than the sums tell them.
        """
        if not sums:
            return {metric.name: math.nan for metric in self.metrics}
        known = exact or {}
        return {
            metric.name: known[metric.name] if metric.name in known else metric.value(sums)
            for metric in self.metrics
        }

    def bounds(self, sums: Sums) -> dict[str, float]:
        """Return how far the exact value of each binned metric may be from that of ``sums``."""
        return {metric.name: metric.bound(sums) for metric in self.metrics if metric.bound and sums}
