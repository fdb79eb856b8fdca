"""What a run's metrics are called and which way is better: ``metrics.json``.

It is written into the run, so that whoever reads the run needs none of its plug-ins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["CLASSIFICATION", "MetricInfo", "metrics_written"]


@dataclass(frozen=True)
class MetricInfo:
    """A metric as reports speak of it."""

    name: str
    """As scenarios and files call it."""
    title: str
    """As people call it."""
    better: Literal["higher", "lower"] = "higher"
    unit: str = ""
    low: float | None = None
    """Below which it cannot be; None: no bound."""
    high: float | None = None

    @property
    def axis_label(self) -> str:
        """The title, and the unit where there is one."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def is_share(self) -> bool:
        """Whether it lies between 0 and 1, so that differences are read as percentage points."""
        return (self.low, self.high) == (0.0, 1.0)

    def is_better(self, value: float, other: float) -> bool:
        """Return whether ``value`` is better than ``other``; NaN is better than nothing."""
        return value > other if self.better == "higher" else value < other


CLASSIFICATION = (
    MetricInfo("accuracy", "accuracy", "higher", "", 0.0, 1.0),
    MetricInfo("loss", "loss", "lower", "", 0.0, None),
)
"""Of a run of version 0.1, which wrote no ``metrics.json``."""


def metrics_written(written: Iterable[Mapping[str, Any]] | None) -> tuple[MetricInfo, ...]:
    """Return the metrics that a run's ``metrics.json`` holds, the primary one first."""
    return CLASSIFICATION if written is None else tuple(MetricInfo(**item) for item in written)
