"""Scheduling: an exchange's tasks cut into chunks for the workers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from fedsim.schema.scenario import Scenario
from fedsim.wire import ClientId, ReplyInfo

__all__ = ["CostModel", "Scheduler", "WorkGroup", "scheduler_of"]

SHARES = (1 / 2, 1 / 4, 1 / 8, 1 / 16)
"""Of a worker's work in its first chunks; the last one is what is left.  The chunks shrink, so
that whoever is behind at the end is behind by little: another worker takes what it has not begun.
"""


class CostModel:
    """What a client's turn is expected to take: a line over how many examples it holds.

    The line is fitted to the turns of the phase's last exchange.  Only who works where follows
    from it, never what comes of the work.
    """

    def __init__(self, sizes: NDArray[np.int64]) -> None:
        self._sizes = sizes
        self._lines: dict[str, tuple[float, float]] = {}

    def of(self, phase: str, clients: Sequence[ClientId]) -> NDArray[np.float64]:
        """Return what the turn of each of ``clients`` takes."""
        per_turn, per_example = self._lines.get(phase, (1.0, 1.0))
        sizes = self._sizes[np.array(clients, np.intp)].astype(np.float64)
        return per_turn + per_example * sizes

    def learn(self, phase: str, turns: Iterable[ReplyInfo]) -> None:
        """Look at what the turns of an exchange took."""
        measured = [(self._sizes[t.client], t.seconds) for t in turns if t.seconds and not t.fault]
        if not measured:
            return
        sizes, seconds = np.array(measured, float).T
        spread = sizes - sizes.mean()
        square = float(spread @ spread)
        slope = max(0.0, float(spread @ seconds) / square) if square else 0.0
        per_turn = max(0.0, float(seconds.mean() - slope * sizes.mean()))
        self._lines[phase] = per_turn, slope


@dataclass(frozen=True, slots=True)
class WorkGroup:
    """Clients that take their turns together, or one alone."""

    clients: tuple[ClientId, ...]
    content: int
    """Which of the contents they are sent."""
    home: int
    cost: float


@dataclass
class Scheduler:
    """How tasks become chunks."""

    workers: int
    chunk: int | None
    """Clients in a chunk; None: as :data:`SHARES` has it."""
    together: int
    """Clients in a group.  Groups are a function of the cohort alone: neither the workers nor the
    chunks have a say, so that stacked numbers do not depend on them."""
    costs: CostModel

    def chunks(
        self, phase: str, requests: Iterable[tuple[ClientId, int]]
    ) -> Iterator[tuple[int, list[WorkGroup]]]:
        """Yield each chunk's home and its groups.

        Args:
            phase: which the costs depend on.
            requests: clients in ascending order, each with the number of its content.
        """
        homes: dict[int, list[WorkGroup]] = defaultdict(list)
        for group in self._groups(phase, requests):
            homes[group.home].append(group)
        for home, groups in homes.items():
            for part in self._cut(groups):
                yield home, part

    def _groups(self, phase: str, requests: Iterable[tuple[ClientId, int]]) -> Iterator[WorkGroup]:
        count, by_content = 0, sorted(requests, key=lambda ask: ask[1])
        for content, same in groupby(by_content, key=lambda ask: ask[1]):
            clients = tuple(client for client, _ in same)
            costs: list[float] = self.costs.of(phase, clients).tolist()
            for start in range(0, len(clients), self.together):
                who = clients[start : start + self.together]
                # Alone, a client goes to the same worker each time, where its data is warm.
                home = (who[0] if self.together == 1 else count) % self.workers
                yield WorkGroup(who, content, home, sum(costs[start : start + self.together]))
                count += 1

    def _cut(self, groups: list[WorkGroup]) -> Iterator[list[WorkGroup]]:
        """Cut a home's groups into chunks."""
        if self.chunk is not None:
            per_chunk = max(1, self.chunk // self.together)
            for start in range(0, len(groups), per_chunk):
                yield groups[start : start + per_chunk]
            return
        groups = sorted(groups, key=lambda group: -group.cost)
        total, first = sum(group.cost for group in groups), 0
        for share in SHARES if self.workers > 1 else ():
            cost, last = 0.0, first
            while last < len(groups) and cost < share * total:
                cost += groups[last].cost
                last += 1
            if last > first:
                yield groups[first:last]
            first = last
        if first < len(groups):
            yield groups[first:]


def scheduler_of(scenario: Scenario, sizes: NDArray[np.int64], workers: int) -> Scheduler:
    """Return how a scenario's tasks are dealt to ``workers``.

    Args:
        scenario: with a ``compute.cohort`` that is settled; ``auto`` is taken for ``off``.
        sizes: how many examples each client holds.
        workers: how many take chunks side by side.
    """
    compute = scenario.compute
    together = compute.cohort if isinstance(compute.cohort, int) else 1
    chunk = None if compute.chunk == "auto" else compute.chunk
    return Scheduler(workers, chunk, together, CostModel(sizes))
