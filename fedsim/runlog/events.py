"""What a run tells whoever watches it: one frozen value per thing that happened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

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
    """One finished round: one line of ``rounds.jsonl``, with exactly these keys."""

    round: int
    """From 1."""
    accuracy: float | None
    """On the server's test set, in [0, 1]; None where the round was not evaluated."""
    loss: float | None
    cohort: tuple[int, ...]
    """The clients that were asked, in ascending order."""
    dropped: tuple[Dropped, ...]
    train: Mapping[str, float]
    """The clients' own metrics: means weighted by examples."""
    clients: Mapping[str, float]
    """On the clients' test parts: ``accuracy`` (weighted by examples), ``accuracy_uniform``,
    ``accuracy_worst_10``, ``examples``; empty where not evaluated."""
    bytes_up: int
    """From all clients to the server, in this round."""
    bytes_down: int
    seconds: float
    """Wall time."""
    domains: Mapping[str, float] = field(default_factory=dict)
    """Accuracy on the server's test examples of each domain; empty where there are no domains."""


@dataclass(frozen=True)
class Result:
    """What a run came to: ``result.json``."""

    strategy: str
    rounds: int
    accuracy: float
    loss: float
    weights_sha256: str
    references: Mapping[str, float]
    """Accuracy by reference: ``centralized``, ``local``."""
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
    """Accuracy by domain: the one place where a target's labels are used."""
    stopped: str = ""
    """Why there are fewer rounds than were asked for: a privacy budget; empty as a rule."""


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
    accuracy: float
    detail: str


@dataclass(frozen=True)
class Finished:
    """The run is over and its result is on disk."""

    result: Result


Event = Started | Data | Note | RoundDone | ReferenceDone | Finished

Watch = Callable[[Event], None]
"""What a run calls with every event."""
