"""What a comparison asks of runs, and what a round answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fedsim.analysis.metric_names import DOMAIN, compared_metric
from fedsim.errors import RunFolderError
from fedsim.runlog.events import RoundRecord
from fedsim.runlog.metric_info import MetricInfo

__all__ = ["ComparisonQuestion", "metric_of", "question_of"]


@dataclass(frozen=True)
class ComparisonQuestion:
    """What is compared with what; a study says it before it runs."""

    baseline: str = ""
    """Empty: the first level."""
    primary: str = ""
    """A metric and the round it is taken from; empty: the task's primary metric, at the end."""
    x: tuple[str, ...] = ("rounds", "bytes")
    ci: float = 0.95
    test: str = "auto"
    correction: str = "holm"

    @property
    def metric(self) -> str:
        """What is measured."""
        return self.primary.partition("@")[0]

    @property
    def round(self) -> int | None:
        """When; None for the last round."""
        when = self.primary.partition("@")[2]
        return None if when in ("", "final") else int(when)


def metric_of(record: RoundRecord, metric: str) -> float | None:
    """Return a round's metric, or one of clients' or a domain's, if it was measured."""
    value = record.metrics.get(metric)
    if metric.startswith(DOMAIN):
        value = record.domains.get(metric.removeprefix(DOMAIN))
    elif metric == "client_worst_10":
        value = next((v for name, v in record.clients.items() if name.endswith("_worst_10")), None)
    elif metric.startswith("client_"):
        value = record.clients.get(metric.removeprefix("client_"))
    return value if value is not None and math.isfinite(value) else None


def question_of(fields: Mapping[str, Any], metrics: Sequence[MetricInfo]) -> ComparisonQuestion:
    """Return the question; where nobody asks for a metric, that of the task.

    Raises:
        RunFolderError: if the runs do not measure what is asked for.
    """
    question = ComparisonQuestion(**fields)
    if not question.primary:
        question = replace(question, primary=f"{metrics[0].name}@final")
    try:
        compared_metric(question.metric, metrics)
    except KeyError as error:
        known = ", ".join(info.name for info in metrics)
        raise RunFolderError(
            f"these runs do not measure {question.metric!r}; they measure {known}"
        ) from error
    return question
