"""How a study's parameters were chosen: every trial, and which of them was taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fedsim.runlog.study_ledger import StudyLedger

__all__ = ["Tried", "Tuned", "tuned"]


@dataclass(frozen=True)
class Tried:
    """One trial: its values, and its score where it finished for every seed."""

    values: Mapping[str, Any]
    score: float | None


@dataclass(frozen=True)
class Tuned:
    """What was looked for and found for one level in one setting."""

    level: str
    setting: str
    rounds: int
    seeds: int
    tried: tuple[Tried, ...]
    """In order; only what is over."""
    values: Mapping[str, Any]
    """What was taken; empty while the search goes on, and where no trial finished."""
    log: frozenset[str] = frozenset()
    """The keys that were tried on a logarithmic scale."""

    @property
    def score(self) -> float | None:
        """The score of what was taken."""
        return next((trial.score for trial in self.tried if trial.values == self.values), None)

    @property
    def failed(self) -> int:
        """How many trials failed."""
        return sum(trial.score is None for trial in self.tried)


def tuned(ledger: StudyLedger) -> Iterator[Tuned]:
    """Yield what became of each of a study's searches."""
    axis, *others = ledger.axes
    for search in ledger.searches:
        trials = [trial for trial in ledger.trials if trial.levels == search.levels]
        tried = []
        for number in dict.fromkeys(trial.trial for trial in trials):
            repeats = [trial for trial in trials if trial.trial == number]
            if all(trial.status in ("finished", "failed") for trial in repeats):
                scores = [trial.score for trial in repeats if trial.score is not None]
                mean = sum(scores) / len(scores) if len(scores) == len(repeats) else None
                tried.append(Tried(repeats[0].values, mean))
        yield Tuned(
            search.levels[axis],
            " · ".join(search.levels[other] for other in others),
            search.rounds,
            len({trial.seed for trial in trials}),
            tuple(tried),
            next((trial.values for trial in ledger.cells if trial.levels == search.levels), {}),
            frozenset(key for key, span in search.space.items() if "log" in span),
        )
