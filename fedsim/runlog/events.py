"""What a run tells whoever watches it: one frozen value per thing that happened."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedsim.runlog.metric_info import MetricInfo

__all__ = [
    "Data",
    "Dropped",
    "Event",
    "Finished",
    "Note",
    "ReferenceDone",
    "Result",
    "RoundDone",
    "RoundRecord",
    "Started",
    "Watch",
]


@dataclass(frozen=True)
class Dropped:
    """A client that was asked and whose reply is not in the round."""

    client: int
    phase: str
    reason: str


@dataclass(frozen=True)
class RoundRecord:
    """One finished round: one line of ``rounds.jsonl``."""

    round: int
    """From 1."""
    metrics: Mapping[str, float]
    """On the server's test set, by the metric's name; empty where the round was not evaluated."""
    cohort: tuple[int, ...]
    """The clients that were asked, in ascending order."""
    dropped: tuple[Dropped, ...]
    train: Mapping[str, float]
    """The clients' own metrics: means weighted by examples."""
    clients: Mapping[str, float]
    """On the clients' own parts: each metric over all their examples, and of the primary metric,
    here ``accuracy``, the mean of the clients' values, ``accuracy_uniform``, and that over the
    worst tenth of them, ``accuracy_worst_10``; ``examples``; empty where not evaluated."""
    bytes_up: int
    """From all clients to the server, in this round."""
    bytes_down: int
    seconds: float
    """Wall time."""
    domains: Mapping[str, float] = field(default_factory=dict)
    """The primary metric on the server's test examples of each domain; empty without domains."""

    @property
    def accuracy(self) -> float | None:
        """On the server's test set, in [0, 1]; None where it was not measured."""
        return self.metrics.get("accuracy")

    @property
    def loss(self) -> float | None:
        """The task's mean loss on the server's test set; None where it was not measured."""
        return self.metrics.get("loss")


@dataclass(frozen=True)
class Result:
    """What a run came to: ``result.json``."""

    strategy: str
    rounds: int
    metrics: Mapping[str, float]
    """On the server's test set, by the metric's name."""
    weights_sha256: str
    references: Mapping[str, Mapping[str, float]]
    """By reference, ``centralized`` or ``local``: its metrics."""
    bytes_up: int
    bytes_down: int
    seconds: float
    targets: Mapping[str, Mapping[str, int | None]]
    """By metric: the ``round`` in which the target was reached and the ``bytes`` sent until
    then, both None where it was not."""
    dropped: int
    """Replies that were asked for and not used, over all rounds."""
    metrics_sha256: str
    """Over the rounds' metrics, times and sizes left out: equal means the same numbers."""
    domains: Mapping[str, float] = field(default_factory=dict)
    """The primary metric by domain: the one place where a target's labels are used."""
    baseline: Mapping[str, float] = field(default_factory=dict)
    """Metrics of what predicts the most frequent or the mean target and looks at no input."""
    stopped: str = ""
    """Why there are fewer rounds than were asked for: a privacy budget; empty as a rule."""
    best: Mapping[str, Any] = field(default_factory=dict)
    """With ``evaluation.keep_best``: the ``round`` whose primary metric on the clients' validation
    parts, ``validation``, is best, its ``metrics`` on the test set, and ``weights_sha256``."""

    @property
    def accuracy(self) -> float:
        """On the server's test set, in [0, 1]; NaN where the task has none."""
        return self.metrics.get("accuracy", math.nan)

    @property
    def loss(self) -> float:
        """The task's mean loss on the server's test set; NaN where it was not measured."""
        return self.metrics.get("loss", math.nan)


@dataclass(frozen=True)
class Started:
    """The run is about to begin its first round."""

    scenario_name: str
    strategy: str
    clients: int
    rounds: int
    backend: str
    workers: int
    folder: Path
    metrics: tuple[MetricInfo, ...]
    """What is measured, the primary metric first."""
    first_round: int = 1
    """Above 1 where an earlier run is resumed."""


@dataclass(frozen=True)
class Data:
    """The data is dealt to the clients."""

    source: str
    examples: int
    server_test: int
    client_sizes: tuple[int, int, int]
    """Smallest, median, largest number of training examples."""
    labels_per_client: tuple[int, int]
    """Fewest, most."""
    label_skew: float
    """Mean Jensen-Shannon distance of the clients' label shares to the pooled ones."""
    columns: tuple[str, ...] = ()
    """Of a table: what is learnt from."""
    classes: tuple[str, ...] = ()
    """The classes' names; empty where they are but numbers."""
    targets: tuple[str, ...] = ()
    """What labels are amounts of; empty where they are classes."""


@dataclass(frozen=True)
class Note:
    """One line that a user should see: a worker was replaced, a client was set aside."""

    text: str


@dataclass(frozen=True)
class RoundDone:
    """A round is finished and on disk."""

    record: RoundRecord


@dataclass(frozen=True)
class ReferenceDone:
    """A model that federated learning is compared with is trained and judged."""

    name: str
    metrics: Mapping[str, float]
    detail: str


@dataclass(frozen=True)
class Finished:
    """The run is over and its result is on disk."""

    result: Result
    metrics: tuple[MetricInfo, ...]
    """What was measured, the primary metric first."""


Event = Started | Data | Note | RoundDone | ReferenceDone | Finished

Watch = Callable[[Event], None]
"""What a run calls with every event."""
