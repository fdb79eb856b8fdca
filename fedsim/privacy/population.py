"""Who can take part in a private run, and how often each client is asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from fedsim.cohort import Sampler

__all__ = ["Population"]


@dataclass(frozen=True)
class Population:
    """Who can take part, and how often."""

    population: int
    cohort: int
    """How many a round has on average."""
    rounds: int
    sampler: Sampler
    seed: int

    def turns(self) -> Counter[int]:
        """Return how many rounds each client is asked in, over the whole run."""
        turns: Counter[int] = Counter()
        for number in range(1, self.rounds + 1):
            turns.update(self.drawn(number))
        return turns

    def drawn(self, number: int) -> list[int]:
        """Return the clients of round ``number``."""
        return self.sampler.draw(self.population, self.cohort, number, self.seed)
