"""What a metric is: a function of sums, with its direction, unit and range."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

__all__ = ["Metric", "Sums"]

Sums = Mapping[str, NDArray[Any]]
"""By ``statistic.array``: int64 counts and float64 sums over examples."""


@dataclass(frozen=True)
class Metric:
    """A function of sums over examples, so that any pooling of clients is exact."""

    name: str
    """As scenarios and files call it."""
    title: str
    """As people call it."""
    value: Callable[[Sums], float]
    """From the sums to the metric; NaN where it is undefined."""
    statistics: tuple[str, ...]
    """Which sums it wants, by the statistics' names."""
    better: Literal["higher", "lower"] = "higher"
    range: tuple[float | None, float | None] = (0.0, 1.0)
    """The smallest and the largest value; None: no bound."""
    unit: str = ""
    bound: Callable[[Sums], float] | None = None
    """From the sums to how far the exact value may be from :attr:`value`; None: it is exact."""
    exact: Callable[[NDArray[Any], NDArray[Any], NDArray[Any] | None], float] | None = None
    """From scores, targets and weights to the exact value, for one place that has them all; used
    where :attr:`value` has a bound."""
