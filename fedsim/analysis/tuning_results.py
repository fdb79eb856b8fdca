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
        return next((one.score for one in self.tried if one.values == self.values), None)

    @property
    def failed(self) -> int:
        """How many trials failed."""
        return sum(one.score is None for one in self.tried)


def tuned(ledger: StudyLedger) -> Iterator[Tuned]:
    """Yield what became of each of a study's searches."""
    axis, *others = ledger.axes
    for search in ledger.searches:
        own = [one for one in ledger.trials if one.levels == search.levels]
        tried = []
        for number in dict.fromkeys(one.trial for one in own):
            turn = [one for one in own if one.trial == number]
            if all(one.status in ("finished", "failed") for one in turn):
                scores = [one.score for one in turn if one.score is not None]
                whole = sum(scores) / len(scores) if len(scores) == len(turn) else None
                tried.append(Tried(turn[0].values, whole))
        yield Tuned(
            search.levels[axis],
            " · ".join(search.levels[other] for other in others),
            search.rounds,
            len({one.seed for one in own}),
            tuple(tried),
            next((one.values for one in ledger.cells if one.levels == search.levels), {}),
            frozenset(key for key, span in search.space.items() if "log" in span),
        )
