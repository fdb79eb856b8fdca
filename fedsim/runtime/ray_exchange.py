"""The state of an exchange on Ray: chunks that wait, are under way, or are done."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from fedsim.errors import RunError
from fedsim.flower.chunk import Chunk, ChunkReply
from fedsim.runtime.grid import Schedule

__all__ = ["ExchangeWork", "PendingChunk"]

ALONE_S = 120.0
"""How long a run waits for a worker when all are lost."""


@dataclass
class PendingChunk:
    """A chunk that a worker is busy with, or will be after the one before."""

    worker: int
    chunk: Chunk
    since: float
    keep: bool = False
    """Whether its sum stays with the worker."""


@dataclass
class ExchangeWork:
    """What is left of an exchange."""

    queues: list[deque[Chunk]]
    refs: Sequence[Any]
    """Where the contents are: put once, and fetched by each node once."""
    idle: set[int]
    flights: dict[Any, PendingChunk] = field(default_factory=dict)
    """By the future of the reply, in the order in which they were sent."""
    finished: dict[int, list[tuple[Chunk, ChunkReply]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """By worker: what is done, but for the sum, which is still there."""
    moved: float = field(default_factory=time.monotonic)
    """When somebody was last busy."""

    @classmethod
    def of(cls, deal: Schedule, workers: int) -> ExchangeWork:
        """Return the whole of ``deal``, dealt to so many workers."""
        queues: list[deque[Chunk]] = [deque() for _ in range(workers)]
        for chunk in deal.chunks:
            queues[chunk.home].append(chunk)
        return cls(queues, [ray.put(content) for content in deal.contents], set(range(workers)))

    @property
    def is_left(self) -> bool:
        """Whether anything is."""
        return bool(self.flights or any(self.queues) or self.finished)

    def of_worker(self, worker: int) -> list[Any]:
        """Return the futures of a worker's flights; it is busy with the first."""
        return [future for future, flight in self.flights.items() if flight.worker == worker]

    def check(self) -> None:
        """Raise an error if nobody has been there to work for long.

        Raises:
            RunError: so that a run does not wait for ever for nodes that do not come back.
        """
        now = time.monotonic()
        if self.flights or self.idle:
            self.moved = now
        elif now - self.moved > ALONE_S:
            raise RunError(f"no worker is left, and none came back within {ALONE_S:.0f} s")
