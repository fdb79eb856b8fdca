"""The weights of the best round, chosen on the clients' validation parts and kept beside the last.

Candidates are the rounds in which clients are evaluated, the last one always.  The server's test
set and targets' labels have no say: see ``evaluation.keep_best``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fedsim.engine.result import weights_sha256
from fedsim.metrics.metric import Metric
from fedsim.runlog.checkpoint import Checkpoint
from fedsim.runlog.events import RoundRecord
from fedsim.runlog.run_folder import BEST, RunFolder
from fedsim.wire import Weights

__all__ = [
    "BestRound",
    "best_result",
    "better_of",
    "candidate",
    "restored_best",
    "without_best",
]

_NAME = "best round"
"""Where a checkpoint holds it: beside what the strategy remembers, which never sees it."""


@dataclass(frozen=True)
class BestRound:
    """The best round so far."""

    round: int
    value: float
    """The primary metric over all clients' validation examples together."""
    weights: Weights

    @property
    def memory(self) -> Mapping[str, Weights]:
        """The weights, as a checkpoint holds them."""
        return {_NAME: self.weights}

    @property
    def plain(self) -> Mapping[str, Any]:
        """The rest of it."""
        return {_NAME: {"round": self.round, "value": self.value}}


def restored_best(checkpoint: Checkpoint) -> BestRound | None:
    """Return what ``checkpoint`` knows of the best round."""
    plain = checkpoint.plain.get(_NAME)
    return BestRound(**plain, weights=checkpoint.memory[_NAME]) if plain else None


def without_best(memory: Mapping[str, Weights]) -> Mapping[str, Weights]:
    """Return a checkpoint's memory as the strategy knows it."""
    return {name: weights for name, weights in memory.items() if name != _NAME}


def candidate(record: RoundRecord, weights: Weights, metric: Metric) -> BestRound | None:
    """Return the round as one that may be the best; None where it was not evaluated, or NaN."""
    value = record.clients.get(metric.name, math.nan)
    return None if math.isnan(value) else BestRound(record.round, value, weights)


def better_of(best: BestRound | None, other: BestRound | None, metric: Metric) -> BestRound | None:
    """Return the better of two rounds, the earlier one of equals.

    Args:
        best: the best so far, with weights that nobody changes.
        other: a later one; its weights are copied if it is better.
        metric: which values are better.
    """
    if other is None:
        return best
    sign = 1 if metric.better == "higher" else -1
    if best is not None and sign * (other.value - best.value) <= 0:
        return best
    copy = {name: value.detach().clone() for name, value in other.weights.items()}
    return BestRound(other.round, other.value, copy)


def best_result(
    best: BestRound | None, folder: RunFolder, on_server: Callable[[Weights], Mapping[str, float]]
) -> dict[str, Any]:
    """Write the weights of the best round to ``folder``; return what the result says of them.

    Args:
        best: the round; None: nothing is written, and the result says nothing.
        folder: of the run.
        on_server: measures weights on the server's test set.
    """
    if best is None:
        return {}
    folder.write_weights(best.weights, BEST)
    return {
        "round": best.round,
        "validation": best.value,
        "metrics": dict(on_server(best.weights)),
        "weights_sha256": weights_sha256(best.weights),
    }
