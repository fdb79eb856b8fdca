"""Who takes part in a round.

Sampling is a room of its own, not a strategy's habit, because a privacy ledger must know the
rate that it accounts for, and because any round must be drawn again alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fedsim.seeds import numpy_stream

__all__ = ["Poisson", "RoundRobin", "Sampler", "Uniform"]


class Sampler(Protocol):
    """A way to choose a round's cohort."""

    def draw(self, population: int, size: int, round: int, seed: int) -> list[int]:
        """Return the positions (from 0, ascending) of the round's clients.

        Args:
            population: how many clients there are.
            size: how many of them a round should have, at least on average.
            round: from 1.
            seed: the run's root seed; the answer is a function of these four alone.
        """
        ...


@dataclass(frozen=True)
class Uniform:
    """The same number of clients each round, without replacement, all sets equally likely."""

    def draw(self, population: int, size: int, round: int, seed: int) -> list[int]:
        """Return ``size`` positions; see :meth:`Sampler.draw`."""
        if size >= population:
            return list(range(population))
        generator = numpy_stream(seed, "cohort", round)
        return sorted(generator.choice(population, size, replace=False, shuffle=False).tolist())


@dataclass(frozen=True)
class Poisson:
    """Each client joins on its own coin flip, with probability ``size / population``."""

    def draw(self, population: int, size: int, round: int, seed: int) -> list[int]:
        """Return about ``size`` positions, perhaps none; see :meth:`Sampler.draw`."""
        coins = numpy_stream(seed, "cohort", round).random(population)
        return [int(position) for position in np.flatnonzero(coins < size / population)]


@dataclass(frozen=True)
class RoundRobin:
    """The clients in turn, by number: after ``population / size`` rounds all have had one."""

    def draw(self, population: int, size: int, round: int, seed: int) -> list[int]:
        """Return the next ``size`` positions; see :meth:`Sampler.draw`."""
        first = (round - 1) * size
        return sorted({(first + k) % population for k in range(min(size, population))})
